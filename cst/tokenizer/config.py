"""The configuration of the tokenizer, as saved in its folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import Artifact, from_dict

FORMAT = "cst-tokenizer"
VERSION = 1
PRETRAINED = Path(__file__).parents[1] / "pretrained"


@dataclass(frozen=True)
class RenderNetConfig:
    """Sizes of RenderNet: `blocks` residual blocks of `width` -> `hidden` -> `width` channels.

    kernel: side of the convolutions that mix neighboring patches. depthwise: they mix no channels.
    """

    width: int = 256
    hidden: int = 1024
    blocks: int = 12
    kernel: int = 3
    depthwise: bool = False

    @property
    def margin(self) -> int:
        """The radius of the receptive field: how many patches away, in rows and columns, a code affects the picture."""
        return self.blocks * (self.kernel // 2)


PRESETS = {
    "base": RenderNetConfig(),
    "fast": RenderNetConfig(blocks=20, kernel=5, depthwise=True),
    "tiny": RenderNetConfig(width=192, hidden=256, blocks=2),
    "tiny-fast": RenderNetConfig(width=192, hidden=256, blocks=2, kernel=5, depthwise=True),
}


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Artifact):
    """`config.json` of a tokenizer. levels: name -> number of codes. fingerprint: of the codebooks. beam: default."""

    levels: dict[str, int]
    fingerprint: str
    patch: int = 8
    beam: int = 1
    rendernet: RenderNetConfig | None = None
    format: str = FORMAT
    version: int = VERSION

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TokenizerConfig":
        """Read and check `config.json`. Raises ValueError that names what is missing, unknown or unreadable."""
        values = cls.read(folder, format=FORMAT, version=VERSION, what="tokenizer", make="python -m cst fit")
        if values.get("rendernet") is not None:
            values["rendernet"] = from_dict(RenderNetConfig, values["rendernet"])
        return from_dict(cls, values)
