"""Convert photos to tokens or .cst files and back: one file, or whole folders.

python -m cst reconstruct photo.jpg out.png
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst import CST, Tokens
from cst.artifact import replacing
from cst.codec import container
from cst.images import load_image
from cst.metrics import psnr
from cst.photos import PHOTO_SUFFIXES, files_below
from cst.tokenizer.onnx_runtime import add_runtime_flags

INPUTS = {
    "reconstruct": PHOTO_SUFFIXES, "encode": PHOTO_SUFFIXES, "decode": {".npz"},
    "compress": PHOTO_SUFFIXES, "decompress": {".cst"},
}  # fmt: skip
OUTPUT = {"reconstruct": ".png", "encode": ".npz", "decode": ".png", "compress": ".cst", "decompress": ".png"}
HELP = {  # description of the command, and of its sources
    "reconstruct": ("photos to tokens and back to PNG", "photos"),
    "encode": ("photos to tokens, one .npz file each", "photos"),
    "decode": ("tokens to PNG pictures", ".npz files of tokens"),
    "compress": ("photos to .cst files, entropy-coded tokens", "photos"),
    "decompress": (".cst files to PNG pictures", ".cst files"),
}


def main(arguments: Sequence[str]) -> None:
    """The first argument is the command."""
    convert(parse(arguments))


def convert(flags: argparse.Namespace) -> None:
    """Convert one file, or many with a progress bar; unreadable files among many are skipped."""
    pairs = plan_outputs(flags.source, Path(flags.out), INPUTS[flags.command], OUTPUT[flags.command])
    options = ("target", "precision", "threads", "beam", "npu_config")
    cst = CST.from_pretrained(flags.tokenizer, **{name: getattr(flags, name) for name in options})
    if fallback := cst.tokenizer.fallback:
        print(f"--target {flags.target}: {fallback}; the CPU is used", file=sys.stderr)
    if flags.command in ("compress", "decompress"):
        cst.code_model()  # fail once if it is missing, not once per file
    actions = (reconstruct, encode, decode, compress, decompress)
    action = {action.__name__: action for action in actions}[flags.command]
    failed = 0
    for source, out in tqdm(pairs, unit="file", disable=len(pairs) == 1):
        try:
            message = action(cst, source, out)
        except ValueError as error:
            if len(pairs) == 1:
                raise
            failed += 1
            message = f"skipped: {error}"
        tqdm.write(message)
    if failed:
        raise ValueError(f"{failed} of {len(pairs)} files could not be read; the others are in '{flags.out}'")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    command, *rest = arguments
    about, sources = HELP[command]
    parser = argparse.ArgumentParser(prog=f"python -m cst {command}", description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("source", nargs="+", help=f"{sources}, or folders of them")
    parser.add_argument("out", help="output file; a folder if there are several sources")
    add_runtime_flags(parser)
    parser.add_argument("--precision", default="int8", choices=("int8", "float"), help="default int8")
    parser.add_argument("--beam", type=int, help="shapes tried per patch; 1 is greedy (default: the tokenizer's)")
    parser.add_argument("--npu-config", metavar="FILE", help="VitisAI's config file, for --target npu")
    return parser.parse_args(rest, argparse.Namespace(command=command))


def plan_outputs(sources: list[str], out: Path, inputs: set[str], suffix: str) -> list[tuple[Path, Path]]:
    """Pair every source file with its output file, and make the output folders.

    inputs: suffixes of the files to take from folders. suffix: of the output files. Raises ValueError, before any
    work, for sources that do not exist and outputs that can't be written.
    """
    files: list[tuple[Path, Path]] = []  # source, name below the output folder
    for source in map(Path, sources):
        if source.is_dir():
            paths = [path for path in files_below(source) if path.suffix.lower() in inputs]
            if not paths:
                raise ValueError(f"nothing to do in '{source}'; accepted: {' '.join(sorted(inputs))} files")
            files += [(path, path.relative_to(source)) for path in paths]
        elif source.is_file():
            files.append((source, Path(source.name)))
        else:
            raise ValueError(f"no such file or folder: '{source}'")
    if len(sources) > 1 or Path(sources[0]).is_dir():
        pairs = [(source, (out / name).with_suffix(suffix)) for source, name in files]
    elif out.suffix.lower() != suffix or out.is_dir():
        raise ValueError(f"'{out}' is not a name to write to; accepted: a path that ends in {suffix}")
    else:
        pairs = [(files[0][0], out)]
    originals = {source.resolve() for source, _ in pairs}
    source_of: dict[Path, Path] = {}
    for source, target in pairs:
        if target in source_of:
            raise ValueError(f"'{source_of[target]}' and '{source}' would both be written to '{target}'; rename one")
        source_of[target] = source
        if target.resolve() in originals:
            raise ValueError(f"'{target}' is also a source and would be overwritten; give another output path")
    for folder in {target.parent for _, target in pairs}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"can't write to '{folder}' ({error.strerror}); give another output path") from None
        if not os.access(folder, os.W_OK):
            raise ValueError(f"can't write to '{folder}' (no permission); give another output path")
    return pairs


def open_photo(source: Path) -> Image.Image:
    """`load_image`, and a line on what could not be used of the file, if anything."""
    image = load_image(source)
    if problem := image.info.get("problem"):
        tqdm.write(f"{source}: {problem}", file=sys.stderr)
    return image


def reconstruct(cst: CST, source: Path, out: Path) -> str:
    image = open_photo(source)
    tokens = cst.encode(image)
    picture = cst.decode(tokens)
    save_png(picture, out)
    quality = psnr(np.asarray(picture) / 255, np.asarray(image) / 255)
    return f"{source} -> {out}: {image.width}x{image.height}, {tokens.codes.size} tokens, {quality:.2f} dB"


def encode(cst: CST, source: Path, out: Path) -> str:
    tokens = cst.encode(open_photo(source))
    tokens.save(out)
    return f"{source} -> {out}: {' x '.join(map(str, tokens.codes.shape))} tokens"


def decode(cst: CST, source: Path, out: Path) -> str:
    picture = cst.decode(Tokens.load(source))
    save_png(picture, out)
    return f"{source} -> {out}: {picture.width}x{picture.height}"


def compress(cst: CST, source: Path, out: Path) -> str:
    tokens = cst.encode(open_photo(source))
    size = container.save(out, tokens, cst.code_model(), tokenizer=cst.tokenizer.config)
    fixed = tokens.packed_bytes(cst.tokenizer.levels)
    return f"{source} -> {out}: {rate(size, tokens)}, {size / fixed:.1%} of the {fixed:,} bytes at a fixed length"


def decompress(cst: CST, source: Path, out: Path) -> str:
    tokens = container.load(source, cst.code_model(), tokenizer=cst.tokenizer.config)
    picture = cst.decode(tokens)
    save_png(picture, out)
    size = source.stat().st_size
    return f"{source} -> {out}: {picture.width}x{picture.height} from {rate(size, tokens)}"


def rate(size: int, tokens: Tokens) -> str:
    """The rate of a file of `size` bytes: bytes, and bits per pixel of the photo."""
    return f"{size:,} bytes, {8 * size / (tokens.size[0] * tokens.size[1]):.3f} bits per pixel"


def save_png(picture: Image.Image, out: Path) -> None:
    with replacing(out) as part:
        picture.save(part, "PNG")
