"""The configuration of a learned tokenizer, as saved in its folder, and the models there are."""

import os
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import Artifact, from_dict
from cst.tokenizer.protocol import Level

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "learned"  # one folder per model
FORMAT = "cst-learned-tokenizer"
VERSION = 1


@dataclass(frozen=True)
class LearnedConfig:
    """Sizes of a learned tokenizer.

    kind: of the network, a key of `cst.learned.model.NETWORKS`. factor: side of the square of pixels that one code per
    level describes. width: channels, at the coarsest scale. layers: transformer blocks of the encoder, and as many of
    the decoder. tile: the largest side, in vectors, of a piece that is encoded at once; 0: any. codes, code_width: of
    the codebook. depth: codes per vector, each for what the ones before leave.
    groups: equal parts of a vector, each with its own codes. All depths and groups share one codebook. normalize: codes
    and vectors have unit length. ema: decay of the codebook's moving average; 0 trains it by gradients.
    """

    kind: str
    factor: int
    codes: int
    code_width: int
    width: int = 256
    layers: int = 0
    tile: int = 0
    depth: int = 1
    groups: int = 1
    normalize: bool = False
    ema: float = 0.0

    @property
    def levels(self) -> tuple[Level, ...]:
        return tuple(Level(f"code {index + 1}", self.codes) for index in range(self.depth * self.groups))


PRESETS = {
    "vq-vae-linear": LearnedConfig("linear", factor=8, codes=2048, code_width=32),
    "vq-vae": LearnedConfig("strided", factor=32, codes=512, code_width=64),
    "vq-vae-8": LearnedConfig("strided", factor=8, codes=512, code_width=64),
    "vit-vqgan": LearnedConfig("vit", factor=8, codes=8192, code_width=16, layers=4, tile=16, normalize=True),
    "rq-vae": LearnedConfig("residual", factor=8, codes=2048, code_width=64, depth=3, ema=0.99),
    "movq": LearnedConfig("modulated", factor=8, codes=256, code_width=64, groups=4),
    "tiny": LearnedConfig("residual", factor=8, codes=16, code_width=8, width=32, depth=3, ema=0.9),
}

TITLES = {
    "vq-vae-linear": "VQ-VAE of linear patches (van den Oord et al., 2017)",
    "vq-vae": "VQ-VAE (van den Oord et al., 2017)",
    "vq-vae-8": "VQ-VAE of 8x8 patches (van den Oord et al., 2017)",
    "vit-vqgan": "ViT-VQGAN (Yu et al., 2022)",
    "rq-vae": "RQ-VAE (Lee et al., 2022)",
    "movq": "MoVQ (Zheng et al., 2022)",
}


def packaged() -> list[Path]:
    """The folders of the packaged learned tokenizers."""
    return [PRETRAINED / name for name in TITLES if (PRETRAINED / name).is_dir()]


@dataclass(frozen=True, kw_only=True)
class LearnedTokenizerConfig(Artifact):
    """`config.json` of a learned tokenizer. fingerprint: of the codebook."""

    name: str
    model: LearnedConfig
    fingerprint: str = ""
    format: str = FORMAT
    version: int = VERSION

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "LearnedTokenizerConfig":
        """Read and check `config.json`. Raises ValueError that names what is missing, unknown or unreadable."""
        values = cls.read(
            folder, format=FORMAT, version=VERSION, what="learned tokenizer", make="python -m cst train-learned"
        )
        values["model"] = from_dict(LearnedConfig, values.get("model", {}))
        return from_dict(cls, values)
