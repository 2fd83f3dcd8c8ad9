"""Train a prior to write the tokens of photos, given their class.

python -m prior.train --images flowers/ --tokenizer cst/pretrained --preset small --out runs/gpt
"""

import argparse
import copy
import dataclasses
import math
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from PIL import Image
from tqdm import tqdm

from cst import checkpoint
from cst.codebooks import Codebooks
from cst.command import add_dataclass_flags, dataclass_from_flags, run
from cst.config import PRETRAINED, TokenizerConfig, write_json
from cst.images import Photos, find_photos, split, to_image
from cst.runtime import FILES, OnnxTokenizer
from cst.torch_runtime import TorchEncoder
from cst.train import rate, update_ema, use_bf16
from prior.config import PRESETS, TRAIN_SMOKE, PriorConfig, TrainConfig, kind_of
from prior.dataset import LabeledCrops, class_names
from prior.protocol import Settings
from prior.sheet import contact_sheet
from prior.torch_runtime import TorchPrior, build, save_prior
from prior.validation import Validation, plot

SHEET = 8  # samples a validation shows


class Trainer:
    """Everything a run consists of: the network, its averages, data, validation and the checkpoint it resumes from."""

    def __init__(self, config: TrainConfig, *, tokenizer: Path, images: list[str], out: Path):
        self.config, self.out = config, out
        source = TokenizerConfig.load(tokenizer)
        self.codebooks = Codebooks.of_artifact(tokenizer, source)
        patch = self.codebooks.patch
        if config.preset not in PRESETS:
            raise ValueError(f"no preset '{config.preset}'; accepted: {', '.join(PRESETS)}")
        if config.size < patch or config.size % patch:
            raise ValueError(f"pictures of {config.size} pixels; accepted: multiples of the patch, {patch}")
        if not 0 < config.least <= 1:
            raise ValueError(f"crops of at least {config.least} of a photo; accepted: above 0 and at most 1")
        training, held_out = split(find_photos(images))
        classes = class_names(training)
        model = PRESETS[config.preset]
        # Sheets are painted by RenderNet where the tokenizer has one that is exported, else drawn from its centroids.
        exported = FILES["int8"] in source.files
        self.decode = OnnxTokenizer(tokenizer).decode if exported else self.codebooks.draw
        self.prior = PriorConfig(
            kind=kind_of(model),
            model=model,
            levels={level.name: level.size for level in self.codebooks.levels},
            fingerprint=source.fingerprint,
            patch=patch,
            beam=config.beam,
            grid=(config.size // patch, config.size // patch),
            classes=classes,
        )

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bf16 = use_bf16(config.precision, device)
        self.accelerator = Accelerator(
            mixed_precision="bf16" if bf16 else "no",
            cpu=device.type == "cpu",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.device, self.leads = self.accelerator.device, self.accelerator.is_main_process
        self.processes, self.process = self.accelerator.num_processes, self.accelerator.process_index
        if config.batch < 1 or config.batch % self.processes:
            raise ValueError(
                f"a batch of {config.batch}; accepted: as many pictures for each of {self.processes} processes"
            )
        self._check_resumes()
        self.encoder = TorchEncoder(self.codebooks, self.device)
        self.crops = LabeledCrops(
            Photos(training, shortest=max(config.size, 256)),
            [classes.index(entry.label) for entry in training],
            size=config.size,
            batch=config.batch,
            share=slice(self.process, None, self.processes),
            least=config.least,
            seed=config.seed,
        )
        self._build()
        if self.leads:
            self.validation = Validation(
                held_out, self.prior, self.codebooks, device=self.device, cache=out / "held-out"
            )
            print(
                f"{len(training)} photos of {len(classes)} classes, {self.validation.count} held out; "
                f"{sum(p.numel() for p in self.net.parameters()) / 1e6:.1f}M parameters on {self.device}, "
                f"bf16 {bf16}, processes {self.processes}, from step {self.first}"
            )

    def _check_resumes(self) -> None:
        """Begin the folder; raise ValueError if it holds a training of something else."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / "config.json"
        if not path.exists():
            if self.leads:
                self.prior.save(self.out)
            return
        there = PriorConfig.load(self.out)
        for name in ("kind", "model", "levels", "fingerprint", "beam", "grid", "classes"):
            if getattr(there, name) != getattr(self.prior, name):
                raise ValueError(
                    f"'{self.out}' holds a prior with another {name} ({getattr(there, name)!r:.80}); "
                    "resume with its own settings, or give another --out"
                )

    def _build(self) -> None:
        """Networks and optimizer, restored from the checkpoint if there is one."""
        torch.manual_seed(self.config.seed)
        self.net = build(self.prior).to(self.device)
        self.net.start_from(self.codebooks.tables)
        self.ema, self.best = (copy.deepcopy(self.net).requires_grad_(False).eval() for _ in range(2))
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, self.config.learning_rate, betas=(0.9, 0.98), fused=True)
        self.modules = {"net": self.net, "ema": self.ema, "best": self.best}
        self.optimizers = {"optimizer": optimizer}
        self.state, self.history, self.first = self.out / "state.safetensors", [], 0
        if self.state.exists():
            progress = checkpoint.load(self.state, modules=self.modules, optimizers=self.optimizers)
            self.history, self.first = progress["history"], progress["step"]
        self.writer, self.optimizer = self.accelerator.prepare(self.net, optimizer)

    def learning(self) -> list[int]:
        """The levels that still gain: those whose best validation is at most `patience` validations old."""
        if not self.history:
            return list(range(len(self.prior.levels)))
        going = []
        for levels in self.net.parts:
            totals = [sum(point["bits"][level] for level in levels) for point in self.history]
            if len(totals) - 1 - int(np.argmin(totals)) < self.config.patience:
                going += levels
        return going

    def step(self, step: int, crops: np.ndarray, labels: np.ndarray) -> list[float]:
        """One update from (b, 3, size, size) uint8 crops of (b,) classes -> bits per token of every level."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step, config)
        # Dropout draws from torch's own generator: seeded anew, a resumed run draws the same.
        torch.manual_seed((config.seed * 1_000_003 + step) * 1024 + self.process)
        counts = self._counts(len(crops))
        tokens = self.encode(crops, counts)
        dropped = np.random.default_rng([config.seed, step]).random(config.batch) < config.label_dropout
        label = np.where(dropped[self.crops.share], len(self.prior.classes), labels)
        self.net.train()
        with self.accelerator.autocast():
            likelihoods = self.writer(tokens, torch.from_numpy(label).to(self.device), counts)
        means = [-values.mean() for values in likelihoods if values.numel()]
        loss = torch.stack(means).sum()
        value = loss.item()
        if not math.isfinite(value):
            kept = f"the last good checkpoint is '{self.state}'" if self.state.exists() else "there is no checkpoint"
            raise ValueError(f"the loss became {value} at step {step + 1}; {kept}: go on with a lower --learning-rate")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        update_ema(self.ema, self.net, step, config.ema)
        return [-values.mean().item() / math.log(2) if values.numel() else math.nan for values in likelihoods]

    def _counts(self, pictures: int) -> list[int]:
        """How many of a batch's pictures each level learns from."""
        detail = pictures if len(self.net.parts) == 1 else max(1, round(pictures * self.config.detail_share))
        going = self.learning()
        return [(detail if level else pictures) if level in going else 0 for level in range(len(self.prior.levels))]

    def encode(self, crops: np.ndarray, counts: list[int]) -> torch.Tensor:
        """(b, 3, size, size) uint8 -> (b, L, h, w) int64; levels that no one learns are left zero."""
        pictures = torch.from_numpy(crops).to(self.device).float() / 255
        tokens = self.encoder.colors(pictures)  # (b, 1, h, w)
        tokens = F.pad(tokens, (0, 0, 0, 0, 0, len(self.prior.levels) - 1))  # (b, L, h, w)
        if whole := max(counts[1:]):
            tokens[:whole] = self.encoder(pictures[:whole], beam=self.config.beam)
        return tokens

    def validate(self, step: int, train_bits: list[float]) -> None:
        """Measure the averaged network; keep what is the best yet, as an artifact."""
        bits = self.validation.measure(self.ema, self.accelerator)
        for levels, averaged in self.ema.parts.items():
            reached = sum(bits[level] for level in levels)
            if all(reached < sum(point["bits"][level] for level in levels) for point in self.history):
                self.best.parts[levels].load_state_dict(averaged.state_dict())
        self.history.append({"step": step, "bits": bits, "train": train_bits})
        told = ", ".join(
            f"{name} {value:.3f} ({train:.3f})"
            for name, value, train in zip(self.prior.levels, bits, train_bits, strict=True)
        )
        tqdm.write(f"step {step}: {sum(bits):.3f} bits a patch held out (training): {told}")
        save_prior(self.best, self.prior, self.out)
        self.draw_sheet().save(self.out / f"sheet-{step:06d}.png")

    def draw_sheet(self) -> Image.Image:
        """Samples of classes from all over the list, the same seed every time: colors alone, then all three levels."""
        prior = TorchPrior(self.ema, self.prior.classes)
        every = max(1, len(prior.classes) // SHEET)
        label = np.arange(len(prior.classes))[::every][:SHEET]
        known = np.zeros((len(label), len(prior.levels), *prior.grid), np.int32)
        steps = prior.sample(known, known > 0, label, Settings(), self.config.seed)
        (done,) = deque(steps, maxlen=1)  # the last alone: together they would fill the memory
        colors = [to_image(picture) for picture in self.codebooks.draw(done.tokens, levels=1)]
        pictures = [to_image(picture) for picture in self.decode(done.tokens)]
        names = ", ".join(prior.classes[index] for index in label)
        return contact_sheet([("", colors), ("", pictures)], caption=names)

    def share_history(self) -> None:
        """After a validation: every process knows its outcome, for all must agree on what goes on learning."""
        together = [self.history]
        if self.processes > 1:
            broadcast_object_list(together)
        self.history = together[0]

    def save(self, step: int) -> None:
        progress = {"step": step, "history": self.history}
        checkpoint.save(self.state, modules=self.modules, optimizers=self.optimizers, progress=progress)


def smooth(running: list[float] | None, bits: list[float]) -> list[float]:
    """A moving average of the training bits; a level that was not trained (NaN) keeps its last."""
    if running is None:
        return bits
    return [old if math.isnan(new) else 0.98 * old + 0.02 * new for old, new in zip(running, bits, strict=True)]


def train(config: TrainConfig, *, tokenizer: Path, images: list[str], out: Path) -> list[dict]:
    """Train to `out`, resuming what is there; returns the history of validations."""
    trainer = Trainer(config, tokenizer=tokenizer, images=images, out=out)
    if trainer.leads:
        write_json(out / "training.json", dataclasses.asdict(config))
    saved, running = time.monotonic(), None
    bar = tqdm(total=config.steps, initial=trainer.first, disable=not trainer.leads, unit="step", mininterval=5)
    for step, (crops, labels) in enumerate(trainer.crops.ahead(trainer.first, config.steps), trainer.first):
        if not trainer.learning():
            if trainer.leads:
                tqdm.write(f"no level has gained for {config.patience} validations: stopping at step {step}")
                trainer.save(step)
            break
        bits = trainer.step(step, crops, labels)
        running = smooth(running, bits)
        bar.update()
        bar.set_postfix(bits=" ".join(f"{value:.2f}" for value in running), refresh=False)
        last = step + 1 == config.steps
        if last or (step + 1) % config.validate_every == 0:
            if trainer.leads:
                trainer.validate(step + 1, running)
            trainer.share_history()
        if trainer.leads and (last or time.monotonic() - saved > 60 * config.checkpoint_minutes):
            trainer.save(step + 1)
            saved = time.monotonic()
    bar.close()
    for unreadable, reason in trainer.crops.photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    if trainer.leads and trainer.history:
        plot(trainer.history, list(trainer.prior.levels), out / "curve.png")
    return trainer.history


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior.train", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="a folder a class, or zips of them")
    parser.add_argument("--tokenizer", type=Path, default=PRETRAINED, help="folder of the tokenizer; default: packaged")
    parser.add_argument("--out", type=Path, required=True, help="folder of the prior; an interrupted run resumes")
    parser.add_argument("--smoke", action="store_true", help="a run of under a minute, to see that everything works")
    add_dataclass_flags(parser, TrainConfig)
    flags = parser.parse_args(arguments)
    config = dataclass_from_flags(TrainConfig, flags, start=TRAIN_SMOKE if flags.smoke else None)
    train(config, tokenizer=flags.tokenizer, images=flags.images, out=flags.out)


if __name__ == "__main__":
    run(main)
