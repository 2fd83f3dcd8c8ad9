"""A code model of neighbors, and tokens for it."""

from collections.abc import Iterator

import numpy as np


class Pretender:
    """A `CodeModel` that behaves as a model of neighbors would: one place after another, each with weights of its own.

    A code is likely where the code before it, in this order, is near: so decoding under it fails unless every code
    is right when the next is asked for.
    """

    def __init__(self, sizes: tuple[int, ...], *, name: str = "static", fingerprint: str = "00ff" * 4, reach: int = 3):
        self.sizes, self.name, self.fingerprint, self.reach = sizes, name, fingerprint, reach

    def walk(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        last = 0
        for level, size in enumerate(self.sizes):
            for row in range(tokens.shape[1]):
                for start in range(0, tokens.shape[2], 2):  # two columns at a time
                    columns = np.arange(start, min(start + 2, tokens.shape[2]))
                    near = np.abs(np.arange(size) - last % size) <= self.reach
                    weights = np.where(near, 1000, 1).astype(np.float32)
                    yield level, np.full(len(columns), row), columns, np.tile(weights, (len(columns), 1))
                    last = int(tokens[level, row, columns[-1]])


def random_tokens(sizes: tuple[int, ...], h: int, w: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(size, size=(h, w)) for size in sizes]).astype(np.int32)
