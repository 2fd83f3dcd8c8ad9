"""How near a picture is to the original (PSNR, SSIM, MS-SSIM, L1), and how well codes are used; numpy alone."""

import numpy as np

CHUNK = 2**18  # values that are compared together
STRIP = 128  # rows of windows that are measured together
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., 2003, section 3.2


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two arrays of one shape, float in [0, 1]; infinite if equal.

    Memory stays flat. Every measure here raises ValueError for other arrays.
    """
    _check(image, original)
    x, y, error = image.ravel(), original.ravel(), 0.0
    for start in range(0, len(x), CHUNK):
        gap = x[start : start + CHUNK].astype(np.float64) - y[start : start + CHUNK]
        error += float(gap @ gap) / len(x)
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def l1(image: np.ndarray, original: np.ndarray) -> float:
    """Mean absolute difference, in [0, 1], of two arrays of one shape, float in [0, 1]."""
    _check(image, original)
    return float(np.mean(np.abs(image.astype(np.float64) - original)))


def ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Structural similarity of two (C, H, W) float pictures in [0, 1], at least 11 pixels a side; 1 if equal.

    Gaussian window of 11 pixels, sigma 1.5, mean over the channels and over windows that lie inside
    (Wang et al., 2004, section III.C). Memory beyond the pictures stays flat: a strip of rows at a time.
    """
    _check(image, original, ndim=3)
    height, total, windows = image.shape[1], 0.0, 0
    for top in range(0, max(1, height - 10), STRIP):
        rows = slice(top, top + STRIP + 10)
        values = _similarity(image[:, rows], original[:, rows])[0]
        total, windows = total + float(values.sum()), windows + values.size
    return total / windows


def ms_ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Multi-scale structural similarity (Wang et al., 2003, eq. 7) of (3, H, W) pictures, five scales.

    Pictures under 176 pixels a side take as many scales as fit, their weights rescaled to sum to one.
    """
    _check(image, original, ndim=3)
    scales = sum(min(image.shape[1:]) // 2**scale >= 11 for scale in range(len(MS_SSIM_WEIGHTS)))
    if scales == 0:
        raise ValueError(f"MS-SSIM of a {image.shape[2]}x{image.shape[1]} picture; accepted: at least 11 pixels a side")
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    product = 1.0
    for scale, weight in enumerate(weights):
        full, contrast = _similarity(image, original)
        product *= max(0.0, float(np.mean(full if scale == scales - 1 else contrast))) ** weight
        image, original = _halve(image), _halve(original)
    return product


def _check(x: np.ndarray, y: np.ndarray, *, ndim: int | None = None) -> None:
    """Raise ValueError unless both are of one shape that holds something, of `ndim` axes, and float."""
    for array in (x, y):
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"a picture of {array.dtype} can't be measured; accepted: float in [0, 1]")
    if x.shape != y.shape or not x.size or (ndim is not None and x.ndim != ndim):
        wanted = "two of one shape" + (" (C, H, W)" if ndim == 3 else "")
        raise ValueError(f"pictures of shapes {x.shape} and {y.shape} can't be compared; accepted: {wanted}, not empty")


def _similarity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(SSIM map, contrast-structure map) of two (3, H, W) pictures."""
    _check(x, y, ndim=3)
    if min(x.shape[1:]) < 11:
        raise ValueError(f"SSIM of a picture {x.shape}; accepted: (C, H, W) of at least 11 pixels a side")
    c1, c2 = 0.01**2, 0.03**2
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    contrast = (2 * (_blur(x * y) - mean_x * mean_y) + c2) / (var_x + var_y + c2)
    return contrast * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1), contrast


def _blur(x: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (3, H - 10, W - 10): a separable Gaussian."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x = sum(weight * x[:, i : x.shape[1] - 10 + i] for i, weight in enumerate(window))
    return sum(weight * x[:, :, i : x.shape[2] - 10 + i] for i, weight in enumerate(window))


def _halve(x: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (3, H // 2, W // 2): the mean of every 2x2 square."""
    c, h, w = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).mean((2, 4))


def usage(counts: np.ndarray) -> tuple[float, float]:
    """(K,) how often each code occurred -> (share of codes that occur, perplexity: 2 to the entropy in bits)."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(np.mean(counts > 0)), float(2 ** -(p * np.log2(p)).sum()) if len(p) else 0.0
