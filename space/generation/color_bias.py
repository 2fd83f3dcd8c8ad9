"""A wish for some colors at a place, as numbers that are added to the log-probabilities of the color codes."""

import numpy as np

from space.color import oklab

LOOSE = 0.04  # of a painted color, in OKLab: near enough to keep the sketch, wide enough for natural colors
LIGHTNESS = 0.02  # of a patch that is recolored: wider, and neighbors differ so much that patches show as squares
NEAR = 0.02  # of a patch's own hue and chroma, where recoloring keeps to them
FAR = 0.08  # how much wider that is half way to free


def toward(codebook: np.ndarray, colors: np.ndarray, painted: np.ndarray, *, spread: float = LOOSE) -> np.ndarray:
    """A lean to the painted colors, none where nothing is painted.

    codebook: (V, 3), colors: (h, w, 3), both in [0, 1]; painted: (h, w) bool. spread: the standard deviation of a
    normal distribution around each painted color in OKLab. Returns (h, w, V) float64, 0 at most.
    """
    gaps = oklab(colors)[:, :, None] - oklab(codebook)  # (h, w, V, 3)
    return -np.square(gaps).sum(3) / (2 * spread**2) * painted[..., None]


def keeping_lightness(codebook: np.ndarray, codes: np.ndarray, far: float) -> np.ndarray:
    """A lean to colors as light as each patch's own, and as near in hue and chroma as `far` says.

    codebook: (V, 3) in [0, 1]. codes: (h, w) int, the patches' own colors. far: 0 keeps near them, 1 leaves hue and
    chroma free. Returns (h, w, V) float64, 0 at most. Raises ValueError for `far` out of range.
    """
    if not 0 <= far <= 1:
        raise ValueError(f"{far} from its own colors; accepted: 0 (near) to 1 (free)")
    all_colors = oklab(codebook)
    squares = np.square(all_colors[codes][:, :, None] - all_colors)  # (h, w, V, 3)
    lean = -squares[..., 0] / (2 * LIGHTNESS**2)
    if far < 1:
        lean -= squares[..., 1:].sum(3) / (2 * (NEAR + FAR * far / (1 - far)) ** 2)
    return lean
