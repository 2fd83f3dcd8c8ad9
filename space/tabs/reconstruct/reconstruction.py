"""From an uploaded file to the pictures and numbers of the Reconstruct tab, stage by stage; no Gradio here."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from cst import CST, Tokens
from cst.codec import container
from cst.codec.range_coder import finish
from cst.image_formats import iter_at_bytes
from cst.pipeline import join_strips, split_into_strips
from space.tabs.reconstruct.difference_map import difference_map
from space.tabs.reconstruct.numbers import Numbers, OpenedNumbers, iter_quality, opened_table, reconstruction_table

MAX_OPENED_PIXELS = 2048 * 2048  # of an uploaded .cst file: as many as of a photo
COMPARING = '<p class="note">Comparing with JPEG and WebP …</p>'

OnProgress = Callable[[float, str], object]  # (fraction done, what is being done)
Result = TypeVar("Result")


@dataclass(frozen=True)
class ReconstructionView:
    """What there is to show of a run so far; pictures are PNG files."""

    comparison: tuple[str, str] | None = None  # (photo, rendered); for a .cst file (centroid picture, rendered)
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


@dataclass(frozen=True)
class OpenedFile:
    """An opened .cst file. bytes: its size."""

    tokens: Tokens
    bytes: int


def timed(function: Callable[[Any], Result], argument: Any) -> tuple[Result, float]:
    """(result, milliseconds)."""
    start = time.perf_counter()
    result = function(argument)
    return result, 1000 * (time.perf_counter() - start)


def reconstruct(
    cst: CST, photo: Image.Image, folder: Path, on_progress: OnProgress, *, name: str = "photo"
) -> Generator[ReconstructionView, None, None]:
    """Encode a photo and render it again, then measure; every view shows more. The files are written to `folder`.

    name: of the photo, for its .cst file.

    It also yields unchanged views, after every strip that is encoded, every piece that is rendered and everything else
    that takes long for a large photo: there a caller can stop.
    """
    parts: list[Tokens] = []
    encode_ms = 0.0
    for strip in split_into_strips(photo, cst.tokenizer.patch):
        on_progress(sum(part.size[1] for part in parts) / photo.height, "Finding the codes of every patch")
        yield ReconstructionView()
        part, strip_ms = timed(cst.encode, strip)
        parts.append(part)
        encode_ms += strip_ms
    tokens = join_strips(parts, photo.size)
    picture, render_ms = yield from render(cst, tokens, on_progress)
    cst_path, cst_bytes = write_cst(cst, tokens, folder / f"{name}.cst")
    yield ReconstructionView()
    layers = yield from draw_layers(cst, tokens, picture, folder)
    photo_file = save_png(folder, "photo", photo)
    yield ReconstructionView()
    view = replace(
        layers,
        comparison=(photo_file, str(folder / "rendered.png")),
        difference=save_png(folder, "difference", difference_map(picture, photo)),
        cst=cst_path,
        table=COMPARING,
    )
    yield view

    limit = tokens.packed_bytes(cst.tokenizer.levels)
    jpeg = yield from last(iter_at_bytes(photo, "JPEG", limit), view)
    webp = yield from last(iter_at_bytes(photo, "WEBP", limit), view)
    numbers = Numbers(
        size=photo.size,
        grid=tokens.codes.shape,
        encode_ms=round(encode_ms, 1),
        render_ms=round(render_ms, 1),
        running_on=cst.tokenizer.running_on,
        codes=(yield from last(iter_quality(picture, photo, limit), view)),
        jpeg=(yield from last(iter_quality(jpeg.picture, photo, jpeg.bytes), view)),
        webp=(yield from last(iter_quality(webp.picture, photo, webp.bytes), view)),
        cst_bytes=cst_bytes,
    )
    yield replace(
        view,
        jpeg=save_png(folder, "jpeg", jpeg.picture),
        webp=save_png(folder, "webp", webp.picture),
        numbers=numbers.to_json(),
        table=reconstruction_table(numbers),
    )


def last(steps: Iterator[Result | None], view: ReconstructionView) -> Generator[ReconstructionView, None, Result]:
    """The last item of `steps`; yields the unchanged view at each of them, where a caller can stop."""
    result: Result | None = None
    for step in steps:
        result = step
        yield view
    assert result is not None
    return result


def render(
    cst: CST, tokens: Tokens, on_progress: OnProgress
) -> Generator[ReconstructionView, None, tuple[Image.Image, float]]:
    """Yields where a caller can stop; returns (picture, milliseconds)."""
    render_ms, steps, done = 0.0, cst.iter_decode(tokens), 0.0
    while done < 1:
        on_progress(done, "Rendering")
        yield ReconstructionView()
        (picture, done), step_ms = timed(next, steps)
        render_ms += step_ms
    on_progress(1, "Rendering")
    yield ReconstructionView()
    return picture, render_ms


def draw_layers(
    cst: CST, tokens: Tokens, picture: Image.Image, folder: Path
) -> Generator[ReconstructionView, None, ReconstructionView]:
    """Yields where a caller can stop; returns what tokens show without a photo. picture: rendered from them."""
    tokens.save(folder / "codes.npz")
    layers = []
    for levels, name in enumerate(("color", "color-shape", "color-shape-texture"), 1):
        layers.append(save_png(folder, name, cst.centroid_picture(tokens, levels=levels)))
        yield ReconstructionView()
    color, shape, texture = layers
    rendered = save_png(folder, "rendered", picture)
    return ReconstructionView(
        color=color, shape=shape, texture=texture, rendered=rendered, codes=str(folder / "codes.npz")
    )


def save_png(folder: Path, name: str, picture: Image.Image) -> str:
    path = str(folder / f"{name}.png")
    picture.save(path, compress_level=1)  # a third of the time, for a tenth more bytes
    return path


def write_cst(cst: CST, tokens: Tokens, path: Path) -> tuple[str, int] | tuple[None, None]:
    """Write a .cst file -> (its path, its bytes); (None, None) if the tokenizer has no statistics."""
    try:
        data = cst.compress(tokens)
    except ValueError:
        return None, None
    path.write_bytes(data)
    return str(path), len(data)


def open_cst(cst: CST, path: str, on_progress: OnProgress) -> Generator[ReconstructionView, None, OpenedFile]:
    """Read an uploaded .cst file; yields where a caller can stop.

    Raises ValueError, with the name of the file but not its folder, for one that can't be rendered here.
    """
    name = Path(path).name
    try:
        data = container.read(path)
        header = container.Header.read(data)
        width, height = header.size
        if width * height > MAX_OPENED_PIXELS:
            raise ValueError(
                f"its picture has {width} x {height} pixels; accepted here: up to {MAX_OPENED_PIXELS:,} pixels; "
                "python -m cst decompress opens any"
            )
        done, total = 0, int(np.prod(container.grid(header.size, cst.tokenizer.config)))
        steps = cst.iter_decompress(data)
        while done < total:
            done += next(steps)
            on_progress(done / total, "Reading the codes")
            yield ReconstructionView()
        return OpenedFile(finish(steps), len(data))
    except ValueError as error:
        reason = str(error).replace(str(cst.tokenizer.folder), "the tokenizer")  # visitors see no folder of the server
        raise ValueError(f"'{name}': {reason}") from None


def render_opened(
    cst: CST, opened: OpenedFile, folder: Path, on_progress: OnProgress
) -> Generator[ReconstructionView, None, None]:
    """Render a .cst file; there is no photo to compare with. The files are written to `folder`.

    Yields an empty view where a caller can stop, and last the complete one.
    """
    tokens = opened.tokens
    picture, render_ms = yield from render(cst, tokens, on_progress)
    numbers = OpenedNumbers(
        size=tokens.size,
        grid=tokens.codes.shape,
        model="static",
        cst_bytes=opened.bytes,
        fixed_bytes=tokens.packed_bytes(cst.tokenizer.levels),
        bits_per_pixel=round(8 * opened.bytes / (picture.width * picture.height), 3),
        render_ms=round(render_ms, 1),
        running_on=cst.tokenizer.running_on,
    )
    view = yield from draw_layers(cst, tokens, picture, folder)
    assert view.texture is not None and view.rendered is not None
    yield replace(
        view,
        comparison=(view.texture, view.rendered),
        numbers=numbers.to_json(),
        table=opened_table(numbers, "code frequencies in photos"),
    )
