"""Sheets of all codes, on which those of a photo are bright, and how evenly a photo uses the codes."""

import html
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import CST, metrics
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from space.tabs.inside.codebook_layout import EMPTY, code_layout
from space.tabs.inside.codebook_tiles import frequency_text, tile_url, tiles

MAX_WIDTH = 1152  # pixels of a sheet, unless its tiles, a pixel apart, need more
DIM = 28  # of 255: the opacity of an unused code
MAX_PHOTO_SIZE = 512  # pixels per side of the photo whose codes are counted
CHART_SIZE = (240, 64)  # width and height of a histogram


@dataclass(frozen=True)
class Usage:
    """How one level's codes are used: by `patches` patches, `used` of `size` codes.

    perplexity: the number of codes that would be as hard to predict if they were used equally often.
    """

    level: str
    size: int
    patches: int
    used: int
    perplexity: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count_codes(cst: CST, photo: Image.Image) -> tuple[np.ndarray, ...]:
    """How often each code occurs in a photo: (V,) int64 per level."""
    codes = cst.encode(photo).codes
    return tuple(
        np.bincount(level_codes.ravel(), minlength=level.size)
        for level_codes, level in zip(codes, cst.tokenizer.levels, strict=True)
    )


def measure_usage(level: str, counts: np.ndarray) -> Usage:
    """(V,) occurrences of each code -> the numbers of a level."""
    _, perplexity = metrics.usage(counts)
    used = int(np.count_nonzero(counts))
    return Usage(level, len(counts), int(counts.sum()), used, round(perplexity, 2))


def draw_sheet(codebooks: Codebooks, level: int, counts: np.ndarray | None) -> Image.Image:
    """Every code of a level as a tile, RGBA; those with a count of 0 are dim. counts: (V,); None: all are bright."""
    codes, patch = code_layout(codebooks, level), codebooks.patch
    entries = tiles(codebooks, level)
    entries = np.concatenate([entries, np.zeros_like(entries[:1])])  # the last is EMPTY
    opacity = np.full(len(entries), 255, np.uint8)
    if counts is not None:
        opacity[:-1][counts == 0] = DIM
    opacity[EMPTY] = 0
    cells = np.zeros((*codes.shape, patch + 1, patch + 1, 4), np.uint8)
    cells[:, :, :patch, :patch, :3] = entries[codes]
    cells[:, :, :patch, :patch, 3] = opacity[codes][..., None, None]
    height, width = ((patch + 1) * side for side in codes.shape)
    picture = Image.fromarray(cells.transpose(0, 2, 1, 3, 4).reshape(height, width, 4))
    factor = enlargement(codebooks, level)
    return picture.resize((factor * width, factor * height), Image.Resampling.NEAREST)


def enlargement(codebooks: Codebooks, level: int) -> int:
    """The side of the square that each pixel of a tile takes on its sheet."""
    return max(1, MAX_WIDTH // (code_layout(codebooks, level).shape[1] * (codebooks.patch + 1)))


def code_at(codebooks: Codebooks, level: int, x: float, y: float) -> int | None:
    """The code at a pixel of a sheet; None where there is none."""
    codes, side = code_layout(codebooks, level), (codebooks.patch + 1) * enlargement(codebooks, level)
    row, column = int(y) // side, int(x) // side
    if not (0 <= row < codes.shape[0] and 0 <= column < codes.shape[1]) or codes[row, column] == EMPTY:
        return None
    return int(codes[row, column])


def usage_html(usage: Usage, counts: np.ndarray, source: str) -> str:
    """A level's numbers in words, with a histogram. source: the photo or photos that were counted."""
    return (
        f'<div class="usage"><p><b>{html.escape(usage.level)}</b> {usage.used:,} of {usage.size:,} codes occur in '
        f"{source}, which is as varied as if {usage.perplexity:,.0f} were used equally often.</p>"
        f"{histogram(counts, usage.level)}</div>"
    )


def histogram(counts: np.ndarray, name: str) -> str:
    """Codes from the most to the least used, and how often each is, on a logarithmic scale, as inline SVG."""
    used = np.sort(counts[counts > 0])[::-1]
    width, height = CHART_SIZE
    largest = max(int(used[0]) if len(used) else 1, 2)
    # One point per code, but no more points than the chart has pixels.
    ranks = np.unique(np.linspace(0, max(len(used) - 1, 0), min(len(used), width)).astype(int))
    scale = (height - 2) / math.log(2 * largest)
    points = [(rank / len(counts) * width, height - scale * math.log(2 * used[rank])) for rank in ranks]
    end = len(used) / len(counts) * width
    line = "".join(f"L{x:.1f} {y:.1f}" for x, y in points)
    last = f"L{end:.1f} {points[-1][1]:.1f}" if points else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="how often each {name} code is used"><path d="M0 {height}{line}{last}L{end:.1f} {height}Z"/></svg>'
        f"<figcaption><span>the most used: {largest:,} times</span><span>{len(counts):,} codes</span></figcaption>"
        "</figure>"
    )


def describe_code(
    codebooks: Codebooks, level: int, code: int, statistics: Statistics | None, counts: np.ndarray | None
) -> str:
    """Which code a tile is and how often it occurs, as HTML, with the style that marks it on the sheet."""
    parts = [f"<b>{codebooks.levels[level].name} {code:,}</b>"]
    if statistics is not None:
        parts.append(f"{frequency_text(statistics, level, code)} of training photos")
    if counts is not None:
        times = int(counts[code])
        parts.append(f"{times:,} in your photo" if times else "none in your photo")
    url = tile_url(tiles(codebooks, level)[code])
    layout = code_layout(codebooks, level)
    (row,), (column,) = np.nonzero(layout == code)
    places = {"columns": layout.shape[1], "rows": layout.shape[0], "column": column, "row": row}
    mark = "".join(f"--{name}: {value}; " for name, value in places.items())
    return (
        f'<div class="one-tile"><img src="{url}" alt=""><span>{", ".join(parts)}</span></div>'
        f"<style>#sheet-{codebooks.levels[level].name} {{ {mark}}}</style>"
    )
