"""How well a model predicted a photo: the bits of every code as maps, and their sum compared with other formats."""

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
from prior.sampling import TokenScores
from space.color import ramp
from space.tabs.inside.analysis import Analysis
from space.widgets.html import color_scale, table, table_row

MIN_MAP_SIZE = 512  # pixels per side of a map: larger than it is shown, because Gradio misplaces clicks otherwise
FORMAT_NAMES = {"JPEG": "JPEG", "WEBP": "WebP", "AVIF": "AVIF"}


@dataclass(frozen=True)
class BitNumbers:
    """Everything in the table. Bits per patch are means, by level; None without a prior or without statistics.

    psnr_db: of the rendered picture, None if it equals the photo. bytes: of each format's smallest file that is at
    least as close to the photo. file_psnr_db: of these files.
    """

    model: str | None
    kind: str | None
    grid: tuple[int, ...]
    expected_bits: dict[str, float] | None
    static_bits: dict[str, float] | None
    fixed_bits: dict[str, float]
    psnr_db: float | None
    bytes: dict[str, int]
    file_psnr_db: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def code_bits(scores: TokenScores) -> np.ndarray:
    """(L, h, w) float64: the bits of each code under the prior, -log2 p, with its share of the coarser maps."""
    return -(scores.log_prob.astype(np.float64) + scores.shared) / math.log(2)


def bit_maps(scores: TokenScores, levels: Sequence[Level]) -> list[Image.Image]:
    """One map per level and one of their sum; dark is predicted, brightest is a fixed-length code's bits or more."""
    bits = code_bits(scores)
    tops = [bits_per_patch([level]) for level in levels]
    return [draw_map(area, top) for area, top in zip([*bits, bits.sum(0)], [*tops, sum(tops)], strict=True)]


def enlarged_square(analysis: Analysis) -> Image.Image:
    """The square photo at the size of the maps."""
    _, h, w = analysis.tokens.shape
    side = cell_size(w)
    return Image.fromarray(analysis.square).resize((w * side, h * side), Image.Resampling.BICUBIC)


def cell_size(columns: int) -> int:
    """Pixels per side of one patch in a map."""
    return -(-MIN_MAP_SIZE // columns)


def draw_map(bits: np.ndarray, top: float) -> Image.Image:
    """(h, w) bits -> one square per patch, from dark for 0 to brightest for `top` and more."""
    shade = ramp()[np.clip(bits * (255 / top), 0, 255).astype(np.uint8)]  # (h, w, 3)
    side = cell_size(bits.shape[1])
    return Image.fromarray(shade.repeat(side, 0).repeat(side, 1))


def map_scale(top: float) -> str:
    """The scale of a map in bits, as HTML."""
    return color_scale(["0", f"{top / 2:g}", f"{top:g}+ bits"])


def measure_bits(analysis: Analysis, levels: Sequence[Level], statistics: Statistics | None) -> BitNumbers:
    """Count the bits, and make files of other formats that are as close to the photo as the rendered picture."""
    square = Image.fromarray(analysis.square)
    psnr = metrics.psnr(to_float(Image.fromarray(analysis.rendered)), to_float(square))
    files = {name: at_psnr(square, name, psnr) for name in FORMATS}
    file_psnr = {name: metrics.psnr(to_float(file.picture), to_float(square)) for name, file in files.items()}
    static = None
    if statistics is not None:
        static = np.stack([-np.log2(statistics.share(i, codes)) for i, codes in enumerate(analysis.tokens)])
    return BitNumbers(
        model=analysis.model,
        kind=analysis.kind if analysis.model else None,
        grid=analysis.tokens.shape,
        expected_bits=None if analysis.scores is None else level_means(code_bits(analysis.scores), levels),
        static_bits=None if static is None else level_means(static, levels),
        fixed_bits={level.name: bits_per_patch([level]) for level in levels},
        psnr_db=finite(psnr),
        bytes={name: file.bytes for name, file in files.items()},
        file_psnr_db={name: finite(value) for name, value in file_psnr.items()},
    )


def level_means(bits: np.ndarray, levels: Sequence[Level]) -> dict[str, float]:
    """(L, h, w) -> the mean of each level."""
    return {level.name: round(float(area.mean()), 4) for level, area in zip(levels, bits, strict=True)}


def finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def bit_table(numbers: BitNumbers) -> str:
    """The numbers as an HTML table, with one row per way to store the picture."""
    levels = list(numbers.fixed_bits)
    patches = numbers.grid[1] * numbers.grid[2]
    rows = []
    for name, meaning, bits in (
        (f"Predicted by {numbers.model}", "if the reader also has the model", numbers.expected_bits),
        ("Common codes shorter", "without looking at neighbors", numbers.static_bits),
        ("Fixed length", "the plain numbers", numbers.fixed_bits),
    ):
        if bits is not None:
            total = sum(bits.values())
            cells = [*(f"{bits[level]:.1f}" for level in levels), f"{total:.1f}"]
            rows.append(table_row(name, meaning, [*cells, f"{math.ceil(total * patches / 8):,}"]))
    for format, size in numbers.bytes.items():
        psnr = numbers.file_psnr_db[format]
        meaning = "equal to the photo" if psnr is None else f"as close to the photo: {psnr:.1f} dB"
        per_patch = f"{8 * size / patches:.1f}"
        rows.append(table_row(FORMAT_NAMES[format], meaning, [*[""] * len(levels), per_patch, f"{size:,}"]))
    rendered = "equals the photo" if numbers.psnr_db is None else f"has a PSNR of {numbers.psnr_db:.1f} dB"
    note = (
        f"Bits for each of {patches} patches, and bytes for the whole square. The picture rendered from the codes "
        f"{rendered}; the other formats are set to the smallest file that is as close to the photo, headers included."
    )
    return table((*levels, "all", "bytes"), rows, note)
