"""Every setting of the priors, and the folder of a saved one."""

import os
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import Artifact, from_dict
from cst.tokenizer.protocol import Level

FORMAT = "cst-prior"
VERSION = 1
PRETRAINED = Path(__file__).parent / "pretrained"  # one folder per prior: gpt, pixelcnn
CODEBOOKS = "codebooks.safetensors"  # in a GPT's folder: those of the tokenizer, which define its coarser maps


# The GPT's maps, coarse to fine: colors of smaller and smaller cells, then the tokens of the picture at half its size,
# then those at its full size.
CELLS = {  # patches on each side of a cell
    "color_eighth": 8, "color_quarter": 4, "color_half": 2, "shape_half": 2, "texture_half": 2,
}  # fmt: skip
COARSE = ("color_eighth", "color_quarter", "color_half")  # the color maps before the last
HALF = ("color_half", "shape_half", "texture_half")  # the tokens of the picture at half its size
FULL = ("color", "shape", "texture")
LAYOUT = COARSE[:2]  # the maps that are written as one sequence
LEVEL_OF = {  # the codebook of each map
    **dict.fromkeys((*COARSE, "color"), 0), **dict.fromkeys(("shape_half", "shape"), 1),
    **dict.fromkeys(("texture_half", "texture"), 2),
}  # fmt: skip
# The coarser maps that each finer map is conditioned on, and how many times finer its own grid is.
CONTEXTS: dict[str, tuple[tuple[str, int], ...]] = {
    "color_half": (("color_quarter", 2), ("color_eighth", 4)),
    "shape_half": (("color_half", 1), ("color_quarter", 2)),
    "texture_half": (("shape_half", 1), ("color_half", 1)),
    "color": (("color_half", 2), ("shape_half", 2), ("texture_half", 2)),
    "shape": (("color", 1), ("shape_half", 2), ("texture_half", 2)),
    "texture": (("shape", 1), ("color", 1), ("texture_half", 2)),
}
PARTS = ("layout", *CONTEXTS)


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of the GPT: a transformer for the two coarsest color maps, and one for each finer map.

    layers, heads: the blocks of each part, in the order of `PARTS`, and the attention heads in them.
    """

    width: int = 256
    hidden: int = 704  # of the gated feed-forward layers
    layers: tuple[int, ...] = (8, 8, 4, 4, 2, 4, 4)
    heads: tuple[int, ...] = (2, 4, 4, 4, 2, 4, 4)
    embedding: int = 64  # width of one token in the windows
    window: int = 7  # side of the window on the map being written, up and left; also of its attention
    context: int = 5  # side of the windows on coarser maps and levels
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError unless every part has its layers and heads."""
        for name in ("layers", "heads"):
            if len(getattr(self, name)) != len(PARTS):
                accepted = f"{len(PARTS)} numbers, for {', '.join(PARTS)}"
                raise ValueError(f"{name} {getattr(self, name)} of a GPT; accepted: {accepted}")

    def layers_of(self, part: str) -> int:
        """The number of blocks of a part."""
        return self.layers[PARTS.index(part)]

    def heads_of(self, part: str) -> int:
        """The number of attention heads in each block of a part."""
        return self.heads[PARTS.index(part)]


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of the PixelCNN; `gated` as van den Oord et al. (2016b), else the simple masked variant of (2016a)."""

    width: int = 160
    blocks: int = 8
    kernel: int = 5  # of the blocks; the first layer is 7x7
    gated: bool = True
    dropout: float = 0.1


ModelConfig = GPTConfig | PixelCNNConfig
KINDS: dict[str, type[GPTConfig] | type[PixelCNNConfig]] = {"gpt": GPTConfig, "pixelcnn": PixelCNNConfig}
PRESETS: dict[str, ModelConfig] = {
    "tiny": GPTConfig(width=32, hidden=64, layers=(1,) * 7, heads=(2,) * 7, embedding=16, window=5, context=3),
    "small": GPTConfig(),
    "base": GPTConfig(width=384, hidden=1024, heads=(3, 3, 6, 6, 3, 6, 6)),
    "large": GPTConfig(width=768, hidden=2048, layers=(12, 10, 10, 10, 5, 8, 8), heads=(6, 6, 12, 12, 6, 12, 12)),
    "pixelcnn-tiny": PixelCNNConfig(width=32, blocks=2, kernel=3, dropout=0.0),
    "pixelcnn": PixelCNNConfig(),
    "pixelcnn-simple": PixelCNNConfig(width=120, blocks=8, kernel=3, gated=False, dropout=0.0),
}


@dataclass(frozen=True)
class TrainConfig:
    """How a PixelCNN is trained; `batch` is the number of pictures per step, over all processes."""

    preset: str = "pixelcnn"
    size: int = 128  # side of a picture, pixels
    steps: int = 2600
    batch: int = 24
    beam: int = 1  # shapes tried in encoding; greedy tokens are the most predictable
    min_crop: float = 0.6  # smallest side of a crop, as a share of the photo's shorter side
    label_dropout: float = 0.1  # share of the pictures shown without their class
    learning_rate: float = 1.2e-3
    final_rate: float = 0.02  # of the learning rate, at the end of the cosine
    warmup: int = 200  # steps
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0  # largest norm of the gradient
    ema: float = 0.998
    precision: str = "auto"  # auto, bf16 or no
    validate_every: int = 250  # steps
    patience: int = 4  # validations without a gain, after which training stops
    checkpoint_minutes: float = 4.0
    seed: int = 0


TRAIN_SMOKE = TrainConfig(
    preset="pixelcnn-tiny", size=64, steps=20, batch=4, warmup=5, validate_every=10, learning_rate=3e-3, ema=0.9
)


@dataclass(frozen=True)
class GPTTrainConfig:
    """How one part of a GPT is trained; `batch` is the number of pictures per step and process."""

    size: int = 256  # side of a picture, pixels
    steps: int = 1000
    batch: int = 8
    min_crop: float = 0.5  # smallest side of a crop, as a share of the photo's shorter side
    color_jitter: float = 0.05  # largest relative change of each color channel
    label_dropout: float = 0.1  # share of the pictures shown without their class
    noise: float = 0.2  # largest share of the context codes replaced by similar ones, in half of the pictures
    learning_rate: float = 3e-3  # of embeddings, heads and scalars, by AdamW
    muon_learning_rate: float = 4e-3  # of the matrices
    weight_decay: float = 1.0
    warmup: int = 50  # steps
    decay_share: float = 0.4  # of the steps, at the end, over which the rates fall linearly to zero
    max_grad_norm: float = 1.0  # largest norm of the gradient
    ema: float = 0.998
    loss_share: float = 1.0  # share of the tokens that the loss is computed for
    precision: str = "auto"  # auto, bf16 or no
    compile: bool = False  # by torch.compile: 1.36x the steps on two cores, after a minute; needs a C++ compiler
    validate_on: int = 128  # held-out photos
    validate_every: int = 200  # steps
    checkpoint_minutes: float = 3.0
    seed: int = 0


# The settings of each part of a GPT.
GPT_PARTS: dict[str, GPTTrainConfig] = {
    "layout": GPTTrainConfig(steps=3600, batch=64),
    "color_half": GPTTrainConfig(steps=3200, batch=32),
    "shape_half": GPTTrainConfig(steps=1600, batch=32),
    "texture_half": GPTTrainConfig(steps=1600, batch=32, loss_share=0.5),
    "color": GPTTrainConfig(steps=900, batch=8, min_crop=0.75),
    "shape": GPTTrainConfig(steps=1600, batch=8, min_crop=0.75),
    "texture": GPTTrainConfig(steps=1000, batch=8, min_crop=0.75, loss_share=0.5),
}


def smoke_part(name: str) -> GPTTrainConfig:
    """A run of a few seconds."""
    loss_share = GPT_PARTS[name].loss_share
    return GPTTrainConfig(size=64, steps=6, batch=2, warmup=2, validate_every=3, ema=0.9, loss_share=loss_share)


@dataclass(frozen=True, kw_only=True)
class PriorConfig(Artifact):
    """A prior's folder: the network's sizes, and the tokenizer whose tokens it writes."""

    kind: str  # gpt or pixelcnn
    model: ModelConfig
    levels: dict[str, int]
    fingerprint: str  # of the tokenizer
    patch: int
    beam: int  # with which its training photos were encoded
    grid: tuple[int, int]  # (h, w)
    classes: tuple[str, ...]
    format: str = FORMAT
    version: int = VERSION

    @property
    def weights(self) -> tuple[str, ...]:
        """The files of the network's weights: one per part of a GPT, else one."""
        return tuple(map(weights_file, PARTS)) if isinstance(self.model, GPTConfig) else (weights_file("model"),)

    @property
    def vocabulary(self) -> tuple[Level, ...]:
        return tuple(Level(name, size) for name, size in self.levels.items())

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "PriorConfig":
        """Read and check `config.json`. Raises ValueError that says what is missing, unknown or not understood."""
        values = cls.read(folder, format=FORMAT, version=VERSION, what="prior", make="python -m prior train")
        if values.get("kind") not in KINDS:
            raise ValueError(f"'{folder}' is a prior of kind {values.get('kind')!r}; accepted: {', '.join(KINDS)}")
        values["model"] = from_dict(KINDS[values["kind"]], values.get("model", {}))
        return from_dict(cls, values)

    def check_tokenizer(self, fingerprint: str) -> None:
        """Raise ValueError unless the tokenizer is the one whose tokens this prior writes."""
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"this prior was trained on the tokenizer {self.fingerprint}, not on {fingerprint}; "
                "take the tokenizer it was trained with, or train a prior for this one with python -m prior train"
            )


def weights_file(part: str) -> str:
    """The file of a part's weights, float16."""
    return f"{part}.safetensors"


def kind_of(model: ModelConfig) -> str:
    return next(kind for kind, cls in KINDS.items() if isinstance(model, cls))
