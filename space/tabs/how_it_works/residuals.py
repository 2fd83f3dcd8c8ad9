"""A photo, and what each of its three codes leaves over: the pictures of the How it works tab; no Gradio here."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cst import CST
from cst.images import pad_to_multiple, to_float, to_image
from cst.tokenizer.codebooks import from_patches, to_patches

GAIN = 2.0  # contrast of what is drawn around mid gray


@dataclass(frozen=True)
class Residuals:
    """An encoded photo; every array is (3, H, W) float32 in pixel units, padded to whole patches.

    parts: what color, shape and texture codes draw. left: what is left over after each. codes: (3, h, w) int32.
    size: (width, height) of the photo. rendered: by RenderNet from the codes.
    """

    photo: np.ndarray
    parts: tuple[np.ndarray, ...]
    left: tuple[np.ndarray, ...]
    codes: np.ndarray
    size: tuple[int, int]
    rendered: Image.Image

    def picture(self, values: np.ndarray) -> Image.Image:
        """Colors as they are."""
        width, height = self.size
        return to_image(np.clip(values, 0, 1)[:, :height, :width])

    def around_gray(self, values: np.ndarray) -> Image.Image:
        """Values that may be negative: mid gray is zero, and contrasts are raised by `GAIN`."""
        return self.picture(0.5 + GAIN * values)

    def rms_left(self, level: int) -> float:
        """The root mean square of what is left after a level (-1: before any), in levels of 255."""
        width, height = self.size
        left = self.photo if level < 0 else self.left[level]
        return 255 * float(np.sqrt(np.mean(np.square(left[:, :height, :width]))))

    def telling_patch(self, patch: int) -> tuple[int, int]:
        """(row, column) of the patch in which shape and texture contribute most, and little is left over."""
        shape, texture, dropped = (
            np.square(to_patches(part[None], patch)[0]).sum(-1) for part in (*self.parts[1:], self.left[2])
        )  # (h, w) each
        row, column = np.unravel_index((np.minimum(shape, texture) - dropped).argmax(), shape.shape)
        return int(row), int(column)


def compute_residuals(cst: CST, photo: Image.Image) -> Residuals:
    """The three codes of every patch, what they draw, and what they leave over."""
    tokens = cst.encode(photo)
    codebooks = cst.tokenizer.codebooks
    padded = pad_to_multiple(to_float(photo), codebooks.patch)
    color, shape, texture = (
        from_patches(codebooks.centroids(level, codes)[None], codebooks.patch)[0]
        for level, codes in enumerate(tokens.codes)
    )
    parts = (color, shape, texture)
    left, rest = [], padded
    for part in parts:
        rest = rest - part
        left.append(rest)
    return Residuals(padded, parts, tuple(left), tokens.codes, photo.size, cst.decode(tokens))
