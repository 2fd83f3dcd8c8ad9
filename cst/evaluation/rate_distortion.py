"""Compare the bytes per photo of fixed-length tokens, .cst files, and JPEG, WebP and AVIF at the same PSNR.

python -m cst rate-distortion --images photos/
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.image_formats import FORMATS, at_psnr
from cst.images import to_float
from cst.metrics import MAX_PSNR, psnr
from cst.photos import Photos, find_photos, is_validation
from cst.pipeline import CST

Row = tuple[float, float, float, float]  # bytes, bits per pixel, PSNR in dB, seconds to write


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst rate-distortion", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--tokenizer", help="artifact folder or Hub repository (default: the packaged one)")
    parser.add_argument("--size", type=int, default=256, help="shortest side, pixels; larger photos are shrunk")
    parser.add_argument("--all", action="store_true", help="use every photo, not only the held-out ones")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    flags = parser.parse_args(arguments)
    entries = [entry for entry in find_photos(flags.images) if flags.all or is_validation(entry.name)]
    if not entries:
        raise ValueError(f"none of the photos in {flags.images} is held out; give --all to use every photo")
    order = np.random.default_rng(0).permutation(len(entries))[: flags.limit]  # with --limit, a random sample
    photos = Photos([entries[index] for index in order], shortest=flags.size)
    cst = CST.from_pretrained(flags.tokenizer)
    cst.code_model()  # fail early if there are no statistics
    rows = [measure(cst, Image.fromarray(photo)) for photo in tqdm(photos, total=len(order), unit="photo")]
    if not rows:
        raise ValueError(f"none of {len(order)} photos can be read; give other photos with --images")
    print(as_markdown(rows))
    seconds = means(rows)[".cst"][3]
    print(f"\nMeans over {len(rows)} photos, shortest side at most {flags.size} pixels.")
    print(f"Seconds to write a .cst file from its tokens: {seconds:.2g}.")


def measure(cst: CST, photo: Image.Image) -> dict[str, Row]:
    """One row per format for one photo."""
    original, rows = to_float(photo), dict[str, Row]()

    def add(name: str, picture: Image.Image, size: int, seconds: float = 0.0) -> None:
        quality = min(psnr(to_float(picture), original), MAX_PSNR)
        rows[name] = size, 8 * size / (photo.width * photo.height), quality, seconds

    tokens = cst.encode(photo)
    picture = cst.decode(tokens)
    add("fixed length", picture, tokens.packed_bytes(cst.tokenizer.levels))
    start = time.perf_counter()
    size = len(cst.compress(tokens))
    add(".cst", picture, size, time.perf_counter() - start)
    target = rows["fixed length"][2]
    for format in FORMATS:
        encoded = at_psnr(photo, format, target)
        add(f"{format}, same PSNR", encoded.picture, encoded.bytes)
    return rows


def means(rows: Sequence[dict[str, Row]]) -> dict[str, np.ndarray]:
    """(4,) for each format: the mean of its rows."""
    return {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}


def as_markdown(rows: Sequence[dict[str, Row]]) -> str:
    lines = ["| picture | bytes | of fixed length | bits/pixel | PSNR dB |", "|---|---:|---:|---:|---:|"]
    columns = means(rows)
    for name, (size, bits, quality, _) in columns.items():
        share = size / columns["fixed length"][0]
        lines.append(f"| {name} | {size:,.0f} | {share:.1%} | {bits:.3f} | {quality:.2f} |")
    return "\n".join(lines)
