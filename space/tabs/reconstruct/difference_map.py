"""The difference map: where the painted picture departs from the photo, and by how much."""

from functools import cache

import numpy as np
from PIL import Image

FULL_SCALE = 32  # levels of 255 at which the map is brightest
HUE = 185.0  # degrees in OKLCh: the page's accent


def difference_map(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Absolute difference of two RGB pictures of one size, mean of the channels, 0 dark to `FULL_SCALE` bright."""
    gap = np.abs(np.asarray(picture, np.int16) - np.asarray(original, np.int16)).mean(2)  # (H, W) in 0 to 255
    return Image.fromarray(ramp()[np.minimum(gap * (255 / FULL_SCALE), 255).astype(np.uint8)])


@cache
def ramp() -> np.ndarray:
    """(256, 3) uint8: one hue from near black to near white, in even steps of perceived lightness.

    Lightness is linear in OKLCh (Ottosson, 2020, "A perceptual color space for image processing").
    """
    t = np.linspace(0, 1, 256)
    lightness, chroma = 0.16 + 0.80 * t, 0.095 * np.sin(np.pi * t) ** 0.8
    a, b = chroma * np.cos(np.radians(HUE)), chroma * np.sin(np.radians(HUE))
    cone = (
        np.stack(
            [
                lightness + 0.3963377774 * a + 0.2158037573 * b,
                lightness - 0.1055613458 * a - 0.0638541728 * b,
                lightness - 0.0894841775 * a - 1.2914855480 * b,
            ]
        )
        ** 3
    )  # (3, 256)
    linear = np.clip(
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ cone,
        0,
        1,
    )
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded.T * 255).astype(np.uint8)


def legend() -> str:
    """The scale of the map as HTML: the ramp, its ticks, and in words what is dark and what is bright."""
    stops = ", ".join("rgb({}, {}, {})".format(*ramp()[i]) for i in range(0, 256, 15))
    ticks = "".join(f"<span>{value}</span>" for value in (0, FULL_SCALE // 4, FULL_SCALE // 2, FULL_SCALE * 3 // 4))
    return (
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div>'
        f'<div class="ticks">{ticks}<span>{FULL_SCALE}+</span></div>'
    )
