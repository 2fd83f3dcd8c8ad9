"""Picture quality (PSNR, SSIM, MS-SSIM, L1) and codebook usage, in numpy."""

import numpy as np

MAX_PSNR = 100.0  # dB; instead of infinity for a picture without error, so that means stay finite
CHUNK = 2**18  # values compared at once
STRIP = 128  # rows of windows measured at once
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., 2003, section 3.2


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two float arrays of the same shape, in [0, 1]; infinite if they are equal.

    Uses constant memory. Raises ValueError, as every metric here, for other arrays.
    """
    _check(image, original)
    x, y, error = image.ravel(), original.ravel(), 0.0
    for start in range(0, len(x), CHUNK):
        gap = x[start : start + CHUNK].astype(np.float64) - y[start : start + CHUNK]
        error += float(gap @ gap) / len(x)
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def l1(image: np.ndarray, original: np.ndarray) -> float:
    """Mean absolute difference of two float arrays of the same shape, in [0, 1]."""
    _check(image, original)
    return float(np.mean(np.abs(image.astype(np.float64) - original)))


def ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Structural similarity of two (C, H, W) float pictures in [0, 1], sides of at least 11 pixels; 1 if equal.

    Gaussian window of 11 pixels, sigma 1.5; mean over the channels and over the windows that lie fully inside
    (Wang et al., 2004, section III.C). Works strip by strip in constant memory.
    """
    _check(image, original, ndim=3)
    height, total, windows = image.shape[1], 0.0, 0
    for top in range(0, max(1, height - 10), STRIP):
        rows = slice(top, top + STRIP + 10)
        values = _similarity(image[:, rows], original[:, rows])[0]
        total, windows = total + float(values.sum()), windows + values.size
    return total / windows


def ms_ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Multi-scale structural similarity of two (C, H, W) float pictures in [0, 1] (Wang et al., 2003, eq. 7).

    Five scales; pictures with a side under 176 pixels use as many as fit, with weights rescaled to a sum of 1.
    """
    _check(image, original, ndim=3)
    scales = sum(min(image.shape[1:]) // 2**scale >= 11 for scale in range(len(MS_SSIM_WEIGHTS)))
    if scales == 0:
        raise ValueError(
            f"MS-SSIM of a {image.shape[2]}x{image.shape[1]} picture; accepted: sides of at least 11 pixels"
        )
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    product = 1.0
    for scale, weight in enumerate(weights):
        full, contrast = _similarity(image, original)
        product *= max(0.0, float(np.mean(full if scale == scales - 1 else contrast))) ** weight
        image, original = _halve(image), _halve(original)
    return product


def _check(x: np.ndarray, y: np.ndarray, *, ndim: int | None = None) -> None:
    """Raise ValueError unless both are float, not empty, and of the same shape, with `ndim` axes."""
    for array in (x, y):
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"a picture of {array.dtype} can't be compared; accepted: float in [0, 1]")
    if x.shape != y.shape or not x.size or (ndim is not None and x.ndim != ndim):
        accepted = "the same shape" + (" (C, H, W)" if ndim == 3 else "")
        raise ValueError(
            f"pictures of shapes {x.shape} and {y.shape} can't be compared; accepted: {accepted}, not empty"
        )


def _similarity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(SSIM map, contrast-structure map) of two (3, H, W) pictures."""
    _check(x, y, ndim=3)
    if min(x.shape[1:]) < 11:
        raise ValueError(f"SSIM of a picture {x.shape}; accepted: (C, H, W), sides of at least 11 pixels")
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
    """(3, H, W) -> (3, H // 2, W // 2): the mean of each 2x2 square."""
    c, h, w = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).mean((2, 4))


def usage(counts: np.ndarray) -> tuple[float, float]:
    """(K,) counts of each code -> (share of codes that occur, perplexity: 2 to the power of the entropy in bits)."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(np.mean(counts > 0)), float(2 ** -(p * np.log2(p)).sum()) if len(p) else 0.0
