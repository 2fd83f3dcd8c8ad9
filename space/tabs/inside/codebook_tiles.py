"""How codebook entries are drawn: colors as they are; shapes and textures around gray, with their contrast raised."""

import math
from functools import cache

import numpy as np
from PIL import Image

from cst.images import to_uint8
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks, from_patches
from space.widgets.html import data_url

GRAY = 0.5
STRENGTH = 0.45  # 0: every entry at full contrast; 1: each at its own. Faint ones are raised most, and stay fainter


@cache
def tiles(codebooks: Codebooks, level: int) -> np.ndarray:
    """Every entry of a level as a picture of one patch: (V, patch, patch, 3) uint8."""
    pixels = codebooks.centroids(level, np.arange(codebooks.levels[level].size))
    patches = pixels * contrast(codebooks, level)[:, None] + (GRAY if level else 0)
    return to_uint8(from_patches(patches[:, None, None], codebooks.patch))


@cache
def contrast(codebooks: Codebooks, level: int) -> np.ndarray:
    """The factor by which `tiles` raises the contrast of each entry of a level: (V,) float32; 1 for colors."""
    entries = codebooks.tables[level]
    if level == 0:
        return np.ones(len(entries), np.float32)
    peak = np.maximum(np.abs(entries).max(1), 1e-6)  # an entry may be zero everywhere
    strong = np.quantile(peak, 0.99)
    return (GRAY / peak * np.minimum(peak / strong, 1) ** STRENGTH).astype(np.float32)


def tile_url(pixels: np.ndarray) -> str:
    """(h, w, 3) uint8 -> the data URL of a small PNG, one pixel if all are the same."""
    if (pixels == pixels[0, 0]).all():
        pixels = pixels[:1, :1]
    return data_url(Image.fromarray(np.ascontiguousarray(pixels)))


def patches_per_use(statistics: Statistics | None, level: int, code: int) -> float | None:
    """In how many patches of training photos a code occurs once; None if never, or if that was not counted."""
    if statistics is None or not statistics.counts[level][code]:
        return None
    return float(1 / statistics.share(level, np.asarray(code)))


def frequency_text(statistics: Statistics | None, level: int, code: int) -> str:
    """How common a code is, in words; empty if that was not counted."""
    if statistics is None:
        return ""
    patches = patches_per_use(statistics, level, code)
    return "in no patch" if patches is None else f"1 in {two_digits(patches)} patches"


def two_digits(value: float) -> str:
    """Rounded to two significant digits: 1,234 -> 1,200."""
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.0f}" if digits <= 0 else f"{round(value, digits):g}"
