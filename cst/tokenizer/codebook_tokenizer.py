"""The CST tokenizer: K-means codebooks encode, and RenderNet decodes, on whichever library runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks, check_beam
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.protocol import Level
from cst.tokenizer.tiling import Box, tile_grid

Render = Callable[[np.ndarray], np.ndarray]  # tokens (B, L, h, w) int32 -> picture (B, 3, H, W) float32


class CodebookTokenizer:
    """The `Tokenizer` protocol on an artifact; a runtime adds `render`, which runs RenderNet.

    The codebook search always runs in numpy, so that the codes are the same everywhere. beam: shape codes tried per
    patch; None takes the artifact's default. max_patches: the largest piece to render at once. running_on: a
    description of the library and the device. fallback: why it is not the wanted one, or empty. Raises ValueError for
    a damaged artifact.
    """

    def __init__(self, folder: Path, config: TokenizerConfig, *, beam: int | None, max_patches: int):
        self.folder, self.config, self.max_patches = folder, config, max_patches
        self.codebooks = Codebooks.of_artifact(folder, config)
        self.beam = config.beam if beam is None else beam
        check_beam(self.beam)
        self.render: Render
        self.running_on = self.fallback = ""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Color, shape and texture."""
        return self.codebooks.levels

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.config.patch

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the codebooks."""
        return self.config.fingerprint

    def statistics(self) -> Statistics:
        """How often each code occurs in photos. Raises ValueError if the artifact has no statistics."""
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
        """As `decode`, piece by piece: yields the rows and columns in pixels, and their (B, 3, n, m) float32 in [0, 1].

        Pieces bound the memory and let a caller stop. They do not change the picture: each is rendered from all
        patches that its pixels depend on. A picture of at most `max_patches` patches is one piece.
        """
        self.codebooks.check_tokens(tokens)
        assert self.config.rendernet is not None
        h, w = tokens.shape[2:]
        for tile in tile_grid(h, w, max_patches=self.max_patches, margin=self.config.rendernet.margin):
            rendered = self.render(np.ascontiguousarray(tokens[:, :, *tile.input], np.int32))
            piece = rendered[:, :, *in_pixels(tile.crop, self.patch)]
            yield in_pixels(tile.output, self.patch), np.clip(piece, 0, 1)


def in_pixels(box: Box, patch: int) -> Box:
    """Convert rows and columns from patches to pixels."""
    rows, columns = (slice(patch * side.start, patch * side.stop) for side in box)
    return rows, columns
