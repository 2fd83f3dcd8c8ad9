"""`color_maps` on torch, for training; see `prior/color_maps.py`."""

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_color(colors: Tensor, centroids: Tensor) -> Tensor:
    """(..., 3) float32 -> (...) int64: the nearest of (V, 3) centroids."""
    return (
        torch.addmm(-centroids.square().sum(1) / 2, colors.flatten(0, -2), centroids.T)
        .argmax(1)
        .view(colors.shape[:-1])
    )


def color_maps(codes: Tensor, centroids: Tensor) -> dict[str, Tensor]:
    """Color codes (B, 32, 32) int64 -> the maps "color4", "color8", "color16" and "color", each (B, side, side).

    A coarse color is the centroid nearest to the mean of the centroids it covers, so the codes define the pyramid.
    """
    fine = centroids[codes].movedim(-1, 1)  # (B, 3, 32, 32)
    maps = {}
    for side in (4, 8, 16):
        means = F.avg_pool2d(fine, fine.shape[-1] // side).movedim(1, -1)
        maps[f"color{side}"] = nearest_color(means, centroids)
    return {**maps, "color": codes}


def near_codes(centroids: Tensor, count: int = 8) -> Tensor:
    """(V, D) centroids -> (V, min(count, V - 1)) int64: the nearest other codes of each."""
    distances = torch.cdist(centroids, centroids).fill_diagonal_(torch.inf)
    return distances.topk(min(count, len(centroids) - 1), largest=False).indices
