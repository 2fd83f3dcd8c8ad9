"""Small random codebooks, pictures and tokens."""

import numpy as np

from cst.tokenizer.codebooks import Codebooks, to_patches


def make_codebooks(seed: int = 0, *, color: int = 16, shape: int = 32, texture: int = 64) -> Codebooks:
    """Random codebooks of about the spread of fitted ones."""
    rng = np.random.default_rng(seed)
    tables = rng.random((color, 3)), rng.normal(0, 0.1, (shape, 192)), rng.normal(0, 0.05, (texture, 192))
    return Codebooks(*(table.astype(np.float32) for table in tables))


def make_images(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).random(size, dtype=np.float32)


def squared_errors(codebooks: Codebooks, images: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(B, h, w): squared error of the centroid picture of every patch, in float64, not clipped."""
    drawn = np.repeat(codebooks.color[tokens[:, 0]].astype(np.float64), 64, axis=-1)
    drawn += codebooks.shape[tokens[:, 1]].astype(np.float64) + codebooks.texture[tokens[:, 2]]
    return np.square(to_patches(images, 8) - drawn).sum(-1)


def make_tokens(seed: int, b: int = 2, h: int = 6, w: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(size, size=(b, h, w)) for size in (16, 32, 64)], 1).astype(np.int32)
