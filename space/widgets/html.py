"""Bits of HTML that several tabs show."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image


def whole(columns: Sequence[str], rows: Sequence[str], running_on: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    return (
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="note">Painted with {html.escape(running_on)}.</p>'
    )


def row(name: str, meaning: str, cells: Sequence[str]) -> str:
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row"><span>{name}</span><small>{meaning}</small></th>{values}</tr>'


def data_url(picture: Image.Image, format: str = "PNG") -> str:
    """A picture as an address; WebP loses a little, and takes a tenth of the bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 80, "method": 0} if format == "WEBP" else {}))
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
