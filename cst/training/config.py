"""How the codebooks are fitted and RenderNet is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """How the codebooks are fitted."""

    patch: int = 8
    color: int = 512
    shape: int = 2048
    texture: int = 8192
    passes: int = 7  # each starts anew from the last pass's centroids, dead codes re-seeded
    patches_per_pass: int = 2_000_000
    patches_per_photo: int = 256
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    chunk: int = 32_768
    beam: int = 4  # shapes tried in encoding, by default
    seed: int = 0


FIT_SMOKE = FitConfig(color=16, shape=32, texture=64, passes=1, patches_per_pass=20_000, chunk=4096)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the training losses; 0 leaves one out. See `cst/training/losses.py`."""

    l1: float = 0.2
    l2: float = 10.0
    ms_ssim: float = 0.0
    frequency: float = 0.0
    adversarial: float = 0.0
    overflow: float = 0.1  # keeps the residual stream small enough for 8 bits


@dataclass(frozen=True)
class TrainConfig:
    """How RenderNet is trained; a step sees `batch` crops in every process."""

    preset: str = "base"
    steps: int = 8000
    batch: int = 16
    size: int = 96  # side of a crop, pixels
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    beam_share: float = 0.5  # share of the steps whose tokens are encoded with the tokenizer's beam, others greedily
    learning_rate: float = 5e-4
    final_rate: float = 0.01  # of the learning rate, at the end of the cosine
    warmup: int = 300  # steps
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999
    freeze_norm: float = 0.9  # share of the steps after which BatchNorm keeps its averaged statistics, as in use
    precision: str = "auto"  # auto, bf16 or no
    validate_every: int = 500  # steps
    validate_on: int = 48  # whole held-out photos, shortest side 256 pixels
    checkpoint_minutes: float = 4.0
    seed: int = 0


TRAIN_SMOKE = TrainConfig(preset="tiny", steps=20, batch=2, size=64, warmup=5, validate_every=10, validate_on=2)
