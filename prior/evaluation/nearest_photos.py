"""Does a prior copy its training photos? The nearest of them to each sample, in tokens and in pixels."""

from dataclasses import dataclass

import numpy as np

from cst.tokenizer.codebooks import Codebooks
from prior.training.token_cache import TokenSet

SIDE = 32  # pixels: small, so that a shift by a few pixels does not hide a copy


@dataclass(frozen=True)
class Nearest:
    """The nearest training photo of each of B pictures, and its distance.

    by_tokens, by_pixels: (B,) int indices into the training set. agreement: (B,) share of equal tokens, in [0, 1].
    distance: (B,) root mean square difference of the small pictures, in [0, 1].
    """

    by_tokens: np.ndarray
    agreement: np.ndarray
    by_pixels: np.ndarray
    distance: np.ndarray


def small(tokens: np.ndarray, codebooks: Codebooks) -> np.ndarray:
    """(B, L, h, w) integers -> (B, 3 * SIDE * SIDE) float32: the centroid pictures, shrunk by averaging."""
    pictures = []
    for start in range(0, len(tokens), 64):
        drawn = codebooks.centroid_picture(np.asarray(tokens[start : start + 64], np.int32))  # (b, 3, H, W)
        cells = (max(1, drawn.shape[2] // SIDE), max(1, drawn.shape[3] // SIDE))
        height, width = (length // cell * cell for length, cell in zip(drawn.shape[2:], cells, strict=True))
        grid = drawn[:, :, :height, :width].reshape(
            *drawn.shape[:2], height // cells[0], cells[0], width // cells[1], cells[1]
        )
        pictures.append(grid.mean((3, 5)).reshape(len(drawn), -1))
    return np.concatenate(pictures)


class Index:
    """A search index of the training photos and their mirror images."""

    def __init__(self, training: TokenSet, codebooks: Codebooks):
        self.tokens, self.codebooks = np.asarray(training.tokens), codebooks
        self.pictures = small(self.tokens, codebooks)

    def find(self, tokens: np.ndarray, chunk: int = 8) -> Nearest:
        """(B, L, h, w) integers -> the nearest training photo of each."""
        pictures = small(tokens, self.codebooks)
        side = round((pictures.shape[1] / 3) ** 0.5)
        flipped = pictures.reshape(-1, 3, side, pictures.shape[1] // 3 // side)[..., ::-1].reshape(pictures.shape)
        lengths = (self.pictures**2).sum(1)
        squares = np.minimum(
            *(lengths - 2 * view @ self.pictures.T + (view**2).sum(1, keepdims=True) for view in (pictures, flipped))
        )  # (B, training photos)
        equal = np.stack([(self.tokens == one).mean((1, 2, 3)) for one in tokens.astype(self.tokens.dtype)])
        by_pixels, by_tokens, rows = squares.argmin(1), equal.argmax(1), np.arange(len(tokens))
        distance = np.sqrt(np.maximum(squares[rows, by_pixels], 0) / pictures.shape[1])
        return Nearest(by_tokens, equal[rows, by_tokens], by_pixels, distance)
