"""Training crops: random squares of photos at several scales, flipped half of the time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from cst.photos import Photos


class Crops:
    """Batches of crops that depend only on the seed and the step, so that a resumed run uses the same data.

    share: the part of each batch for one of several processes.
    """

    def __init__(
        self,
        photos: Photos,
        *,
        size: int,
        batch: int,
        scales: tuple[float, ...] = (1.0,),
        seed: int,
        share: slice = slice(None),
        workers: int = 2,
    ):
        self.photos, self.size, self.batch = photos, size, batch
        self.scales, self.seed, self.share = scales, seed, share
        self._pool = ThreadPoolExecutor(workers)  # Pillow releases the interpreter lock

    def __getitem__(self, step: int) -> Any:
        """The crops of a step: (batch, 3, size, size) uint8."""
        return self.draw(step)[0]

    def draw(self, step: int) -> tuple[np.ndarray, list[Any]]:
        """The crops of a step, (batch, 3, size, size) uint8, and the index of each crop's photo."""
        seeds = np.random.SeedSequence([self.seed, step]).spawn(self.batch)[self.share]
        crops, photos = zip(*self._pool.map(self._crop, seeds), strict=True)
        return np.stack(crops), list(photos)

    def ahead(self, start: int, stop: int) -> Iterator:
        """The batches of steps start to stop - 1; the next one is prepared while the current one is used."""
        with ThreadPoolExecutor(1) as maker:
            pending = maker.submit(self.__getitem__, start)
            for step in range(start, stop):
                batch = pending.result()
                pending = maker.submit(self.__getitem__, step + 1)
                yield batch

    def _side(self, rng: np.random.Generator, photo: np.ndarray) -> int:
        """Side of the square to cut out, in pixels of the photo."""
        return min(round(self.size / rng.choice(self.scales)), *photo.shape[:2])

    def _crop(self, seed: np.random.SeedSequence) -> tuple[np.ndarray, Any]:
        rng = np.random.default_rng(seed)
        index, photo = self._photo(rng)
        side = self._side(rng, photo)
        top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if side != self.size:
            crop = np.asarray(Image.fromarray(crop).resize((self.size, self.size), Image.Resampling.LANCZOS))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.transpose(2, 0, 1), index

    def _photo(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        for _ in range(100):
            index = int(rng.integers(len(self.photos)))
            if (photo := self.photos[index]) is not None:
                return index, photo
        raise ValueError("100 photos in a row could not be read; check the --images")
