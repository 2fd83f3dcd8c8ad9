"""RenderNet, the convolutional decoder: tokens in, picture out."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from cst.tokenizer.config import RenderNetConfig

ACTIVATION_LIMIT = 6.0  # hidden states are trained to stay within this, so that 8 bits resolve them


class Block(nn.Module):
    """Conv (3x3) without bias, BatchNorm, ReLU, 1x1 conv, residual; the last conv starts at zero."""

    def __init__(self, config: RenderNetConfig):
        super().__init__()
        width, hidden, kernel = config.width, config.hidden, config.kernel
        self.spread = nn.Conv2d(width, hidden, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.gather = zero_conv(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        return x + self.gather(F.relu(self.norm(self.spread(x))))


class DepthwiseBlock(nn.Module):
    """Depthwise conv without bias, BatchNorm, 1x1 conv, ReLU, 1x1 conv, residual; the last conv starts at zero.

    The order of ConvNeXt (Liu et al., 2022, figure 4), with the operators that NPUs run in 8 bits.
    """

    def __init__(self, config: RenderNetConfig):
        super().__init__()
        width, hidden, kernel = config.width, config.hidden, config.kernel
        self.mix = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.spread = nn.Conv2d(width, hidden, 1)
        self.gather = zero_conv(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        return x + self.gather(F.relu(self.spread(self.norm(self.mix(x)))))


class RenderNet(nn.Module):
    """Render a picture from tokens: the centroid picture plus a learned correction.

    The embedding tables start from the normalized centroids; the last convolution starts at zero, so that the untrained
    network returns exactly the centroid picture. Only the correction passes through the network, which lets the network
    run in 8 bits. Fully convolutional: any grid size.
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
            start = torch.randn(len(table), config.width, generator=torch.Generator().manual_seed(level)) * 0.1
            shared = min(dims, config.width)
            start[:, :shared] += 0.5 * ((centroids - centroids.mean(0)) / centroids.std())[:, :shared]
            embedding = nn.Embedding(len(table), config.width)
            embedding.weight.data.copy_(start)
            self.embeddings.append(embedding)
        block = DepthwiseBlock if config.depthwise else Block
        self.blocks = nn.ModuleList(block(config) for _ in range(config.blocks))
        self.head = zero_conv(config.width, dims)

    def centroid_picture(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L, h, w) int -> (B, 3, H, W) float32, not clipped: the sum of the centroids of each patch."""
        patches = (F.embedding(tokens[:, i], getattr(self, f"centroids_{i}")) for i in range(3))
        return F.pixel_shuffle(reduce(torch.add, patches).permute(0, 3, 1, 2), self.patch)

    def hidden_states(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """(B, L, h, w) int -> the residual stream before the first and after each block, each (B, D, h, w)."""
        x = reduce(torch.add, (table(tokens[:, i]) for i, table in enumerate(self.embeddings)))  # (B, h, w, D)
        states = [x.permute(0, 3, 1, 2)]  # channels last in memory
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def forward(
        self, tokens: torch.Tensor, *, with_range_penalty: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(B, L, h, w) int -> (B, 3, H, W) float, about [0, 1], not clipped.

        with_range_penalty: also return a scalar, the mean square by which hidden states exceed `ACTIVATION_LIMIT`.
        """
        states = self.hidden_states(tokens)
        correction = F.pixel_shuffle(self.head(states[-1]), self.patch)
        picture = self.centroid_picture(tokens) + correction  # after the head: the export depends on this order
        if not with_range_penalty:
            return picture
        excess = [F.relu(x.float().abs() - ACTIVATION_LIMIT).square().mean() for x in states]
        return picture, torch.stack(excess).sum()


def zero_conv(width: int, out: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero."""
    conv = nn.Conv2d(width, out, 1)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
