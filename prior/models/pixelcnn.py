"""The PixelCNN baseline: patch by patch in raster order; color, then shape given color, then texture given both.

The gated network follows van den Oord et al., 2016b (Conditional Image Generation with PixelCNN Decoders), figure 2;
the simple one follows van den Oord et al., 2016a (Pixel Recurrent Neural Networks), with BatchNorm. Both are published
baselines: the gated one is shipped, the simple one shows the blind spot of masked convolutions.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cst.tokenizer.protocol import Level
from prior.config import PixelCNNConfig
from prior.models.codebook_init import codebook_features
from prior.models.typed_modules import module_list

FIRST_KERNEL = 7


class Shifted(nn.Conv2d):
    """A causal convolution by shifted padding instead of a mask, so that no product is wasted on zero weights."""

    def __init__(self, width: int, out: int, *, above: tuple[int, int], beside: tuple[int, int]):
        """At (r, c) it covers rows r + above[0] .. r + above[1] and columns c + beside[0] .. c + beside[1]."""
        super().__init__(width, out, (above[1] - above[0] + 1, beside[1] - beside[0] + 1))
        # A negative pad crops what the window never reaches.
        self.pads = (-beside[0], beside[1], -above[0], above[1])

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


def gate(x: Tensor) -> Tensor:
    """(B, 2D, h, w) -> (B, D, h, w)."""
    value, opening = x.chunk(2, 1)
    return value.tanh() * opening.sigmoid()


class GatedBlock(nn.Module):
    """A vertical stack over all rows above and a horizontal one over the places to the left: no blind spot."""

    def __init__(self, width: int, kernel: int, classes: int, *, first: bool, dropout: float):
        super().__init__()
        reach = kernel // 2
        # The first block is of type A: it excludes the place itself. Later features depend only on earlier places,
        # so the later blocks include it.
        last = -1 if first else 0
        self.vertical = Shifted(width, 2 * width, above=(-reach, last), beside=(-reach, reach))
        self.horizontal = Shifted(width, 2 * width, above=(0, 0), beside=(-reach, last))
        self.down = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.label = nn.Embedding(classes + 1, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.first = first

    def forward_vertical(self, vertical: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, h, w), (B,) -> the new vertical stack, and its input to the horizontal one, (B, 2D, h, w)."""
        above = self.vertical(vertical)
        for_vertical = self.label(label)[:, : above.shape[1], None, None]
        return gate(above + for_vertical), self.down(above)

    def forward_horizontal(self, horizontal: Tensor, down: Tensor, label: Tensor) -> Tensor:
        """(B, D, h, w), (B, 2D, h, w), (B,) -> the horizontal stack after this block, (B, D, h, w)."""
        for_horizontal = self.label(label)[:, down.shape[1] :, None, None]
        out = self.out(self.dropout(gate(self.horizontal(horizontal) + down + for_horizontal)))
        return out if self.first else horizontal + out


class GatedTrunk(nn.Module):
    """Conditional gated PixelCNN (van den Oord et al., 2016b)."""

    def __init__(self, config: PixelCNNConfig, classes: int):
        super().__init__()
        kernels = [FIRST_KERNEL] + [config.kernel] * config.blocks
        self.blocks = module_list(
            GatedBlock(config.width, kernel, classes, first=index == 0, dropout=config.dropout)
            for index, kernel in enumerate(kernels)
        )

    def forward_vertical(self, x: Tensor, label: Tensor) -> list[Tensor]:
        """(B, D, h, w), (B,) -> for each block (B, 2D, h, w): at every place, features of the rows above."""
        vertical, vertical_features = x, []
        for block in self.blocks:
            vertical, down = block.forward_vertical(vertical, label)
            vertical_features.append(down)
        return vertical_features

    def forward_horizontal(self, x: Tensor, vertical_features: Sequence[Tensor], label: Tensor) -> Tensor:
        """(B, D, h, w), the vertical features, (B,) -> (B, D, h, w): at every place, features of all places before."""
        for block, down in zip(self.blocks, vertical_features, strict=True):
            x = block.forward_horizontal(x, down, label)
        return x

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B, D, h, w), (B,) -> (B, D, h, w): at every place, features of the places before."""
        return self.forward_horizontal(x, self.forward_vertical(x, label), label)


class MaskedConv2d(nn.Conv2d):
    """Type A covers the places before its own, type B its own as well (van den Oord et al., 2016a, section 3.1)."""

    mask: Tensor

    def __init__(self, width: int, out: int, kernel: int, kind: str):
        super().__init__(width, out, kernel, padding=kernel // 2)
        place = torch.arange(kernel * kernel).reshape(kernel, kernel)
        middle = kernel * kernel // 2
        self.register_buffer("mask", (place < middle if kind == "A" else place <= middle).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class SimpleTrunk(nn.Module):
    """7x7 type A, residual blocks of masked convolutions with BatchNorm and ReLU, 1x1 type B."""

    def __init__(self, config: PixelCNNConfig, classes: int):
        super().__init__()
        width = config.width
        self.first = MaskedConv2d(width, width, FIRST_KERNEL, "A")
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = module_list(
            nn.Sequential(
                nn.BatchNorm2d(width),
                nn.ReLU(),
                MaskedConv2d(width, width // 2, 1, "B"),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(),
                MaskedConv2d(width // 2, width // 2, config.kernel, "B"),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(),
                MaskedConv2d(width // 2, width, 1, "B"),
            )
            for _ in range(config.blocks)
        )
        self.last = MaskedConv2d(width, width, 1, "B")

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B, D, h, w), (B,) -> (B, D, h, w): at every place, features of the places before."""
        x = self.first(x) + self.label(label)[..., None, None]
        for block in self.blocks:
            x = x + block(x)
        return self.last(F.relu(x))


