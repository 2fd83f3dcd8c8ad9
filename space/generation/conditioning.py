"""What a model must keep or follow: the colors of a sketch, a photo with a hole, a photo without its colors."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cst.images import center_crop
from cst.tokenizer.codebooks import Codebooks
from prior.sampler import Sampler
from space.generation.color_bias import keeping_lightness, toward_painted
from space.widgets.painting import Cells

PICTURE_SIZE = 256  # pixels per side of the pictures that show the condition
STRIPES = (17, 94, 89)  # the accent, over what is redrawn
AREAS = {  # of a photo: its rows and columns, in quarters
    "top half": (0, 2, 0, 4),
    "bottom half": (2, 4, 0, 4),
    "left half": (0, 4, 0, 2),
    "right half": (0, 4, 2, 4),
    "middle": (1, 3, 1, 3),
}


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What is fixed or preferred before sampling; see `Sampler.sample` for all fields except `pictures`.

    pictures: (caption, picture) of the condition, shown above the results.
    """

    known: np.ndarray | None = None
    mask: np.ndarray | None = None
    sketch: np.ndarray | None = None
    color_bias: np.ndarray | None = None
    pictures: tuple[tuple[str, Image.Image], ...] = ()


def of_sketch(sampler: Sampler, cells: Cells, closely: str) -> Conditioning:
    """Condition on painted colors: as fixed codes ("exactly") or as a logit bias ("loosely").

    Raises ValueError for an empty sketch, or another word.
    """
    if closely not in ("exactly", "loosely"):
        raise ValueError(f"'{closely}'; accepted: exactly, loosely")
    if not cells.painted.any():
        raise ValueError("nothing is painted yet; paint some colors on the canvas, or click an example sketch")
    codebooks = sampler.tokenizer.codebooks
    codes = nearest_colors(codebooks, cells.colors)
    picture = color_picture(codebooks, codes)
    picture.putalpha(Image.fromarray(cells.painted).convert("L").resize(picture.size, Image.Resampling.NEAREST))
    pictures = (("your colors, each the nearest code", picture),)
    if closely == "loosely":
        bias = toward_painted(codebooks.color, cells.colors, cells.painted)
        return Conditioning(color_bias=bias, pictures=pictures)
    return Conditioning(sketch=np.where(cells.painted, codes, -1), pictures=pictures)


def with_hole(sampler: Sampler, photo: Image.Image, hole: np.ndarray) -> Conditioning:
    """Keep a photo's codes except where `hole`, (h, w) bool, is True. Raises ValueError for an empty hole."""
    if not hole.any():
        raise ValueError("nothing is brushed; brush over what to redraw, or choose a part of the photo")
    known = sampler.encode(photo)
    mask = np.repeat(~hole[None], len(known), 0)
    picture = striped(center_crop(photo, PICTURE_SIZE), hole)
    return Conditioning(known, mask, pictures=(("striped: redrawn", picture),))


def for_colors(sampler: Sampler, photo: Image.Image, distance: float) -> Conditioning:
    """Keep a photo's shapes and textures, with a bias toward its lightness; see `keeping_lightness`."""
    known = sampler.encode(photo)
    mask = np.ones(known.shape, bool)
    mask[0] = False
    bias = keeping_lightness(sampler.tokenizer.codebooks.color, known[0], distance)
    return Conditioning(known, mask, color_bias=bias, pictures=(("the photo", center_crop(photo, PICTURE_SIZE)),))


def nearest_colors(codebooks: Codebooks, colors: np.ndarray) -> np.ndarray:
    """(h, w, 3) float32 in [0, 1] -> (h, w) int32: the nearest color codes."""
    patches = colors.transpose(2, 0, 1).repeat(codebooks.patch, 1).repeat(codebooks.patch, 2)  # (3, H, W)
    return codebooks.encode(patches[None])[0, 0]


def color_picture(codebooks: Codebooks, codes: np.ndarray) -> Image.Image:
    """(h, w) color codes -> their picture, one square per patch."""
    colors = np.round(np.clip(codebooks.color[codes], 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(colors).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.NEAREST)


def area(name: str, grid: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: where a part of `AREAS` lies on a grid of (h, w) patches. Raises ValueError for another name."""
    if name not in AREAS:
        raise ValueError(f"no part '{name}'; accepted: {', '.join(AREAS)}")
    top, bottom, left, right = AREAS[name]
    h, w = grid
    inside = np.zeros(grid, bool)
    inside[top * h // 4 : bottom * h // 4, left * w // 4 : right * w // 4] = True
    return inside


def striped(photo: Image.Image, hole: np.ndarray) -> Image.Image:
    """A square photo with stripes over the patches where `hole`, (h, w) bool, is True."""
    covered = np.asarray(Image.fromarray(hole).resize(photo.size, Image.Resampling.NEAREST))[..., None]
    x, y = np.meshgrid(np.arange(photo.width), np.arange(photo.height))
    is_stripe = ((x + y) // 6 % 2 == 0)[..., None]
    pixels = np.asarray(photo)
    faded = (pixels * 0.35 + 255 * 0.65).astype(np.uint8)
    return Image.fromarray(np.where(covered, np.where(is_stripe, STRIPES, faded), pixels).astype(np.uint8))
