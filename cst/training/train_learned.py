"""Train a small version of a published learned tokenizer, to compare with K-means.

python -m cst train-learned --model rq-vae --images photos/ --out runs/rq-vae
"""

import argparse
import copy
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from cst.flags import add_dataclass_flags, dataclass_from_flags
from cst.images import to_float
from cst.learned.config import PRESETS, LearnedTokenizerConfig
from cst.learned.model import LearnedNet
from cst.learned.torch_runtime import save_artifact, to_tokenizer
from cst.metrics import psnr, usage
from cst.photos import Photos, find_photos, split
from cst.training import checkpoint
from cst.training.config import LEARNED_SMOKE, LEARNED_TRAIN, LearnedTrainConfig
from cst.training.losses import Discriminator, discriminator_loss
from cst.training.optimization import lr_multiplier, update_ema, use_bf16
from cst.training.perceptual import PerceptualLoss
from cst.training.random_crops import Crops
from cst.training.rendernet_validation import save_rows
from cst.training.run_settings import check_settings

SHEET_ROWS = 6
COLLAPSED = 0.05  # share of the codes in use below which a codebook is called collapsed


class Trainer:
    """The networks, optimizers, data, validation and checkpoint of a run."""

    def __init__(self, model: str, config: LearnedTrainConfig, *, images: list[str], out: Path):
        if model not in PRESETS:
            raise ValueError(f"no model '{model}'; accepted: {', '.join(PRESETS)}")
        self.config, self.out = config, out
        self.artifact = LearnedTokenizerConfig(name=model, model=PRESETS[model])
        factor = self.artifact.model.factor
        if config.size < factor or config.size % factor:
            raise ValueError(f"crops of {config.size} pixels; accepted: multiples of {factor}")
        for setting in ("steps", "batch", "restart_every", "k_means_batches", "validate_every", "validate_on"):
            if getattr(config, setting) < 1:
                raise ValueError(f"{setting} {getattr(config, setting)}; accepted: at least 1")
        if not 0 <= config.quantize_from < config.steps:
            raise ValueError(
                f"quantize_from {config.quantize_from}; accepted: from 0 to before the last of {config.steps} steps"
            )
        training, held_out = split(find_photos(images))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bf16 = use_bf16(config.precision, device)
        self.accelerator = Accelerator(mixed_precision="bf16" if self.bf16 else "no", cpu=device.type == "cpu")
        if self.accelerator.num_processes > 1:
            raise ValueError("a learned tokenizer is trained by one process; start it without accelerate launch")
        self.device = self.accelerator.device
        settings = {"model": model, **dataclasses.asdict(config)}
        check_settings(out / "training.json", settings, training, write=True)
        self.crops = Crops(
            Photos(training), size=config.size, batch=config.batch, scales=config.scales, seed=config.seed
        )
        self._build()
        photos = Photos(held_out, shortest=256)
        self.originals = [
            to_float(Image.fromarray(photo)) for _, photo in zip(range(config.validate_on), photos, strict=False)
        ]
        if not self.originals:
            raise ValueError("none of the held-out photos can be read; check the --images")
        print(
            f"{model}: {len(training)} photos, {len(held_out)} held out; "
            f"{sum(p.numel() for p in self.net.parameters()) / 1e6:.1f}M parameters on {self.device}, "
            f"bf16 {self.bf16}, from step {self.first}"
        )

    def _build(self) -> None:
        """Create the networks and optimizers, and restore them from the checkpoint if there is one."""
        config = self.config
        torch.manual_seed(config.seed)
        self.net = LearnedNet(self.artifact.model).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.modules: dict[str, torch.nn.Module] = {"net": self.net, "ema": self.ema}
        self.optimizers = {"optimizer": self._optimizer(self.net, config.learning_rate)}
        self.perceptual = PerceptualLoss().to(self.device) if config.perceptual else None
        self.discriminator = None
        if config.adversarial:
            self.modules["discriminator"] = self.discriminator = Discriminator().to(self.device)
            self.optimizers["discriminator_optimizer"] = self._optimizer(self.discriminator, config.learning_rate)
        self.history: list[dict] = []
        self.state, self.first = self.out / "state.safetensors", 0
        if self.state.exists():
            progress = checkpoint.load(self.state, modules=self.modules, optimizers=self.optimizers)
            self.history, self.first = progress["history"], progress["step"]
        self.model = self.accelerator.prepare(self.net)

    def _optimizer(self, net: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)

    def step(self, step: int, batch: np.ndarray) -> float:
        """One update from (batch, 3, size, size) uint8 crops -> the squared error of pixels in [0, 1]."""
        config = self.config
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * lr_multiplier(step, config)
        torch.manual_seed(config.seed + step)
        original = torch.from_numpy(batch).to(self.device).float() / 255
        original = original.contiguous(memory_format=torch.channels_last)
        self._tend_codebook(step, original)
        self.net.train()
        with self.accelerator.autocast():
            picture, loss = self.model(original)
            picture = picture.float()
            error = F.mse_loss(picture, original)
            loss = loss + 4 * config.l2 * error  # of pixels in [-1, 1]
            if self.perceptual is not None:
                loss = loss + config.perceptual * self.perceptual(picture, original)
            discriminator = self.discriminator if step >= config.adversarial_from * config.steps else None
            if discriminator is not None:
                loss = loss - config.adversarial * discriminator(picture).float().mean()
        if not math.isfinite(loss.item()):
            saved = f"the last checkpoint is '{self.state}'" if self.state.exists() else "there is no checkpoint yet"
            raise ValueError(
                f"the loss became {loss.item()} at step {step + 1}; {saved}: resume with a lower --learning-rate"
            )
        self.accelerator.backward(loss)
        self._update("optimizer", self.net)
        if discriminator is not None:
            self.optimizers["discriminator_optimizer"].zero_grad()
            with self.accelerator.autocast():
                loss = discriminator_loss(discriminator, picture, original)
            self.accelerator.backward(loss)
            self._update("discriminator_optimizer", discriminator)
        update_ema(self.ema, self.net, step, config.ema)
        return error.item()

    def _update(self, name: str, net: torch.nn.Module) -> None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), self.config.max_grad_norm)
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()

    @torch.no_grad()
    def _tend_codebook(self, step: int, original: torch.Tensor) -> None:
        """Start the codebook by K-means after a few hundred steps; later, restart its unused codes now and then."""
        config, quantizer = self.config, self.net.quantizer
        if step == config.quantize_from:
            self.net.eval()
            pictures = [original]
            for ahead in range(1, config.k_means_batches):
                crops = torch.from_numpy(self.crops[step + ahead]).to(self.device).float() / 255
                pictures.append(crops)
            quantizer.start(torch.cat([self.net.encoder(picture * 2 - 1) for picture in pictures]))
            self.ema.quantizer.load_state_dict(quantizer.state_dict())
        elif step > config.quantize_from and step % config.restart_every == 0 and step < 0.9 * config.steps:
            self.net.eval()
            restarted = quantizer.restart_unused(self.net.encoder(original * 2 - 1))
            self.ema.quantizer.table[restarted] = quantizer.table[restarted]

    def validate(self, step: int, error: float) -> None:
        """Measure the averaged network on whole held-out photos, and save it with a sheet of pictures."""
        tokenizer = to_tokenizer(self.ema, self.artifact, bf16=self.bf16)
        size, values = self.artifact.model.codes, []
        rows: list[np.ndarray] = []
        counts = np.zeros(size, np.int64)
        for original in self.originals:
            tokens, picture = tokenizer.round_trip(original)
            counts += np.bincount(tokens.ravel(), minlength=size)
            values.append(psnr(picture, original))
            if len(rows) < SHEET_ROWS:
                rows.append(np.concatenate([original, picture], axis=2))
        used, perplexity = usage(counts)
        self.history.append(
            {"step": step, "psnr": float(np.mean(values)), "used": used, "perplexity": perplexity, "error": error}
        )
        tqdm.write(
            f"step {step}: {np.mean(values):.2f} dB, {used:.1%} of the codes in use, perplexity {perplexity:.0f}"
        )
        if bool(self.ema.quantizer.started) and used < COLLAPSED:
            tqdm.write(
                f"the codebook has collapsed: {used:.1%} of its codes are in use; "
                "restart with a lower --learning-rate or a smaller --restart-every"
            )
        save_rows(rows, self.out / f"sheet-{step:06d}.png")
        save_artifact(self.ema, self.artifact, self.out)

    def save(self, step: int) -> None:
        progress = {"step": step, "history": self.history}
        checkpoint.save(self.state, modules=self.modules, optimizers=self.optimizers, progress=progress)


