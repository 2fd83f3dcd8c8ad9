"""Train a PixelCNN to write the tokens of photos, given their class; see `python -m prior train`."""

import copy
import dataclasses
import math
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from PIL import Image
from tqdm import tqdm

from cst.images import to_image
from cst.photos import Photos, find_photos, split
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.onnx_runtime import FILES, OnnxTokenizer
from cst.tokenizer.torch_runtime import TorchEncoder
from cst.training import checkpoint
from cst.training.optimization import lr_multiplier, update_ema, use_bf16
from cst.training.run_settings import check_settings
from prior.config import PRESETS, PriorConfig, TrainConfig
from prior.contact_sheet import contact_sheet
from prior.protocol import SampleRequest, Settings
from prior.sampling import sample
from prior.torch_runtime import TorchPrior, build, save_prior
from prior.training.labeled_crops import LabeledCrops, class_names
from prior.training.run_folder import begin_or_resume, check_finite
from prior.training.validation import Validation, plot

SHEET = 8  # samples drawn at a validation


class Trainer:
    """The state of a run: the network, its moving average, data, validation and checkpoint."""

    def __init__(self, config: TrainConfig, *, tokenizer: Path, images: list[str], out: Path):
        self.config, self.out = config, out
        source = TokenizerConfig.load(tokenizer)
        self.codebooks = Codebooks.of_artifact(tokenizer, source)
        patch = self.codebooks.patch
        if config.validate_every < 1:
            raise ValueError(f"validate_every {config.validate_every}; accepted: at least 1")
        if config.size < patch or config.size % patch:
            raise ValueError(f"pictures of {config.size} pixels; accepted: multiples of the patch, {patch}")
        if not 0 < config.min_crop <= 1:
            raise ValueError(f"crops of at least {config.min_crop} of a photo; accepted: above 0 and at most 1")
        training, held_out = split(find_photos(images))
        classes = class_names(training)
        model = PRESETS[config.preset]
        # Sheets are rendered by RenderNet if the tokenizer has an exported one, else drawn from centroids.
        exported = FILES["int8"] in source.files
        self.decode = OnnxTokenizer(tokenizer).decode if exported else self.codebooks.centroid_picture
        self.prior = PriorConfig(
            kind="pixelcnn",
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
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        self.processes, self.process = self.accelerator.num_processes, self.accelerator.process_index
        if config.batch < 1 or config.batch % self.processes:
            raise ValueError(
                f"a batch of {config.batch}; accepted: as many pictures for each of {self.processes} processes"
            )
        begin_or_resume(out, self.prior, write=self.is_main)
        check_settings(out / "training.json", dataclasses.asdict(config), training, write=self.is_main)
        self.encoder = TorchEncoder(self.codebooks, self.device)
        self.crops = LabeledCrops(
            Photos(training, shortest=max(config.size, 256)),
            [classes.index(entry.label) for entry in training],
            size=config.size,
            batch=config.batch,
            share=slice(self.process, None, self.processes),
            min_crop=config.min_crop,
            seed=config.seed,
        )
        self._build()
        if self.is_main:
            self.validation = Validation(
                held_out, self.prior, self.codebooks, device=self.device, cache=out / "held-out"
            )
            print(
                f"{len(training)} photos of {len(classes)} classes, {self.validation.count} held out; "
                f"{sum(p.numel() for p in self.net.parameters()) / 1e6:.1f}M parameters on {self.device}, "
                f"bf16 {bf16}, processes {self.processes}, from step {self.first}"
            )

    def _build(self) -> None:
        """Networks and optimizer, restored from the checkpoint if there is one."""
        torch.manual_seed(self.config.seed)
        self.net = build(self.prior).to(self.device)
        self.net.init_from_codebooks(self.codebooks.tables)
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
        self.model, self.optimizer = self.accelerator.prepare(self.net, optimizer)

    def is_learning(self) -> bool:
        """Whether the best validation is at most `patience` validations old."""
        totals = [sum(point["bits"]) for point in self.history]
        return not totals or len(totals) - 1 - int(np.argmin(totals)) < self.config.patience

    def step(self, step: int, crops: np.ndarray, labels: np.ndarray) -> list[float]:
        """One update from (b, 3, size, size) uint8 crops of (b,) classes -> bits per token of every level."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * lr_multiplier(step, config)
        # Dropout uses torch's own generator: seeded per step, a resumed run draws the same numbers.
        torch.manual_seed((config.seed * 1_000_003 + step) * 1024 + self.process)
        pictures = torch.from_numpy(crops).to(self.device).float() / 255
        tokens = self.encoder(pictures, beam=config.beam)
        dropped = np.random.default_rng([config.seed, step]).random(config.batch) < config.label_dropout
        label = np.where(dropped[self.crops.share], len(self.prior.classes), labels)
        self.net.train()
        with self.accelerator.autocast():
            likelihoods = self.model(tokens, torch.from_numpy(label).to(self.device))
        loss = torch.stack([-values.mean() for values in likelihoods]).sum()
        check_finite(loss.item(), step, self.state, "--learning-rate")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        update_ema(self.ema, self.net, step, config.ema)
        return [-values.mean().item() / math.log(2) for values in likelihoods]

    def validate(self, step: int, train_bits: list[float]) -> None:
        """Measure the averaged network, and save the best one so far as an artifact."""
        bits = self.validation.measure(self.ema, self.accelerator)
        if all(sum(bits) < sum(point["bits"]) for point in self.history):
            self.best.load_state_dict(self.ema.state_dict())
        self.history.append({"step": step, "bits": bits, "train": train_bits})
        levels = ", ".join(
            f"{name} {value:.3f} ({train:.3f})"
            for name, value, train in zip(self.prior.levels, bits, train_bits, strict=True)
        )
        tqdm.write(f"step {step}: {sum(bits):.3f} bits per patch held out (training): {levels}")
        save_prior(self.best, self.prior, self.out)
        self.draw_sheet().save(self.out / f"sheet-{step:06d}.png")

    def draw_sheet(self) -> Image.Image:
        """Samples of evenly spaced classes with a fixed seed: colors only, then all three levels."""
        prior = TorchPrior(self.ema, self.prior)
        every = max(1, len(prior.classes) // SHEET)
        label = np.arange(len(prior.classes))[::every][:SHEET]
        steps = sample(prior, SampleRequest.of_classes(prior, label, Settings(), self.config.seed))
        (done,) = deque(steps, maxlen=1)  # only the last step: all of them would fill the memory
        colors = [to_image(picture) for picture in self.codebooks.centroid_picture(done.tokens, levels=1)]
        pictures = [to_image(picture) for picture in self.decode(done.tokens)]
        names = ", ".join(prior.classes[index] for index in label)
        return contact_sheet([("", colors), ("", pictures)], caption=names)

    def share_history(self) -> None:
        """Share the history with every process after a validation, so that all stop together."""
        together = [self.history]
        if self.processes > 1:
            broadcast_object_list(together)
        self.history = together[0]

    def save(self, step: int) -> None:
        progress = {"step": step, "history": self.history}
        checkpoint.save(self.state, modules=self.modules, optimizers=self.optimizers, progress=progress)


def smooth(running: list[float] | None, bits: list[float]) -> list[float]:
    """A moving average of the training bits."""
    return bits if running is None else [0.98 * old + 0.02 * new for old, new in zip(running, bits, strict=True)]


def train(trainer: Trainer) -> list[dict]:
    """Train to `out`, resuming what is there; returns the history of validations."""
    config, out = trainer.config, trainer.out
    saved, running = time.monotonic(), None
    bar = tqdm(total=config.steps, initial=trainer.first, disable=not trainer.is_main, unit="step", mininterval=5)
    for step, (crops, labels) in enumerate(trainer.crops.ahead(trainer.first, config.steps), trainer.first):
        if not trainer.is_learning():
            if trainer.is_main:
                tqdm.write(f"no gain in {config.patience} validations: stopping at step {step}")
                trainer.save(step)
            break
        bits = trainer.step(step, crops, labels)
        running = smooth(running, bits)
        bar.update()
        bar.set_postfix(bits=" ".join(f"{value:.2f}" for value in running), refresh=False)
        last = step + 1 == config.steps
        if last or (step + 1) % config.validate_every == 0:
            if trainer.is_main:
                trainer.validate(step + 1, running)
            trainer.share_history()
        if trainer.is_main and (last or time.monotonic() - saved > 60 * config.checkpoint_minutes):
            trainer.save(step + 1)
            saved = time.monotonic()
    bar.close()
    for unreadable, reason in trainer.crops.photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    if trainer.is_main and trainer.history:
        plot(trainer.history, list(trainer.prior.levels), out / "curve.png")
    return trainer.history
