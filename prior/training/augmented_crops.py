"""Training pictures for the GPT: random crops, augmented, with numbers that describe the augmentation.

The network is conditioned on these numbers, so that augmentations do not leak into its samples (Jun et al., 2020,
"Distribution augmentation for generative modeling").
"""

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cst.photos import Photos
from prior.models.gpt import AUGMENTATIONS
from prior.training.labeled_crops import LabeledCrops

PERMUTATIONS = list(itertools.permutations(range(3)))  # of red, green and blue; the first changes nothing


class AugmentedCrops(LabeledCrops):
    """Square crops at `size` pixels, mirrored half of the time, with classes and augmentations.

    turned: also transpose and flip pictures and permute their color channels. coarse: crops are averaged (box filter),
    for networks of colors only. color_jitter: the largest relative change of each color channel, and twice the
    largest shift of all; the network is not told. full: the side of a picture in pixels; a smaller photo is described
    as such (size conditioning, Podell et al., 2023), since small photos are often worse ones.
    """

    def __init__(
        self,
        photos: Photos,
        labels: Sequence[int],
        *,
        size: int,
        batch: int,
        min_crop: float,
        seed: int,
        turned: bool,
        coarse: bool,
        full: int,
        color_jitter: float = 0.0,
    ):
        super().__init__(photos, labels, size=size, batch=batch, min_crop=min_crop, seed=seed)
        self.turned, self.coarse, self.full, self.color_jitter = turned, coarse, full, color_jitter

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """Step -> (B, 3, size, size) uint8 pictures, (B,) int64 classes, (B, AUGMENTATIONS) float32."""
        crops, drawn = self.draw(step)
        photos, augmentations = zip(*drawn, strict=True)
        return crops, self.labels[list(photos)], np.stack(augmentations)

    def _crop(self, seed: np.random.SeedSequence) -> tuple[np.ndarray, tuple[int, np.ndarray]]:
        rng = np.random.default_rng(seed)
        index, photo = self._photo(rng)
        height, width = photo.shape[:2]
        shorter = min(height, width)
        share = min(1, rng.uniform(self.min_crop, 1.15))  # the whole side often
        side = min(shorter, max(self.size // 8, round(shorter * share)))
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        picture = Image.fromarray(photo).resize(
            (self.size, self.size),
            Image.Resampling.BOX if self.coarse else Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
        )
        crop = np.asarray(picture)
        augmentation = np.zeros(AUGMENTATIONS, np.float32)
        row, column = ((start + side / 2 - length / 2) / shorter for start, length in ((top, height), (left, width)))
        if rng.random() < 0.5:
            crop, column = crop[:, ::-1], -column
        if self.turned and rng.random() < 0.5:
            if rng.random() < 2 / 3:
                crop, row, augmentation[0] = crop[::-1], -row, 1
            if rng.random() < 2 / 3:
                crop, (row, column), augmentation[1] = crop.transpose(1, 0, 2), (column, row), 1
        if self.turned and rng.random() < 0.4:
            which = int(rng.integers(1, len(PERMUTATIONS)))
            crop, augmentation[1 + which] = crop[..., PERMUTATIONS[which]], 1
        augmentation[7:10] = np.log2(side / shorter), row, column
        augmentation[11] = 5 * max(0.0, np.log2(self.full / shorter))  # of the order of 1 for photos 15% too small
        if jitter := self.color_jitter:
            crop = crop * rng.uniform(1 - jitter, 1 + jitter, 3) + 255 * rng.uniform(-jitter, jitter) / 2
            crop = np.clip(np.round(crop), 0, 255).astype(np.uint8)
        return crop.transpose(2, 0, 1), (index, augmentation)
