"""Draw new pictures, and list the classes that a prior knows.

python -m prior sample --class sunflower --count 8 --seed 1 --out DIR
"""

import argparse
import dataclasses
import os
import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.artifact import replacing
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.protocol import bits_per_patch
from prior.contact_sheet import contact_sheet
from prior.protocol import LevelSettings, Settings
from prior.sampler import DEFAULTS, MAX_PICTURES, Sampler

SHEETS = {".png": "PNG", ".webp": "WEBP"}  # formats of a sheet by suffix


def main(arguments: Sequence[str]) -> None:
    """The first argument is the verb: sample, sheet or classes."""
    verb, *rest = arguments
    {"sample": sample, "sheet": sheet, "classes": classes}[verb](rest)


def model_flags() -> argparse.ArgumentParser:
    """Flags that choose the prior and the tokenizer."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--model", default="gpt", choices=DEFAULTS, help="the packaged model (default gpt)")
    parser.add_argument("--prior", type=Path, metavar="DIR", help="folder of a prior, instead of a packaged one")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="folder of its tokenizer; default: packaged")
    parser.add_argument("--threads", type=int, help="processor threads (default: the library's choice)")
    return parser


def classes(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m prior classes", description="The kinds of picture a model knows.", parents=[model_flags()]
    )
    print("\n".join(open_sampler(parser.parse_args(arguments)).classes))


def open_sampler(flags: argparse.Namespace) -> Sampler:
    tokenizer = OnnxTokenizer(flags.tokenizer, threads=flags.threads)
    return Sampler.from_pretrained(flags.model, folder=flags.prior, tokenizer=tokenizer, threads=flags.threads)


def settings(flags: argparse.Namespace, defaults: Settings) -> Settings:
    """The defaults, overridden by the command line."""
    levels = list(defaults.levels)
    for field in dataclasses.fields(LevelSettings):
        values = getattr(flags, field.name)
        if values is None:
            continue
        if len(values) not in (1, len(levels)):
            name = field.name.replace("_", "-")
            raise ValueError(f"--{name} has {len(values)} values; accepted: 1 for all levels, or {len(levels)}")
        values = values * len(levels) if len(values) == 1 else values
        levels = [
            dataclasses.replace(level, **{field.name: value}) for level, value in zip(levels, values, strict=True)
        ]
    guidance = defaults.guidance if flags.guidance is None else flags.guidance
    return Settings(tuple(levels), guidance)


def sample(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m prior sample", description="New pictures, as PNG, tokens and a contact sheet.",
        parents=[model_flags()],
    )  # fmt: skip
    parser.add_argument("--class", dest="name", metavar="NAME", help="kind of picture (default: any)")
    parser.add_argument("--count", type=int, default=4, help="pictures (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same pictures (default 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    for flag, kind in (("temperature", float), ("top-k", int), ("top-p", float), ("min-p", float)):
        words = "one for all levels, or one for each (default: the model's)"
        parser.add_argument(f"--{flag}", type=kind, nargs="+", metavar="X", help=words)
    parser.add_argument("--guidance", type=float, help="classifier-free guidance scale (default: the model's)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="the model's own size (default), or half of it")
    draw(parser.parse_args(arguments))


def draw(flags: argparse.Namespace) -> None:
    """Sample in batches, with a progress bar. Each batch is written as soon as it is done."""
    if flags.count < 1:
        raise ValueError(f"{flags.count} pictures; accepted: at least 1")
    sampler = open_sampler(flags)
    chosen = settings(flags, sampler.defaults)
    full = sampler.size[1]
    sizes = (full, full // 2) if sampler.prior.config.kind == "gpt" else (full,)
    if flags.size not in (None, *sizes):
        raise ValueError(f"pictures of {flags.size} pixels; accepted: {' or '.join(map(str, sizes))}")
    size = flags.size or full
    name = None if flags.name is None else sampler.classes[sampler.label(flags.name)]
    sampler.sample(name, seed=flags.seed, settings=chosen)  # raises for a wrong request before the folder is made
    try:
        flags.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"can't write to '{flags.out}' ({error.strerror}); give another --out") from None
    if not os.access(flags.out, os.W_OK):
        raise ValueError(f"can't write to '{flags.out}' (no permission); give another --out")
    stem = re.sub(r"[^a-z0-9]+", "-", (name or "any").lower()).strip("-")
    pictures: list[Image.Image] = []
    bits: list[float] = []
    for first in range(0, flags.count, MAX_PICTURES):
        count = min(MAX_PICTURES, flags.count - first)
        # Later batches derive their seed from the first.
        seed = int(np.random.SeedSequence([flags.seed, first]).generate_state(1)[0]) if first else flags.seed
        steps = sampler.sample(name, count=count, seed=seed, settings=chosen)
        with tqdm(unit="token") as bar:
            for step in steps:
                bar.total = step.total
                bar.set_description(step.name, refresh=False)
                bar.update(step.done - bar.n)
                if size < full and step.half_known is not None and step.half_known.all():
                    bar.total = step.done
                    break
        step = step if size == full else step.half_size()
        for picture, tokens in zip(sampler.decode(step), sampler.tokens(step), strict=True):
            path = flags.out / f"{stem}-{flags.seed}-{len(pictures):03d}.png"
            with replacing(path) as part:
                picture.save(part, "PNG")
            tokens.save(path.with_suffix(".npz"))
            pictures.append(picture)
        bits += list(step.bits.sum(1))
    caption = f"{name or 'any class'}, seed {flags.seed}, {flags.prior or flags.model}, guidance {chosen.guidance:g}"
    rows = [("", pictures[start : start + 8]) for start in range(0, len(pictures), 8)]
    with replacing(flags.out / "sheet.png") as part:
        contact_sheet(rows, side=size, caption=caption).save(part, "PNG")
    patches = (size // sampler.tokenizer.patch) ** 2
    print(
        f"{len(pictures)} pictures of {size}x{size} in '{flags.out}' ({sum(bits) / len(bits) / patches:.1f} bits per "
        f"patch; fixed length: {bits_per_patch(sampler.prior.levels):.0f})"
    )


def sheet(arguments: Sequence[str]) -> None:
    """One row per class: the first samples of a seed by each model, unselected."""
    parser = argparse.ArgumentParser(
        prog="python -m prior sheet", description="Samples of several classes by one or both models, side by side."
    )
    parser.add_argument("--class", dest="names", nargs="+", required=True, metavar="NAME", help="kinds of picture")
    parser.add_argument("--count", type=int, default=4, help="pictures of each kind by each model (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--model", nargs="+", default=list(DEFAULTS), choices=DEFAULTS, help="default: both")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .png or .webp file")
    parser.add_argument("--threads", type=int, help="processor threads (default: the library's choice)")
    flags = parser.parse_args(arguments)
    if flags.out.suffix.lower() not in SHEETS:
        accepted = " or ".join(SHEETS)
        raise ValueError(f"'{flags.out}' is not a name to write to; accepted: a path that ends in {accepted}")
    tokenizer = OnnxTokenizer(threads=flags.threads)
    samplers = {kind: Sampler.from_pretrained(kind, tokenizer=tokenizer, threads=flags.threads) for kind in flags.model}
    first = next(iter(samplers.values()))
    names = [first.classes[first.label(name)] for name in flags.names]
    rows = []
    for name in tqdm(names, unit="class"):
        pictures = []
        for sampler in samplers.values():
            done = deque(sampler.sample(name, count=flags.count, seed=flags.seed), maxlen=1).pop()
            pictures += sampler.decode(done)
        rows.append((name, pictures))
    caption = f"{', '.join(samplers)}: the first {flags.count} of seed {flags.seed}, with the default settings"
    with replacing(flags.out) as part:
        page = contact_sheet(rows, side=max(sampler.size[1] for sampler in samplers.values()), caption=caption)
        page.save(part, SHEETS[flags.out.suffix.lower()], quality=90)
