"""Train the parts of a GPT, each on its own; see `python -m prior train`."""

import copy
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from tqdm import tqdm

from cst.photos import Photos, find_photos, split
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.torch_runtime import TorchEncoder
from cst.training import checkpoint
from cst.training.muon import Muon
from cst.training.optimization import update_ema, use_bf16
from cst.training.run_settings import check_settings
from prior.config import (
    CELLS,
    COARSE,
    CODEBOOKS,
    CONTEXTS,
    FULL,
    HALF,
    LAYOUT,
    LEVEL_OF,
    PRESETS,
    GPTConfig,
    GPTTrainConfig,
    PriorConfig,
    weights_file,
)
from prior.models.color_maps import color_maps, near_codes, nearest_color
from prior.models.gpt import GPT
from prior.torch_runtime import finish, save_weights
from prior.training.augmented_crops import AugmentedCrops
from prior.training.labeled_crops import class_names
from prior.training.run_folder import begin_or_resume, check_finite
from prior.training.token_cache import TokenSet


def lr_multiplier(step: int, config: GPTTrainConfig) -> float:
    """Linear warm-up, a constant rate, then a linear fall to zero."""
    left = (config.steps - step) / max(1, config.steps * config.decay_share)
    return min(1.0, (step + 1) / max(1, config.warmup), left)


