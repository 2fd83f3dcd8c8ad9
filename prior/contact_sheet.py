"""Contact sheets: rows of pictures with captions."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Row = tuple[str, Sequence[Image.Image]]  # caption, pictures


def contact_sheet(rows: Sequence[Row], *, side: int = 128, caption: str = "", gap: int = 6) -> Image.Image:
    """Rows of a caption and pictures, each `side` pixels high and wide; `caption` below all."""
    font = ImageFont.load_default(15)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = int(max((pen.textlength(words, font) for words, _ in rows), default=0))
    left += 2 * gap if left else 0
    width = max(left + max(len(pictures) for _, pictures in rows) * (side + gap), gap)
    width = max(width, int(pen.textlength(caption, font)) + gap)
    height = len(rows) * (side + gap) + (24 if caption else 0)
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for number, (words, pictures) in enumerate(rows):
        top = number * (side + gap)
        pen.text((left - 2 * gap, top + side // 2), words, fill="#333", anchor="rm", font=font)
        for column, picture in enumerate(pictures):
            # Crisp patches when enlarged, smooth when shrunk.
            how = Image.Resampling.NEAREST if picture.width <= side else Image.Resampling.LANCZOS
            page.paste(picture.resize((side, side), how), (left + column * (side + gap), top))
    pen.text((0, height - 12), caption, fill="#333", anchor="lm", font=font)
    return page
