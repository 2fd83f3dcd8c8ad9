"""New pictures as they grow, and when they are done: the HTML of their grid."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from space.widgets.html import data_url


@dataclass(frozen=True)
class Tile:
    """One picture of the grid. address: of the picture. alt: what it shows. caption: HTML below it."""

    address: str
    alt: str
    caption: str = ""


def grid(
    tiles: Sequence[Tile],
    words: str,
    written: Sequence[tuple[str, float]],
    *,
    crisp: bool = False,
    given: Sequence[Tile] = (),
) -> str:
    """The pictures, and above them what is being done, how far each layer is, and what was given.

    words: the stage in words. written: (layer, share done in [0, 1]), coarse to fine. crisp: enlarge without smoothing.
    """
    bars = "".join(
        f'<li><span>{html.escape(name)}</span><i style="--done: {100 * share:.1f}%"></i></li>'
        for name, share in written
    )
    beside = f'<div class="given">{figures(given)}</div>' if given else ""
    return (
        f'<p class="words" role="status">{html.escape(words)}</p><ol class="layers">{bars}</ol>{beside}'
        f'<div class="tiles{" crisp" if crisp else ""}" data-count="{len(tiles)}">{figures(tiles)}</div>'
    )


def figures(tiles: Sequence[Tile]) -> str:
    return "".join(
        f'<figure><img src="{tile.address}" alt="{html.escape(tile.alt)}">'
        f"<figcaption>{tile.caption}</figcaption></figure>"
        for tile in tiles
    )


def blank(count: int, words: str, names: Sequence[str]) -> str:
    """The grid before anything is written."""
    nothing = data_url(Image.new("LA", (1, 1)))
    return grid([Tile(nothing, "")] * count, words, [(name, 0) for name in names])


def clear(picture: Image.Image, there: np.ndarray) -> Image.Image:
    """The picture with nothing where nothing is written. there: (h, w) bool."""
    picture = picture.copy()
    picture.putalpha(Image.fromarray(there).convert("L").resize(picture.size, Image.Resampling.NEAREST))
    return picture


def draft_address(draft: Image.Image, there: np.ndarray, known: np.ndarray) -> str:
    """One picture of a preview as the address of a small file; colors alone take one pixel per patch.

    there: (h, w) bool, where there is a color. known: (L, h, w) bool.
    """
    if known[1:].any():
        return data_url(clear(draft, there), "WEBP")
    return data_url(clear(draft, there).resize(there.shape[::-1], Image.Resampling.NEAREST))
