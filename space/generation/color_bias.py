"""Logit biases of the color codes: numbers that are added to the log-probabilities before sampling."""

import numpy as np

from space.color import oklab

# Standard deviations in OKLab.
PAINTED = 0.04  # around a painted color: narrow enough to keep the sketch, wide enough for natural colors
LIGHTNESS = 0.02  # around a patch's lightness when it is recolored; if wider, neighbors differ visibly as squares
OWN_COLOR = 0.02  # around a patch's own hue and chroma, at a distance of 0
HALFWAY = 0.08  # how much wider that is at a distance of 0.5


def toward_painted(
    codebook: np.ndarray, colors: np.ndarray, painted: np.ndarray, *, deviation: float = PAINTED
) -> np.ndarray:
    """A bias toward the painted colors; zero where nothing is painted.

    codebook: (V, 3), colors: (h, w, 3), both in [0, 1]; painted: (h, w) bool. deviation: the standard deviation of a
    normal distribution around each painted color in OKLab. Returns (h, w, V) float64, 0 at most.
    """
    differences = oklab(colors)[:, :, None] - oklab(codebook)  # (h, w, V, 3)
    return -np.square(differences).sum(3) / (2 * deviation**2) * painted[..., None]


def keeping_lightness(codebook: np.ndarray, codes: np.ndarray, distance: float) -> np.ndarray:
    """A bias toward colors with each patch's own lightness, and with a similar hue and chroma.

    codebook: (V, 3) in [0, 1]. codes: (h, w) int, the patches' own colors. distance: 0 keeps hue and chroma close, 1
    leaves them free. Returns (h, w, V) float64, 0 at most. Raises ValueError for a distance out of range.
    """
    if not 0 <= distance <= 1:
        raise ValueError(f"a distance of {distance} from the photo's colors; accepted: 0 (near) to 1 (free)")
    entries = oklab(codebook)
    squares = np.square(entries[codes][:, :, None] - entries)  # (h, w, V, 3)
    bias = -squares[..., 0] / (2 * LIGHTNESS**2)
    if distance < 1:
        deviation = OWN_COLOR + HALFWAY * distance / (1 - distance)
        bias -= squares[..., 1:].sum(3) / (2 * deviation**2)
    return bias
