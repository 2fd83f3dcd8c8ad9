"""From an uploaded file to the pictures and numbers of the Reconstruct tab, one stage after another; no Gradio here."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cst import CST, Tokens
from cst.codecs import at_bytes
from cst.images import fit_within, load_image
from space.difference import difference_map
from space.numbers import Numbers, compare, table

MOST_PIXELS = 64_000_000  # of an upload: what fits in memory beside the models
STRIP = 1024  # patches encoded between two signs of progress

WAITING = '<p class="note">Comparing with JPEG and WebP …</p>'

Tell = Callable[[float, str], object]  # (fraction done, what is being done)


@dataclass(frozen=True)
class Shown:
    """What one run has to show so far, in the order of the page's outputs; pictures are PNG files."""

    comparison: tuple[str, str] | None = None  # photo, rendered
    color: str | None = None
    shape: str | None = None
    texture: str | None = None
    rendered: str | None = None
    difference: str | None = None
    jpeg: str | None = None
    webp: str | None = None
    codes: str | None = None  # an .npz file
    numbers: dict[str, Any] | None = None
    table: str | None = None

    def outputs(self) -> tuple:
        return astuple(self)


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


def strips(image: Image.Image, patch: int) -> Iterator[Image.Image]:
    """Cut a picture, between rows of patches, into strips whose codes together are exactly the codes of the whole."""
    step = patch * max(1, STRIP * patch // image.width)
    for top in range(0, image.height, step):
        yield image.crop((0, top, image.width, min(top + step, image.height)))


def join(parts: Sequence[Tokens], size: tuple[int, int]) -> Tokens:
    """The tokens of a picture of `size` from those of its strips, top to bottom."""
    return Tokens(np.concatenate([part.codes for part in parts], axis=1), size, parts[0].fingerprint)


def timed(function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    """(result, milliseconds)."""
    start = time.perf_counter()
    result = function(argument)
    return result, 1000 * (time.perf_counter() - start)


def reconstruct(cst: CST, photo: Image.Image, folder: Path, tell: Tell) -> Iterator[Shown]:
    """Take a photo apart and paint it back, then measure; every yield shows more. The files go to `folder`.

    It also yields after every strip that is encoded, with nothing new: there a caller can stop.
    """

    def keep(name: str, picture: Image.Image) -> str:
        picture.save(folder / f"{name}.png", compress_level=1)  # a third of the time, for a tenth more bytes
        return str(folder / f"{name}.png")

    parts, encode_ms = [], 0.0
    for strip in strips(photo, cst.tokenizer.patch):
        tell(sum(part.size[1] for part in parts) / photo.height, "Finding the codes of every patch")
        yield Shown()
        part, spent = timed(cst.encode, strip)
        parts.append(part)
        encode_ms += spent
    tell(1, "Painting")
    yield Shown()
    tokens = join(parts, photo.size)
    picture, render_ms = timed(cst.decode, tokens)

    tokens.save(folder / "codes.npz")
    shown = Shown(
        comparison=(keep("photo", photo), keep("rendered", picture)),
        color=keep("color", cst.draw(tokens, levels=1)),
        shape=keep("color-shape", cst.draw(tokens, levels=2)),
        texture=keep("color-shape-texture", cst.draw(tokens, levels=3)),
        rendered=str(folder / "rendered.png"),
        difference=keep("difference", difference_map(picture, photo)),
        codes=str(folder / "codes.npz"),
        table=WAITING,
    )
    yield shown

    limit = tokens.packed_bytes(cst.tokenizer.levels)
    jpeg, webp = at_bytes(photo, "JPEG", limit), at_bytes(photo, "WEBP", limit)
    numbers = Numbers(
        size=photo.size,
        grid=tokens.codes.shape,
        encode_ms=round(encode_ms, 1),
        render_ms=round(render_ms, 1),
        running_on=cst.tokenizer.running_on,
        codes=compare(picture, photo, limit),
        jpeg=compare(jpeg.picture, photo, jpeg.bytes),
        webp=compare(webp.picture, photo, webp.bytes),
    )
    yield replace(
        shown,
        jpeg=keep("jpeg", jpeg.picture),
        webp=keep("webp", webp.picture),
        numbers=numbers.to_json(),
        table=table(numbers),
    )
