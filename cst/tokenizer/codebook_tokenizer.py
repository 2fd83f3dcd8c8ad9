"""The CST tokenizer: K-means codebooks encode, and RenderNet decodes, on whichever library runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks, check_beam
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.protocol import Level
from cst.tokenizer.tiling import Box, windows

Render = Callable[[np.ndarray], np.ndarray]  # tokens (B, L, h, w) int32 -> picture (B, 3, H, W) float32


class CodebookTokenizer:
    """The `Tokenizer` protocol on an artifact; a runtime adds `render`, which runs RenderNet.

    The codebook search always runs in numpy, so that the codes are the same everywhere. beam: shape codes tried per
    patch, None for the artifact's own choice. max_patches: rendered in one piece. running_on: the library and the
    device, for people. Raises ValueError for an artifact that is damaged.
    """

    def __init__(self, folder: Path, config: TokenizerConfig, *, beam: int | None, max_patches: int):
        self.folder, self.config, self.max_patches = folder, config, max_patches
        self.codebooks = Codebooks.of_artifact(folder, config)
        self.beam = config.beam if beam is None else beam
        check_beam(self.beam)
        self.render: Render
        self.running_on = ""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Color, shape and texture."""
        return self.codebooks.levels

    @property
    def patch(self) -> int:
        """Side of a patch, pixels."""
        return self.config.patch

    @property
    def fingerprint(self) -> str:
        """Of the codebooks."""
        return self.config.fingerprint

    def statistics(self) -> Statistics:
        """How often each code occurs in photos. Raises ValueError if that was not counted."""
        return Statistics.of_artifact(self.folder, self.config)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 in [0, 1], sides multiples of the patch -> (B, L, h, w) int32."""
        return self.codebooks.encode(images, beam=self.beam)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(B, L, h, w) integers -> (B, 3, H, W) float32 in [0, 1]. Raises ValueError for codes out of range."""
        self.codebooks.check_tokens(tokens)
        b, _, h, w = tokens.shape
        picture = np.empty((b, 3, h * self.patch, w * self.patch), np.float32)
        for (rows, columns), piece in self.iter_decode(tokens):
            picture[:, :, rows, columns] = piece
        return picture

    def iter_decode(self, tokens: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
        """As `decode`, piece by piece: yields the place in pixels, and its (B, 3, n, m) float32 in [0, 1].

        Pieces keep memory flat and let a caller stop. They do not change the picture: each is rendered from all the
        patches that its pixels depend on. A picture of at most `max_patches` patches is one piece.
        """
        self.codebooks.check_tokens(tokens)
        for window in windows(*tokens.shape[2:], most=self.max_patches, margin=self.config.rendernet.margin):
            rendered = self.render(np.ascontiguousarray(tokens[:, :, *window.seen], np.int32))
            piece = rendered[:, :, *in_pixels(window.inner, self.patch)]
            yield in_pixels(window.kept, self.patch), np.clip(piece, 0, 1)


def in_pixels(box: Box, patch: int) -> Box:
    """Rows and columns of patches -> of pixels."""
    rows, columns = (slice(patch * side.start, patch * side.stop) for side in box)
    return rows, columns
