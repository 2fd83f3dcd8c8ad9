"""The difference map: where the painted picture departs from the photo, and by how much."""

import numpy as np
from PIL import Image

from space.color import ramp

FULL_SCALE = 32  # levels of 255 at which the map is brightest


def difference_map(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Absolute difference of two RGB pictures of one size, mean of the channels, 0 dark to `FULL_SCALE` bright."""
    gap = np.abs(np.asarray(picture, np.int16) - np.asarray(original, np.int16)).mean(2)  # (H, W) in 0 to 255
    return Image.fromarray(ramp()[np.minimum(gap * (255 / FULL_SCALE), 255).astype(np.uint8)])


def legend() -> str:
    """The scale of the map as HTML: the ramp, its ticks, and in words what is dark and what is bright."""
    stops = ", ".join("rgb({}, {}, {})".format(*ramp()[i]) for i in range(0, 256, 15))
    ticks = "".join(f"<span>{value}</span>" for value in (0, FULL_SCALE // 4, FULL_SCALE // 2, FULL_SCALE * 3 // 4))
    return (
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div>'
        f'<div class="ticks">{ticks}<span>{FULL_SCALE}+</span></div>'
    )
