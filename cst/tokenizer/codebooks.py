"""The encoder: three K-means codebooks that turn 8x8 patches into color, shape and texture codes, in numpy."""

import hashlib
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from cst.artifact import replacing
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.nearest import NearestNeighbors
from cst.tokenizer.protocol import Level

LEVEL_NAMES = ("color", "shape", "texture")


def to_patches(images: np.ndarray, patch: int) -> np.ndarray:
    """(B, 3, H, W) -> (B, h, w, 3 * patch * patch), each patch flattened with the channel first."""
    b, c, height, width = images.shape
    grid = images.reshape(b, c, height // patch, patch, width // patch, patch)  # (B, 3, h, p, w, p)
    return grid.transpose(0, 2, 4, 1, 3, 5).reshape(b, height // patch, width // patch, c * patch * patch)


def from_patches(patches: np.ndarray, patch: int) -> np.ndarray:
    """(B, h, w, 3 * patch * patch) -> (B, 3, H, W): the inverse of `to_patches`."""
    b, h, w, _ = patches.shape
    grid = patches.reshape(b, h, w, 3, patch, patch).transpose(0, 3, 1, 4, 2, 5)  # (B, 3, h, p, w, p)
    return grid.reshape(b, 3, h * patch, w * patch)


class Codebooks:
    """The centroids of the three levels, in pixel units, and the encoding they define.

    color: (512, 3), shape: (2048, 192), texture: (8192, 192) float32; other numbers of codes and patches work too.
    """

    def __init__(self, color: np.ndarray, shape: np.ndarray, texture: np.ndarray, *, patch: int = 8):
        self.patch = patch
        self.color, self.shape, self.texture = (np.ascontiguousarray(c, np.float32) for c in (color, shape, texture))
        dims = 3 * patch * patch
        for name, table, width in zip(LEVEL_NAMES, self.tables, (3, dims, dims), strict=True):
            if table.ndim != 2 or table.shape[1] != width or len(table) < 1:
                raise ValueError(f"the {name} codebook has shape {table.shape}; accepted: (codes, {width})")
        self._nearest = tuple(NearestNeighbors(table) for table in self.tables)

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three codebooks, coarse to fine."""
        return self.color, self.shape, self.texture

    @property
    def levels(self) -> tuple[Level, ...]:
        return tuple(Level(name, len(table)) for name, table in zip(LEVEL_NAMES, self.tables, strict=True))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify these codebooks: tokens can only be decoded by the codebooks that wrote them."""
        digest = hashlib.sha256(f"cst {self.patch}".encode())
        for table in self.tables:
            digest.update(repr(table.shape).encode() + table.astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def load(cls, path: Path, *, patch: int = 8) -> "Codebooks":
        """Read `codebooks.safetensors`. Raises ValueError if its tensors are not exactly the three codebooks."""
        tensors = load_file(path)
        if set(tensors) != set(LEVEL_NAMES):
            raise ValueError(f"'{path}' holds {sorted(tensors)}; accepted: exactly {sorted(LEVEL_NAMES)}")
        return cls(**tensors, patch=patch)

    def save(self, path: Path) -> None:
        """Write `codebooks.safetensors` in float16, atomically."""
        with replacing(path) as part:
            save_file({n: t.astype(np.float16) for n, t in zip(LEVEL_NAMES, self.tables, strict=True)}, part)

    @classmethod
    def of_artifact(cls, folder: str | os.PathLike, config: TokenizerConfig) -> "Codebooks":
        """The codebooks of an artifact. Raises ValueError if they are damaged or do not match its `config.json`."""
        codebooks = cls.load(config.check_file(folder, "codebooks.safetensors"), patch=config.patch)
        if codebooks.fingerprint != config.fingerprint:
            raise ValueError(
                f"'{folder}': its codebooks are {codebooks.fingerprint}, its config.json names "
                f"{config.fingerprint}; copy the artifact again"
            )
        return codebooks

    def encode(self, images: np.ndarray, *, beam: int = 1) -> np.ndarray:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, h, w) int32; H and W must be multiples of the patch.

        beam: how many of the nearest shape codes to try per patch, each with its best texture code, keeping the pair
        with the smallest error; 1 is greedy. Works strip by strip in constant memory.
        """
        check_images(images, self.patch)
        check_beam(beam)
        b, _, height, width = images.shape
        h, w = height // self.patch, width // self.patch
        tokens = np.empty((b, 3, h, w), np.int32)
        rows = max(1, 4096 // w)
        for i in range(b):
            for top in range(0, h, rows):
                strip = images[i : i + 1, :, top * self.patch : (top + rows) * self.patch]
                patches = to_patches(strip, self.patch).reshape(-1, 3 * self.patch**2)
                tokens[i, :, top : top + rows] = self.encode_patches(patches, beam=beam).T.reshape(3, -1, w)
        return tokens

    def encode_patches(self, patches: np.ndarray, *, beam: int = 1) -> np.ndarray:
        """(N, 192) float32 in [0, 1] -> (N, 3) int32."""
        color = self._nearest[0](self.means(patches))
        rest = self.subtract_color(patches, color)
        if beam == 1:
            shape = self._nearest[1](rest)
            return np.stack([color, shape, self._nearest[2](rest - self.shape[shape])], 1)
        return np.column_stack([color, *self._search_pairs(rest, beam)])

    def means(self, patches: np.ndarray) -> np.ndarray:
        """(N, 192) -> (N, 3): the mean color of each patch."""
        return patches.reshape(len(patches), 3, -1).mean(2)

    def subtract_color(self, patches: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(N, 192), (N,) int -> (N, 192): the first residual."""
        return patches - self.centroids(0, codes)

    def centroids(self, level: int, codes: np.ndarray) -> np.ndarray:
        """Codes of one level, of any shape -> (..., 192) float32: their centroids as flattened patches."""
        rows = self.tables[level][codes]
        return np.repeat(rows, self.patch**2, axis=-1) if level == 0 else rows

    def _search_pairs(self, rest: np.ndarray, beam: int) -> tuple[np.ndarray, np.ndarray]:
        """(N, 192) first residual -> the best (shape, texture), each (N,) int32, over the `beam` nearest shapes."""
        beam = min(beam, len(self.shape))
        pairs = np.empty((2, len(rest)), np.int32)
        step = max(1, 4096 // beam)
        for start in range(0, len(rest), step):
            part = rest[start : start + step]
            rows = np.arange(len(part))
            shapes = self._nearest[1].shortlist(part, beam)  # (n, beam)
            seconds = part[:, None] - self.shape[shapes]  # (n, beam, 192)
            textures = self._nearest[2](seconds.reshape(-1, part.shape[1])).reshape(shapes.shape)
            gaps = seconds - self.texture[textures]
            best = np.einsum("nbd,nbd->nb", gaps, gaps).argmin(1)
            pairs[:, start : start + step] = shapes[rows, best], textures[rows, best]
        return pairs[0], pairs[1]

    def centroid_picture(self, tokens: np.ndarray, *, levels: int = 3) -> np.ndarray:
        """Sum the centroids of the first `levels` levels: (B, 3, h, w) int32 -> (B, 3, H, W) float32 in [0, 1]."""
        self.check_tokens(tokens)
        if levels not in range(1, len(self.levels) + 1):
            raise ValueError(f"{levels} levels; accepted: 1 (only color) to {len(self.levels)}")
        patches = self.centroids(0, tokens[:, 0])  # (B, h, w, 192)
        for level in (1, 2):
            if level < levels:
                patches += self.centroids(level, tokens[:, level])
        return np.clip(from_patches(patches, self.patch), 0, 1)

    def check_tokens(self, tokens: np.ndarray) -> None:
        """Raise ValueError unless tokens are (B, 3, h, w) integers within the vocabularies."""
        if not isinstance(tokens, np.ndarray) or not np.issubdtype(tokens.dtype, np.integer):
            raise ValueError(f"tokens must be an integer array, not {getattr(tokens, 'dtype', type(tokens).__name__)}")
        if tokens.ndim != 4 or tokens.shape[1] != 3 or 0 in tokens.shape:
            raise ValueError(f"tokens of shape {tokens.shape}; accepted: (B, 3, h, w), no side of zero")
        for index, level in enumerate(self.levels):
            low, high = int(tokens[:, index].min()), int(tokens[:, index].max())
            if low < 0 or high >= level.size:
                raise ValueError(f"{level.name} codes span {low} to {high}; accepted: 0 to {level.size - 1}")


def check_beam(beam: int) -> None:
    """Raise ValueError unless `beam` is a whole number from 1."""
    if not isinstance(beam, int) or beam < 1:
        raise ValueError(f"a beam of {beam}; accepted: a whole number, at least 1")


def check_images(images: np.ndarray, patch: int) -> None:
    """Raise ValueError unless images are (B, 3, H, W) float32 in [0, 1] with sides that are multiples of `patch`."""
    if not isinstance(images, np.ndarray) or images.dtype != np.float32 or images.ndim != 4 or images.shape[1] != 3:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"images are {found}; accepted: float32 (B, 3, H, W)")
    if 0 in images.shape or images.shape[2] % patch or images.shape[3] % patch:
        raise ValueError(
            f"images of {images.shape[2]}x{images.shape[3]}; accepted: sides that are multiples of {patch}"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # false for NaN too
        raise ValueError(f"images span {low:g} to {high:g}; accepted: [0, 1]")
