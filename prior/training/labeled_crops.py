"""Photos of known kinds as tokens: augmented on the fly for training, fixed for validation."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from cst.images import center_crop, to_float
from cst.photos import Entry, Photos
from cst.tokenizer.codebooks import Codebooks
from cst.training.random_crops import Crops
from prior.config import PriorConfig


class LabeledCrops(Crops):
    """Random resized crops (Szegedy et al., 2015) of square shape, flipped half of the time, with their classes.

    Like `Crops`, a batch depends on nothing but the seed and the step.
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
        share: slice = slice(None),
    ):
        super().__init__(photos, size=size, batch=batch, seed=seed, share=share)
        self.labels, self.min_crop = np.asarray(labels, np.int64), min_crop

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """Step -> (batch, 3, size, size) uint8, (batch,) int64 classes."""
        crops, photos = self.draw(step)
        return crops, self.labels[photos]

    def _side(self, rng: np.random.Generator, photo: np.ndarray) -> int:
        """Between `min_crop` and all of the photo's shorter side."""
        return max(1, round(min(photo.shape[:2]) * rng.uniform(self.min_crop, 1)))


def class_names(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The classes of a dataset: the names of the folders its photos lie in, sorted."""
    return tuple(sorted({entry.label for entry in entries}))


def encode_squares(entries: Sequence[Entry], prior: PriorConfig, codebooks: Codebooks) -> tuple[np.ndarray, np.ndarray]:
    """The middle square of every readable photo of a known class -> (B, L, h, w) int32 tokens, (B,) int64 classes.

    Raises ValueError if none is left.
    """
    size = prior.grid[0] * prior.patch
    photos = Photos([entry for entry in entries if entry.label in prior.classes], shortest=max(size, 288), memory_gib=0)
    tokens, labels = [], []
    for index, entry in enumerate(photos.entries):
        if (photo := photos[index]) is not None:
            picture = center_crop(Image.fromarray(photo), size)
            tokens.append(codebooks.encode(to_float(picture)[None], beam=prior.beam)[0])
            labels.append(prior.classes.index(entry.label))
    if not tokens:
        raise ValueError(
            f"none of {len(entries)} photos is readable and of a known class; accepted: folders named as the classes "
            f"it was trained on ({', '.join(prior.classes):.80})"
        )
    return np.stack(tokens), np.array(labels)
