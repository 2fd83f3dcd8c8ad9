"""Measure the quality after each level and after RenderNet, compared with JPEG, WebP and AVIF of the same size.

python -m cst evaluate --images photos/
"""

import argparse
import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from cst.artifact import find_artifact, replacing, write_json
from cst.evaluation.tokenizer_comparison import compare, cst_methods, learned_methods
from cst.image_formats import FORMATS, at_bytes
from cst.images import pad_to_multiple, to_float, to_image
from cst.learned.config import packaged
from cst.metrics import MAX_PSNR, l1, ms_ssim, psnr, ssim, usage
from cst.photos import Photos, find_photos, is_validation
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.protocol import bits_per_patch

STAGES = ("color", "+ shape", "+ texture", "rendered float", "rendered int8")


@dataclass(frozen=True)
class Row:
    """Means over the photos: PSNR in dB, SSIM and MS-SSIM in [0, 1], L1 in [0, 1], bits per pixel."""

    name: str
    psnr: float
    ssim: float
    ms_ssim: float
    l1: float
    bits_per_pixel: float


class Evaluation:
    """The metrics of each photo, and the counts of each code."""

    def __init__(self, folder: Path, *, target: str, codecs: bool):
        self.nets = {p: OnnxTokenizer(folder, precision=p, target=target) for p in ("float", "int8")}
        self.tokenizer, self.codecs = self.nets["int8"], codecs
        self.values: dict[str, list[tuple[float, ...]]] = {}
        self.counts = [np.zeros(level.size, np.int64) for level in self.tokenizer.levels]

    def add(self, photo: np.ndarray) -> None:
        """Measure one (H, W, 3) uint8 photo with sides of at least 11 pixels (the window of SSIM)."""
        image = Image.fromarray(photo)
        original = to_float(image)
        _, height, width = original.shape
        tokens = self.tokenizer.encode(pad_to_multiple(original, self.tokenizer.patch)[None])
        for level, counts in enumerate(self.counts):
            counts += np.bincount(tokens[0, level].ravel(), minlength=len(counts))
        for name, picture, levels in self._stages(tokens):
            bits = bits_per_patch(self.tokenizer.levels[:levels]) * tokens[0, 0].size
            # Rounded to 8 bits, as in a saved picture.
            self._measure(name, np.round(picture[0, :, :height, :width] * 255) / 255, original, bits)
        limit = math.ceil(bits_per_patch(self.tokenizer.levels) * tokens[0, 0].size / 8)
        for format in FORMATS if self.codecs else ():
            encoded = at_bytes(image, format, limit)
            self._measure(f"{format}, same bytes", to_float(encoded.picture), original, 8 * encoded.bytes)

    def _stages(self, tokens: np.ndarray) -> Iterator[tuple[str, np.ndarray, int]]:
        for levels in (1, 2, 3):
            yield STAGES[levels - 1], self.tokenizer.codebooks.centroid_picture(tokens, levels=levels), levels
        yield STAGES[3], self.nets["float"].decode(tokens), 3
        yield STAGES[4], self.nets["int8"].decode(tokens), 3

    def _measure(self, name: str, picture: np.ndarray, original: np.ndarray, bits: float) -> None:
        quality = min(psnr(picture, original), MAX_PSNR)
        others = (metric(picture, original) for metric in (ssim, ms_ssim, l1))
        pixels = original.shape[1] * original.shape[2]
        self.values.setdefault(name, []).append((quality, *others, bits / pixels))

    def rows(self) -> list[Row]:
        return [Row(name, *(float(x) for x in np.mean(values, axis=0))) for name, values in self.values.items()]


