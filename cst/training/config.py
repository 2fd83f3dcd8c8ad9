"""The settings of fitting the codebooks and of training RenderNet."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FitConfig:
    """Settings of K-means. color, shape, texture: numbers of codes."""

    patch: int = 8
    color: int = 512
    shape: int = 2048
    texture: int = 8192
    passes: int = 7  # each starts from the centroids of the last one, with dead codes re-seeded
    patches_per_pass: int = 2_000_000
    patches_per_photo: int = 256
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    chunk: int = 32_768
    beam: int = 4  # default number of shape codes tried per patch when encoding
    seed: int = 0


FIT_SMOKE = FitConfig(color=16, shape=32, texture=64, passes=1, patches_per_pass=20_000, chunk=4096)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the training losses; 0 disables one."""

    l1: float = 0.2
    l2: float = 10.0
    distill: float = 10.0  # squared difference to the picture of --teacher, if there is one
    adversarial: float = 0.0
    range_penalty: float = 0.1  # keeps hidden states small enough for 8 bits


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training RenderNet. batch: crops per step and process."""

    preset: str = "base"
    steps: int = 8000
    batch: int = 16
    size: int = 96  # side of a crop, pixels
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    beam_share: float = 0.5  # share of the steps that encode with the tokenizer's beam; the others are greedy
    learning_rate: float = 5e-4
    final_rate: float = 0.01  # of the learning rate, at the end of the cosine
    warmup: int = 300  # steps
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0  # largest norm of the gradient
    ema: float = 0.999
    freeze_norm: float = 0.9  # share of the steps after which BatchNorm uses its averaged statistics, as in inference
    precision: str = "auto"  # auto, bf16 or no
    validate_every: int = 500  # steps
    validate_on: int = 48  # whole held-out photos, shortest side 256 pixels
    checkpoint_minutes: float = 4.0
    seed: int = 0


TRAIN_SMOKE = TrainConfig(preset="tiny", steps=20, batch=2, size=64, warmup=5, validate_every=10, validate_on=2)


@dataclass(frozen=True)
class LearnedTrainConfig:
    """Settings of training a learned tokenizer; the weights of the losses are those of SBER-MoVQGAN."""

    steps: int = 8000
    batch: int = 16
    size: int = 128  # side of a crop, pixels
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    l2: float = 1.0  # of pixels in [-1, 1]
    perceptual: float = 0.1
    adversarial: float = 0.1
    adversarial_from: float = 0.6  # share of the steps
    quantize_from: int = 300  # step of the K-means start
    k_means_batches: int = 16
    restart_every: int = 100  # steps
    learning_rate: float = 4e-4
    final_rate: float = 0.01  # of the learning rate, at the end of the cosine
    warmup: int = 200  # steps
    max_grad_norm: float = 1.0
    ema: float = 0.999
    precision: str = "auto"  # auto, bf16 or no
    validate_every: int = 500  # steps
    validate_on: int = 48  # whole held-out photos, shortest side 256 pixels
    checkpoint_minutes: float = 4.0
    seed: int = 0


VQ_VAE_TRAIN = LearnedTrainConfig(batch=64, perceptual=0.0, adversarial=0.0)
# Three quarters of an hour each on two cores with bf16.
LEARNED_TRAIN = {
    "vq-vae-linear": replace(VQ_VAE_TRAIN, steps=18_000),
    "vq-vae": replace(VQ_VAE_TRAIN, steps=7500),
    "vq-vae-8": replace(VQ_VAE_TRAIN, steps=12_000),
    "vit-vqgan": LearnedTrainConfig(steps=3800),
    "rq-vae": LearnedTrainConfig(steps=4200),
    "movq": LearnedTrainConfig(steps=3200),
}
LEARNED_SMOKE = LearnedTrainConfig(
    steps=20, batch=2, size=64, perceptual=0.0, quantize_from=5, k_means_batches=2, restart_every=5, warmup=5,
    validate_every=10, validate_on=2,
)  # fmt: skip
