"""Every setting of the tokenizer, and the folder it is saved in."""

import os
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import Artifact, from_dict

FORMAT = "cst-tokenizer"
VERSION = 1
PRETRAINED = Path(__file__).parents[1] / "pretrained"
KERNEL = 3  # side of the convolutions in RenderNet's blocks that look beyond one patch


@dataclass(frozen=True)
class RenderNetConfig:
    """Sizes of the decoder: `blocks` residual blocks, `width` -> `hidden` -> `width` channels."""

    width: int = 256
    hidden: int = 1024
    blocks: int = 12

    @property
    def margin(self) -> int:
        """How many patches away, in rows and columns, a code still changes what is painted."""
        return self.blocks * (KERNEL // 2)


PRESETS = {"base": RenderNetConfig(), "tiny": RenderNetConfig(width=192, hidden=256, blocks=2)}


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Artifact):
    """A tokenizer's folder: what the files are, and what they must be paired with."""

    levels: dict[str, int]
    fingerprint: str
    patch: int = 8
    beam: int = 1
    rendernet: RenderNetConfig | None = None
    format: str = FORMAT
    version: int = VERSION

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TokenizerConfig":
        """Read and check `config.json`. Raises ValueError that says what is missing, unknown or not understood."""
        values = cls.read(folder, format=FORMAT, version=VERSION, what="tokenizer", make="python -m cst fit")
        if values.get("rendernet") is not None:
            values["rendernet"] = from_dict(RenderNetConfig, values["rendernet"])
        return from_dict(cls, values)
