"""A learned tokenizer on numpy arrays, on whichever library runs its networks."""

from collections.abc import Callable

import numpy as np

from cst.images import pad_to_multiple
from cst.learned.config import LearnedTokenizerConfig
from cst.tokenizer.protocol import Level


class LearnedTokenizer:
    """The `Tokenizer` protocol. encoder: pictures to codes; decoder: codes to pictures, as `encode` and `decode`."""

    def __init__(
        self,
        config: LearnedTokenizerConfig,
        encoder: Callable[[np.ndarray], np.ndarray],
        decoder: Callable[[np.ndarray], np.ndarray],
    ):
        self.config, self._encoder, self._decoder = config, encoder, decoder

    @property
    def levels(self) -> tuple[Level, ...]:
        """One per code of a patch."""
        return self.config.model.levels

    @property
    def patch(self) -> int:
        """Side, in pixels, of the square that one code per level describes."""
        return self.config.model.factor

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the codebook."""
        return self.config.fingerprint

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 in [0, 1] -> (B, L, h, w) int32. Raises ValueError unless sides are multiples."""
        if images.ndim != 4 or images.shape[1] != 3 or any(side % self.patch or not side for side in images.shape[2:]):
            raise ValueError(
                f"pictures of shape {images.shape}; accepted: (B, 3, H, W), sides multiples of {self.patch}"
            )
        return self._in_tiles(self._encoder, images, self.patch)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(B, L, h, w) integers -> (B, 3, H, W) float32 in [0, 1]. Raises ValueError for codes out of range."""
        levels = self.levels
        if tokens.ndim != 4 or tokens.shape[1] != len(levels) or not np.issubdtype(tokens.dtype, np.integer):
            raise ValueError(f"tokens are {tokens.dtype} {tokens.shape}; accepted: integers (B, {len(levels)}, h, w)")
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < levels[0].size:
            raise ValueError(f"codes span {tokens.min()} to {tokens.max()}; accepted: 0 to {levels[0].size - 1}")
        return self._in_tiles(self._decoder, tokens.astype(np.int32), 1)

    def round_trip(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A (3, H, W) picture of any size -> its (L, h, w) tokens, and the picture that they decode to."""
        _, height, width = image.shape
        tokens = self.encode(pad_to_multiple(image, self.patch)[None])
        return tokens[0], self.decode(tokens)[0, :, :height, :width]

    def _in_tiles(self, network: Callable[[np.ndarray], np.ndarray], array: np.ndarray, step: int) -> np.ndarray:
        """A network applied to pieces of at most `tile` x `tile` vectors, as equal as possible, and joined again."""
        tile = self.config.model.tile
        if not tile:
            return network(array)
        rows, columns = (np.array_split(np.arange(side // step), -(-side // step // tile)) for side in array.shape[2:])

        def piece(row: np.ndarray, column: np.ndarray) -> np.ndarray:
            box = (slice(part[0] * step, (part[-1] + 1) * step) for part in (row, column))
            return network(np.ascontiguousarray(array[:, :, *box]))

        return np.concatenate([np.concatenate([piece(row, column) for column in columns], 3) for row in rows], 2)
