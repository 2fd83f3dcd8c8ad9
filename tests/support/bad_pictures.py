"""Files and values that no careful person would send, made here: a name, what it is, and what should come of it."""

import io
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from support.photos import make_photo


def encoded(image: Image.Image, format: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG of a header that declares any size, and of these chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def sixteen_bit_color() -> bytes:
    """8x4 pixels of 16 bits a channel, which Pillow can read and not write: all 0x80FF, gray."""
    rows = (b"\0" + struct.pack(">H", 0x80FF) * 3 * 8) * 4
    return png(8, 4, chunk(b"IDAT", zlib.compress(rows)), depth=16)


def talkative() -> bytes:
    """A megabyte of words before the pixels."""
    words = PngImagePlugin.PngInfo()
    for number in range(20):
        words.add_text(f"Comment {number}", "word " * 10_000)
    return encoded(make_photo(0, 40, 24), "PNG", pnginfo=words)


def inflating() -> bytes:
    """200 kB of compressed words that would be 200 MB."""
    whole = encoded(make_photo(0, 40, 24), "PNG")
    end = 8 + 25  # after signature and header
    return whole[:end] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 * 2**20), 9)) + whole[end:]


def heic() -> bytes:
    """The first box of a photo from a phone, and noise."""
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + np.random.default_rng(0).bytes(5000)


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", (40, 24), color) for color in ("red", "blue")]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def profiled() -> bytes:
    """A color profile of three megabytes, in 48 segments, that is none."""
    return encoded(make_photo(0, 40, 24), "JPEG", icc_profile=bytes(3 * 2**20))


# name -> (its bytes, (width, height) of the picture, at a detail of 128)
GOOD: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "animated.webp": (lambda: animated("WEBP"), (40, 24)),
    "animated.png": (lambda: animated("PNG"), (40, 24)),
    "sixteen-bit-color.png": (sixteen_bit_color, (8, 4)),
    "talkative.png": (talkative, (40, 24)),
    "profiled.jpg": (profiled, (40, 24)),
    "transparent-palette.gif": (lambda: encoded(make_photo(0, 40, 24).quantize(8), "GIF", transparency=0), (40, 24)),
    "one-column.png": (lambda: encoded(make_photo(0, 1, 300), "PNG"), (1, 128)),
    "no-suffix": (lambda: encoded(make_photo(0, 40, 24), "PNG"), (40, 24)),
    "Пёс 🐕 'n %2e%2e.png": (lambda: encoded(make_photo(0, 40, 24), "PNG"), (40, 24)),
}
# name -> (its bytes, what the visitor is told)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut.png": (lambda: encoded(make_photo(0, 200, 200), "PNG")[:9000], "damaged or cut short.*save or download"),
    "header-alone.png": (lambda: png(40, 24), "damaged or cut short"),
    "bomb.png": (lambda: png(30_000, 30_000, chunk(b"IDAT", b"")), "more pixels than can be opened.*smaller"),
    "no-size.png": (lambda: png(0, 0), "damaged or cut short|not a picture"),
    "inflating.png": (inflating, "damaged or cut short|not a picture"),
    "phone.heic": (heic, "not a picture that can be read; give a JPEG"),
    "postscript.eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "archive.zip": (lambda: b"PK\x03\x04" + bytes(400), "not a picture"),
    "zeros.jpg": (lambda: bytes(5000), "not a picture"),
}


class Harm:
    """What would make a folder if it were unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple:
        return self.folder.mkdir, ()


def pickled_picture(folder: Path) -> bytes:
    return pickle.dumps(Harm(folder))


def as_bytes(image: Image.Image, format: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that declares 50,000 x 50,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT"


BROKEN = {
    "cut.jpg": (as_bytes(make_photo(0, 64, 64), "JPEG")[:900], "damaged or cut short"),
    "cut.png": (as_bytes(make_photo(0, 64, 64))[:900], "damaged or cut short"),
    "empty.png": (b"", "not a picture"),
    "text.png": (b"These are words.\n" * 40, "not a picture"),
    "bomb.png": (bomb(), "more pixels"),
}
