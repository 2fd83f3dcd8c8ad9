"""Perceptual color: OKLab, and a ramp of lightness in the hue of the page's accent."""

from functools import cache

import numpy as np

HUE = 185.0  # degrees in OKLCh: the page's accent


@cache
def ramp() -> np.ndarray:
    """(256, 3) uint8: one hue from nearly black to nearly white, in even steps of perceived lightness.

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


def oklab(colors: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in [0, 1] -> (..., 3) float64 lightness, a, b: distances are close to perceived ones.

    Ottosson, 2020, "A perceptual color space for image processing".
    """
    colors = np.clip(np.asarray(colors, np.float64), 0, 1)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    cone = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cone) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
