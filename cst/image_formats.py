"""JPEG, WebP and AVIF at a given number of bytes or a given PSNR, for comparison with tokens."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from cst.images import to_float
from cst.metrics import psnr

FORMATS = ("JPEG", "WEBP", "AVIF")
LOWEST_QUALITY = {"JPEG": 1, "WEBP": 0, "AVIF": 0}
# Optimized Huffman tables for JPEG and a slow search for WebP: the settings of a careful user.
SETTINGS: dict[str, dict[str, Any]] = {"JPEG": {"optimize": True}, "WEBP": {"method": 4}, "AVIF": {"speed": 8}}


@dataclass(frozen=True)
class EncodedImage:
    """A picture after a round trip through a lossy format. bytes: size of its file. quality: the encoder's setting."""

    picture: Image.Image
    bytes: int
    quality: int


def at_bytes(image: Image.Image, format: str, limit: int) -> EncodedImage:
    """Encode at the best quality with a file of at most `limit` bytes; if none is that small, at the lowest quality.

    Bisects the quality setting, from 0 or 1 to 100. Raises ValueError for a format that is not one of `FORMATS`, and
    for a limit of NaN.
    """
    *_, encoded = iter_at_bytes(image, format, limit)
    assert encoded is not None
    return encoded


def iter_at_bytes(image: Image.Image, format: str, limit: int) -> Iterator[EncodedImage | None]:
    """As `at_bytes`, in steps at which a caller can stop: yields None after each file tried, and the result last."""
    check_format(format, limit)
    low, high, best = LOWEST_QUALITY[format], 100, None
    while low < high:
        middle = (low + high + 1) // 2
        data = _encode(image, format, middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle - 1
        yield None
    yield _open(best or _encode(image, format, low), low)


def check_format(format: str, target: float) -> None:
    """Raise ValueError for a format that is not one of `FORMATS`, or a target of NaN."""
    if format not in FORMATS:
        raise ValueError(f"no format '{format}'; accepted: {', '.join(FORMATS)}")
    if target != target:
        raise ValueError(f"a target of {target}; accepted: a number of bytes, or of dB")


def at_psnr(image: Image.Image, format: str, psnr_db: float) -> EncodedImage:
    """Encode at the lowest quality with a PSNR of at least `psnr_db`; if none has it, at the best quality.

    Bisects the quality setting, from 0 or 1 to 100. Raises ValueError as `at_bytes`.
    """
    check_format(format, psnr_db)
    original = to_float(image)
    low, high = LOWEST_QUALITY[format], 100
    while low < high:
        middle = (low + high) // 2
        if psnr(to_float(_round_trip(image, format, middle).picture), original) >= psnr_db:
            high = middle
        else:
            low = middle + 1
    return _round_trip(image, format, low)


def _round_trip(image: Image.Image, format: str, quality: int) -> EncodedImage:
    return _open(_encode(image, format, quality), quality)


def _open(data: bytes, quality: int) -> EncodedImage:
    with Image.open(io.BytesIO(data)) as picture:
        return EncodedImage(picture.convert("RGB"), len(data), quality)


def _encode(image: Image.Image, format: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, quality=quality, **SETTINGS[format])
    return buffer.getvalue()
