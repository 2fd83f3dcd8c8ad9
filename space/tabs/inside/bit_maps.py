"""What surprised the model: the bits of every code as maps, and of all codes together beside other ways to store."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import metrics
from cst.image_formats import FORMATS, at_psnr
from cst.images import to_float
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.protocol import Level, bits_per_patch
from space.color import ramp
from space.tabs.inside.analysis import Look
from space.widgets.html import row

MAP_SIDE = 512  # pixels of a map's picture at least: more than it is shown with, or Gradio misplaces presses
FORMAT_NAMES = {"JPEG": "JPEG", "WEBP": "WebP", "AVIF": "AVIF"}


@dataclass(frozen=True)
class SurpriseNumbers:
    """Everything in the table. Bits a patch are means, by level; None where there is no prior or no statistics.

    psnr_db: of what is painted, None if it equals the photo. bytes: of each format's smallest file that is as near,
    whose own nearness is in file_psnr_db.
    """

    model: str | None
    kind: str | None
    grid: tuple[int, int, int]
    expected_bits: dict[str, float] | None
    static_bits: dict[str, float] | None
    fixed_bits: dict[str, float]
    psnr_db: float | None
    bytes: dict[str, int]
    file_psnr_db: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bits(look: Look) -> np.ndarray:
    """(L, h, w) float64: what each code took by the prior, -log2 p."""
    return -look.expected.log_prob.astype(np.float64) / math.log(2)


def maps(look: Look, levels: Sequence[Level]) -> list[Image.Image]:
    """One map a level and one of all together; dark is expected, brightest the bits of a fixed length or more."""
    found = bits(look)
    tops = [bits_per_patch([level]) for level in levels]
    return [heat(area, top) for area, top in zip([*found, found.sum(0)], [*tops, sum(tops)], strict=True)]


def enlarged(look: Look) -> Image.Image:
    """The square photo, smoothly, at the size of the maps."""
    _, h, w = look.tokens.shape
    cell = cell_side(w)
    return Image.fromarray(look.square).resize((w * cell, h * cell), Image.Resampling.BICUBIC)


def cell_side(columns: int) -> int:
    """Pixels of one patch in a map."""
    return -(-MAP_SIDE // columns)


def heat(area: np.ndarray, top: float) -> Image.Image:
    """(h, w) from 0, dark, to `top` and beyond, brightest -> a picture of crisp squares."""
    shade = ramp()[np.clip(area * (255 / top), 0, 255).astype(np.uint8)]  # (h, w, 3)
    cell = cell_side(area.shape[1])
    return Image.fromarray(shade.repeat(cell, 0).repeat(cell, 1))


def scale(top: float) -> str:
    """The scale of a map in bits, as HTML."""
    stops = ", ".join("rgb({}, {}, {})".format(*ramp()[i]) for i in range(0, 256, 15))
    ticks = "".join(f"<span>{value:g}{end}</span>" for value, end in ((0, ""), (top / 2, ""), (top, "+ bits")))
    return (
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div><div class="ticks">{ticks}</div>'
    )


def measure(look: Look, levels: Sequence[Level], statistics: Statistics | None) -> SurpriseNumbers:
    """Count the bits, and make the files of other formats that are as near to the photo as what is painted."""
    square = Image.fromarray(look.square)
    psnr = metrics.psnr(to_float(Image.fromarray(look.painted)), to_float(square))
    files = {name: at_psnr(square, name, psnr) for name in FORMATS}
    reached = {name: metrics.psnr(to_float(file.picture), to_float(square)) for name, file in files.items()}
    static = None
    if statistics is not None:
        static = np.stack([-np.log2(statistics.share(i, codes)) for i, codes in enumerate(look.tokens)])
    return SurpriseNumbers(
        model=look.model,
        kind=look.kind if look.model else None,
        grid=look.tokens.shape,
        expected_bits=None if look.expected is None else by_level(bits(look), levels),
        static_bits=None if static is None else by_level(static, levels),
        fixed_bits={level.name: bits_per_patch([level]) for level in levels},
        psnr_db=finite(psnr),
        bytes={name: file.bytes for name, file in files.items()},
        file_psnr_db={name: finite(value) for name, value in reached.items()},
    )


def by_level(found: np.ndarray, levels: Sequence[Level]) -> dict[str, float]:
    """(L, h, w) -> the mean of each level."""
    return {level.name: round(float(area.mean()), 4) for level, area in zip(levels, found, strict=True)}


def finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def table(numbers: SurpriseNumbers) -> str:
    """The numbers as an HTML table: one row a way to store the picture."""
    names = list(numbers.fixed_bits)
    patches = numbers.grid[1] * numbers.grid[2]
    rows = []
    for name, meaning, found in (
        (f"Expected by {numbers.model}", "for one who has the model too", numbers.expected_bits),
        ("Common codes shorter", "without looking at neighbors", numbers.static_bits),
        ("Fixed length", "the plain numbers", numbers.fixed_bits),
    ):
        if found is not None:
            whole = sum(found.values())
            cells = [*(f"{found[level]:.1f}" for level in names), f"{whole:.1f}"]
            rows.append(row(name, meaning, [*cells, f"{math.ceil(whole * patches / 8):,}"]))
    for format, size in numbers.bytes.items():
        near = numbers.file_psnr_db[format]
        said = "equal to the photo" if near is None else f"as near to the photo: {near:.1f} dB"
        each = f"{8 * size / patches:.1f}"
        rows.append(row(FORMAT_NAMES[format], said, [*[""] * len(names), each, f"{size:,}"]))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in (*names, "all", "bytes"))
    near = "equals the photo" if numbers.psnr_db is None else f"has a PSNR of {numbers.psnr_db:.1f} dB"
    return (
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="note">Bits for each of {patches} patches, and bytes for the whole square. What is painted from the '
        f"codes {near}; the other formats are set to the smallest file as near to the photo, headers included.</p>"
    )
