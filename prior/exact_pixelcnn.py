"""The gated PixelCNN in exact arithmetic: a second evaluation of `prior.pixelcnn`, for coding alone.

Written a second time for the same reason as `prior.exact_gpt`, and held to torch and onnxruntime by tests.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cst.protocol import Level
from prior.config import PixelCNNConfig
from prior.exact import ACTIVATION, Linear, fixed, sigmoid, tanh

Weights = Callable[[str], np.ndarray]  # name in the state dict -> float64


def convolution(weights: Weights, name: str, *, many: bool) -> Linear:
    """A convolution as a product with its window: (rows, columns, in) one after another; many: see `Linear`."""
    kernel = weights(f"{name}.weight").transpose(2, 3, 1, 0)  # (rows, columns, in, out)
    return Linear(kernel.reshape(-1, kernel.shape[3]), weights(f"{name}.bias"), many=many)


def gate(x: np.ndarray) -> np.ndarray:
    """(..., 2D) -> (..., D), between -1 and 1."""
    value, opening = np.split(x, 2, -1)
    return tanh(value) * sigmoid(opening)


class ExactBlock:
    """What a block of the two stacks learned, and how far it looks."""

    def __init__(self, weights: Weights, *, first: bool):
        self.vertical, self.down = (convolution(weights, name, many=True) for name in ("vertical", "down"))
        self.horizontal, self.out = (convolution(weights, name, many=False) for name in ("horizontal", "out"))
        assert self.vertical.limit >= 2.0**ACTIVATION, "a gate's 1 is more than an exact product may be given"
        self.label_above, self.label_beside = np.split(weights("label.weight"), 2, 1)  # (classes + 1, 2 D) each
        self.rows, self.columns = weights("vertical.weight").shape[2:]  # that the vertical stack sees
        self.places = weights("horizontal.weight").shape[3]  # that the horizontal one sees
        self.left = self.places if first else self.places - 1  # of its own place: type A doesn't see that, type B does


class ExactPixelCNN:
    """The network: see `ExactRows` for what the patches before one say of it."""

    def __init__(self, weights: Weights, config: PixelCNNConfig, levels: Sequence[Level]):
        """weights: by their names in the state dict. Raises ValueError for the simple variant."""
        if not config.gated:
            raise ValueError("a simple PixelCNN can't be evaluated exactly; take a gated one here")
        each = range(len(levels))
        self.tables = [weights(f"tables.{index}.weight") for index in each]
        self.row, self.column = weights("row").T, weights("column").T  # (h, D), (w, D)
        self.blocks = [
            ExactBlock(lambda name, index=index: weights(f"trunk.blocks.{index}.{name}"), first=index == 0)
            for index in range(config.blocks + 1)
        ]
        self.mix = [Linear(weights(f"mix.{index}.weight").T, weights(f"mix.{index}.bias")) for index in each]
        self.heads = [Linear(weights(f"heads.{index}.weight").T, weights(f"heads.{index}.bias")) for index in each]

    def embed(self, tokens: np.ndarray, row: int, columns: slice) -> np.ndarray:
        """(B, L, n) codes of the patches in some columns of a row -> (B, n, D) in fixed point."""
        seen = self.row[row] + self.column[columns]
        for index, table in enumerate(self.tables):
            seen = seen + table[tokens[:, index]]
        return fixed(seen, ACTIVATION, min(self.blocks[0].vertical.limit, self.blocks[0].horizontal.limit))

    def head(self, level: int, hidden: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(B, D) float64, a patch's (B, L) codes, of which those before `level` count -> (B, V) float64 scores."""
        known = [self.tables[index][codes[:, index]] for index in range(level)]
        mixed = self.mix[level](np.concatenate([hidden, *known], 1))
        return self.heads[level](np.maximum(mixed, 0))


class ExactRows:
    """What the patches before one say of it, for some pictures in the making.

    What the stacks will look at again is kept in fixed point, with the zeros that pad it: of the rows above, as many
    as each block sees, and of the row being written all. So every product is done once.
    """

    def __init__(self, net: ExactPixelCNN, inside: np.ndarray):
        """inside: (B, h, w) bool, the places a picture has; what is not there looks like what is beyond the grid."""
        self.net, self.inside, self.row = net, inside, -1
        b, _, w = inside.shape
        d = net.column.shape[1]
        self.above = [np.zeros((b, block.rows, w + block.columns - 1, d)) for block in net.blocks]
        self.beside = [np.zeros((b, block.left + w, d)) for block in net.blocks]
        self.downs: list[np.ndarray] = []  # (B, w, 2 D) a block: what the rows above tell the row being written

    def __call__(self, tokens: np.ndarray, position: int, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int32, raster position, (B,) int64 -> (B, D) float64. Positions come in order."""
        row, column = divmod(position, tokens.shape[3])
        while self.row < row:
            self._look_up(tokens, label)
        return self._look_back(tokens, column, label)

    def _look_up(self, tokens: np.ndarray, label: np.ndarray) -> None:
        """The vertical stack at the next row, of which it sees nothing."""
        self.row, self.downs = self.row + 1, []
        seen = None
        if self.row > 0:
            seen = self.net.embed(tokens[:, :, self.row - 1], self.row - 1, slice(None))  # (B, w, D)
            seen *= self.inside[:, self.row - 1, :, None]
        for block, above, beside in zip(self.net.blocks, self.above, self.beside, strict=True):
            beside[:] = 0
            above[:, :-1] = above[:, 1:]
            pad = block.columns // 2
            if seen is not None:
                above[:, -1, pad : above.shape[2] - pad] = seen
            w = above.shape[2] - 2 * pad
            around = [above[:, r, c : c + w] for r in range(block.rows) for c in range(block.columns)]
            found = block.vertical.product(np.concatenate(around, -1))  # (B, w, 2 D)
            self.downs.append(block.down(found))
            opened = gate(found + block.label_above[label][:, None])
            seen = fixed(opened, ACTIVATION) * self.inside[:, self.row, :, None]

    def _look_back(self, tokens: np.ndarray, column: int, label: np.ndarray) -> np.ndarray:
        """The horizontal stack at a place of the row: (B, D)."""
        if column > 0:
            last = slice(column - 1, column)
            self.beside[0][:, self.net.blocks[0].left + column - 1] = self.net.embed(
                tokens[:, :, self.row, last], self.row, last
            )[:, 0]
        x = None
        for block, beside, down in zip(self.net.blocks, self.beside, self.downs, strict=True):
            if x is not None:
                beside[:, block.left + column] = fixed(x, ACTIVATION, block.horizontal.limit)
            around = beside[:, column : column + block.places].reshape(len(beside), -1)
            found = block.horizontal.product(around) + down[:, column] + block.label_beside[label]  # (B, 2 D)
            out = block.out(gate(found))
            x = out if x is None else x + out
        return x
