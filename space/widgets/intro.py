"""What a tab shows before it is used: its steps in words and on a photo; and pictures that lie inside the page."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from cst import CST


def explain(cst: CST, photo: Image.Image, steps: Sequence[tuple[str, str]]) -> str:
    """A list of (name, sentence) beside what color, shape and texture draw of a small photo, and what is painted."""
    tokens = cst.encode(photo)
    pictures = [*(cst.draw(tokens, levels=levels) for levels in (1, 2, 3)), cst.decode(tokens)]
    items = [
        f'<li><img src="{data_url(picture)}" alt=""><div><b>{name}</b><span>{text}</span></div></li>'
        for picture, (name, text) in zip(pictures, steps, strict=True)
    ]
    return f"<ol>{''.join(items)}</ol>"


def data_url(picture: Image.Image, format: str = "PNG") -> str:
    """A picture as an address; WebP loses a little, and takes a tenth of the bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 80, "method": 0} if format == "WEBP" else {}))
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