def as_markdown(rows: list[Row], counts: list[np.ndarray], names: list[str]) -> str:
    lines = ["| picture | PSNR dB | SSIM | MS-SSIM | L1 | bits/pixel |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        numbers = f"{row.psnr:.2f} | {row.ssim:.4f} | {row.ms_ssim:.4f} | {row.l1:.4f} | {row.bits_per_pixel:.3f}"
        lines.append(f"| {row.name} | {numbers} |")
    lines += ["", "| level | codes | used | perplexity |", "|---|---:|---:|---:|"]
    for name, count in zip(names, counts, strict=True):
        used, perplexity = usage(count)
        lines.append(f"| {name} | {len(count)} | {used:.1%} | {perplexity:.0f} |")
    return "\n".join([*lines, "", gains(rows)])


def gains(rows: list[Row]) -> str:
    """One sentence about the gain of RenderNet and the loss of 8 bits."""
    centroids, exact, quantized = (next(row.psnr for row in rows if row.name == name) for name in STAGES[2:])
    added, cost = quantized - centroids, exact - quantized
    return f"In 8 bits RenderNet adds {added:.2f} dB to the centroid picture, {cost:.2f} dB less than in float."


def sheet(tokenizer: OnnxTokenizer, photos: Iterable[np.ndarray], *, height: int = 256) -> Image.Image:
    """One row per photo: original, color, + shape, + texture, rendered. photos: (H, W, 3) uint8, scaled to `height`."""
    rows = []
    for photo in photos:
        image = Image.fromarray(photo)
        original = to_float(
            image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS)
        )
        tokens = tokenizer.encode(pad_to_multiple(original, tokenizer.patch)[None])
        stages = [tokenizer.codebooks.centroid_picture(tokens, levels=levels) for levels in (1, 2, 3)]
        cells = [original, *(p[0, :, :, : original.shape[2]] for p in [*stages, tokenizer.decode(tokens)])]
        rows.append([to_image(cell[:, :height]) for cell in cells])
    gap, top, widest = 8, 30, max(row[0].width for row in rows)
    page = Image.new("RGB", (5 * (widest + gap) - gap, top + len(rows) * (height + gap) - gap), "white")
    pen = ImageDraw.Draw(page)
    for column, name in enumerate(("original", *STAGES[:3], "rendered")):
        center = column * (widest + gap) + widest // 2
        pen.text((center, top // 2), name, fill="#333", anchor="mm", font=ImageFont.load_default(17))
        for number, row in enumerate(rows):
            page.paste(row[column], (center - row[column].width // 2, top + number * (height + gap)))
    return page


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--tokenizer", help="artifact folder or Hub repository (default: the packaged one)")
    parser.add_argument("--size", type=int, default=256, help="shortest side, pixels; larger photos are shrunk")
    parser.add_argument("--all", action="store_true", help="use every photo, not only the held-out ones")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    parser.add_argument(
        "--codecs", action=argparse.BooleanOptionalAction, default=True, help="compare with JPEG, WebP and AVIF"
    )
    parser.add_argument(
        "--all-tokenizers", action="store_true", help="compare with the learned tokenizers, packaged and --learned"
    )
    parser.add_argument("--learned", nargs="+", type=Path, default=[], metavar="DIR", help="more learned tokenizers")
    parser.add_argument("--target", default="cpu", help="where RenderNet runs (default cpu)")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="folder of the saved table")
    parser.add_argument("--sheet", type=Path, help="only save a PNG with every stage of every photo")
    flags = parser.parse_args(arguments)

    entries = [entry for entry in find_photos(flags.images) if flags.all or is_validation(entry.name)]
    if not entries:
        raise ValueError(f"none of the photos in {flags.images} is held out; give --all to use every photo")
    rng = np.random.default_rng(0)  # with --limit, a random sample
    entries = [entries[i] for i in rng.permutation(len(entries))[: flags.limit]]
    photos = Photos(entries, shortest=flags.size)
    if flags.sheet:
        tokenizer = OnnxTokenizer(find_artifact(flags.tokenizer or PRETRAINED), target=flags.target)
        with replacing(flags.sheet) as part:
            sheet(tokenizer, photos).save(part, "PNG", optimize=True)
        return
    if flags.all_tokenizers:
        folder = find_artifact(flags.tokenizer or PRETRAINED)
        methods = [*cst_methods(folder, flags.target), *learned_methods([*packaged(), *flags.learned])]
        print(f"{compare(photos, methods)} Shortest side {flags.size} pixels.")
        return
    evaluation = Evaluation(find_artifact(flags.tokenizer or PRETRAINED), target=flags.target, codecs=flags.codecs)
    too_small = 0
    for photo in tqdm(photos, total=len(entries), unit="photo"):
        if min(photo.shape[:2]) < 11:
            too_small += 1
            continue
        evaluation.add(photo)
    if not evaluation.values:
        raise ValueError(f"none of the {len(entries)} photos can be read and has sides of at least 11 pixels")
    names = [level.name for level in evaluation.tokenizer.levels]
    measured = len(entries) - len(photos.unreadable) - too_small
    text = as_markdown(evaluation.rows(), evaluation.counts, names)
    text += f"\n\n{measured} photos, shortest side {flags.size} pixels, {evaluation.nets['int8'].running_on}\n"
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "table.md").write_text(text, encoding="utf-8")
    saved = {
        "photos": measured,
        "size": flags.size,
        "fingerprint": evaluation.tokenizer.fingerprint,
        "rows": [dataclasses.asdict(row) for row in evaluation.rows()],
        "usage": {name: usage(counts) for name, counts in zip(names, evaluation.counts, strict=True)},
    }
    write_json(flags.out / "table.json", saved)
    print(text)
