"""The difference map: where the rendered picture differs from the photo, and by how much."""

import numpy as np
from PIL import Image

from space.color import ramp
from space.widgets.html import color_scale

FULL_SCALE = 32  # levels of 255 at which the map is brightest


def difference_map(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Absolute difference of two RGB pictures of one size, mean of the channels, from 0 (dark) to `FULL_SCALE`."""
    difference = np.abs(np.asarray(picture, np.int16) - np.asarray(original, np.int16)).mean(2)  # (H, W), 0 to 255
    return Image.fromarray(ramp()[np.minimum(difference * (255 / FULL_SCALE), 255).astype(np.uint8)])


def legend() -> str:
    """The scale of the map as HTML."""
    return color_scale([*(str(FULL_SCALE * quarter // 4) for quarter in range(4)), f"{FULL_SCALE}+"])
