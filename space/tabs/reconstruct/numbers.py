"""The measurements of one reconstruction, and their table."""

import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import metrics
from cst.images import to_float
from space.widgets.html import table, table_row


@dataclass(frozen=True)
class Quality:
    """How close one compressed picture is to the photo, and how large it is.

    psnr_db is None where the two are equal. ssim is None where the picture is under 11 pixels a side, too small for it.
    """

    psnr_db: float | None
    ssim: float | None
    bytes: int
    bits_per_pixel: float


@dataclass(frozen=True)
class Numbers:
    """Everything in the table. size: (width, height) in pixels. grid: (levels, h, w) of the tokens.

    cst_bytes: of the codes as a .cst file, None if the tokenizer has no statistics to write one with.
    """

    size: tuple[int, int]
    grid: tuple[int, ...]
    encode_ms: float
    render_ms: float
    running_on: str
    codes: Quality
    jpeg: Quality
    webp: Quality
    cst_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class OpenedNumbers:
    """The same for an opened .cst file. model: its code model, "static". fixed_bytes: of codes at a fixed length."""

    size: tuple[int, int]
    grid: tuple[int, ...]
    model: str
    cst_bytes: int
    fixed_bytes: int
    bits_per_pixel: float
    render_ms: float
    running_on: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def iter_quality(picture: Image.Image, original: Image.Image, size_bytes: int) -> Iterator[Quality | None]:
    """Compare a picture of `size_bytes` with the photo, of the same width and height.

    In steps at which a caller can stop: yields None, and last the result.
    """
    x, y = to_float(picture), to_float(original)
    psnr, ssims = metrics.psnr(x, y), []
    for channel in range(3 if min(original.size) >= 11 else 0):
        yield None
        ssims.append(metrics.ssim(x[channel : channel + 1], y[channel : channel + 1]))
    yield Quality(
        psnr_db=round(psnr, 2) if math.isfinite(psnr) else None,
        ssim=round(float(np.mean(ssims)), 4) if ssims else None,
        bytes=size_bytes,
        bits_per_pixel=round(8 * size_bytes / (original.width * original.height), 3),
    )


def reconstruction_table(numbers: Numbers) -> str:
    """The numbers as an HTML table, with one explained row per quantity."""
    qualities = (numbers.codes, numbers.jpeg, numbers.webp)
    rows = [
        table_row("PSNR, dB", "pixel by pixel; higher is closer",
                  ["equal" if each.psnr_db is None else f"{each.psnr_db:.1f}" for each in qualities]),
        table_row("SSIM", "edges and contrast; 1 is identical",
                  ["–" if each.ssim is None else f"{each.ssim:.3f}" for each in qualities]),
        table_row("Bytes", "the packed codes, or the file", [f"{each.bytes:,}" for each in qualities]),
        table_row("Bits per pixel", "an uncompressed photo has 24",
                  [f"{each.bits_per_pixel:.2f}" for each in qualities]),
        table_row("Codes", codes_meaning(numbers.grid), [f"{math.prod(numbers.grid):,}", "", ""]),
        table_row("Encoding, ms", "to find the codes", [f"{numbers.encode_ms:,.0f}", "", ""]),
        table_row("Rendering, ms", rendering_meaning(numbers.size), [f"{numbers.render_ms:,.0f}", "", ""]),
    ]  # fmt: skip
    if numbers.cst_bytes is not None:
        meaning = "entropy-coded: likely codes take fewer bits"
        rows.insert(3, table_row("Bytes as .cst", meaning, [f"{numbers.cst_bytes:,}", "", ""]))
    return table(("Rendered", "JPEG", "WebP"), rows, runtime_note(numbers.running_on))


def opened_table(numbers: OpenedNumbers, model: str) -> str:
    """The table of a .cst file. model: the readable name of its code model."""
    rows = [
        table_row("Bytes", f"the .cst file; its codes take {numbers.fixed_bytes:,} at a fixed length",
                  [f"{numbers.cst_bytes:,}"]),
        table_row("Bits per pixel", "an uncompressed photo has 24", [f"{numbers.bits_per_pixel:.2f}"]),
        table_row("Code model", "predicts each code; likely codes take fewer bits", [html.escape(model)]),
        table_row("Codes", codes_meaning(numbers.grid), [f"{math.prod(numbers.grid):,}"]),
        table_row("Rendering, ms", rendering_meaning(numbers.size), [f"{numbers.render_ms:,.0f}"]),
    ]  # fmt: skip
    return table(("Rendered",), rows, runtime_note(numbers.running_on))


def codes_meaning(grid: tuple[int, ...]) -> str:
    levels, h, w = grid
    return f"{levels} for each of {w} × {h} patches"


def rendering_meaning(size: tuple[int, int]) -> str:
    return f"to render {size[0]} × {size[1]} pixels from them"


def runtime_note(running_on: str) -> str:
    return f"Rendered with {html.escape(running_on)}."
