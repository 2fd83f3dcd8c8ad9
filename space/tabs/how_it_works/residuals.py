"""A photo, and what each of its three codes leaves over: the pictures of the How it works tab; no Gradio here."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cst import CST
from cst.images import pad_to_multiple, to_float, to_image
from cst.tokenizer.codebooks import from_patches, to_patches

GAIN = 2.0  # of what is drawn around mid gray


@dataclass(frozen=True)
class Residuals:
    """A photo taken apart; every array is (3, H, W) float32 in pixel units, padded to whole patches.

    parts: what color, shape and texture codes draw. left: what is left over after each. codes: (3, h, w) int32.
    size: (width, height) of the photo. rendered: what RenderNet paints from the codes.
    """

    photo: np.ndarray
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]
    left: tuple[np.ndarray, np.ndarray, np.ndarray]
    codes: np.ndarray
    size: tuple[int, int]
    rendered: Image.Image

    def picture(self, values: np.ndarray) -> Image.Image:
        """Colors as they are."""
        width, height = self.size
        return to_image(np.clip(values, 0, 1)[:, :height, :width])

    def around_gray(self, values: np.ndarray) -> Image.Image:
        """What may be negative: mid gray is none, and contrasts are `GAIN` times as strong as they are."""
        return self.picture(0.5 + GAIN * values)

    def mean_left(self, level: int) -> float:
        """How far a channel of a pixel is off after a level (-1: before any), in levels of 255, root mean square."""
        width, height = self.size
        left = self.photo if level < 0 else self.left[level]
        return 255 * float(np.sqrt(np.mean(np.square(left[:, :height, :width]))))

    def telling_patch(self, patch: int) -> tuple[int, int]:
        """(row, column) of the patch in which shape and texture do the most, and little is left over."""
        shape, texture, dropped = (
            np.square(to_patches(part[None], patch)[0]).sum(-1) for part in (*self.parts[1:], self.left[2])
        )  # (h, w) each
        row, column = np.unravel_index((np.minimum(shape, texture) - dropped).argmax(), shape.shape)
        return int(row), int(column)


def take_apart(cst: CST, photo: Image.Image) -> Residuals:
    """The three codes of every patch, what they draw, and what they leave over."""
    tokens = cst.encode(photo)
    books = cst.tokenizer.codebooks
    padded = pad_to_multiple(to_float(photo), books.patch)
    color = np.repeat(books.color[tokens.codes[0]], books.patch**2, axis=-1)  # (h, w, 192)
    drawn = (color, books.shape[tokens.codes[1]], books.texture[tokens.codes[2]])
    parts = tuple(from_patches(patches[None], books.patch)[0] for patches in drawn)
    left, rest = [], padded
    for part in parts:
        rest = rest - part
        left.append(rest)
    return Residuals(padded, parts, tuple(left), tokens.codes, photo.size, cst.decode(tokens))
