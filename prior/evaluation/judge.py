"""Judge drawn pictures: their distance to photos of the same classes, and whether a classifier recognizes the class.

python -m prior judge --images flowers/ --out runs/judge
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from cst.artifact import replacing, write_json
from cst.evaluation.picture_features import network
from cst.images import to_image
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from prior.contact_sheet import contact_sheet
from prior.evaluation.judge_scores import Judge, Row, table
from prior.protocol import SampleRequest, Settings
from prior.sampler import DEFAULTS, MAX_PICTURES, Sampler

SHOWN = 24  # pictures of a row on its sheet, and on the blind one
FROM_PHOTO = ("color",)  # the level taken from a photo where the rest is drawn


def draw(
    sampler: Sampler,
    names: Sequence[str],
    *,
    seed: int,
    known: np.ndarray | None = None,
    settings: Settings | None = None,
) -> list[Image.Image]:
    """A picture of each named class. The same seed gives the same pictures; fewer are the first of more, up to whole
    batches.

    known: (N, L, h, w) int tokens, of which the colors are kept. settings: None for the sampler's defaults.
    """
    labels, shape = np.array([sampler.label(name) for name in names]), (len(sampler.prior.levels), *sampler.prior.grid)
    tokens = np.zeros((len(names), *shape), np.int32) if known is None else known
    kept = [known is not None and level.name in FROM_PHOTO for level in sampler.prior.levels]
    pictures = []
    for start in range(0, len(names), MAX_PICTURES):
        part = slice(start, start + MAX_PICTURES)
        mask = np.zeros(tokens[part].shape, bool)
        mask[:, kept] = True
        chosen = int(np.random.SeedSequence([seed, start]).generate_state(1)[0])
        request = SampleRequest(tokens[part], mask, labels[part], settings or sampler.defaults, chosen)
        steps = sampler.draw(request)
        words = f"pictures {start + 1} to {min(start + MAX_PICTURES, len(names))} of {len(names)}"
        with tqdm(desc=words, unit="token", leave=False) as bar:
            for step in steps:
                bar.total = step.total
                bar.update(step.done - bar.n)
        pictures += sampler.decode(step)
    return pictures


def render(tokenizer: OnnxTokenizer, tokens: np.ndarray) -> list[Image.Image]:
    """(N, L, h, w) int tokens -> pictures."""
    batches = (tokens[start : start + MAX_PICTURES] for start in range(0, len(tokens), MAX_PICTURES))
    return [to_image(picture) for batch in batches for picture in tokenizer.decode(batch)]


# Sheets --------------------------------------------------------------------------------------------------------------


def save_sheet(pictures: Sequence[Image.Image], path: Path, *, side: int, columns: int = 8) -> None:
    """A sheet of the first `SHOWN` pictures, without captions."""
    shown = pictures[:SHOWN]
    rows = [("", shown[start : start + columns]) for start in range(0, len(shown), columns)]
    with replacing(path) as part:
        contact_sheet(rows, side=side).save(part, "PNG")


def blind_sheet(
    rows: Mapping[str, Sequence[Image.Image]], *, seed: int, columns: int = 12
) -> tuple[Image.Image, dict[str, dict[str, str | int]]]:
    """The first `SHOWN` pictures of every row at one size, shuffled and numbered from 1; and the key.

    The key maps every number to the name of the row and the index of the picture in it.
    """
    shown = [(name, index) for name, pictures in rows.items() for index in range(min(SHOWN, len(pictures)))]
    shown = [shown[place] for place in np.random.default_rng(seed).permutation(len(shown))]
    side, words, gap = max(rows[name][index].width for name, index in shown), 18, 6
    page = Image.new("RGB", (columns * (side + gap), -(-len(shown) // columns) * (side + words + gap)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for place, (name, index) in enumerate(shown):
        left, top = place % columns * (side + gap), place // columns * (side + words + gap)
        page.paste(rows[name][index].resize((side, side), Image.Resampling.LANCZOS), (left, top))
        pen.text((left + side // 2, top + side + words // 2), str(place + 1), fill="#333", anchor="mm", font=font)
    return page, {str(place): {"row": name, "picture": index} for place, (name, index) in enumerate(shown, 1)}


# The command ---------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior judge", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips of them"
    )
    parser.add_argument("--out", type=Path, default=Path("judge"), metavar="DIR", help="folder to write to")
    parser.add_argument("--pictures", type=int, default=256, help="of each row, at most (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn and shuffled (default 0)")
    parser.add_argument("--model", nargs="+", choices=DEFAULTS, default=[], help="packaged priors; default: all")
    parser.add_argument(
        "--prior",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of priors, instead of packaged ones or in addition to --model",
    )
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="folder of the tokenizer; default: packaged")
    parser.add_argument("--threads", type=int, help="processor threads (default: the libraries' choice)")
    print(judge(parser.parse_args(arguments)))


def open_samplers(flags: argparse.Namespace, tokenizer: OnnxTokenizer) -> dict[str, Sampler]:
    """The requested priors, by their name in the table."""
    options = {"tokenizer": tokenizer, "threads": flags.threads}
    kinds = flags.model or ([] if flags.prior else list(DEFAULTS))
    samplers = {kind: Sampler.from_pretrained(kind, **options) for kind in kinds}
    same_name = Counter([*kinds, *(folder.resolve().name for folder in flags.prior)])
    for folder in flags.prior:
        name = folder.resolve().name
        samplers[name if same_name[name] == 1 else str(folder)] = Sampler.from_pretrained(folder=folder, **options)
    return samplers


def judge(flags: argparse.Namespace) -> str:
    """The report that `python -m prior judge` prints; sheets and all numbers are written to the folder `out`."""
    if flags.pictures < 2 or flags.seed < 0:
        raise ValueError(f"{flags.pictures} pictures, the seed {flags.seed}; accepted: at least 2, and a seed from 0")
    network()  # raises early if a package is missing
    if flags.threads is not None:
        import torch

        torch.set_num_threads(flags.threads)
    tokenizer = OnnxTokenizer(flags.tokenizer, threads=flags.threads)
    samplers = open_samplers(flags, tokenizer)
    side = max(sampler.size[0] for sampler in samplers.values())
    classes = sorted(set.intersection(*(set(sampler.classes) for sampler in samplers.values())))
    flags.out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with timed(seconds, "photos and their features"):
        bench = Judge.load(flags.images, flags.out, pictures=flags.pictures, classes=classes)
    rows: list[Row] = [bench.score_others("other photos")]
    save_sheet(bench.others, flags.out / "other-photos.png", side=side)

    def add(name: str, pictures: list[Image.Image]) -> None:
        with timed(seconds, f"scores of {name}"):
            rows.append(bench.score(pictures, name))
        save_sheet(pictures, flags.out / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png", side=side)

    encoded: dict[tuple[int, int], np.ndarray] = {}  # by side and beam
    for sampler in samplers.values():
        seen = sampler.size[0], sampler.prior.config.beam
        if seen not in encoded:
            name = f"through the tokenizer at {seen[0]} px" + (f", beam {seen[1]}" if seen[1] > 1 else "")
            with timed(seconds, name):
                photos = tqdm(bench.photos, desc="encoded", unit="photo", leave=False)
                encoded[seen] = np.stack([sampler.encode(photo) for photo in photos])
                pictures = render(tokenizer, encoded[seen])
            add(name, pictures)
    drawn: dict[str, list[Image.Image]] = {}
    for words, from_photo in (("their colors, shapes and textures by", True), ("all by", False)):
        for kind, sampler in samplers.items():
            known = encoded[sampler.size[0], sampler.prior.config.beam] if from_photo else None
            name = f"{words} {kind}"
            with timed(seconds, name):
                drawn[name] = draw(sampler, bench.names, seed=flags.seed, known=known)
            add(name, drawn[name])
    page, key = blind_sheet(drawn, seed=flags.seed)
    with replacing(flags.out / "blind.png") as part:
        page.save(part, "PNG")
    write_json(flags.out / "blind.json", key)
    report = {"rows": [asdict(row) for row in rows], "seed": flags.seed, "classes": bench.names, "seconds": seconds}
    report["settings"] = {kind: asdict(sampler.defaults) for kind, sampler in samplers.items()}
    report["weights"] = {
        kind: {name: sampler.prior.config.files[name] for name in sampler.prior.config.weights}
        for kind, sampler in samplers.items()
    }
    report["tokenizer"] = tokenizer.fingerprint
    write_json(flags.out / "judge.json", report)
    note = (
        f"({rows[0].pictures} pictures per row, of the same classes as the held-out photos they are compared with; "
        f"{len(set(bench.names))} classes; seed {flags.seed}; ± is the standard deviation over random halves)"
    )
    return f"{table(rows)}\n\n{note}"


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Record the duration of a block, in seconds."""
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 1)