def train(trainer: Trainer) -> list[dict]:
    """Train, resuming the run in its folder if there is one -> the history of validations."""
    config = trainer.config
    saved, running = time.monotonic(), math.nan
    bar = tqdm(total=config.steps, initial=trainer.first, unit="step", mininterval=5)
    for step, batch in enumerate(trainer.crops.ahead(trainer.first, config.steps), trainer.first):
        error = trainer.step(step, batch)
        running = error if math.isnan(running) else 0.98 * running + 0.02 * error
        bar.update()
        bar.set_postfix(psnr=f"{-10 * math.log10(running):.2f}", refresh=False)
        last = step + 1 == config.steps
        if last or (step + 1) % config.validate_every == 0:
            trainer.validate(step + 1, running)
        if last or time.monotonic() - saved > 60 * config.checkpoint_minutes:
            trainer.save(step + 1)
            saved = time.monotonic()
    bar.close()
    for unreadable, reason in trainer.crops.photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    return trainer.history


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst train-learned", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, choices=PRESETS, help="which one")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact; an interrupted run resumes")
    parser.add_argument("--smoke", action="store_true", help="a test run of under a minute")
    add_dataclass_flags(parser, LearnedTrainConfig)
    flags = parser.parse_args(arguments)
    start = LEARNED_SMOKE if flags.smoke else LEARNED_TRAIN.get(flags.model)
    config = dataclass_from_flags(LearnedTrainConfig, flags, start=start)
    train(Trainer(flags.model, config, images=flags.images, out=flags.out))
