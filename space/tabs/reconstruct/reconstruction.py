"""From an uploaded file to the pictures and numbers of the Reconstruct tab, one stage after another; no Gradio here."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cst import CST, Tokens
from cst.codec import container
from cst.codec.range_coder import finish
from cst.image_formats import trying_at_bytes
from cst.pipeline import join, strips
from space.tabs.reconstruct.difference_map import difference_map
from space.tabs.reconstruct.numbers import Numbers, OpenedNumbers, comparing, opened_table, table

MOST_OPENED = 2048 * 2048  # pixels of a .cst file that is painted here: as many as of a photo

WAITING = '<p class="note">Comparing with JPEG and WebP …</p>'

Tell = Callable[[float, str], object]  # (fraction done, what is being done)


@dataclass(frozen=True)
class Shown:
    """What one run has to show so far, in the order of the page's outputs; pictures are PNG files."""

    comparison: tuple[str, str] | None = None  # photo, rendered; of a .cst file what the codes draw, rendered
    color: str | None = None
    shape: str | None = None
    texture: str | None = None
    rendered: str | None = None
    difference: str | None = None
    jpeg: str | None = None
    webp: str | None = None
    codes: str | None = None  # an .npz file
    cst: str | None = None  # a .cst file
    numbers: dict[str, Any] | None = None
    table: str | None = None

    def outputs(self) -> tuple:
        return astuple(self)


@dataclass(frozen=True)
class Opened:
    """A .cst file that was opened. model: what it is coded under. bytes: its size."""

    tokens: Tokens
    model: str
    bytes: int


