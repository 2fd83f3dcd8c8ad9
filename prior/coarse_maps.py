"""The coarser maps of a picture's tokens: colors of larger cells, and shapes and textures at half the size."""

import numpy as np

from cst.tokenizer.codebooks import Codebooks
from prior.config import CELLS, COARSE, HALF


def coarse_maps(
    codes: np.ndarray, known: np.ndarray, centroids: np.ndarray, sketch: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The coarse color maps of pictures of which some colors are known, and where these maps are known.

    codes: (B, h, w) int color codes, of which those where `known`, bool, count. centroids: (V, 3) float32. sketch:
    (h / 2, w / 2) int codes for the finest coarse map, -1 where there is none. A coarse color is the centroid nearest
    to the mean of the colors it covers, and known where all of them are. Scores are rounded, so that of two equally
    near centroids the first is taken on every machine. Returns int32 and bool (B, h / cell, w / cell) by name.
    """
    h, w = codes.shape[1:]
    centroids = centroids.astype(np.float64)
    colors, there = centroids[codes], np.asarray(known)
    maps, fixed = {}, {}
    for name in reversed(COARSE):
        rows, columns = h // CELLS[name], w // CELLS[name]
        cells = colors.reshape(len(colors), rows, colors.shape[1] // rows, columns, -1, 3)
        colors = cells.mean((2, 4))
        there = np.asarray(there.reshape(cells.shape[:-1]).all((2, 4)))
        if sketch is not None and name == COARSE[-1]:
            colors = np.where(sketch[..., None] >= 0, centroids[sketch], colors)
            there = there | (sketch >= 0)
        scores = colors.reshape(-1, 3) @ centroids.T - (centroids**2).sum(1) / 2
        maps[name] = scores.round(6).argmax(1).astype(np.int32).reshape(there.shape)
        fixed[name] = there
    order = list(reversed(maps))
    return {name: maps[name] for name in order}, {name: fixed[name] for name in order}


def half_size_maps(
    tokens: np.ndarray, known: np.ndarray, codebooks: Codebooks
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The tokens of pictures at half their size, and where their shapes and textures are known.

    tokens, known: (B, 3, h, w) int and bool. The small picture is the mean of 2x2 pixels of the centroids' sum. Its
    shapes and textures are known where all shapes and textures under them are, and its colors where the colors are
    known too. Colors of `tokens` that are not known count as a guess: those of a photo that is drawn in new colors.
    Returns int32 and bool (B, h / 2, w / 2) by name.
    """
    b, _, h, w = tokens.shape
    covered = np.asarray(known.reshape(b, 3, h // 2, 2, w // 2, 2).all((3, 5)))
    detail = np.asarray(covered[:, 1:].all(1))
    codes = np.zeros((b, 3, h // 2, w // 2), np.int32)
    if detail.any():
        sizes = np.array([level.size for level in codebooks.levels])[:, None, None]
        pictures = codebooks.centroid_picture(np.clip(tokens, 0, sizes - 1))
        small = pictures.reshape(b, 3, pictures.shape[2] // 2, 2, -1, 2).mean((3, 5))
        codes = np.where(detail[:, None], codebooks.encode(small), 0)
    fixed = (covered[:, 0] & detail, detail, detail)
    return dict(zip(HALF, codes.swapaxes(0, 1), strict=True)), dict(zip(HALF, fixed, strict=True))
