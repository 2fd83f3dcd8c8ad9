"""What a visitor has painted, patch by patch: its color, and how much of the patch is covered. No Gradio here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from space.uploads import read_photo

SIDE = 512  # of the canvas, pixels
COVERED = 0.25  # share of a patch from which on it counts as painted


@dataclass(frozen=True)
class Painting:
    """The files that a canvas sends: what lies below the strokes, each layer of strokes, and all of it in one."""

    background: str | None = None
    layers: tuple[str, ...] = ()
    composite: str | None = None

    @property
    def whole(self) -> tuple[str, ...]:
        """The files that lie one over another in the whole picture, the lowest first."""
        if self.composite is not None:
            return (self.composite,)
        return (*([self.background] if self.background is not None else []), *self.layers)


@dataclass(frozen=True)
class Cells:
    """colors: (h, w, 3) float32 in [0, 1], the mean of what is painted. painted: (h, w) bool."""

    colors: np.ndarray
    painted: np.ndarray


def read_cells(files: Sequence[str], grid: tuple[int, int]) -> Cells:
    """Square pictures one over another, the lowest first -> what they paint on a grid of (h, w) patches.

    Raises ValueError, naming the file alone, for one that is not a square picture.
    """
    whole = Image.new("RGBA", (SIDE, SIDE))
    for file in files:
        whole.alpha_composite(read_layer(file))
    small = np.asarray(whole.resize(grid[::-1], Image.Resampling.BOX), np.float32) / 255  # (h, w, 4)
    return Cells(small[..., :3], small[..., 3] >= COVERED)


def read_layer(file: str) -> Image.Image:
    """A square picture file -> RGBA of the canvas's size. Raises ValueError, naming the file alone."""
    opaque = read_photo(file, SIDE)  # says in words what is wrong with it
    with Image.open(file) as image:
        if image.width != image.height:
            raise ValueError(
                f"'{Path(file).name}' has {image.width} x {image.height} pixels; accepted: a square canvas"
            )
        clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        layer = image.convert("RGBA") if clear else opaque.convert("RGBA")
    return layer.resize((SIDE, SIDE), Image.Resampling.BOX)
