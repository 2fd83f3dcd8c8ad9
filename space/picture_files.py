"""Write the file of a picture once, and whole."""

import os
import tempfile
from pathlib import Path

from gradio import processing_utils
from PIL import Image


def write_pictures_once() -> None:
    """Replace Gradio's `save_pil_to_cache`, which truncates and writes a file that a browser may be downloading.

    A picture's file is named after its content, so two visitors who choose the same example share it.
    """
    processing_utils.save_pil_to_cache = save_picture


def save_picture(picture: Image.Image, cache_dir: str, name: str = "image", format: str = "webp") -> str:
    """Save a picture below `cache_dir`, unless it is there -> its path. Several threads may save the same one."""
    data = processing_utils.encode_pil_to_bytes(picture, format)
    path = Path(cache_dir).resolve() / processing_utils.hash_bytes(data) / f"{name}.{format}"
    try:
        os.utime(path)  # `delete_cache` deletes what was not used for a while
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).replace(path)
    return str(path)
