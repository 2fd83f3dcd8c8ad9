"""Count how often each code occurs in photos, for `.cst` files.

python -m cst count-codes --images photos/ --tokenizer runs/tokenizer
"""

import argparse
from pathlib import Path

import numpy as np

from cst.photos import Photos, find_photos, split
from cst.tokenizer.code_statistics import STATISTICS_FILE, Statistics
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import TokenizerConfig

SHORTEST_SIDE = 256  # pixels: larger photos are shrunk, as in evaluation


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst count-codes", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="folder of the tokenizer; the counts are saved there"
    )
    parser.add_argument(
        "--limit", type=int, default=2000, help="count a random sample of this many photos (default 2000)"
    )
    flags = parser.parse_args(arguments)
    count_codes(flags.tokenizer, flags.images, limit=flags.limit)


def count_codes(folder: Path, images: list[str], *, limit: int) -> None:
    """Count the codes of training photos and save the counts in the tokenizer's folder."""
    if limit < 1:
        raise ValueError(f"a limit of {limit} photos; accepted: at least 1")
    config = TokenizerConfig.load(folder)
    codebooks = Codebooks.of_artifact(folder, config)
    training, _ = split(find_photos(images))
    order = np.random.default_rng(0).permutation(len(training))[:limit]
    photos = Photos([training[index] for index in order], shortest=SHORTEST_SIDE)
    statistics = Statistics.count(codebooks, photos, beam=config.beam)
    if not statistics.counts[0].any():
        raise ValueError(f"none of {len(order)} photos can be read; give other photos with --images")
    statistics.save(folder, codebooks.levels)
    config.with_files(folder, STATISTICS_FILE).save(folder)
    for level, count in zip(codebooks.levels, statistics.counts, strict=True):
        p = count[count > 0] / count.sum()
        print(f"{level.name}: {(p * np.log2(1 / p)).sum():.2f} bits per code, {len(p)} of {level.size} codes occurred")
