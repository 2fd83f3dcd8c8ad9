"""Reading what visitors upload."""

from pathlib import Path

from PIL import Image

from cst.images import fit_within, load_image

MOST_PIXELS = 64_000_000  # of an upload: what fits in memory beside the models


def read_photo(path: str, longest: int) -> Image.Image:
    """Any upload -> RGB picture of at most `longest` pixels a side. Raises ValueError, naming the file alone."""
    name = Path(path).name
    try:
        with Image.open(path) as header:
            width, height = header.size
    except Exception:  # whatever is wrong with it, `load_image` says so in words
        width = height = 0
    if width * height > MOST_PIXELS:
        most = MOST_PIXELS // 10**6
        raise ValueError(f"'{name}' has {width} x {height} pixels; accepted: up to {most} million, so shrink it first")
    try:
        return fit_within(load_image(path), longest)
    except ValueError as error:
        raise ValueError(str(error).replace(path, name)) from None