def timed(function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    """(result, milliseconds)."""
    start = time.perf_counter()
    result = function(argument)
    return result, 1000 * (time.perf_counter() - start)


def reconstruct(cst: CST, photo: Image.Image, folder: Path, tell: Tell) -> Iterator[Shown]:
    """Take a photo apart and paint it back, then measure; every yield shows more. The files go to `folder`.

    It also yields with nothing new, after every strip that is encoded, every piece that is painted and everything else
    that takes long for a large photo: there a caller can stop.
    """
    parts, encode_ms = [], 0.0
    for strip in strips(photo, cst.tokenizer.patch):
        tell(sum(part.size[1] for part in parts) / photo.height, "Finding the codes of every patch")
        yield Shown()
        part, spent = timed(cst.encode, strip)
        parts.append(part)
        encode_ms += spent
    tokens = join(parts, photo.size)
    picture, render_ms = yield from paint(cst, tokens, tell)
    packed, cst_bytes = pack(cst, tokens, folder / "photo.cst")
    yield Shown()
    layers = yield from ladder(cst, tokens, picture, folder)
    photo_file = keep(folder, "photo", photo)
    yield Shown()
    shown = replace(
        layers,
        comparison=(photo_file, str(folder / "rendered.png")),
        difference=keep(folder, "difference", difference_map(picture, photo)),
        cst=packed,
        table=WAITING,
    )
    yield shown

    limit = tokens.packed_bytes(cst.tokenizer.levels)
    for jpeg in trying_at_bytes(photo, "JPEG", limit):  # noqa: B007 (the last is what was found)
        yield shown
    for webp in trying_at_bytes(photo, "WEBP", limit):  # noqa: B007
        yield shown
    kept = []
    for each, size in ((picture, limit), (jpeg.picture, jpeg.bytes), (webp.picture, webp.bytes)):
        for found in comparing(each, photo, size):  # noqa: B007
            yield shown
        kept.append(found)
    numbers = Numbers(
        size=photo.size,
        grid=tokens.codes.shape,
        encode_ms=round(encode_ms, 1),
        render_ms=round(render_ms, 1),
        running_on=cst.tokenizer.running_on,
        codes=kept[0],
        jpeg=kept[1],
        webp=kept[2],
        cst_bytes=cst_bytes,
    )
    yield replace(
        shown,
        jpeg=keep(folder, "jpeg", jpeg.picture),
        webp=keep(folder, "webp", webp.picture),
        numbers=numbers.to_json(),
        table=table(numbers),
    )


def paint(cst: CST, tokens: Tokens, tell: Tell) -> Generator[Shown, None, tuple[Image.Image, float]]:
    """Yields where a caller can stop; returns (picture, milliseconds)."""
    spent, steps, done = 0.0, cst.iter_decode(tokens), 0.0
    while done < 1:
        tell(done, "Painting")
        yield Shown()
        (picture, done), step_ms = timed(next, steps)
        spent += step_ms
    tell(1, "Painting")
    yield Shown()
    return picture, spent


def ladder(cst: CST, tokens: Tokens, picture: Image.Image, folder: Path) -> Generator[Shown, None, Shown]:
    """Yields where a caller can stop; returns what can be shown of tokens alone, `picture` being painted from them."""
    tokens.save(folder / "codes.npz")
    drawn = []
    for levels, name in enumerate(("color", "color-shape", "color-shape-texture"), 1):
        drawn.append(keep(folder, name, cst.draw(tokens, levels=levels)))
        yield Shown()
    return Shown(None, *drawn, rendered=keep(folder, "rendered", picture), codes=str(folder / "codes.npz"))


def keep(folder: Path, name: str, picture: Image.Image) -> str:
    picture.save(folder / f"{name}.png", compress_level=1)  # a third of the time, for a tenth more bytes
    return str(folder / f"{name}.png")


def pack(cst: CST, tokens: Tokens, path: Path) -> tuple[str, int] | tuple[None, None]:
    """Write a .cst file -> (its path, its bytes); neither for a tokenizer that has no statistics."""
    try:
        data = cst.compress(tokens)
    except ValueError:
        return None, None
    path.write_bytes(data)
    return str(path), len(data)


def open_cst(cst: CST, path: str, tell: Tell) -> Generator[Shown, None, Opened]:
    """Read an uploaded .cst file; yields where a caller can stop.

    Raises ValueError, naming the file alone, for one that can't be painted here.
    """
    name = Path(path).name
    try:
        data = container.read(path)
        header = container.Header.read(data)
        most = MOST_OPENED
        width, height = header.size
        if width * height > most:
            raise ValueError(
                f"its picture has {width} x {height} pixels; accepted here: up to {most:,} pixels; python -m cst "
                "decompress opens any"
            )
        done, total = 0, int(np.prod(container.grid(header.size, cst.tokenizer.config)))
        steps = cst.decompressing(data)
        while done < total:
            done += next(steps)
            tell(done / total, "Reading the codes")
            yield Shown()
        return Opened(finish(steps), header.model, len(data))
    except ValueError as error:
        said = str(error).replace(str(cst.tokenizer.folder), "the tokenizer")  # no folder of the server
        raise ValueError(f"'{name}': {said}") from None


def repaint(cst: CST, opened: Opened, folder: Path, tell: Tell) -> Iterator[Shown]:
    """Paint the picture of a .cst file; without a photo there is nothing to compare it with. Files go to `folder`.

    Yields with nothing to show where a caller can stop, and at last everything.
    """
    tokens = opened.tokens
    picture, render_ms = yield from paint(cst, tokens, tell)
    numbers = OpenedNumbers(
        size=tokens.size,
        grid=tokens.codes.shape,
        model=opened.model,
        cst_bytes=opened.bytes,
        fixed_bytes=tokens.packed_bytes(cst.tokenizer.levels),
        bits_per_pixel=round(8 * opened.bytes / (picture.width * picture.height), 3),
        render_ms=round(render_ms, 1),
        running_on=cst.tokenizer.running_on,
    )
    shown = yield from ladder(cst, tokens, picture, folder)
    known = "counts in photos"
    yield replace(
        shown, comparison=(shown.texture, shown.rendered), numbers=numbers.to_json(), table=opened_table(numbers, known)
    )
