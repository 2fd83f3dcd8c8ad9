"""The `.cst` file: the entropy-coded tokens of a photo, and checksums that detect any damage.

All numbers are little-endian:

    bytes   content
    0-3     0x89 "CST": the first byte never occurs in text, so no text file is mistaken for one
    4       version of the format: 1
    5       code model of the payload: 0 static (1 and 2 were priors and are no longer read)
    6-7     width of the photo, pixels, 1 to 65,535
    8-9     height, likewise; width x height is at most 64 million pixels
    10-17   fingerprint of the tokenizer
    18-25   fingerprint of the code model
    26-29   CRC-32 of the codes, (L, h, w) in C order, as uint16
    30-37   the first 8 bytes of the SHA-256 of bytes 0-29 and 38 to the end
    38-     payload: the uint32 words of `range_coder.encode`

The grid is not stored: it is the photo's size divided by the tokenizer's patch, rounded up.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cst.artifact import replacing
from cst.codec import range_coder
from cst.codec.range_coder import CodeModel, finish
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.tokens import Tokens

MAGIC = b"\x89CST"
VERSION = 1
STATIC_MODEL = 0
FORMER_MODELS = {1: "gpt", 2: "pixelcnn"}  # no longer read
HEADER = struct.Struct("<4sBBHH8s8sI")
CHECKSUM = 8  # bytes
START = HEADER.size + CHECKSUM  # of the payload
MAX_SIDE, MAX_PIXELS = 2**16 - 1, 64_000_000
MAX_FILE_BYTES = 2**28  # more than any picture takes; the rest of a file is not read


@dataclass(frozen=True)
class Header:
    """The fixed fields of a `.cst` file. size: (width, height) in pixels. tokenizer, model: fingerprints."""

    size: tuple[int, int]
    tokenizer: str
    model: str
    crc: int

    def pack(self) -> bytes:
        fingerprints = bytes.fromhex(self.tokenizer), bytes.fromhex(self.model)
        return HEADER.pack(MAGIC, VERSION, STATIC_MODEL, *self.size, *fingerprints, self.crc)

    @classmethod
    def read(cls, data: bytes) -> "Header":
        """Parse the header of a complete file and verify its checksum. Raises ValueError for any other data."""
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"not a .cst file: it begins with {data[:4]!r}, not with {MAGIC!r}; give a file that was made by "
                "python -m cst compress"
            )
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise ValueError(
                f"a .cst file of version {data[len(MAGIC)]}; accepted: {VERSION}; read it with the program that wrote "
                "it, or with a newer version of this one"
            )
        if len(data) < START or checksum(data) != data[HEADER.size : START]:
            raise ValueError(
                f"damaged or cut short: its {len(data)} bytes do not have the checksum that they were written with; "
                "copy the file again"
            )
        _, _, model, width, height, tokenizer, fingerprint, crc = HEADER.unpack_from(data)
        if model in FORMER_MODELS:
            raise ValueError(
                f"it is coded under the prior '{FORMER_MODELS[model]}'; accepted: files under the static model; "
                "compress the photo again with python -m cst compress"
            )
        if model != STATIC_MODEL:
            raise ValueError(
                f"it is coded under model {model}; accepted: {STATIC_MODEL} (static); read it with a newer version of "
                "this program"
            )
        check_size((width, height))
        return cls((width, height), tokenizer.hex(), fingerprint.hex(), crc)

    def check(self, tokenizer: TokenizerConfig, model: CodeModel) -> None:
        """Raise ValueError unless the file was written with this tokenizer and this code model."""
        if self.tokenizer != tokenizer.fingerprint:
            raise ValueError(
                f"it was written by the tokenizer {self.tokenizer}, this one is {tokenizer.fingerprint}; open it with "
                "the tokenizer that wrote it"
            )
        if self.model != model.fingerprint:
            raise ValueError(
                f"it was written under the statistics {self.model}, these are {model.fingerprint}; open it with the "
                "statistics that it was written under"
            )


def compress(tokens: Tokens, model: CodeModel, *, tokenizer: TokenizerConfig) -> bytes:
    """Tokens -> the bytes of a `.cst` file.

    tokenizer: the one that wrote the tokens. Raises ValueError if the tokens are of another tokenizer, out of range, or
    do not cover their size.
    """
    check_size(tokens.size)
    header = Header(tokens.size, tokens.fingerprint, model.fingerprint, crc(tokens.codes))
    header.check(tokenizer, model)
    check_grid(tokens, tokenizer)
    start, payload = header.pack(), range_coder.encode(tokens.codes, model)
    return start + checksum(start + bytes(CHECKSUM) + payload) + payload


def decompress(data: bytes, model: CodeModel, *, tokenizer: TokenizerConfig) -> Tokens:
    """The bytes of a `.cst` file -> exactly the tokens it was made from.

    Raises ValueError if the data is no complete `.cst` file, or was written with another tokenizer or code model.
    """
    return finish(iter_decompress(data, model, tokenizer=tokenizer))


def iter_decompress(data: bytes, model: CodeModel, *, tokenizer: TokenizerConfig) -> Generator[int, None, Tokens]:
    """As `decompress`, in steps at which a caller can stop: yields how many more codes are done, returns the tokens."""
    header = Header.read(data)
    header.check(tokenizer, model)
    codes = yield from range_coder.iter_decode(data[START:], grid(header.size, tokenizer), model)
    if crc(codes) != header.crc:
        raise ValueError(
            f"its codes have the checksum {crc(codes):08x} but were written with {header.crc:08x}: this machine "
            "computes other probabilities than the one that wrote the file; open it there"
        )
    return Tokens(codes, header.size, header.tokenizer)


def save(path: str | os.PathLike, tokens: Tokens, model: CodeModel, *, tokenizer: TokenizerConfig) -> int:
    """Write a `.cst` file atomically -> its size in bytes. See `compress`."""
    data = compress(tokens, model, tokenizer=tokenizer)
    with replacing(Path(path)) as part:
        part.write_bytes(data)
    return len(data)


def load(path: str | os.PathLike, model: CodeModel, *, tokenizer: TokenizerConfig) -> Tokens:
    """Read a `.cst` file; see `decompress`. Raises ValueError that names the file."""
    data = read(path)
    try:
        return decompress(data, model, tokenizer=tokenizer)
    except ValueError as error:
        raise ValueError(f"'{os.fspath(path)}': {error}") from None


def read(path: str | os.PathLike) -> bytes:
    """The first `MAX_FILE_BYTES` of a file. Raises ValueError if it does not exist."""
    if not Path(path).is_file():
        raise ValueError(f"no such file: '{path}'; make one with python -m cst compress photo.jpg photo.cst")
    with Path(path).open("rb") as file:
        return file.read(MAX_FILE_BYTES)


def check_size(size: tuple[int, int]) -> None:
    """Raise ValueError unless the format can hold a picture of (width, height) pixels."""
    width, height = size
    if not (min(size) >= 1 and max(size) <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ValueError(
            f"a picture of {width}x{height} pixels; accepted: sides of 1 to {MAX_SIDE} and at most "
            f"{MAX_PIXELS // 10**6} million pixels"
        )


def grid(size: tuple[int, int], tokenizer: TokenizerConfig) -> tuple[int, int, int]:
    """The shape (L, h, w) of the tokens that cover (width, height) pixels."""
    width, height = size
    return len(tokenizer.levels), -(-height // tokenizer.patch), -(-width // tokenizer.patch)


def check_grid(tokens: Tokens, tokenizer: TokenizerConfig) -> None:
    """Raise ValueError unless the codes cover the size exactly."""
    expected = grid(tokens.size, tokenizer)
    if tokens.codes.shape != expected:
        raise ValueError(
            f"codes of shape {tokens.codes.shape} do not cover {tokens.size[0]}x{tokens.size[1]} pixels; accepted: "
            f"{expected}"
        )


def crc(codes: np.ndarray) -> int:
    """CRC-32 of (L, h, w) codes of any dtype."""
    return zlib.crc32(codes.astype("<u2").tobytes())


def checksum(data: bytes) -> bytes:
    """The checksum of a complete file, computed over all bytes except the checksum's own."""
    return hashlib.sha256(data[: HEADER.size] + data[START:]).digest()[:CHECKSUM]
