"""The square of tokens around a position that is the input of a network."""

from collections.abc import Iterator
from typing import Any

import numpy as np


class Window:
    """Offsets (row, column) around a position: all of a `side` x `side` square, or those before it in raster order."""

    def __init__(self, side: int, *, causal: bool):
        self.reach = side // 2
        square = [(r, c) for r in range(-self.reach, self.reach + 1) for c in range(-self.reach, self.reach + 1)]
        self.offsets = [place for place in square if not causal or place < (0, 0)]

    def __len__(self) -> int:
        return len(self.offsets)

    def shifts(self, padded: Any) -> Iterator[Any]:
        """(B, h + 2 reach, w + 2 reach, E) array or tensor -> for each offset, (B, h, w, E): the values there."""
        h, w = (side - 2 * self.reach for side in padded.shape[1:3])
        for row, column in self.offsets:
            yield padded[:, self.reach + row : self.reach + row + h, self.reach + column : self.reach + column + w]

    def at(self, tokens: np.ndarray, rows: np.ndarray, columns: np.ndarray, outside: int) -> np.ndarray:
        """(B, h, w) integers and (n,) places -> (B, n, len(self)) integers; `outside` beyond the border."""
        padded = np.pad(tokens, ((0, 0), (self.reach,) * 2, (self.reach,) * 2), constant_values=outside)
        down, across = (offsets[None] + self.reach for offsets in np.array(self.offsets, int).reshape(-1, 2).T)
        return padded[:, rows[:, None] + down, columns[:, None] + across]
