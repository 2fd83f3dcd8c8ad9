"""Bits per token of a prior on held-out photos, and whether its samples are copies of training photos.

python -m prior evaluate --images flowers/
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cst.artifact import replacing
from cst.images import to_image
from cst.photos import Entry, find_photos, split
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.protocol import Level
from prior.config import PRETRAINED
from prior.contact_sheet import contact_sheet
from prior.evaluation.nearest_photos import Index, Nearest
from prior.onnx_runtime import OnnxPrior
from prior.sampler import Sampler
from prior.sampling import log_prob
from prior.training.token_cache import TokenSet

CHUNK = 32  # photos whose tokens are predicted together


def bits_by_level(prior: OnnxPrior, photos: TokenSet) -> np.ndarray:
    """(L,) float64: mean bits per token of every level."""
    sums = np.zeros(len(prior.levels))
    for start in tqdm(range(0, len(photos), CHUNK), unit="batch", leave=False):
        part = slice(start, start + CHUNK)
        sums -= log_prob(prior, photos.tokens[part].astype(np.int32), np.array(photos.labels[part])).sum((0, 2, 3))
    return sums / math.log(2) / photos.labels.size / math.prod(prior.grid)


def zero_order_bits(training: TokenSet, photos: TokenSet, levels: tuple[Level, ...]) -> np.ndarray:
    """(L,) float64: mean bits per token under the code frequencies of the training photos (add-one smoothing)."""
    bits = []
    for index, level in enumerate(levels):
        counts = np.bincount(np.asarray(training.tokens[:, index]).ravel(), minlength=level.size) + 1
        bits.append(-np.log2(counts / counts.sum())[photos.tokens[:, index]].mean())
    return np.array(bits)


def bits_table(rows: dict[str, np.ndarray], levels: tuple[Level, ...], patch: int) -> str:
    """Bits per token of each level, per patch and per pixel, as Markdown."""
    lines = [
        f"| bits | {' | '.join(level.name for level in levels)} | per patch | per pixel |",
        f"|---|{'---:|' * (len(levels) + 2)}",
    ]
    for name, bits in rows.items():
        values = " | ".join(f"{value:.2f}" for value in [*bits, bits.sum()])
        lines.append(f"| {name} | {values} | {bits.sum() / patch**2:.3f} |")
    return "\n".join(lines)


def nearest_sheet(sampler: Sampler, training: TokenSet, index: Index, *, count: int, seed: int, path: Path) -> Nearest:
    """Save a sheet of samples and their nearest training photos; returns their distances."""
    chosen = np.random.default_rng(seed).permutation(len(sampler.classes))[:count]
    tokens = []
    for number, label in enumerate(tqdm(chosen, unit="sample", leave=False)):
        *_, done = sampler.sample(sampler.classes[label], count=1, seed=seed + number)
        tokens.append(done.tokens[0])
    samples = np.stack(tokens)
    nearest = index.find(samples)

    def pictures(codes: np.ndarray) -> list:
        return [to_image(picture) for picture in sampler.tokenizer.decode(np.asarray(codes, np.int32))]

    rows = [
        ("sample", pictures(samples)),
        ("nearest by tokens", pictures(training.tokens[nearest.by_tokens])),
        ("nearest by pixels", pictures(training.tokens[nearest.by_pixels])),
    ]
    with replacing(path) as part:
        contact_sheet(rows, side=sampler.size[0]).save(part, "PNG")
    return nearest


def nearest_table(rows: dict[str, Nearest], training: int) -> str:
    """The distances of the nearest training photos, as Markdown."""
    columns = (f"nearest of {training:,} training photos to", "tokens equal, mean (nearest)", "apart, mean (nearest)")
    lines = [f"| {' | '.join(columns)} |", "|---|---:|---:|"]
    for name, nearest in rows.items():
        equal = f"{nearest.agreement.mean():.1%} ({nearest.agreement.max():.1%})"
        apart = f"{nearest.distance.mean():.3f} ({nearest.distance.min():.3f})"
        lines.append(f"| {len(nearest.distance)} {name} | {equal} | {apart} |")
    lines += ["", "(apart: root mean square difference at 32x32 pixels, values in [0, 1], photos also mirrored)"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior evaluate", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips of them"
    )
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="folder of the tokenizer; default: packaged")
    parser.add_argument(
        "--prior", type=Path, nargs="+", metavar="DIR", help="folders of priors; default: both that are packaged"
    )
    parser.add_argument("--limit", type=int, help="at most this many held-out photos")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the photos' tokens here for the next time")
    parser.add_argument("--nearest", action="store_true", help="instead, search the training photos nearest to samples")
    parser.add_argument("--count", type=int, default=8, help="samples of each prior, for --nearest (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples, for --nearest (default 0)")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="folder of the sheets of --nearest")
    print(evaluate(parser.parse_args(arguments)))


def evaluate(flags: argparse.Namespace) -> str:
    """The report that `python -m prior evaluate` prints."""
    if (flags.limit is not None and flags.limit < 1) or flags.count < 1:
        raise ValueError(f"a limit of {flags.limit}, {flags.count} samples; accepted: at least 1")
    tokenizer = OnnxTokenizer(flags.tokenizer)
    folders = flags.prior or [PRETRAINED / "gpt", PRETRAINED / "pixelcnn"]
    same_name = Counter(folder.resolve().name for folder in folders)
    names = [name if same_name[name := folder.resolve().name] == 1 else str(folder) for folder in folders]
    opened = [OnnxPrior(folder, fingerprint=tokenizer.fingerprint) for folder in folders]
    priors = dict(zip(names, opened, strict=True))
    entries, held_out = split(find_photos(flags.images))
    return "\n\n".join(
        report(group, entries, held_out[: flags.limit], tokenizer, flags) for group in group_comparable(priors).values()
    )


def group_comparable(priors: dict[str, OnnxPrior]) -> dict[tuple, dict[str, OnnxPrior]]:
    """Group priors by what the tokens of their photos depend on: bits compare only within a group."""
    groups: dict[tuple, dict[str, OnnxPrior]] = {}
    for name, prior in priors.items():
        groups.setdefault((prior.grid, prior.config.beam, prior.classes), {})[name] = prior
    return groups


def report(
    priors: dict[str, OnnxPrior],
    entries: Sequence[Entry],
    held_out: Sequence[Entry],
    tokenizer: OnnxTokenizer,
    flags: argparse.Namespace,
) -> str:
    """The table of one group of comparable priors."""
    first = next(iter(priors.values())).config
    size = first.grid[1] * first.patch, first.grid[0] * first.patch
    sets = {}
    for name, photos in (("training", entries), ("held-out", held_out)):
        cache = flags.cache and flags.cache / f"{size[0]}-{first.beam}-{len(first.classes)}" / name
        sets[name] = TokenSet.of(photos, first, tokenizer.codebooks, cache=cache)
    if flags.nearest:
        flags.out.mkdir(parents=True, exist_ok=True)
        index, wanted = Index(sets["training"], tokenizer.codebooks), {"count": flags.count, "seed": flags.seed}
        nearest = {}
        for name, prior in priors.items():
            path, sampler = flags.out / f"nearest-{name.replace('/', '-')}.png", Sampler(tokenizer, prior)
            nearest[f"samples of {name}"] = nearest_sheet(sampler, sets["training"], index, path=path, **wanted)
        nearest["held-out photos"] = index.find(np.asarray(sets["held-out"].tokens[:256], np.int32))
        return nearest_table(nearest, len(sets["training"]))
    rows = {
        "fixed length": np.log2([level.size for level in first.vocabulary]),
        "zero-order entropy": zero_order_bits(sets["training"], sets["held-out"], first.vocabulary),
    }
    rows |= {name: bits_by_level(prior, sets["held-out"]) for name, prior in priors.items()}
    note = f"({len(sets['held-out'])} held-out photos, the middle square at {size[0]}x{size[1]} pixels)"
    return f"{bits_table(rows, first.vocabulary, first.patch)}\n\n{note}"
