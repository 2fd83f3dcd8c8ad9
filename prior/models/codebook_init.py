"""Initial embeddings and head rows: similar for codes with similar centroids."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def codebook_features(centroids: np.ndarray, width: int, seed: int = 0) -> Tensor:
    """(V, D) centroids -> (V, width) float32 of unit scale that keeps similar centroids close.

    Random Fourier features (Rahimi and Recht, 2007) for few dimensions, principal components for many.
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
