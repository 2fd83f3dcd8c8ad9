"""What a tab shows before it is used: its steps in words and on a photo."""

from collections.abc import Sequence

from PIL import Image

from cst import CST
from space.widgets.html import data_url


def explain(cst: CST, photo: Image.Image, steps: Sequence[tuple[str, str]]) -> str:
    """A list of (name, sentence), each with a picture: color, + shape, + texture, and the rendered photo."""
    tokens = cst.encode(photo)
    pictures = [*(cst.centroid_picture(tokens, levels=levels) for levels in (1, 2, 3)), cst.decode(tokens)]
    items = [
        f'<li><img src="{data_url(picture)}" alt=""><div><b>{name}</b><span>{text}</span></div></li>'
        for picture, (name, text) in zip(pictures, steps, strict=True)
    ]
    return f"<ol>{''.join(items)}</ol>"
