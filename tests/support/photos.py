"""Small photos, and the names of their classes."""

import numpy as np
from PIL import Image


def make_photo(seed: int, width: int, height: int) -> Image.Image:
    """A picture with something to say at every level: a color gradient, soft stripes and grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    corners = rng.uniform(0.1, 0.9, (2, 3))
    ramp = (x / width * rng.random() + y / height * rng.random())[..., None] / 2
    stripes = np.sin((x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / 2)[..., None] * rng.uniform(0.05, 0.15)
    grain = rng.normal(0, 0.04, (height, width, 1))
    picture = corners[0] * (1 - ramp) + corners[1] * ramp + stripes + grain
    return Image.fromarray(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8))


CLASSES = ("Blue bell", "daisy", "wild_rose")
