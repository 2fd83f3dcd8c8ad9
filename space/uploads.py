"""Reading what visitors upload."""

from pathlib import Path

import gradio as gr
from PIL import Image

from cst.images import fit_within, load_image

MAX_PIXELS = 64_000_000  # of an upload: more would not fit in memory with the models


def read_photo(path: str | None, longest: int, *, quiet: bool = False) -> Image.Image:
    """An upload -> an RGB picture whose longest side is at most `longest` pixels.

    What could not be used of the file is shown as a message, unless quiet. Raises ValueError, with the name of the
    file but not its folder; None is a missing upload.
    """
    if path is None:
        raise ValueError("there is no photo; choose one or upload your own")
    name = Path(path).name
    try:
        with Image.open(path) as header:
            width, height = header.size
    except Exception:  # `load_image` explains what is wrong
        width = height = 0
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise ValueError(f"'{name}' has {width} x {height} pixels; accepted: up to {limit} million, so shrink it first")
    try:
        photo = fit_within(load_image(path), longest)
    except ValueError as error:
        raise ValueError(str(error).replace(path, name)) from None
    if not quiet and (problem := photo.info.get("problem")):
        gr.Info(f"'{name}': {problem}")
    return photo
