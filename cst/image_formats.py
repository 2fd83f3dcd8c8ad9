"""Ordinary picture formats at a given number of bytes, to compare tokens with."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from cst.images import to_float
from cst.metrics import psnr

FORMATS = ("JPEG", "WEBP", "AVIF")
LOWEST = {"JPEG": 1, "WEBP": 0, "AVIF": 0}


@dataclass(frozen=True)
class Coded:
    """A picture after a round trip through a lossy format: what came back, its file's bytes and the quality used."""

    picture: Image.Image
    bytes: int
    quality: int


def at_bytes(image: Image.Image, format: str, limit: int) -> Coded:
    """The best quality of `format` (one of `FORMATS`) whose file is at most `limit` bytes; else its smallest file.

    The search is by bisection over the quality setting, 0 or 1 to 100; `Coded.bytes` tells what was reached. Raises
    ValueError for another format, and for a limit that is no number.
    """
    *_, coded = trying_at_bytes(image, format, limit)
    return coded


def trying_at_bytes(image: Image.Image, format: str, limit: int) -> Iterator[Coded | None]:
    """As `at_bytes`, in steps at which a caller can stop: None after each file tried, at last what was found."""
    check_format(format, limit)
    low, high, found = LOWEST[format], 100, None
    while low < high:
        middle = (low + high + 1) // 2
        data = _encode(image, format, middle)
        if len(data) <= limit:
            low, found = middle, data
        else:
            high = middle - 1
        yield None
    yield _opened(found or _encode(image, format, low), low)


def check_format(format: str, target: float) -> None:
    """Raise ValueError for a format that is not one of `FORMATS`, or a target of bytes or dB that is no number."""
    if format not in FORMATS:
        raise ValueError(f"no format '{format}'; accepted: {', '.join(FORMATS)}")
    if target != target:
        raise ValueError(f"a target of {target}; accepted: a number of bytes, or of dB")


def at_psnr(image: Image.Image, format: str, psnr_db: float) -> Coded:
    """The smallest file of `format` (one of `FORMATS`) that is at least as near to `image` as `psnr_db`, in dB.

    The search is by bisection over the quality setting, 0 or 1 to 100; where even the best is farther, the best.
    """
    check_format(format, psnr_db)
    original = to_float(image)
    low, high = LOWEST[format], 100
    while low < high:
        middle = (low + high) // 2
        if psnr(to_float(_coded(image, format, middle).picture), original) >= psnr_db:
            high = middle
        else:
            low = middle + 1
    return _coded(image, format, low)


def _coded(image: Image.Image, format: str, quality: int) -> Coded:
    return _opened(_encode(image, format, quality), quality)


def _opened(data: bytes, quality: int) -> Coded:
    with Image.open(io.BytesIO(data)) as coded:
        return Coded(coded.convert("RGB"), len(data), quality)


def _encode(image: Image.Image, format: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    # Pillow's optimized Huffman tables and WebP's slower search are what a careful person would use.
    settings = {"JPEG": {"optimize": True}, "WEBP": {"method": 4}, "AVIF": {"speed": 8}}[format]
    image.save(buffer, format, quality=quality, **settings)
    return buffer.getvalue()
