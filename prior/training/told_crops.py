"""Training pictures for the GPT: random crops, augmented, with numbers that tell the network how.

Jun et al. (2020), "Distribution augmentation for generative modeling": an augmentation that the network is told of does
not leak into its samples.
"""

import itertools

import numpy as np
from PIL import Image

from prior.models.gpt import TOLD
from prior.training.labeled_crops import LabeledCrops

PERMUTATIONS = list(itertools.permutations(range(3)))  # of red, green and blue; the first changes nothing


class ToldCrops(LabeledCrops):
    """Square crops at `size` pixels, mirrored half of the time, with classes and augmentations.

    turned: also transpose and flip pictures and permute their color channels, each told. coarse: the crops are only
    averaged, for networks that see nothing but colors. tint: the share by which each color channel may become lighter
    or darker. full: the side of a picture in pixels; how far a photo is smaller is told (size conditioning, Podell et
    al., 2023), so that small photos, often of a worse kind, teach without being imitated.
    """

    def __init__(self, *arguments, turned: bool, coarse: bool, full: int, tint: float = 0.0, **options):
        super().__init__(*arguments, **options)
        self.turned, self.coarse, self.full, self.tint = turned, coarse, full, tint

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step -> (B, 3, size, size) uint8 pictures, (B,) int64 classes, (B, TOLD) float32."""
        crops, found = self.draw(step)
        photos, told = zip(*found, strict=True)
        return crops, self.labels[list(photos)], np.stack(told)

    def _crop(self, seed: np.random.SeedSequence) -> tuple[np.ndarray, tuple[int, np.ndarray]]:
        rng = np.random.default_rng(seed)
        index, photo = self._photo(rng)
        height, width = photo.shape[:2]
        shorter = min(height, width)
        side = max(self.size // 8, round(shorter * min(1, rng.uniform(self.least, 1.15))))  # the whole side often
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        picture = Image.fromarray(photo).resize(
            (self.size, self.size),
            Image.Resampling.BOX if self.coarse else Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
        )
        crop = np.asarray(picture)
        told = np.zeros(TOLD, np.float32)
        row, column = ((start + side / 2 - length / 2) / shorter for start, length in ((top, height), (left, width)))
        if rng.random() < 0.5:
            crop, column = crop[:, ::-1], -column
        if self.turned and rng.random() < 0.5:
            if rng.random() < 2 / 3:
                crop, row, told[0] = crop[::-1], -row, 1
            if rng.random() < 2 / 3:
                crop, (row, column), told[1] = crop.transpose(1, 0, 2), (column, row), 1
        if self.turned and rng.random() < 0.4:
            which = int(rng.integers(1, len(PERMUTATIONS)))
            crop, told[1 + which] = crop[..., PERMUTATIONS[which]], 1
        told[7:10] = np.log2(side / shorter), row, column
        told[11] = 5 * max(0.0, np.log2(self.full / shorter))  # of the order of 1 for photos 15% too small
        if self.tint:  # small enough to stay untold: another light
            crop = crop * rng.uniform(1 - self.tint, 1 + self.tint, 3) + 255 * rng.uniform(-self.tint, self.tint) / 2
            crop = np.clip(np.round(crop), 0, 255).astype(np.uint8)
        return crop.transpose(2, 0, 1), (index, told)
