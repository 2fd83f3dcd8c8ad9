"""The HTML of a grid of new pictures, while they grow and when they are done."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from space.widgets.html import data_url


@dataclass(frozen=True)
class Tile:
    """One picture of the grid. address: its URL. alt: a description. caption: HTML below it."""

    address: str
    alt: str
    caption: str = ""


def gallery(
    tiles: Sequence[Tile],
    status: str,
    progress: Sequence[tuple[str, float]],
    *,
    crisp: bool = False,
    conditions: Sequence[Tile] = (),
    address: str = "",
) -> str:
    """The pictures, and above them the status, the progress of each layer, and pictures of the condition.

    progress: (layer, fraction done in [0, 1]), coarse to fine. crisp: enlarge without smoothing.
    address: of the page with the same fields.
    """
    bars = "".join(
        f'<li><span>{html.escape(name)}</span><i style="--done: {100 * fraction:.1f}%"></i></li>'
        for name, fraction in progress
    )
    above = f'<div class="given">{figures(conditions)}</div>' if conditions else ""
    link = (
        f' <a href="{html.escape(address)}" target="_blank" rel="noopener">Link to these settings</a>'
        if address
        else ""
    )
    return (
        f'<p class="words" role="status">{html.escape(status)}{link}</p><ol class="layers">{bars}</ol>{above}'
        f'<div class="tiles{" crisp" if crisp else ""}" data-count="{len(tiles)}">{figures(tiles)}</div>'
    )


def figures(tiles: Sequence[Tile]) -> str:
    return "".join(
        f'<figure><img src="{tile.address}" alt="{html.escape(tile.alt)}">'
        f"<figcaption>{tile.caption}</figcaption></figure>"
        for tile in tiles
    )


def with_transparency(picture: Image.Image, visible: np.ndarray) -> Image.Image:
    """The picture, transparent in the patches where `visible`, (h, w) bool, is False."""
    picture = picture.copy()
    picture.putalpha(Image.fromarray(visible).convert("L").resize(picture.size, Image.Resampling.NEAREST))
    return picture


def draft_url(draft: Image.Image, visible: np.ndarray, *, crisp: bool) -> str:
    """A small data URL of an unfinished picture.

    visible: (h, w) bool, where there is a color. crisp: it has only colors, and one pixel per patch is enough.
    """
    picture = with_transparency(draft, visible)
    if not crisp:
        return data_url(picture, "WEBP")
    return data_url(picture.resize(visible.shape[::-1], Image.Resampling.NEAREST))
