"""Train RenderNet to reconstruct photos from their tokens.

python -m cst train --codebooks runs/codebooks --images photos/ --out runs/tokenizer
"""

import argparse
import copy
import dataclasses
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from tqdm import tqdm

from cst.artifact import replacing
from cst.flags import add_dataclass_flags, dataclass_from_flags
from cst.photos import Photos, find_photos, split
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import PRESETS, TokenizerConfig
from cst.tokenizer.rendernet import RenderNet
from cst.tokenizer.torch_runtime import TorchEncoder, TorchTokenizer
from cst.training import checkpoint
from cst.training.config import TRAIN_SMOKE, LossConfig, TrainConfig
from cst.training.losses import Discriminator, discriminator_loss, reconstruction_loss
from cst.training.optimization import lr_multiplier, update_ema, use_bf16
from cst.training.random_crops import Crops
from cst.training.rendernet_validation import Validation
from cst.training.run_settings import check_settings


def save_artifact(net: RenderNet, config: TokenizerConfig, codebooks: Path, out: Path) -> None:
    """Write the averaged network in float16, with its codebooks: a complete artifact."""
    if codebooks.resolve() != out.resolve():
        shutil.copyfile(codebooks / "codebooks.safetensors", out / "codebooks.safetensors")
    with replacing(out / "rendernet.safetensors") as part:
        tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
        save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}, part)
    config = dataclasses.replace(config, rendernet=net.config, files={})
    config.with_files(out, "codebooks.safetensors", "rendernet.safetensors").save(out)


def plot(history: list[dict], centroid_psnr: float, path: Path) -> None:
    """Plot the validation PSNR over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([point["step"] for point in history], [point["psnr"] for point in history], marker=".", label="rendered")
    axes.axhline(centroid_psnr, color="gray", linestyle="--", label="centroid picture")
    axes.set(xlabel="step", ylabel="PSNR on held-out photos, dB")
    axes.legend()
    figure.savefig(path, dpi=120)


class Trainer:
    """The networks, optimizers, data, validation and checkpoint of a run."""

    def __init__(
        self,
        config: TrainConfig,
        losses: LossConfig,
        *,
        codebooks: Path,
        images: list[str],
        out: Path,
        teacher: Path | None = None,
    ):
        self.config, self.losses, self.codebooks, self.out = config, losses, codebooks, out
        self.tokenizer = TokenizerConfig.load(codebooks)
        tables = Codebooks.of_artifact(codebooks, self.tokenizer)
        if config.preset not in PRESETS:
            raise ValueError(f"no preset '{config.preset}'; accepted: {', '.join(PRESETS)}")
        if config.size < tables.patch or config.size % tables.patch:
            raise ValueError(f"crops of {config.size} pixels; accepted: multiples of the patch, {tables.patch}")
        training, held_out = split(find_photos(images))

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bf16 = use_bf16(config.precision, device)
        self.accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no", cpu=device.type == "cpu")
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        self.teacher: RenderNet | None = None
        settings: dict[str, Any] = {**dataclasses.asdict(config), **dataclasses.asdict(losses), "teacher": None}
        if teacher is not None:
            self.teacher, settings["teacher"] = self._load_teacher(teacher)
        check_settings(out / "training.json", settings, training, write=self.is_main)
        self.encoder = TorchEncoder(tables, self.device)
        # Each process draws its own crops.
        seed = config.seed + 7919 * self.accelerator.process_index
        self.crops = Crops(Photos(training), size=config.size, batch=config.batch, scales=config.scales, seed=seed)
        self._build(tables)
        if self.is_main:
            self.validation = Validation(
                held_out, tables, limit=config.validate_on, beam=self.tokenizer.beam, device=self.device
            )
            print(
                f"{len(training)} photos, {len(held_out)} held out; "
                f"centroid picture {self.validation.centroid_psnr:.2f} dB; "
                f"{sum(p.numel() for p in self.net.parameters()) / 1e6:.1f}M parameters on {self.device}, "
                f"bf16 {bf16}, from step {self.first}"
            )

    def _load_teacher(self, folder: Path) -> tuple[RenderNet, str]:
        """A trained network of the same codebooks, and a hash of its weights. Raises ValueError for other codebooks."""
        teacher = TorchTokenizer(folder, device=self.device)
        if teacher.fingerprint != self.tokenizer.fingerprint:
            raise ValueError(
                f"the teacher '{folder}' renders tokens of the tokenizer {teacher.fingerprint}, not of "
                f"{self.tokenizer.fingerprint}; accepted: a teacher with the same codebooks"
            )
        return teacher.net.requires_grad_(False), teacher.config.files["rendernet.safetensors"][:8]

    def _build(self, tables: Codebooks) -> None:
        """Create the networks and optimizers, and restore them from the checkpoint if there is one."""
        torch.manual_seed(self.config.seed)
        net = RenderNet(PRESETS[self.config.preset], tables.tables, patch=tables.patch)
        if self.teacher is not None and self.teacher.config.width == net.config.width:
            net.embeddings.load_state_dict(self.teacher.embeddings.state_dict())
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(net).requires_grad_(False)
        self.modules: dict[str, torch.nn.Module] = {"net": self.net, "ema": self.ema}
        self.optimizers = {"net_optimizer": self._optimizer(net, self.config.learning_rate)}
        self.discriminator = None
        if self.losses.adversarial:
            self.modules["discriminator"] = self.discriminator = Discriminator().to(self.device)
            self.optimizers["discriminator_optimizer"] = self._optimizer(
                self.discriminator, self.config.learning_rate / 2
            )
        self.history: list[dict] = []
        self.state, self.first = self.out / "state.safetensors", 0
        if self.state.exists():
            progress = checkpoint.load(self.state, modules=self.modules, optimizers=self.optimizers)
            self.history, self.first = progress["history"], progress["step"]
        self.model, self.optimizer = self.accelerator.prepare(net, self.optimizers["net_optimizer"])
        if self.discriminator is not None:
            self.discriminator, self.discriminator_optimizer = self.accelerator.prepare(
                self.discriminator, self.optimizers["discriminator_optimizer"]
            )

    def _optimizer(self, net: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        decay = self.config.weight_decay
        return torch.optim.AdamW(net.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=decay, fused=True)

    def step(self, step: int, batch: np.ndarray) -> tuple[float, float]:
        """One update from (batch, 3, size, size) uint8 crops -> (loss, range penalty)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * lr_multiplier(step, self.config)
        original = torch.from_numpy(batch).to(self.device).float() / 255
        greedy = np.random.default_rng([self.config.seed, step]).random() >= self.config.beam_share
        tokens = self.encoder(original, beam=1 if greedy else self.tokenizer.beam)
        self._set_mode(step)
        with self.accelerator.autocast():
            picture, range_penalty = self.model(tokens, with_range_penalty=True)
            with torch.no_grad():
                taught = None if self.teacher is None else self.teacher(tokens).float()
        picture = picture.float()
        loss = reconstruction_loss(picture, original, range_penalty, self.losses, self.discriminator, taught)
        value = loss.item()
        if not math.isfinite(value):
            saved = f"the last checkpoint is '{self.state}'" if self.state.exists() else "there is no checkpoint yet"
            raise ValueError(
                f"the loss became {value} at step {step + 1}; {saved}: resume with a lower --learning-rate"
            )
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.discriminator is not None:
            self.discriminator_optimizer.zero_grad()
            self.accelerator.backward(discriminator_loss(self.discriminator, picture, original))
            self.discriminator_optimizer.step()
        update_ema(self.ema, self.net, step, self.config.ema)
        return value, range_penalty.item()

    def _set_mode(self, step: int) -> None:
        """Set training mode; from `freeze_norm` on, BatchNorm uses the averaged statistics, as in inference.

        The statistics of a batch damp an outlying region, such as a flat background; the averaged ones do not. There
        the hidden states would grow, in inference only, beyond what 8 bits resolve.
        """
        self.net.train()
        freeze = math.floor(self.config.freeze_norm * self.config.steps)
        if step == freeze:
            self.net.load_state_dict(self.ema.state_dict())
        if step >= freeze:
            for block in self.net.blocks:
                block.norm.eval()

    def validate(self, step: int, loss: float) -> None:
        """Measure the averaged network and save it as an artifact, with a sheet of pictures."""
        value = self.validation.measure(self.ema, self.accelerator, self.out / f"sheet-{step:06d}.png")
        self.history.append({"step": step, "psnr": value, "loss": loss})
        start = self.validation.centroid_psnr
        tqdm.write(f"step {step}: {value:.3f} dB, centroid {start:.3f}, gain {value - start:+.3f}, loss {loss:.4f}")
        save_artifact(self.ema, self.tokenizer, self.codebooks, self.out)

    def save(self, step: int) -> None:
        progress = {"step": step, "history": self.history}
        checkpoint.save(self.state, modules=self.modules, optimizers=self.optimizers, progress=progress)


