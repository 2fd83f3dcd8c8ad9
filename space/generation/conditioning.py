"""What the model is given before it draws: the colors of a sketch, a photo with a hole, a photo without a level."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cst.images import middle
from cst.tokenizer.codebooks import Codebooks
from prior.sampler import Sampler
from space.generation.color_bias import keeping_lightness, toward
from space.widgets.painting import Cells

SIDE = 256  # of the pictures that show what is given, pixels
HATCH = (17, 94, 89)  # the accent, for what is drawn anew
AREAS = {  # of a photo: its rows and columns, in quarters
    "top half": (0, 2, 0, 4),
    "bottom half": (2, 4, 0, 4),
    "left half": (0, 4, 0, 2),
    "right half": (0, 4, 2, 4),
    "middle": (1, 3, 1, 3),
}


@dataclass(frozen=True, eq=False)
class Given:
    """What is there before anything is drawn; see `Sampler.sample` for all but `pictures`.

    pictures: (caption, picture) of it, to be shown beside what is drawn.
    """

    known: np.ndarray | None = None
    mask: np.ndarray | None = None
    sketch: np.ndarray | None = None
    color_bias: np.ndarray | None = None
    pictures: tuple[tuple[str, Image.Image], ...] = ()


def of_sketch(sampler: Sampler, cells: Cells, closely: str) -> Given:
    """Condition on painted colors: as fixed codes ("exactly") or as a logit bias ("loosely").

    Raises ValueError for an empty sketch, or another word.
    """
    if closely not in ("exactly", "loosely"):
        raise ValueError(f"'{closely}'; accepted: exactly, loosely")
    if not cells.painted.any():
        raise ValueError("nothing is painted yet; paint some colors on the canvas, or press an example sketch")
    books = sampler.tokenizer.codebooks
    codes = snap(books, cells.colors)
    snapped = flat(books, codes)
    snapped.putalpha(Image.fromarray(cells.painted).convert("L").resize(snapped.size, Image.Resampling.NEAREST))
    pictures = (("your colors, each the nearest code", snapped),)
    if closely == "loosely":
        return Given(color_bias=toward(books.color, cells.colors, cells.painted), pictures=pictures)
    return Given(sketch=np.where(cells.painted, codes, -1), pictures=pictures)


def with_hole(sampler: Sampler, photo: Image.Image, hole: np.ndarray) -> Given:
    """A photo's own codes, but where `hole`, (h, w) bool, is True. Raises ValueError where it is nowhere."""
    if not hole.any():
        raise ValueError("nothing is brushed; brush over what is to be drawn anew, or choose a half of the photo")
    known = sampler.encode(photo)
    mask = np.repeat(~hole[None], len(known), 0)
    return Given(known, mask, pictures=(("striped: drawn anew", hatched(middle(photo, SIDE), hole)),))


def for_colors(sampler: Sampler, photo: Image.Image, far: float) -> Given:
    """A photo's shapes and textures, and a bias toward its lightness; see `keeping_lightness` for `far`."""
    known = sampler.encode(photo)
    mask = np.ones(known.shape, bool)
    mask[0] = False
    bias = keeping_lightness(sampler.tokenizer.codebooks.color, known[0], far)
    return Given(known, mask, color_bias=bias, pictures=(("the photo", middle(photo, SIDE)),))


def for_textures(sampler: Sampler, photo: Image.Image, anew: str) -> Given:
    """A photo's colors, and its shapes where only "textures" are drawn anew and not "shapes and textures"."""
    if anew not in ("textures", "shapes and textures"):
        raise ValueError(f"'{anew}'; accepted: textures, shapes and textures")
    known = sampler.encode(photo)
    mask = np.zeros(known.shape, bool)
    mask[0], mask[1] = True, anew == "textures"
    return Given(known, mask, pictures=(("the photo", middle(photo, SIDE)),))


def snap(books: Codebooks, colors: np.ndarray) -> np.ndarray:
    """(h, w, 3) float32 in [0, 1] -> (h, w) int32: the nearest color codes."""
    patches = colors.transpose(2, 0, 1).repeat(books.patch, 1).repeat(books.patch, 2)  # (3, H, W)
    return books.encode(patches[None])[0, 0]


def flat(books: Codebooks, codes: np.ndarray) -> Image.Image:
    """(h, w) color codes -> their picture, a square a patch."""
    colors = np.round(np.clip(books.color[codes], 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(colors).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def area(name: str, grid: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: where a part of `AREAS` lies on a grid of (h, w) patches. Raises ValueError for another name."""
    if name not in AREAS:
        raise ValueError(f"no part '{name}'; accepted: {', '.join(AREAS)}")
    top, bottom, left, right = AREAS[name]
    h, w = grid
    found = np.zeros(grid, bool)
    found[top * h // 4 : bottom * h // 4, left * w // 4 : right * w // 4] = True
    return found


def hatched(photo: Image.Image, hole: np.ndarray) -> Image.Image:
    """A square photo with stripes over the patches where `hole`, (h, w) bool, is True."""
    there = Image.fromarray(hole).resize(photo.size, Image.Resampling.NEAREST)
    x, y = np.meshgrid(*map(np.arange, photo.size))
    stripes = ((x + y) // 6 % 2 == 0)[..., None]
    photo = np.asarray(photo)
    light = (photo * 0.35 + 255 * 0.65).astype(np.uint8)
    return Image.fromarray(np.where(np.asarray(there)[..., None], np.where(stripes, HATCH, light), photo).astype("u1"))
