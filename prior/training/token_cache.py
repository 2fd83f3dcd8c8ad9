"""The tokens of a fixed set of photos, kept on disk: for validation, evaluation and the search for copies."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cst.artifact import from_dict, replacing, write_json
from cst.photos import Entry
from cst.tokenizer.codebooks import Codebooks
from prior.config import PriorConfig
from prior.training.labeled_crops import encode_squares


@dataclass(frozen=True)
class Key:
    """The photos, crop and tokenizer of a cache; another key is refused."""

    fingerprint: str
    grid: tuple[int, int]
    beam: int
    photos: str  # a hash of the photos' names and classes


@dataclass(frozen=True)
class TokenSet:
    """Tokens (B, L, h, w) uint16 of the photos' middle squares, and (B,) int64 classes; memory-mapped if cached."""

    tokens: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(
        cls, entries: Sequence[Entry], prior: PriorConfig, codebooks: Codebooks, *, cache: Path | None = None
    ) -> "TokenSet":
        """Encode the photos, or read their tokens from the folder `cache`, which is written if it does not exist.

        Raises ValueError for a cache of other photos or another tokenizer, or if no photo is of a known class.
        """
        prior.check_tokenizer(codebooks.fingerprint)
        names = "\n".join(f"{entry.label}/{entry.name}" for entry in entries) + repr(prior.classes)
        key = Key(
            prior.fingerprint,
            prior.grid,
            prior.beam,
            hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16],
        )
        if cache is not None and (cache / "set.json").exists():
            return cls._open(cache, key)
        tokens, labels = encode_squares(entries, prior, codebooks)
        token_set = cls(tokens.astype(np.uint16 if tokens.max() < 2**16 else np.int32), labels)
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
            for name in ("tokens", "labels"):
                with replacing(cache / f"{name}.npy") as part, part.open("wb") as file:
                    np.save(file, getattr(token_set, name))
            write_json(cache / "set.json", asdict(key))
        return token_set

    @classmethod
    def _open(cls, cache: str | os.PathLike, key: Key) -> "TokenSet":
        """Map a cache into memory, if it is of `key`."""
        try:
            there = from_dict(Key, json.loads((Path(cache) / "set.json").read_text(encoding="utf-8")))
            arrays = [np.load(Path(cache) / f"{name}.npy", mmap_mode="r") for name in ("tokens", "labels")]
        except (OSError, EOFError, ValueError, AttributeError) as error:
            raise ValueError(f"'{cache}' is not a readable set of tokens ({error}); delete it") from None
        for name, wanted in asdict(key).items():
            if getattr(there, name) != wanted:
                raise ValueError(
                    f"'{cache}' holds the tokens of another {name} ({getattr(there, name)}, not {wanted}); delete it, "
                    "or give another folder"
                )
        return cls(*arrays)

    def __len__(self) -> int:
        return len(self.labels)
