"""HTML that several tabs show: tables, color scales, and pictures inside the page."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from space.color import ramp


def table(columns: Sequence[str], rows: Sequence[str], note: str = "") -> str:
    """A table of rows made by `table_row`, folded away under the word Numbers. note: HTML below it."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    below = f'<p class="note">{note}</p>' if note else ""
    whole = f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{below}"
    return f"<details><summary>Numbers</summary>{whole}</details>"


def table_row(name: str, meaning: str, cells: Sequence[str]) -> str:
    """A quantity, an explanation of it, and its value in each column."""
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row"><span>{name}</span><small>{meaning}</small></th>{values}</tr>'


def color_scale(ticks: Sequence[str]) -> str:
    """The scale of a map that is drawn in the colors of `ramp`, with labels at even distances."""
    stops = ", ".join("rgb({}, {}, {})".format(*ramp()[i]) for i in range(0, 256, 15))
    labels = "".join(f"<span>{tick}</span>" for tick in ticks)
    return (
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div><div class="ticks">{labels}</div>'
    )


def data_url(picture: Image.Image, format: str = "PNG", quality: int = 80) -> str:
    """A picture as a data URL. WebP is lossy and takes a tenth of the bytes. quality: of WebP."""
    buffer = io.BytesIO()
    options = {"quality": quality, "method": 0} if format == "WEBP" else {}
    picture.save(buffer, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