class Trainer:
    """The state of a run: one part of the network, its moving average, data, validation and checkpoint."""

    def __init__(
        self, name: str, config: GPTTrainConfig, *, preset: str, tokenizer: Path, images: list[str], out: Path
    ):
        self.name, self.config, self.out = name, config, out
        source = TokenizerConfig.load(tokenizer)
        self.codebooks = Codebooks.of_artifact(tokenizer, source)
        side = config.size // self.codebooks.patch
        if config.size < 1 or config.size % (self.codebooks.patch * CELLS[LAYOUT[0]]):
            multiple = self.codebooks.patch * CELLS[LAYOUT[0]]
            raise ValueError(f"pictures of {config.size} pixels; accepted: multiples of {multiple}")
        for setting in ("batch", "validate_on", "validate_every"):
            if getattr(config, setting) < 1:
                raise ValueError(f"{setting} {getattr(config, setting)}; accepted: at least 1")
        if not 0 < config.min_crop <= 1:
            raise ValueError(f"crops of at least {config.min_crop} of a photo; accepted: above 0 and at most 1")
        if not 0 < config.loss_share <= 1:
            raise ValueError(
                f"a share of {config.loss_share} of the tokens in the loss; accepted: above 0 and at most 1"
            )
        training, held_out = split(find_photos(images))
        classes = class_names(training)
        model = PRESETS[preset]
        assert isinstance(model, GPTConfig)
        self.prior = PriorConfig(
            kind="gpt",
            model=model,
            levels={level.name: level.size for level in self.codebooks.levels},
            fingerprint=source.fingerprint,
            patch=self.codebooks.patch,
            beam=1,
            grid=(side, side),
            classes=classes,
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bf16 = use_bf16(config.precision, device)
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.accelerator = Accelerator(cpu=device.type == "cpu")
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        begin_or_resume(out, self.prior, write=self.is_main)
        check_settings(out / f"training-{name}.json", dataclasses.asdict(config), training, write=self.is_main)
        self.encoder = TorchEncoder(self.codebooks, self.device)
        self.colors_only = name in ("layout", COARSE[-1])
        self.half_only = name in HALF[1:]
        self.crops = AugmentedCrops(
            Photos(training, shortest=config.size, memory_gib=8),
            [classes.index(entry.label) for entry in training],
            size=side if self.colors_only else config.size // 2 if self.half_only else config.size,
            batch=config.batch,
            min_crop=config.min_crop,
            full=config.size,
            color_jitter=config.color_jitter,
            seed=config.seed + 7919 * self.accelerator.process_index,
            turned=name in ("layout", *HALF),
            coarse=self.colors_only,
        )
        self.near = {level: near_codes(self.encoder.tables[level]) for level in (0, 1, 2)}
        self._build()
        if self.is_main:
            self.codebooks.save(out / CODEBOOKS)
            half = dataclasses.replace(self.prior, grid=(side // 2, side // 2))
            sets = [
                TokenSet.of(held_out, prior, self.codebooks, cache=out / f"held-out-{prior.grid[0]}")
                for prior in (half, self.prior)
            ]
            some = slice(config.validate_on)
            self.held_out_half, self.held_out, self.held_out_labels = (
                torch.from_numpy(array[some].astype(np.int64)).to(self.device)
                for array in (sets[0].tokens, sets[1].tokens, sets[1].labels)
            )
            print(
                f"{name}: {len(training)} photos of {len(classes)} classes, measured on {len(self.held_out)} of "
                f"{len(sets[1])} held out; "
                f"{sum(p.numel() for p in self.part.parameters()) / 1e6:.1f}M parameters on {self.device}, "
                f"bf16 {bf16}, from step {self.first}",
                flush=True,
            )

    def _build(self) -> None:
        """Network, average and optimizers, restored from the checkpoint if there is one."""
        torch.manual_seed(self.config.seed)
        assert isinstance(self.prior.model, GPTConfig)
        self.net = GPT(
            self.prior.model, self.prior.vocabulary, self.prior.patch, self.prior.grid, len(self.prior.classes)
        )
        self.net.init_from_codebooks(self.codebooks.tables)
        self.net.to(self.device)
        for name, part in self.net.parts.items():
            part.requires_grad_(name == self.name)
        self.part = self.net.parts[self.name]
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval()
        matrices = [
            parameter
            for name, parameter in self.part.named_parameters()
            if (parameter.ndim == 2 and "blocks" in name) or "own" in name or "context_mix" in name
        ]
        chosen = {id(parameter) for parameter in matrices}
        rest = [parameter for parameter in self.part.parameters() if id(parameter) not in chosen]
        muon = Muon(matrices, self.config.muon_learning_rate, weight_decay=self.config.weight_decay, dtype=self.dtype)
        adamw = torch.optim.AdamW(rest, self.config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.rates = [(muon, self.config.muon_learning_rate), (adamw, self.config.learning_rate)]
        self.modules = {"net": self.part, "ema": self.ema.parts[self.name]}
        self.optimizers = {"muon": muon, "adamw": adamw}
        self.state, self.history, self.first = self.out / f"state-{self.name}.safetensors", [], 0
        if self.state.exists():
            progress = checkpoint.load(self.state, modules=self.modules, optimizers=self.optimizers)
            self.history, self.first = progress["history"], progress["step"]
        if self.config.compile:
            self.part.compile(dynamic=False)
        self.model = self.accelerator.prepare(self.net)

    def maps(self, pictures: np.ndarray) -> dict[str, torch.Tensor]:
        """(B, 3, S, S) uint8 crops -> the token maps that this part needs."""
        values = torch.from_numpy(pictures).to(self.device).float() / 255
        if self.colors_only:
            return color_maps(nearest_color(values.movedim(1, -1), self.encoder.tables[0]), self.encoder.tables[0])
        if self.half_only:
            return self.split(self.encoder(values))
        return self.split(self.encoder(F.avg_pool2d(values, 2)), self.encoder(values))

    def split(self, half: torch.Tensor, tokens: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """The tokens of pictures at half their size, and at their full size if they are needed -> every map."""
        coarse = color_maps(half[:, 0], self.encoder.tables[0], finest=HALF[0])
        maps = {**coarse, **dict(zip(HALF[1:], half[:, 1:].unbind(1), strict=True))}
        if tokens is not None:
            maps |= dict(zip(FULL, tokens.unbind(1), strict=True))
        return maps

    def disturb(self, maps: dict[str, torch.Tensor], rng: np.random.Generator) -> tuple[dict, torch.Tensor]:
        """Replace a share of the context's codes by similar ones; returns the maps, and (B,) that share."""
        batch = len(next(iter(maps.values())))
        if self.name not in CONTEXTS:
            return maps, torch.zeros(batch, device=self.device)
        share = torch.from_numpy(rng.uniform(0, self.config.noise, batch) * (rng.random(batch) < 0.5)).float()
        share = share.to(self.device)
        disturbed = {}
        for name, _ in CONTEXTS[self.name]:
            codes, near = maps[name], self.near[LEVEL_OF[name]]
            other = near[codes, torch.randint(near.shape[1], codes.shape, device=codes.device)]
            disturbed[name] = torch.where(
                torch.rand(codes.shape, device=codes.device) < share[:, None, None], other, codes
            )
        return {**maps, **disturbed}, share

    def step(self, step: int, pictures: np.ndarray, labels: np.ndarray, augmentation: np.ndarray) -> float:
        """One update -> bits per token."""
        config = self.config
        for optimizer, rate in self.rates:
            for group in optimizer.param_groups:
                group["lr"] = rate * lr_multiplier(step, config)
        # Dropout and noise use torch's own generator: seeded per step, a resumed run draws the same numbers.
        rng = np.random.default_rng([config.seed, step, self.accelerator.process_index])
        torch.manual_seed(int(rng.integers(2**62)))
        maps = self.maps(pictures)
        context_maps, share = self.disturb(maps, rng)
        described = torch.from_numpy(augmentation).to(self.device)
        described[:, 10] = share
        label = torch.from_numpy(
            np.where(rng.random(len(labels)) < config.label_dropout, len(self.prior.classes), labels)
        )
        places = None
        if config.loss_share < 1 and self.name in CONTEXTS:
            tokens = maps[self.name].numel()
            places = torch.randperm(tokens, device=self.device)[: round(tokens * config.loss_share)]
        self.net.train()
        scores = self.model(
            self.name,
            maps,
            label.to(self.device),
            described,
            context_maps=context_maps,
            places=places,
            dtype=self.dtype,
        )
        loss = -scores.mean()
        value = loss.item()
        check_finite(value, step, self.state, "--muon-learning-rate")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.part.parameters(), config.max_grad_norm)
        for optimizer, _ in self.rates:
            optimizer.step()
            optimizer.zero_grad()
        update_ema(self.ema.parts[self.name], self.part, step, config.ema)
        return value / math.log(2)

    @torch.no_grad()
    def validate(self, step: int, training: float) -> None:
        """Measure the averaged network on held-out photos, and save it."""
        total, count = 0.0, 0
        for start in range(0, len(self.held_out), 16):
            part = slice(start, start + 16)
            scores = self.ema(
                self.name,
                self.split(self.held_out_half[part], self.held_out[part]),
                self.held_out_labels[part],
                dtype=self.dtype,
            )
            total, count = total - scores.sum().item(), count + scores.numel()
        bits = total / math.log(2) / count
        self.history.append({"step": step, "bits": bits, "train": training})
        tqdm.write(f"{self.name} step {step}: {bits:.4f} bits per token held out, {training:.4f} in training")
        save_weights(self.modules["ema"], self.out / weights_file(self.name))

    def save(self, step: int, path: Path | None = None) -> None:
        progress = {"step": step, "history": self.history}
        checkpoint.save(path or self.state, modules=self.modules, optimizers=self.optimizers, progress=progress)


def train(trainer: Trainer) -> list[dict]:
    """Train one part, resuming what is there; returns the history of validations."""
    name, config, out = trainer.name, trainer.config, trainer.out
    saved, running = time.monotonic(), None
    bar = tqdm(total=config.steps, initial=trainer.first, disable=not trainer.is_main, unit="step", mininterval=5)
    for step, batch in enumerate(trainer.crops.ahead(trainer.first, config.steps), trainer.first):
        bits = trainer.step(step, *batch)
        running = bits if running is None else 0.98 * running + 0.02 * bits
        bar.update()
        bar.set_postfix(bits=f"{running:.3f}", refresh=False)
        last = step + 1 == config.steps
        if trainer.is_main and (last or (step + 1) % config.validate_every == 0):
            trainer.validate(step + 1, running)
        if trainer.is_main and step + 1 == round(config.steps * (1 - config.decay_share)):
            # The rates fall from here on. To train longer, copy this file over the state and give more --steps.
            trainer.save(step + 1, out / f"constant-{name}.safetensors")
        if trainer.is_main and (last or time.monotonic() - saved > 60 * config.checkpoint_minutes):
            trainer.save(step + 1)
            saved = time.monotonic()
    bar.close()
    for unreadable, reason in trainer.crops.photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    if trainer.is_main:
        finish(trainer.prior, out)
    return trainer.history
