"""The metrics agree with scikit-image."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from cst.metrics import l1, ms_ssim, psnr, ssim, usage


def make_pair(seed: int, height: int, width: int, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """A (3, H, W) picture with smooth and rough parts, and the same with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = 0.5 + 0.3 * np.sin(np.stack([x / 9, y / 5, (x + y) / 7])) + rng.normal(0, 0.05, (3, height, width))
    picture = np.clip(picture, 0, 1)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 1), picture


@pytest.mark.parametrize("seed", range(3))
def test_psnr_and_l1_equal_their_definitions(seed):
    image, original = make_pair(seed, 20, 30)
    assert psnr(image, original) == pytest.approx(peak_signal_noise_ratio(original, image, data_range=1))
    assert l1(image, original) == pytest.approx(np.abs(image - original).mean())
    assert psnr(original, original) == float("inf")
    assert psnr(np.zeros((3, 4, 4), np.float32), np.full((3, 4, 4), 0.1, np.float32)) == pytest.approx(20)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (40, 33), (64, 96)])
def test_ssim_equals_scikit_image(height, width):
    image, original = make_pair(0, height, width)
    expected = structural_similarity(
        image, original, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=0, data_range=1
    )  # which also leaves out the windows that reach over the border
    assert ssim(image, original) == pytest.approx(expected, abs=1e-9)
    assert ssim(image.astype(np.float32), original.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


def test_similarity_is_1_for_equal_pictures_and_falls_with_noise():
    for measure in (ssim, ms_ssim):
        values = [measure(*make_pair(0, 90, 70, noise)) for noise in (0, 0.05, 0.2)]
        assert values[0] == pytest.approx(1)
        assert values[0] > values[1] > values[2] > 0


def reference_ms_ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Wang et al., 2003, eq. 7, from scikit-image's SSIM maps and scipy's Gaussian."""
    scales = sum(min(image.shape[1:]) >= 11 * 2**scale for scale in range(5))
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    product, options = 1.0, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for scale, weight in enumerate(weights / weights.sum()):
        _, similarity = structural_similarity(image, original, channel_axis=0, data_range=1, full=True, **options)
        x, y = (gaussian_filter(picture, (0, 1.5, 1.5), truncate=3.5) for picture in (image, original))
        luminance = (2 * x * y + 0.01**2) / (x**2 + y**2 + 0.01**2)
        terms = similarity if scale == scales - 1 else similarity / luminance
        product *= terms[:, 5:-5, 5:-5].mean() ** weight
        height, width = (side // 2 * 2 for side in image.shape[1:])
        image, original = (downscale_local_mean(p[:, :height, :width], (1, 2, 2)) for p in (image, original))
    return product


@pytest.mark.parametrize(("height", "width"), [(11, 40), (47, 90), (180, 200)])
def test_ms_ssim_equals_its_definition(height, width):
    image, original = make_pair(0, height, width)
    assert ms_ssim(image, original) == pytest.approx(reference_ms_ssim(image, original), abs=1e-9)


def test_pictures_that_are_too_small_or_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="10x40"):
        ms_ssim(*make_pair(0, 40, 10))
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(*make_pair(0, 10, 40))
    with pytest.raises(ValueError, match="the same shape"):
        ssim(make_pair(0, 20, 20)[0], make_pair(0, 20, 21)[0])


def test_usage_and_perplexity_of_counts():
    assert usage(np.array([5, 5, 5, 5])) == (1, pytest.approx(4))
    assert usage(np.array([7, 0, 7, 0])) == (0.5, pytest.approx(2))
    assert usage(np.array([9, 0, 0])) == (pytest.approx(1 / 3), pytest.approx(1))
    assert usage(np.zeros(4, int)) == (0, 0)
