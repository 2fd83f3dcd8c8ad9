"""RenderNet, the convolutional decoder: tokens in, picture out."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from cst.tokenizer.config import KERNEL, RenderNetConfig

STREAM_LIMIT = 6.0  # the residual stream is trained to stay within this, so that 8 bits resolve it


class Block(nn.Module):
    """3x3 conv without bias, BatchNorm, ReLU, 1x1 conv, residual; the last conv starts at zero."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.spread = nn.Conv2d(width, hidden, KERNEL, padding=KERNEL // 2, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.gather = nn.Conv2d(hidden, width, 1)
        nn.init.zeros_(self.gather.weight)
        nn.init.zeros_(self.gather.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        return x + self.gather(F.relu(self.norm(self.spread(x))))


class RenderNet(nn.Module):
    """Paint a picture from tokens: the centroid picture plus a learned correction.

    The embedding tables start from the centroids, brought to one scale; the last convolution starts at zero, so the
    untrained network draws exactly the centroid picture. Only the correction passes through the network, which is
    what lets the network run in 8 bits: the picture itself never does. Fully convolutional: any grid size.
    """

    def __init__(self, config: RenderNetConfig, codebooks: Sequence[np.ndarray], *, patch: int = 8):
        """codebooks: color (K, 3), shape (K, 192), texture (K, 192), float32, as `Codebooks.tables`."""
        super().__init__()
        dims = 3 * patch * patch
        self.config, self.patch = config, patch
        self.embeddings = nn.ModuleList()
        for level, table in enumerate(map(torch.from_numpy, codebooks)):
            centroids = table.repeat_interleave(patch**2, dim=1) if level == 0 else table  # (K, 192)
            self.register_buffer(f"centroids_{level}", centroids, persistent=False)
            self.embeddings.append(nn.Embedding(len(table), config.width))
            start = torch.randn(len(table), config.width, generator=torch.Generator().manual_seed(level)) * 0.1
            kept = min(dims, config.width)
            start[:, :kept] += 0.5 * ((centroids - centroids.mean(0)) / centroids.std())[:, :kept]
            self.embeddings[level].weight.data.copy_(start)
        self.blocks = nn.ModuleList(Block(config.width, config.hidden) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.width, dims, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def centroid_picture(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L, h, w) int -> (B, 3, H, W) float32, not clipped: the sum of the three centroids of every patch."""
        patches = sum(F.embedding(tokens[:, i], getattr(self, f"centroids_{i}")) for i in range(3))  # (B, h, w, 192)
        return F.pixel_shuffle(patches.permute(0, 3, 1, 2), self.patch)

    def streams(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """(B, L, h, w) int -> the residual stream before and after every block, each (B, D, h, w)."""
        x = sum(table(tokens[:, i]) for i, table in enumerate(self.embeddings))  # (B, h, w, D)
        streams = [x.permute(0, 3, 1, 2)]  # channels last in memory
        for block in self.blocks:
            streams.append(block(streams[-1]))
        return streams

    def forward(
        self, tokens: torch.Tensor, *, with_overflow: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(B, L, h, w) int -> (B, 3, H, W) float, about [0, 1], not clipped.

        `with_overflow` also returns a scalar: the mean square by which the residual stream exceeds `STREAM_LIMIT`.
        """
        streams = self.streams(tokens)
        correction = F.pixel_shuffle(self.head(streams[-1]), self.patch)
        picture = self.centroid_picture(tokens) + correction
        if not with_overflow:
            return picture
        return picture, sum(F.relu(x.float().abs() - STREAM_LIMIT).square().mean() for x in streams)
