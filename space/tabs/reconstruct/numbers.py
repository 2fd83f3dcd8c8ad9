"""What the page says about one reconstruction in numbers, and the table it says it in."""

import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import metrics
from cst.images import to_float
from space.widgets.html import row, whole


@dataclass(frozen=True)
class Kept:
    """How near one compressed picture is to the photo, and what it costs.

    psnr_db is None where the two are equal, ssim where the picture is under 11 pixels a side, too small for it.
    """

    psnr_db: float | None
    ssim: float | None
    bytes: int
    bits_per_pixel: float


@dataclass(frozen=True)
class Numbers:
    """Everything in the table. size: (width, height) in pixels; grid: (levels, h, w) of the tokens.

    cst_bytes: of the codes as a .cst file, None where the tokenizer has no statistics to write one under.
    """

    size: tuple[int, int]
    grid: tuple[int, int, int]
    encode_ms: float
    render_ms: float
    running_on: str
    codes: Kept
    jpeg: Kept
    webp: Kept
    cst_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class OpenedNumbers:
    """The same of a .cst file that was opened. model: what it is coded under, "static"."""

    size: tuple[int, int]
    grid: tuple[int, int, int]
    model: str
    cst_bytes: int
    fixed_bytes: int  # that the codes take at a fixed length each
    bits_per_pixel: float
    render_ms: float
    running_on: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def comparing(picture: Image.Image, original: Image.Image, size_bytes: int) -> Iterator[Kept | None]:
    """Measure a picture of `size_bytes` against the photo of the same width and height.

    In steps at which a caller can stop: None, and at last what was found.
    """
    x, y = to_float(picture), to_float(original)
    psnr, ssims = metrics.psnr(x, y), []
    for channel in range(3 if min(original.size) >= 11 else 0):
        yield None
        ssims.append(metrics.ssim(x[channel : channel + 1], y[channel : channel + 1]))
    yield Kept(
        psnr_db=round(psnr, 2) if math.isfinite(psnr) else None,
        ssim=round(float(np.mean(ssims)), 4) if ssims else None,
        bytes=size_bytes,
        bits_per_pixel=round(8 * size_bytes / (original.width * original.height), 3),
    )


def table(numbers: Numbers) -> str:
    """The numbers as an HTML table: one row a measure, each explained where it stands."""
    kept = (numbers.codes, numbers.jpeg, numbers.webp)
    levels, h, w = numbers.grid
    rows = [
        row("PSNR, dB", "pixel by pixel; higher is nearer",
            ["equal" if k.psnr_db is None else f"{k.psnr_db:.1f}" for k in kept]),
        row("SSIM", "edges and contrast; 1 is identical", ["–" if k.ssim is None else f"{k.ssim:.3f}" for k in kept]),
        row("Bytes", "the codes packed, or the file", [f"{k.bytes:,}" for k in kept]),
        *entropy_coded(numbers),
        row("Bits per pixel", "an uncompressed photo has 24", [f"{k.bits_per_pixel:.2f}" for k in kept]),
        row("Codes", f"{levels} for each of {w} × {h} patches", [f"{levels * h * w:,}", "", ""]),
        row("Encoding, ms", "to find the codes", [f"{numbers.encode_ms:,.0f}", "", ""]),
        row("Rendering, ms", f"to paint {numbers.size[0]} × {numbers.size[1]} pixels from them",
            [f"{numbers.render_ms:,.0f}", "", ""]),
    ]  # fmt: skip
    return whole(("Rendered", "JPEG", "WebP"), rows, numbers.running_on)


def entropy_coded(numbers: Numbers) -> list[str]:
    """The row of the .cst file, if there is one."""
    if numbers.cst_bytes is None:
        return []
    return [row("Bytes as .cst", "entropy-coded: likely codes are kept short", [f"{numbers.cst_bytes:,}", "", ""])]


def opened_table(numbers: OpenedNumbers, model: str) -> str:
    """The table of a .cst file; model: its name as people know it."""
    levels, h, w = numbers.grid
    rows = [
        row("Bytes", f"the .cst file; its codes take {numbers.fixed_bytes:,} at a fixed length",
            [f"{numbers.cst_bytes:,}"]),
        row("Bits per pixel", "an uncompressed photo has 24", [f"{numbers.bits_per_pixel:.2f}"]),
        row("Coded by", "what knows how likely each code is; likely ones are kept short", [html.escape(model)]),
        row("Codes", f"{levels} for each of {w} × {h} patches", [f"{levels * h * w:,}"]),
        row("Rendering, ms", f"to paint {numbers.size[0]} × {numbers.size[1]} pixels from them",
            [f"{numbers.render_ms:,.0f}"]),
    ]  # fmt: skip
    return whole(("Rendered",), rows, numbers.running_on)
