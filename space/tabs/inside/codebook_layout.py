"""Where each code lies on a sheet of all codes: colors by hue and lightness, patterns beside patterns like them."""

import math
from functools import cache

import numpy as np

from cst.tokenizer.codebooks import Codebooks

EMPTY = -1
GRAYISH = 0.03  # chroma in OKLCh below which a color's hue isn't seen
ROUNDS = 24  # of swaps at every distance
COMPONENTS = 8


@cache
def arranged(codebooks: Codebooks, level: int) -> np.ndarray:
    """The sheet of a level: (rows, columns) int32 codes, each once; `EMPTY` where there are more places than codes.

    The first call takes about a second for 8192 codes.
    """
    if level == 0:
        return by_hue(codebooks.color)
    table = codebooks.tables[level]
    columns = math.ceil(math.sqrt(2 * len(table)))
    return by_likeness(traits(table), math.ceil(len(table) / columns), columns)


def by_hue(colors: np.ndarray) -> np.ndarray:
    """(V, 3) sRGB in [0, 1] -> (rows, columns) int32: grays, then all hues; every column from light to dark."""
    columns = math.ceil(math.sqrt(8 * len(colors)))
    rows = math.ceil(len(colors) / columns)
    lightness, a, b = oklab(colors).T
    hue = np.where(np.hypot(a, b) < GRAYISH, -np.inf, np.degrees(np.arctan2(b, a)) % 360)
    order = np.lexsort((-lightness, hue))
    sheet = np.full((columns, rows), EMPTY, np.int32)
    sheet.ravel()[: len(colors)] = order
    for column in sheet:
        codes = column[column != EMPTY]
        column[: len(codes)] = codes[np.argsort(-lightness[codes], kind="stable")]
    return np.ascontiguousarray(sheet.T)


def oklab(colors: np.ndarray) -> np.ndarray:
    """(V, 3) sRGB in [0, 1] -> (V, 3) lightness, a and b (Ottosson, 2020, "A perceptual color space")."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((np.maximum(colors, 0) + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(
        linear
        @ np.array(
            [
                [0.4122214708, 0.2119034982, 0.0883024619],
                [0.5363325363, 0.6806995451, 0.2817188376],
                [0.0514459929, 0.1073969566, 0.6299787005],
            ]
        )
    )
    return cones @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def traits(table: np.ndarray) -> np.ndarray:
    """(V, D) patterns -> (V, T) float32 in which patterns that look alike are near.

    The direction and fineness of the lines, by the sizes of the Fourier coefficients, which don't tell light lines
    from dark ones; how colorful a pattern is; and a little of the pixels themselves and of the contrast.
    """
    side = math.isqrt(table.shape[1] // 3)
    length = np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
    pixels = (table / length).reshape(len(table), 3, side * side)
    gray = pixels.mean(1)
    color = np.linalg.norm(pixels - gray[:, None], axis=(1, 2))[:, None]
    waves = np.abs(np.fft.fft2(gray.reshape(-1, side, side))).reshape(gray.shape) / side
    found = [
        components(np.sqrt(waves)),
        0.3 * components(pixels.reshape(table.shape)),
        3 * color,
        0.25 * np.log(np.maximum(length, 0.02)),
    ]
    return components(np.hstack(found), most=None).astype(np.float32)


def components(x: np.ndarray, most: int | None = COMPONENTS) -> np.ndarray:
    """(V, D) -> (V, at most `most`): its principal components, largest first."""
    x = x.astype(np.float64) - x.mean(0)
    _, directions = np.linalg.eigh(x.T @ x)
    directions = directions[:, ::-1][:, :most]
    signs = np.where(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])] < 0, -1, 1)
    return x @ (directions * signs)  # the sign of an eigenvector is the library's choice


def by_likeness(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(V, T) traits of mean zero -> (rows, columns) int32: codes lie beside codes like them.

    A self-sorting map (Strong and Gong, 2014, "Self-sorting map: an efficient algorithm for presenting multimedia data
    in structured layouts"): two codes change places where each then lies nearer to what surrounds it, first far apart,
    then close by.
    """
    count, places = len(x), rows * columns
    x = np.vstack([x, np.zeros((1, x.shape[1]), x.dtype)])  # the last is an empty place: like the mean
    sheet = np.full(places, count)
    place = np.arange(count)
    by_column = np.lexsort((place, place % columns))
    ranked = np.argsort(x[:-1, 0], kind="stable")  # into the columns, and within a column by the second component
    sheet[by_column] = ranked[np.lexsort((x[ranked, 1], by_column % columns))]
    rng = np.random.default_rng(0)
    reach = max(rows, columns) // 4
    while reach:
        for _ in range(ROUNDS):
            around = blurred(x[sheet].reshape(rows, columns, -1), reach).reshape(places, -1)
            one, other = pairs(rng, count, columns, reach)
            gain = ((x[sheet[one]] - x[sheet[other]]) * (around[other] - around[one])).sum(1)
            one, other = one[gain > 0], other[gain > 0]
            sheet[one], sheet[other] = sheet[other], sheet[one]
        reach = int(0.8 * reach)
    return np.where(sheet == count, EMPTY, sheet).astype(np.int32).reshape(rows, columns)


def pairs(rng: np.random.Generator, count: int, columns: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of places below `count`, by chance: pairs at most `reach` apart; no place is in two pairs."""
    one = rng.permutation(count)
    row, column = one // columns, one % columns
    other_row = np.clip(row + rng.integers(-reach, reach + 1, count), 0, (count - 1) // columns)
    other = other_row * columns + np.clip(column + rng.integers(-reach, reach + 1, count), 0, columns - 1)
    index = np.arange(count)
    first = np.full((other_row.max() + 1) * columns, count)  # pair that names a place first
    np.minimum.at(first, one, index)
    np.minimum.at(first, other, index)
    kept = (first[one] == index) & (first[other] == index) & (one != other) & (other < count)
    return one[kept], other[kept]


def blurred(x: np.ndarray, reach: int) -> np.ndarray:
    """(rows, columns, T) -> the same shape: the mean of the square `reach` to every side, as far as there is one."""
    for axis in (0, 1):
        places = np.arange(x.shape[axis])
        low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(places))
        total = np.cumsum(np.insert(x, 0, 0, axis=axis), axis)
        x = (total.take(high, axis) - total.take(low, axis)) / np.expand_dims(high - low, (1 - axis, 2))
    return x
