"""The same photo by CST and by each learned tokenizer, with its numbers; no Gradio here."""

import html
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from cst.images import pad_to_multiple, to_float, to_image
from cst.learned.config import TITLES, packaged
from cst.metrics import l1, psnr, ssim
from cst.tokenizer.protocol import Tokenizer, bits_per_patch
from space.models import Models
from space.tabs.reconstruct.difference_map import difference_map, legend
from space.widgets.html import data_url

CST_TITLE = "CST, rendered in 8 bits"
MAX_SIZE = 512  # pixels per side
ABOUT = f"""<p class="about">The same photo, at most {MAX_SIZE} pixels wide and high, by CST and by small versions of
published learned tokenizers. Those were trained on the same photos for three quarters of an hour each. Beside each
picture: the error of each pixel.</p>{legend()}"""


@dataclass(frozen=True)
class Measurement:
    """One tokenizer on one photo. psnr_db is None where the two are equal, ssim where the photo is too small for it."""

    name: str
    bits_per_pixel: float
    psnr_db: float | None
    ssim: float | None
    l1: float
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True)
class Row:
    """What is shown of a tokenizer: its measurement and two pictures as data URLs, or why there are none."""

    name: str
    measurement: Measurement | None = None
    picture: str = ""
    difference: str = ""
    problem: str = ""


def compare(models: Models, photo: Image.Image) -> Iterator[list[Row]]:
    """Encode and decode a photo by every tokenizer; each view has one row more, in order of bits per pixel."""
    rows = [measure(models.cst("int8").tokenizer, CST_TITLE, photo)]
    yield rows
    for folder in packaged():
        title = TITLES[folder.name]
        try:
            row = measure(models.learned(folder), title, photo)
        except ValueError as error:
            row = Row(title, problem=str(error))
        rows = sorted([*rows, row], key=lambda each: each.measurement.bits_per_pixel if each.measurement else 99.0)
        yield rows


def measure(tokenizer: Tokenizer, title: str, photo: Image.Image) -> Row:
    original = to_float(photo)
    padded = pad_to_multiple(original, tokenizer.patch)[None]
    start = time.perf_counter()
    tokens = tokenizer.encode(padded)
    middle = time.perf_counter()
    decoded = tokenizer.decode(tokens)
    end = time.perf_counter()
    picture = to_image(decoded[0, :, : photo.height, : photo.width])
    x = to_float(picture)
    quality = psnr(x, original)
    measurement = Measurement(
        name=title,
        bits_per_pixel=round(bits_per_patch(tokenizer.levels) * tokens[0, 0].size / (photo.width * photo.height), 3),
        psnr_db=round(quality, 2) if np.isfinite(quality) else None,
        ssim=round(ssim(x, original), 4) if min(photo.size) >= 11 else None,
        l1=round(l1(x, original), 4),
        encode_ms=round(1000 * (middle - start), 1),
        decode_ms=round(1000 * (end - middle), 1),
    )
    difference = data_url(difference_map(picture, photo), "WEBP", 95)
    return Row(title, measurement, data_url(picture, "WEBP", 95), difference)


def comparison_html(rows: list[Row]) -> str:
    return f'{ABOUT}<div class="tokenizers">{"".join(map(row_html, rows))}</div>'


def row_html(row: Row) -> str:
    name = html.escape(row.name)
    if row.measurement is None:
        problem = f"Not available: {html.escape(row.problem)}"
        return f"<figure><figcaption><b>{name}</b> <span>{problem}</span></figcaption></figure>"
    numbers = row.measurement
    values = [
        f"{numbers.bits_per_pixel:.2f} bits per pixel",
        "equal" if numbers.psnr_db is None else f"{numbers.psnr_db:.1f} dB",
        "" if numbers.ssim is None else f"SSIM {numbers.ssim:.3f}",
        f"L1 {numbers.l1:.3f}",
        f"{numbers.encode_ms:.0f} + {numbers.decode_ms:.0f} ms",
    ]
    return (
        f'<figure><img src="{row.picture}" alt="the photo by {name}">'
        f'<img src="{row.difference}" alt="the error of {name} at each pixel">'
        f"<figcaption><b>{name}</b> <span>{' · '.join(filter(None, values))}</span></figcaption></figure>"
    )


def to_json(rows: list[Row]) -> list[dict[str, Any]]:
    return [
        {"name": row.name, "problem": row.problem} if row.measurement is None else asdict(row.measurement)
        for row in rows
    ]
