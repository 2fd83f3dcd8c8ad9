"""Training crops: random squares of photos at several scales, flipped half of the time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from cst.images import Photos


class Crops:
    """Batches of crops that depend only on the seed and the step, so that a resumed run sees the very same data."""

    def __init__(
        self, photos: Photos, *, size: int, batch: int, scales: tuple[float, ...], seed: int, workers: int = 2
    ):
        self.photos, self.size, self.batch, self.scales, self.seed = photos, size, batch, scales, seed
        self._pool = ThreadPoolExecutor(workers)  # Pillow decodes and resizes outside the interpreter lock

    def __getitem__(self, step: int) -> np.ndarray:
        """Step -> (batch, 3, size, size) uint8."""
        seeds = np.random.SeedSequence([self.seed, step]).spawn(self.batch)
        return np.stack(list(self._pool.map(self._crop, seeds)))

    def ahead(self, start: int, stop: int):
        """Batches of steps start..stop-1, the next one always being made while this one is used."""
        with ThreadPoolExecutor(1) as maker:
            coming = maker.submit(self.__getitem__, start)
            for step in range(start, stop):
                batch = coming.result()
                coming = maker.submit(self.__getitem__, step + 1)
                yield batch

    def _crop(self, seed: np.random.SeedSequence) -> np.ndarray:
        rng = np.random.default_rng(seed)
        for _ in range(100):
            if (photo := self.photos[int(rng.integers(len(self.photos)))]) is not None:
                break
        else:
            raise ValueError("100 photos in a row could not be read; check the --images")
        side = min(round(self.size / rng.choice(self.scales)), *photo.shape[:2])
        top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if side != self.size:
            crop = np.asarray(Image.fromarray(crop).resize((self.size, self.size), Image.Resampling.LANCZOS))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.transpose(2, 0, 1)
