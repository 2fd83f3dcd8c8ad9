"""Bytes of held-out photos: tokens at a fixed length, as .cst files, and as other formats equally near to the photo.

python -m cst rate-distortion --images photos/
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.codec.range_coder import STATIC
from cst.evaluation.tokenizer_quality import EXACT
from cst.image_formats import FORMATS, at_psnr
from cst.images import to_float
from cst.metrics import psnr
from cst.photos import Photos, find_photos, is_validation
from cst.pipeline import CST

Row = tuple[float, float, float, float]  # bytes, bits per pixel, PSNR in dB, seconds to write


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst rate-distortion", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--tokenizer", help="artifact folder or Hub repository (default: the packaged one)")
    parser.add_argument("--size", type=int, default=256, help="shortest side, pixels; larger photos are shrunk")
    parser.add_argument("--all", action="store_true", help="every photo, not only the held-out ones")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    flags = parser.parse_args(arguments)
    entries = [entry for entry in find_photos(flags.images) if flags.all or is_validation(entry.name)]
    if not entries:
        raise ValueError(f"none of the photos in {flags.images} is held out; give --all to measure on every photo")
    order = np.random.default_rng(0).permutation(len(entries))[: flags.limit]  # a limit takes a fair sample
    photos = Photos([entries[index] for index in order], shortest=flags.size)
    cst = CST.from_pretrained(flags.tokenizer)
    cst.code_model(STATIC)  # what is not there is said before any work
    rows = [measure(cst, Image.fromarray(photo)) for photo in tqdm(photos, total=len(order), unit="photo")]
    if not rows:
        raise ValueError(f"none of {len(order)} photos can be read; give others with --images")
    print(as_markdown(rows))
    taken = ", ".join(f"{name} {seconds:.2g}" for name, (*_, seconds) in means(rows).items() if name.startswith(".cst"))
    print(f"\n{len(rows)} photos, shortest side at most {flags.size} pixels, means a picture.")
    print(f"Seconds to write a file once the codes are known: {taken}.")


def measure(cst: CST, photo: Image.Image) -> dict[str, Row]:
    """What one photo takes in each way."""
    original, found = to_float(photo), {}

    def keep(name: str, picture: Image.Image, size: int, seconds: float = 0.0) -> None:
        near = min(psnr(to_float(picture), original), EXACT)
        found[name] = size, 8 * size / (photo.width * photo.height), near, seconds

    tokens = cst.encode(photo)
    picture = cst.decode(tokens)
    keep("fixed length", picture, tokens.packed_bytes(cst.tokenizer.levels))
    start = time.perf_counter()
    size = len(cst.compress(tokens))
    keep(f".cst, {STATIC}", picture, size, time.perf_counter() - start)
    target = found["fixed length"][2]
    for format in FORMATS:
        coded = at_psnr(photo, format, target)
        keep(f"{format}, same PSNR", coded.picture, coded.bytes)
    return found


def means(rows: Sequence[dict[str, Row]]) -> dict[str, np.ndarray]:
    """(4,) of each way: the mean of its rows."""
    return {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}


def as_markdown(rows: Sequence[dict[str, Row]]) -> str:
    lines = ["| picture | bytes | of fixed length | bits/pixel | PSNR dB |", "|---|---:|---:|---:|---:|"]
    found = means(rows)
    for name, (size, bits, near, _) in found.items():
        share = size / found["fixed length"][0]
        lines.append(f"| {name} | {size:,.0f} | {share:.1%} | {bits:.3f} | {near:.2f} |")
    return "\n".join(lines)
