"""The `.cst` file: a photo's tokens, entropy-coded, with all that tells a right file from a wrong one.

All numbers are little-endian:

    bytes   what
    0-3     0x89 "CST": the first byte is in no text, so no text is taken for one
    4       version of the format: 1
    5       model that the payload is coded under: 0 static (1 and 2 were priors, and are no longer read)
    6-7     width of the photo, pixels, 1 to 65,535
    8-9     height, alike; at most 64 million pixels together
    10-17   fingerprint of the tokenizer
    18-25   fingerprint of the model's probabilities
    26-29   CRC-32 of the codes, (L, h, w) in C order, as uint16
    30-37   the first 8 bytes of the SHA-256 of bytes 0-29 and 38 to the end
    38-     payload: the words of `cst.coding.encode`, uint32

The grid is not stored: it is the photo's size divided by the tokenizer's patch, rounded up.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cst.artifact import replacing
from cst.codec import range_coder as coding
from cst.codec.range_coder import CodeModel, Told
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.tokens import Tokens

MAGIC = b"\x89CST"
VERSION = 1
MODELS = (coding.STATIC,)  # a model's byte is its place here
FORMER = {1: "gpt", 2: "pixelcnn"}  # bytes of models that are no longer read
HEADER = struct.Struct("<4sBBHH8s8sI")
CHECKSUM = 8  # bytes
START = HEADER.size + CHECKSUM  # of the payload
MOST_SIDE, MOST_PIXELS = 2**16 - 1, 64_000_000
MOST_BYTES = 2**28  # that are read: more than any picture takes
Find = Callable[[str], CodeModel]  # a model's name -> the model; raises ValueError where there is none


@dataclass(frozen=True)
class Header:
    """What a `.cst` file says of itself. size: (width, height) in pixels."""

    model: str
    size: tuple[int, int]
    tokenizer: str
    fingerprint: str
    crc: int

    def pack(self) -> bytes:
        prints = bytes.fromhex(self.tokenizer), bytes.fromhex(self.fingerprint)
        return HEADER.pack(MAGIC, VERSION, MODELS.index(self.model), *self.size, *prints, self.crc)

    @classmethod
    def read(cls, data: bytes) -> "Header":
        """That of a whole file, its checksum verified. Raises ValueError for what is not a whole file."""
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"not a .cst file: it begins with {data[:4]!r}, not with {MAGIC!r}; give a file that python -m cst "
                "compress has made"
            )
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise ValueError(
                f"a .cst file of version {data[len(MAGIC)]}; accepted: {VERSION}; read it with the program that wrote "
                "it, or a newer one than this"
            )
        if len(data) < START or checksum(data) != data[HEADER.size : START]:
            raise ValueError(
                f"damaged or cut short: the checksum of its {len(data)} bytes is not the one it was written with; copy "
                "it again"
            )
        _, _, model, width, height, tokenizer, fingerprint, crc = HEADER.unpack_from(data)
        if model in FORMER:
            raise ValueError(
                f"it is coded under the prior '{FORMER[model]}'; accepted: files under the static model; compress the "
                "photo again with python -m cst compress"
            )
        if model >= len(MODELS):
            known = ", ".join(f"{number} ({name})" for number, name in enumerate(MODELS))
            raise ValueError(f"it is coded under model {model}; accepted: {known}; read it with a newer program")
        check_size((width, height))
        return cls(MODELS[model], (width, height), tokenizer.hex(), fingerprint.hex(), crc)

    def check(self, tokenizer: TokenizerConfig, model: CodeModel | None = None) -> None:
        """Raise ValueError unless this tokenizer, and this model, are those the file was written with."""
        if self.tokenizer != tokenizer.fingerprint:
            raise ValueError(
                f"it was written by the tokenizer {self.tokenizer}, this one is {tokenizer.fingerprint}; open it with "
                "the tokenizer that wrote it"
            )
        if model is not None and self.fingerprint != model.fingerprint:
            raise ValueError(
                f"it was written under the statistics {self.fingerprint}, those here are {model.fingerprint}; get the "
                "statistics that wrote it"
            )


def compress(tokens: Tokens, model: CodeModel, *, tokenizer: TokenizerConfig, told: Told | None = None) -> bytes:
    """Tokens -> the bytes of a `.cst` file. Raises ValueError for tokens that are not whole, or not the tokenizer's.

    model: what the codes are likely under. tokenizer: the one that wrote them. told: called with how many more codes
    are done, for progress.
    """
    check_size(tokens.size)
    header = Header(model.name, tokens.size, tokens.fingerprint, model.fingerprint, crc(tokens.codes))
    header.check(tokenizer)
    if tokens.codes.shape != grid(tokens.size, tokenizer):
        raise ValueError(
            f"codes of shape {tokens.codes.shape} do not cover {tokens.size[0]}x{tokens.size[1]} pixels; accepted: "
            f"{grid(tokens.size, tokenizer)}"
        )
    start, payload = header.pack(), coding.encode(tokens.codes, model, told=told)
    return start + checksum(start + bytes(CHECKSUM) + payload) + payload


def decompress(data: bytes, find: Find, *, tokenizer: TokenizerConfig, told: Told | None = None) -> Tokens:
    """The bytes of a `.cst` file -> exactly the tokens it was made of; never others.

    Raises ValueError for what is not a whole file, or was written by another tokenizer or under another model.
    """
    return coding.finish(decompressing(data, find, tokenizer=tokenizer), told)


def decompressing(data: bytes, find: Find, *, tokenizer: TokenizerConfig) -> Generator[int, None, Tokens]:
    """As `decompress`, in steps at which a caller can stop: yields how many more codes are done, and returns them."""
    header = Header.read(data)
    header.check(tokenizer)
    model = find(header.model)
    header.check(tokenizer, model)
    codes = yield from coding.decoding(data[START:], grid(header.size, tokenizer), model)
    if crc(codes) != header.crc:
        raise ValueError(
            f"its codes have the checksum {crc(codes):08x}, and were written with {header.crc:08x}: this machine "
            f"computes other probabilities for '{header.model}' than the one that wrote it; open it there"
        )
    return Tokens(codes, header.size, header.tokenizer)


def save(
    path: str | os.PathLike, tokens: Tokens, model: CodeModel, *, tokenizer: TokenizerConfig, told: Told | None = None
) -> int:
    """Write a `.cst` file, whole or not at all -> its bytes. See `compress`."""
    data = compress(tokens, model, tokenizer=tokenizer, told=told)
    with replacing(Path(path)) as part:
        part.write_bytes(data)
    return len(data)


def load(path: str | os.PathLike, find: Find, *, tokenizer: TokenizerConfig, told: Told | None = None) -> Tokens:
    """Read a `.cst` file; see `decompress`. Raises ValueError, naming the file."""
    data = read(path)
    try:
        return decompress(data, find, tokenizer=tokenizer, told=told)
    except ValueError as error:
        raise ValueError(f"'{os.fspath(path)}': {error}") from None


def read(path: str | os.PathLike) -> bytes:
    """The bytes of a file, as many as could be of use. Raises ValueError if there is none."""
    if not Path(path).is_file():
        raise ValueError(f"no such file: '{path}'; make one with python -m cst compress photo.jpg photo.cst")
    with Path(path).open("rb") as file:
        return file.read(MOST_BYTES)


def check_size(size: tuple[int, int]) -> None:
    """Raise ValueError unless the format can hold a picture of (width, height) pixels."""
    width, height = size
    if not (min(size) >= 1 and max(size) <= MOST_SIDE and width * height <= MOST_PIXELS):
        raise ValueError(
            f"a picture of {width}x{height} pixels; accepted: sides of 1 to {MOST_SIDE} and at most "
            f"{MOST_PIXELS // 10**6} million pixels"
        )


def grid(size: tuple[int, int], tokenizer: TokenizerConfig) -> tuple[int, int, int]:
    """(L, h, w) of the tokens that cover (width, height) pixels."""
    width, height = size
    return len(tokenizer.levels), -(-height // tokenizer.patch), -(-width // tokenizer.patch)


def crc(codes: np.ndarray) -> int:
    """Of (L, h, w) codes, whatever their dtype."""
    return zlib.crc32(codes.astype("<u2").tobytes())


def checksum(data: bytes) -> bytes:
    """Of a whole file but for the bytes where the checksum itself is kept."""
    return hashlib.sha256(data[: HEADER.size] + data[START:]).digest()[:CHECKSUM]
