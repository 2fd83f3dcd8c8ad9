"""All codes there are, as sheets on which a photo's own light up, and how evenly the photo uses them."""

import html
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst import CST, metrics
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from space.tabs.inside.codebook_layout import EMPTY, arranged
from space.tabs.inside.codebook_tiles import common, tile_address, tiles

WIDTH = 1152  # pixels of a sheet at most, where its tiles, a pixel apart, are not too many for that
DIM = 28  # of 255: the opacity of a code that isn't used
LONGEST = 512  # pixels of the photo whose codes are counted
CHART = (240, 64)  # width and height of the drawing of a histogram


@dataclass(frozen=True)
class Usage:
    """How one level's codes are used: by `patches` patches, `used` of `size` codes.

    perplexity: the number of codes which, used equally often, would be as hard to foretell.
    """

    level: str
    size: int
    patches: int
    used: int
    perplexity: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count(cst: CST, photo: Image.Image) -> tuple[np.ndarray, ...]:
    """How often each code occurs in a photo: for each level (V,) int64."""
    codes = cst.encode(photo).codes
    return tuple(
        np.bincount(found.ravel(), minlength=level.size)
        for found, level in zip(codes, cst.tokenizer.levels, strict=True)
    )


def measure(level: str, counts: np.ndarray) -> Usage:
    """(V,) how often each code occurred -> the numbers of a level."""
    _, perplexity = metrics.usage(counts)
    used = int(np.count_nonzero(counts))
    return Usage(level, len(counts), int(counts.sum()), used, round(perplexity, 2))


def sheet(codebooks: Codebooks, level: int, counts: np.ndarray | None) -> Image.Image:
    """Every code of a level as a tile, RGBA; those that don't occur in `counts`, (V,), are dim. None: all are lit."""
    codes = arranged(codebooks, level)
    entries = np.concatenate([tiles(codebooks, level), np.zeros_like(tiles(codebooks, level)[:1])])  # last: EMPTY
    opacity = np.full(len(entries), 255, np.uint8)
    if counts is not None:
        opacity[:-1][counts == 0] = DIM
    opacity[EMPTY] = 0
    patch = codebooks.patch
    cells = np.zeros((*codes.shape, patch + 1, patch + 1, 4), np.uint8)
    cells[:, :, :patch, :patch, :3] = entries[codes]
    cells[:, :, :patch, :patch, 3] = opacity[codes][..., None, None]
    rows, columns = ((patch + 1) * side for side in codes.shape)
    small = Image.fromarray(cells.transpose(0, 2, 1, 3, 4).reshape(rows, columns, 4))
    return small.resize([enlargement(codebooks, level) * side for side in small.size], Image.Resampling.NEAREST)


def enlargement(codebooks: Codebooks, level: int) -> int:
    """How many pixels a side each pixel of a tile takes on its sheet."""
    return max(1, WIDTH // (arranged(codebooks, level).shape[1] * (codebooks.patch + 1)))


def code_at(codebooks: Codebooks, level: int, x: float, y: float) -> int | None:
    """The code that a sheet shows at a pixel; None where it shows none."""
    codes, side = arranged(codebooks, level), (codebooks.patch + 1) * enlargement(codebooks, level)
    row, column = int(y) // side, int(x) // side
    if not (0 <= row < codes.shape[0] and 0 <= column < codes.shape[1]) or codes[row, column] == EMPTY:
        return None
    return int(codes[row, column])


def describe(usage: Usage, counts: np.ndarray, whose: str) -> str:
    """A level's numbers in words beside its histogram, as HTML. whose: photo, or photos, that were counted."""
    return (
        f'<div class="usage"><p><b>{html.escape(usage.level)}</b> {usage.used:,} of {usage.size:,} codes occur in '
        f"{whose}, which is as varied as if {usage.perplexity:,.0f} were used equally often.</p>"
        f"{histogram(counts, usage.level)}</div>"
    )


def histogram(counts: np.ndarray, name: str) -> str:
    """Codes from the most to the least used, and how often each is, on a logarithmic scale, as inline SVG."""
    used = np.sort(counts[counts > 0])[::-1]
    width, height = CHART
    most = max(int(used[0]) if len(used) else 1, 2)
    # A step a code; no more points than the drawing has pixels.
    ranks = np.unique(np.linspace(0, max(len(used) - 1, 0), min(len(used), width)).astype(int))
    scale = (height - 2) / math.log(2 * most)
    points = [(rank / len(counts) * width, height - scale * math.log(2 * used[rank])) for rank in ranks]
    end = len(used) / len(counts) * width
    line = "".join(f"L{x:.1f} {y:.1f}" for x, y in points)
    last = f"L{end:.1f} {points[-1][1]:.1f}" if points else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="how often each {name} code is used"><path d="M0 {height}{line}{last}L{end:.1f} {height}Z"/></svg>'
        f"<figcaption><span>the most used: {most:,} times</span><span>{len(counts):,} codes</span></figcaption>"
        "</figure>"
    )


def tell(codebooks: Codebooks, level: int, code: int, statistics: Statistics | None, counts: np.ndarray | None) -> str:
    """Which code a tile is and how often it occurs, as HTML."""
    name = codebooks.levels[level].name
    words = [f"<b>{name} {code:,}</b>"]
    if statistics is not None:
        words.append(f"{common(statistics, level, code)} of training photos")
    if counts is not None:
        times = int(counts[code])
        words.append(f"{times:,} in your photo" if times else "none in your photo")
    address = tile_address(tiles(codebooks, level)[code])
    return f'<div class="told"><img src="{address}" alt=""><span>{", ".join(words)}</span></div>'
