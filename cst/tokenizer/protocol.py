"""The interface of a tokenizer, independent of the library that it runs on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Level:
    """One level of tokens: its name and its vocabulary size."""

    name: str
    size: int


def bits_per_patch(levels: Sequence[Level]) -> float:
    """Bits per patch with fixed-length codes: 9 + 11 + 13 = 33 for 512, 2048 and 8192 codes."""
    return sum(math.log2(level.size) for level in levels)


class Tokenizer(Protocol):
    """Images to integer tokens and back.

    levels: from coarse to fine. patch: the side, in pixels, of the square that one token per level describes.
    fingerprint: identifies the vocabulary; any tokenizer with the same fingerprint can decode the tokens.
    """

    @property
    def levels(self) -> tuple[Level, ...]: ...

    @property
    def patch(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 in [0, 1], H and W multiples of `patch` -> (B, L, h, w) int32."""
        ...

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int32 -> (B, 3, H, W) float32 in [0, 1]."""
        ...
