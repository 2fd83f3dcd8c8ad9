"""Odd pictures that must be read, and bad files that must be refused; each is made when a test asks for it."""

import io
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from support.photos import make_photo

Make = Callable[[], bytes]
SIZE = (60, 40)


def encoded(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def photo() -> Image.Image:
    return make_photo(0, *SIZE)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG with a header that declares any size, and these chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def sixteen_bit_gray() -> bytes:
    return encoded(Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257))


def sixteen_bit_color() -> bytes:
    """8x4 gray pixels, all 0x80FF, with 16 bits per channel, which Pillow reads but does not write."""
    rows = (b"\0" + struct.pack(">H", 0x80FF) * 3 * 8) * 4
    return png(8, 4, chunk(b"IDAT", zlib.compress(rows)), depth=16)


def long_comments() -> bytes:
    """A megabyte of text before the pixels."""
    text = PngImagePlugin.PngInfo()
    for number in range(20):
        text.add_text(f"Comment {number}", "word " * 10_000)
    return encoded(photo(), pnginfo=text)


def inflating() -> bytes:
    """200 kB of compressed text that would inflate to 200 MB."""
    data, end = encoded(photo()), 8 + 25  # of signature and header
    return data[:end] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 * 2**20), 9)) + data[end:]


def heic() -> bytes:
    """The first box of a phone's photo, then noise."""
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + np.random.default_rng(0).bytes(5000)


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", SIZE, color) for color in ("red", "blue")]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    return encoded(photo(), "JPEG", exif=exif)


# name -> (its bytes, (width, height) of the upright picture)
ODD: dict[str, tuple[Make, tuple[int, int]]] = {
    "cmyk.jpg": (lambda: encoded(photo().convert("CMYK"), "JPEG"), SIZE),
    "gray.jpg": (lambda: encoded(photo().convert("L"), "JPEG"), SIZE),
    "palette.png": (lambda: encoded(photo().quantize(16)), SIZE),
    "transparent.png": (lambda: encoded(photo().convert("RGBA")), SIZE),
    "transparent-palette.gif": (lambda: encoded(photo().quantize(8), "GIF", transparency=0), SIZE),
    "sixteen-bit-gray.png": (sixteen_bit_gray, SIZE),
    "sixteen-bit-color.png": (sixteen_bit_color, (8, 4)),
    "animated.gif": (lambda: animated("GIF"), SIZE),
    "animated.webp": (lambda: animated("WEBP"), SIZE),
    "animated.png": (lambda: animated("PNG"), SIZE),
    "turned.jpg": (turned, SIZE[::-1]),
    "broken-exif.jpg": (lambda: encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"), SIZE),
    "broken-profile.jpg": (lambda: encoded(photo(), "JPEG", icc_profile=bytes(3 * 2**20)), SIZE),
    "long-comments.png": (long_comments, SIZE),
    "one-pixel.png": (lambda: encoded(make_photo(0, 1, 1)), (1, 1)),
    "thin.png": (lambda: encoded(make_photo(0, 1, 5000)), (1, 5000)),
    "large.jpg": (lambda: encoded(photo().resize((6000, 4000)), "JPEG"), (6000, 4000)),
    "wrong-name.png": (lambda: encoded(photo(), "JPEG"), SIZE),
    "no-suffix": (lambda: encoded(photo()), SIZE),
    "Пёс 🐕 'n %2e%2e.png": (lambda: encoded(photo()), SIZE),
}
DAMAGED = "damaged or cut short.*save or download"
# name -> (its bytes, a pattern of the error)
BAD: dict[str, tuple[Make, str]] = {
    "cut.jpg": (lambda: encoded(make_photo(0, 64, 64), "JPEG")[:900], DAMAGED),
    "cut.png": (lambda: encoded(make_photo(0, 200, 200))[:9000], DAMAGED),
    "only-header.png": (lambda: png(40, 24), DAMAGED),
    "bomb.png": (lambda: png(50_000, 50_000, chunk(b"IDAT", b"")), "more pixels than can be opened.*smaller"),
    "no-size.png": (lambda: png(0, 0), "damaged or cut short|not a picture"),
    "inflating.png": (inflating, "damaged or cut short|not a picture"),
    "empty.png": (lambda: b"", "not a picture"),
    "text.png": (lambda: b"These are words.\n" * 40, "not a picture"),
    "zeros.jpg": (lambda: bytes(5000), "not a picture"),
    "phone.heic": (heic, "is a HEIC photo, which needs|damaged or cut|not a picture"),
    "drawing.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "postscript.eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "archive.zip": (lambda: b"PK\x03\x04" + bytes(400), "not a picture"),
}
# Refused by the page, which accepts fewer pixels than `cst.images`.
TOO_LARGE: dict[str, tuple[Make, str]] = {
    "enormous.png": (lambda: encoded(Image.new("1", (9000, 8000))), "up to 64 million")
}


class Harm:
    """Creates a folder if it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple:
        return self.folder.mkdir, ()


def pickled_picture(folder: Path) -> bytes:
    return pickle.dumps(Harm(folder))