class PixelCNN(nn.Module):
    """p(tokens | class), patch by patch; within a patch the levels are ordered as R, G, B are in PixelCNN."""

    def __init__(self, config: PixelCNNConfig, levels: Sequence[Level], grid: tuple[int, int], classes: int):
        super().__init__()
        self.config, self.levels, self.grid, self.classes = config, tuple(levels), tuple(grid), classes
        width = config.width
        self.tables = module_list(nn.Embedding(level.size, width) for level in levels)
        self.row, self.column = (nn.Parameter(torch.zeros(width, side)) for side in grid)
        self.trunk = (GatedTrunk if config.gated else SimpleTrunk)(config, classes)
        self.mix = module_list(nn.Linear(width * (index + 1), width) for index in range(len(levels)))
        self.heads = module_list(nn.Linear(width, level.size) for level in levels)

    @torch.no_grad()
    def init_from_codebooks(self, codebooks: Sequence[np.ndarray]) -> None:
        """Start with similar embeddings and head rows for codes with similar centroids."""
        for table, head, centroids in zip(self.tables, self.heads, codebooks, strict=True):
            table.weight.copy_(codebook_features(centroids, table.embedding_dim))
            head.weight.copy_(codebook_features(centroids, head.in_features) * 0.05)
            nn.init.zeros_(head.bias)

    def embed(self, tokens: Tensor, row: Tensor | int = 0) -> Tensor:
        """(B, L, h, w) int64, the rows from `row` on -> (B, D, h, w)."""
        h, w = tokens.shape[2:]
        seen = sum(table(tokens[:, index]) for index, table in enumerate(self.tables)).movedim(-1, 1)  # (B, D, h, w)
        rows = self.row[:, row + torch.arange(h, device=tokens.device)]
        return seen + rows[:, :, None] + self.column[:, None, :w]

    def hidden_states(self, tokens: Tensor, label: Tensor) -> Tensor:
        """(B, L, h, w) int64, (B,) int64 -> (B, h, w, D): at every patch, features of the patches before."""
        return self.trunk(self.embed(tokens), label).movedim(1, -1)

    def logits(self, hidden: Tensor, tokens: Tensor, level: int) -> Tensor:
        """(..., D), (..., L) tokens of the same patches, used up to `level` -> (..., V)."""
        known = [self.tables[index](tokens[..., index]) for index in range(level)]
        return self.heads[level](F.relu(self.mix[level](torch.cat([hidden, *known], -1))))

    def forward(self, tokens: Tensor, label: Tensor) -> list[Tensor]:
        """(B, L, h, w) int64, (B,) int64 -> for each level (B, N) float32: the natural log of p of every token, exact.

        `label` is a class, or the number of classes for none.
        """
        hidden = self.hidden_states(tokens, label).flatten(1, 2)  # (B, N, D)
        flat = tokens.flatten(2).movedim(1, -1)  # (B, N, L)
        likelihoods = []
        for level in range(len(self.levels)):
            logits = self.logits(hidden, flat, level)
            wanted = flat[..., level]
            likelihoods.append(-F.cross_entropy(logits.float().transpose(1, 2), wanted, reduction="none"))
        return likelihoods
