"""How often each code occurs in photos: the probabilities behind the `.cst` file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from cst.artifact import replacing
from cst.images import pad_to_multiple
from cst.photos import Photos
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.protocol import Level

STATISTICS_FILE = "statistics.safetensors"


@dataclass(frozen=True)
class Statistics:
    """counts: for each level, coarse to fine, (V,) uint32: how often each code occurred in the counted photos."""

    counts: tuple[np.ndarray, ...]

    @classmethod
    def of_artifact(cls, folder: str | os.PathLike, config: TokenizerConfig) -> "Statistics":
        """Read the statistics of a tokenizer's folder. Raises ValueError if they are missing, damaged or do not fit."""
        if STATISTICS_FILE not in config.files:
            raise ValueError(
                f"'{folder}' has no statistics of its codes; count them with "
                f"python -m cst count-codes --images photos/ --tokenizer {folder}"
            )
        tensors = load_file(config.check_file(folder, STATISTICS_FILE))
        if any(name not in tensors or tensors[name].shape != (size,) for name, size in config.levels.items()):
            raise ValueError(
                f"'{folder}': {STATISTICS_FILE} does not fit its codebooks; count again with python -m cst count-codes"
            )
        return cls(tuple(tensors[name] for name in config.levels))

    @classmethod
    def count(cls, codebooks: Codebooks, photos: Photos, *, beam: int) -> "Statistics":
        """Encode every readable photo and count its codes, with a progress bar. beam: see `Codebooks.encode`."""
        counts = tuple(np.zeros(level.size, np.uint32) for level in codebooks.levels)
        for photo in tqdm(photos, total=len(photos), unit="photo"):
            padded = pad_to_multiple(np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32) / 255, codebooks.patch)
            tokens = codebooks.encode(padded[None], beam=beam)
            for level, count in enumerate(counts):
                count += np.bincount(tokens[0, level].ravel(), minlength=len(count)).astype(np.uint32)
        return cls(counts)

    def save(self, folder: str | os.PathLike, levels: tuple[Level, ...]) -> None:
        """Write `statistics.safetensors` in the tokenizer's folder, atomically."""
        with replacing(Path(folder) / STATISTICS_FILE) as part:
            save_file({level.name: count for level, count in zip(levels, self.counts, strict=True)}, part)

    def share(self, level: int, codes: np.ndarray) -> np.ndarray:
        """Share of all patches with each of these codes, in (0, 1]; a code that never occurred counts once."""
        count = self.counts[level]
        return np.maximum(count[codes], 1) / max(1, count.sum())
