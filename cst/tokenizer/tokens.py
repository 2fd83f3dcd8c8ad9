"""The tokens of one photo, and their `.npz` file."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cst.artifact import replacing
from cst.tokenizer.protocol import Level, bits_per_patch

KEYS = ("codes", "size", "fingerprint")


@dataclass(frozen=True)
class Tokens:
    """The tokens of one photo.

    codes: (L, h, w) int32. size: (width, height) of the photo in pixels, which the grid covers. fingerprint: of the
    tokenizer that wrote them; no other can decode them.
    """

    codes: np.ndarray
    size: tuple[int, int]
    fingerprint: str

    def packed_bytes(self, levels: Sequence[Level]) -> int:
        """The size in bytes of all codes, packed at a fixed length."""
        _, h, w = self.codes.shape
        return math.ceil(bits_per_patch(levels) * h * w / 8)

    def save(self, path: str | os.PathLike) -> None:
        """Write an `.npz` file atomically."""
        with replacing(Path(path)) as part, part.open("wb") as file:
            np.savez_compressed(
                file, codes=self.codes, size=np.array(self.size), fingerprint=np.array(self.fingerprint)
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Tokens":
        """Read an `.npz` file without unpickling. Raises ValueError for anything but complete tokens."""
        if not Path(path).is_file():
            raise ValueError(f"no such file: '{path}'; make one with python -m cst encode photo.jpg tokens.npz")
        try:
            with Path(path).open("rb") as data, np.load(data, allow_pickle=False) as file:
                if not isinstance(file, np.lib.npyio.NpzFile) or set(file.files) != set(KEYS):
                    raise ValueError(f"accepted: an .npz of exactly {', '.join(KEYS)}")
                codes, size, fingerprint = (file[key] for key in KEYS)
        except Exception as error:  # zipfile, zlib, numpy and its header parser each raise their own types
            raise ValueError(f"'{path}' is not a file of tokens, or is damaged ({error})") from None
        if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer) or 0 in codes.shape:
            raise ValueError(f"'{path}': codes are {codes.dtype} {codes.shape}; accepted: integers (L, h, w)")
        if size.shape != (2,) or not np.issubdtype(size.dtype, np.integer) or fingerprint.dtype.kind != "U":
            raise ValueError(f"'{path}': size and fingerprint must be two integers and a text")
        return cls(codes, (int(size[0]), int(size[1])), str(fingerprint))
