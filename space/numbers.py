"""What the page says about one reconstruction in numbers, and the table it says it in."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import metrics
from cst.images import to_float


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
    """Everything in the table. size: (width, height) in pixels; grid: (levels, h, w) of the tokens."""

    size: tuple[int, int]
    grid: tuple[int, int, int]
    encode_ms: float
    render_ms: float
    running_on: str
    codes: Kept
    jpeg: Kept
    webp: Kept

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(picture: Image.Image, original: Image.Image, size_bytes: int) -> Kept:
    """Measure a picture of `size_bytes` against the photo of the same width and height."""
    x, y = to_float(picture), to_float(original)
    psnr = metrics.psnr(x, y)
    return Kept(
        psnr_db=round(psnr, 2) if math.isfinite(psnr) else None,
        # One channel at a time, which is the same mean in a third of the memory.
        ssim=round(float(np.mean([metrics.ssim(x[i : i + 1], y[i : i + 1]) for i in range(3)])), 4)
        if min(original.size) >= 11
        else None,
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
        row("Bits per pixel", "an uncompressed photo has 24", [f"{k.bits_per_pixel:.2f}" for k in kept]),
        row("Codes", f"{levels} for each of {w} × {h} patches", [f"{levels * h * w:,}", "", ""]),
        row("Encoding, ms", "to find the codes", [f"{numbers.encode_ms:,.0f}", "", ""]),
        row("Rendering, ms", f"to paint {numbers.size[0]} × {numbers.size[1]} pixels from them",
            [f"{numbers.render_ms:,.0f}", "", ""]),
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "Rendered", "JPEG", "WebP"))
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="note">Painted with {html.escape(numbers.running_on)}.</p>'
    )


def row(name: str, meaning: str, cells: Sequence[str]) -> str:
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row"><span>{name}</span><small>{meaning}</small></th>{values}</tr>'
