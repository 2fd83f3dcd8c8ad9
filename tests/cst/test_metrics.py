"""The measures agree with scikit-image and with the losses of training."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cst.metrics import l1, ms_ssim, psnr, ssim, usage


def make_pair(seed: int, height: int, width: int, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """A (3, H, W) picture with smooth and rough parts, and the same with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = 0.5 + 0.3 * np.sin(np.stack([x / 9, y / 5, (x + y) / 7])) + rng.normal(0, 0.05, (3, height, width))
    picture = np.clip(picture, 0, 1)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 1), picture


@pytest.mark.parametrize("seed", range(3))
def test_psnr_and_l1_are_what_their_names_say(seed):
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


def test_equal_pictures_are_alike_and_noise_makes_them_less_so():
    for measure in (ssim, ms_ssim):
        values = [measure(*make_pair(0, 90, 70, noise)) for noise in (0, 0.05, 0.2)]
        assert values[0] == pytest.approx(1)
        assert values[0] > values[1] > values[2] > 0


@pytest.mark.parametrize(("height", "width"), [(11, 40), (47, 90), (180, 200)])
def test_ms_ssim_equals_the_training_loss(height, width, one_thread):
    import torch

    from cst.training.losses import ms_ssim as loss

    pairs = [make_pair(seed, height, width) for seed in range(2)]
    x, y = (torch.tensor(np.stack(side), dtype=torch.float32) for side in zip(*pairs, strict=True))
    expected = np.mean([ms_ssim(*pair) for pair in pairs])
    assert loss(x, y).item() == pytest.approx(expected, abs=1e-5)


def test_pictures_too_small_or_unequal_are_refused():
    with pytest.raises(ValueError, match="10x40"):
        ms_ssim(*make_pair(0, 40, 10))
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(*make_pair(0, 10, 40))
    with pytest.raises(ValueError, match="of one shape"):
        ssim(make_pair(0, 20, 20)[0], make_pair(0, 20, 21)[0])


def test_usage_and_perplexity_of_counts():
    assert usage(np.array([5, 5, 5, 5])) == (1, pytest.approx(4))
    assert usage(np.array([7, 0, 7, 0])) == (0.5, pytest.approx(2))
    assert usage(np.array([9, 0, 0])) == (pytest.approx(1 / 3), pytest.approx(1))
    assert usage(np.zeros(4, int)) == (0, 0)
