"""A code model that depends on earlier codes, and tokens for it."""

from collections.abc import Iterator

import numpy as np


class NeighborModel:
    """A `CodeModel` in which a code is likely if it is close to the code before it.

    Decoding under it fails unless every code is right when the next one is requested.
    """

    def __init__(self, sizes: tuple[int, ...], *, fingerprint: str = "00ff" * 4, reach: int = 3):
        self.sizes, self.fingerprint, self.reach = sizes, fingerprint, reach

    def code_distributions(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        last = 0
        for level, size in enumerate(self.sizes):
            for row in range(tokens.shape[1]):
                for start in range(0, tokens.shape[2], 2):  # two columns at a time
                    columns = np.arange(start, min(start + 2, tokens.shape[2]))
                    close = np.abs(np.arange(size) - last % size) <= self.reach
                    frequencies = np.where(close, 1000, 1).astype(np.float32)
                    yield level, np.full(len(columns), row), columns, np.tile(frequencies, (len(columns), 1))
                    last = int(tokens[level, row, columns[-1]])


def random_tokens(sizes: tuple[int, ...], h: int, w: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(size, size=(h, w)) for size in sizes]).astype(np.int32)
