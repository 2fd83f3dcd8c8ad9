"""What a visitor painted: the color of each patch, and which patches are painted. No Gradio here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from space.uploads import read_photo

CANVAS_SIZE = 512  # pixels per side
MIN_COVERAGE = 0.25  # fraction of a patch that must be covered for it to count as painted


@dataclass(frozen=True)
class Painting:
    """The files that a canvas sends: the background, each layer of strokes, and all of them flattened into one."""

    background: str | None = None
    layers: tuple[str, ...] = ()
    composite: str | None = None

    @property
    def stack(self) -> tuple[str, ...]:
        """The files that make up the picture, bottom to top."""
        if self.composite is not None:
            return (self.composite,)
        return (*([self.background] if self.background is not None else []), *self.layers)


@dataclass(frozen=True)
class Cells:
    """colors: (h, w, 3) float32 in [0, 1], the mean color of each patch's paint. painted: (h, w) bool."""

    colors: np.ndarray
    painted: np.ndarray


def read_cells(files: Sequence[str], grid: tuple[int, int]) -> Cells:
    """Square pictures, bottom to top -> what they paint on a grid of (h, w) patches.

    Raises ValueError, with the name of the file but not its folder, for a file that is not a square picture.
    """
    canvas = flatten(files)
    patches = np.asarray(canvas.resize(grid[::-1], Image.Resampling.BOX), np.float32) / 255  # (h, w, 4)
    return Cells(patches[..., :3], patches[..., 3] >= MIN_COVERAGE)


def flatten(files: Sequence[str]) -> Image.Image:
    """Square pictures, bottom to top -> one RGBA picture of the canvas's size. Raises ValueError as `read_cells`."""
    canvas = Image.new("RGBA", (CANVAS_SIZE, CANVAS_SIZE))
    for file in files:
        canvas.alpha_composite(read_layer(file))
    return canvas


def read_layer(file: str) -> Image.Image:
    """A square picture file -> RGBA of the canvas's size. Raises ValueError, without the folder of the file."""
    opaque = read_photo(file, CANVAS_SIZE)  # raises for an unreadable file
    with Image.open(file) as image:
        if image.width != image.height:
            raise ValueError(
                f"'{Path(file).name}' has {image.width} x {image.height} pixels; accepted: a square canvas"
            )
        transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        layer = image.convert("RGBA") if transparent else opaque.convert("RGBA")
    return layer.resize((CANVAS_SIZE, CANVAS_SIZE), Image.Resampling.BOX)
