"""Where embeddings and heads begin: codes whose centroids are alike begin alike."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def features(centroids: np.ndarray, width: int, seed: int = 0) -> Tensor:
    """(V, D) centroids -> (V, width) float32 of unit scale in which near centroids are near.

    Of three dimensions or few, random Fourier features (Rahimi and Recht, 2007); of many, principal components.
    """
    x = torch.from_numpy(np.asarray(centroids, np.float32))
    generator = torch.Generator().manual_seed(seed)
    if x.shape[1] < width // 2:
        angles = x @ torch.randn(x.shape[1], width // 2, generator=generator) * 6
        return torch.cat([angles.cos(), angles.sin()], 1) * math.sqrt(2)
    x = x - x.mean(0)
    rotation = torch.linalg.svd(x, full_matrices=False).Vh[:width]  # (<= width, D)
    x = F.pad(x @ rotation.T, (0, width - len(rotation)))
    return x / x.square().mean().sqrt().clamp_min(1e-12)  # a single centroid is zero
