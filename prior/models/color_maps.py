"""The pyramid of color maps on torch, for training; see `prior/color_maps.py`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prior.config import CELLS


def nearest_color(colors: Tensor, centroids: Tensor) -> Tensor:
    """(..., 3) float64 -> (...) int64: the nearest of (V, 3) centroids, the first of equally near ones."""
    scores = torch.addmm(-centroids.square().sum(1) / 2, colors.flatten(0, -2), centroids.T)
    return scores.round(decimals=6).argmax(1).view(colors.shape[:-1])


def color_maps(codes: Tensor, centroids: Tensor) -> dict[str, Tensor]:
    """Color codes (B, h, w) int64 -> the maps of `CELLS` and "color", (B, h / cell, w / cell) each.

    A coarse color is the centroid nearest to the mean of the centroids it covers, so the codes define the pyramid.
    """
    centroids = centroids.double()
    fine = centroids[codes].movedim(-1, 1)  # (B, 3, h, w)
    means = {name: F.avg_pool2d(fine, cell).movedim(1, -1) for name, cell in CELLS.items()}
    return {**{name: nearest_color(colors, centroids) for name, colors in means.items()}, "color": codes}


def near_codes(centroids: Tensor, count: int = 8) -> Tensor:
    """(V, D) centroids -> (V, min(count, V - 1)) int64: the nearest other codes of each."""
    distances = torch.cdist(centroids, centroids).fill_diagonal_(torch.inf)
    return distances.topk(min(count, len(centroids) - 1), largest=False).indices