def train(trainer: Trainer) -> list[dict]:
    """Train, resuming the run in its folder if there is one -> the history of validations."""
    config, out = trainer.config, trainer.out
    saved, running = time.monotonic(), math.nan
    bar = tqdm(total=config.steps, initial=trainer.first, disable=not trainer.is_main, unit="step", mininterval=5)
    for step, batch in enumerate(trainer.crops.ahead(trainer.first, config.steps), trainer.first):
        value, range_penalty = trainer.step(step, batch)
        running = value if math.isnan(running) else 0.99 * running + 0.01 * value
        bar.update()
        bar.set_postfix(loss=f"{running:.4f}", range_penalty=f"{range_penalty:.4f}", refresh=False)
        last = step + 1 == config.steps
        if last or (step + 1) % config.validate_every == 0:
            if trainer.is_main:
                trainer.validate(step + 1, running)
            trainer.accelerator.wait_for_everyone()
        if trainer.is_main and (last or time.monotonic() - saved > 60 * config.checkpoint_minutes):
            trainer.save(step + 1)
            saved = time.monotonic()
    bar.close()
    for unreadable, reason in trainer.crops.photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    if trainer.is_main and trainer.history:
        plot(trainer.history, trainer.validation.centroid_psnr, out / "curve.png")
    return trainer.history


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst train", description=__doc__.splitlines()[0])
    parser.add_argument("--codebooks", type=Path, required=True, help="folder made by python -m cst fit")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact; an interrupted run resumes")
    parser.add_argument("--teacher", type=Path, metavar="DIR", help="a trained tokenizer to learn from")
    parser.add_argument("--smoke", action="store_true", help="a test run of under a minute")
    add_dataclass_flags(parser, TrainConfig)
    add_dataclass_flags(parser, LossConfig)
    flags = parser.parse_args(arguments)
    config = dataclass_from_flags(TrainConfig, flags, start=TRAIN_SMOKE if flags.smoke else None)
    losses = dataclass_from_flags(LossConfig, flags)
    train(Trainer(config, losses, codebooks=flags.codebooks, images=flags.images, out=flags.out, teacher=flags.teacher))
