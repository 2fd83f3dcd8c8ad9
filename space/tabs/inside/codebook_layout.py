"""Where each code lies on a sheet of all codes: colors by hue and lightness, patterns by direction and fineness."""

import math
from functools import cache

import numpy as np

from cst.tokenizer.codebooks import Codebooks
from space.color import oklab

EMPTY = -1
GRAYISH = 0.03  # chroma in OKLCh below which a color's hue isn't seen


@cache
def code_layout(codebooks: Codebooks, level: int) -> np.ndarray:
    """The sheet of a level: (rows, columns) int32 codes, each once; `EMPTY` where there are more places than codes."""
    if level == 0:
        return fill_columns(*hue_and_darkness(codebooks.color), aspect=8)
    return fill_columns(*angle_and_fineness(codebooks.tables[level]), aspect=2)


def fill_columns(across: np.ndarray, down: np.ndarray, *, aspect: float) -> np.ndarray:
    """(V,), (V,) sort keys -> (rows, columns) int32: columns in the order of `across`, each in the order of `down`."""
    columns = math.ceil(math.sqrt(aspect * len(across)))
    rows = math.ceil(len(across) / columns)
    order = np.lexsort((down, across))
    column = np.arange(len(order)) // rows
    sheet = np.full(columns * rows, EMPTY, np.int32)
    sheet[: len(order)] = order[np.lexsort((down[order], column))]
    return np.ascontiguousarray(sheet.reshape(columns, rows).T)


def hue_and_darkness(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) sRGB in [0, 1] -> hue in degrees, below all others for grays, and darkness; (V,) each."""
    lightness, a, b = oklab(colors).T
    hue = np.degrees(np.arctan2(b, a)) % 360
    return np.where(np.hypot(a, b) < GRAYISH, -np.inf, hue), -lightness


def angle_and_fineness(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, D) patterns -> (V,) the direction of their lines in radians, and (V,) how fine they are.

    The direction is the main axis of the structure tensor (Bigun and Granlund, 1987, "Optimal orientation detection of
    linear symmetry"); fineness is the mean squared slope over the variance.
    """
    side = math.isqrt(table.shape[1] // 3)
    pixels = table.reshape(-1, 3, side, side)
    dy, dx = np.gradient(pixels, axis=(2, 3))
    xx, yy, xy = ((a * b).sum((1, 2, 3)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    variance = np.square(pixels - pixels.mean((2, 3), keepdims=True)).sum((1, 2, 3))
    return np.arctan2(2 * xy, xx - yy), (xx + yy) / np.maximum(variance, 1e-12)
