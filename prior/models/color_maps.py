"""The pyramid of color maps on torch, for training; see `prior/coarse_maps.py`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prior.config import CELLS, COARSE


def nearest_color(colors: Tensor, centroids: Tensor) -> Tensor:
    """(..., 3) float64 -> (...) int64: the nearest of (V, 3) centroids, the first of equally near ones."""
    scores = torch.addmm(-centroids.square().sum(1) / 2, colors.flatten(0, -2), centroids.T)
    return scores.round(decimals=6).argmax(1).view(colors.shape[:-1])


def color_maps(codes: Tensor, centroids: Tensor, *, finest: str = "color") -> dict[str, Tensor]:
    """Color codes (B, h, w) int64 of the map `finest` -> that map and all coarser ones of `COARSE`.

    A coarse color is the centroid nearest to the mean of the centroids it covers.
    """
    centroids = centroids.double()
    fine = centroids[codes].movedim(-1, 1)  # (B, 3, h, w)
    own = CELLS.get(finest, 1)
    cells = {name: CELLS[name] // own for name in COARSE if CELLS[name] > own}
    means = {name: F.avg_pool2d(fine, cell).movedim(1, -1) for name, cell in cells.items()}
    return {**{name: nearest_color(colors, centroids) for name, colors in means.items()}, finest: codes}


def near_codes(centroids: Tensor, count: int = 8) -> Tensor:
    """(V, D) centroids -> (V, min(count, V - 1)) int64: the nearest other codes of each."""
    distances = torch.cdist(centroids, centroids).fill_diagonal_(torch.inf)
    return distances.topk(min(count, len(centroids) - 1), largest=False).indices
