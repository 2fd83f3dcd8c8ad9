"""Break .cst files in every way, and see that each is answered with one clear error, or is a right file after all.

python -m cst fuzz --files 100000
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from cst.artifact import find_artifact
from cst.codec import container
from cst.codec.range_coder import CodeModel, StaticModel
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.config import PRETRAINED, TokenizerConfig
from cst.tokenizer.tokens import Tokens

Way = Callable[[bytes, bytes, np.random.Generator], bytes]
SIZES = ((1, 1), (8, 8), (17, 9), (64, 40), (121, 75))  # (width, height) of the pictures that are broken
REFUSED, WHOLE = "refused", "whole"  # in one line; after all, and read right
MENDED = ", checksum made right"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="broken files to try (default 100000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed breaks them otherwise (default 0)")
    parser.add_argument("--tokenizer", help="artifact folder or Hub repository (default: the packaged one)")
    flags = parser.parse_args(arguments)
    start = time.perf_counter()
    tokenizer, model = open_model(flags.tokenizer)
    outcomes = fuzz(tokenizer, model, files=flags.files, seed=flags.seed)
    print(table(outcomes))
    print(f"{outcomes.total():,} files in {time.perf_counter() - start:.0f} seconds: nothing else happened")


def table(outcomes: Counter[tuple[str, str]]) -> str:
    """How many files were refused in one line, and how many were whole after all and read right, a row a way."""
    lines = [f"{'':<20}{'':>10}{'':>10}{'with checksum made right':>30}"]
    lines.append(f"{'':<20}{'refused':>10}{'whole':>10}{'refused':>20}{'whole':>10}")
    for way in WAYS:
        counts = [outcomes[way + mended, outcome] for mended in ("", MENDED) for outcome in (REFUSED, WHOLE)]
        lines.append(f"{way:<20}{counts[0]:>10,}{counts[1]:>10,}{counts[2]:>20,}{counts[3]:>10,}")
    return "\n".join(lines)


def open_model(source: str | None) -> tuple[TokenizerConfig, StaticModel]:
    """A tokenizer's folder -> its configuration and its static model. Raises ValueError where there is none."""
    folder = find_artifact(source or PRETRAINED)
    tokenizer = TokenizerConfig.load(folder)
    return tokenizer, StaticModel(Statistics.of_artifact(folder, tokenizer))


def fuzz(tokenizer: TokenizerConfig, model: CodeModel, *, files: int, seed: int) -> Counter[tuple[str, str]]:
    """How often each way of breaking a file ended in each outcome. Anything but the two outcomes is raised."""
    rng = np.random.default_rng(seed)
    whole = [container.compress(make_tokens(tokenizer, size, rng), model, tokenizer=tokenizer) for size in SIZES]
    outcomes: Counter[tuple[str, str]] = Counter()
    for _ in tqdm(range(files), unit="file"):
        way = list(WAYS)[rng.integers(len(WAYS))]
        broken = WAYS[way](whole[rng.integers(len(whole))], whole[rng.integers(len(whole))], rng)
        if rng.random() < 0.5:
            way, broken = way + MENDED, mend(broken)
        outcomes[way, attempt(broken, tokenizer, model)] += 1
    return outcomes


def attempt(data: bytes, tokenizer: TokenizerConfig, model: CodeModel) -> str:
    """Read a file -> how it ended. Raises what a reader must never see: another exception, or wrong tokens."""

    def find(name: str) -> CodeModel:
        if name != model.name:
            raise ValueError(f"the model '{name}' is not there")
        return model

    try:
        tokens = container.decompress(data, find, tokenizer=tokenizer)
    except ValueError as error:
        assert str(error) and "\n" not in str(error), f"not one line: {str(error)!r}"
        return REFUSED
    for codes, size in zip(tokens.codes, tokenizer.levels.values(), strict=True):
        assert 0 <= codes.min() <= codes.max() < size, "codes out of range"
    assert container.crc(tokens.codes) == container.Header.read(data).crc, "wrong codes"
    return WHOLE


def make_tokens(tokenizer: TokenizerConfig, size: tuple[int, int], rng: np.random.Generator) -> Tokens:
    _, h, w = container.grid(size, tokenizer)
    codes = [rng.integers(level, size=(h, w)) for level in tokenizer.levels.values()]
    return Tokens(np.stack(codes).astype(np.int32), size, tokenizer.fingerprint)


# Ways to break a file: (the file, another one, generator) -> bytes ---------------------------------------------------


def flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits."""
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 9)):
        array[rng.integers(len(array))] ^= 1 << rng.integers(8)
    return array.tobytes()


def cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def insert(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(len(data) + 1)
    return data[:place] + rng.bytes(rng.integers(1, 20)) + data[place:]


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of one and the end of another."""
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def noise(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(rng.integers(200))


def edit(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One byte of the header set to anything."""
    place = rng.integers(container.START)
    return data[:place] + rng.bytes(1) + data[place + 1 :]


def resize(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Another width and height, mostly of the same number of digits."""
    sides = (2 ** rng.uniform(0, 11, 2)).astype("<u2") if rng.random() < 0.99 else rng.integers(2**16, size=2)
    return data[:6] + sides.astype("<u2").tobytes() + data[10:]


def rewrite(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A payload of noise."""
    return data[: container.START] + rng.bytes(rng.integers(len(data)))


WAYS: dict[str, Way] = {
    "bits flipped": flip, "cut short": cut, "bytes inserted": insert, "two files spliced": splice,
    "header edited": edit, "another size": resize, "another payload": rewrite, "noise": noise,
}  # fmt: skip


def mend(data: bytes) -> bytes:
    """The same with beginning and checksum made right, so that what lies behind them is reached."""
    data = (container.MAGIC + bytes([container.VERSION]) + data[5:]).ljust(container.START, b"\0")
    return data[: container.HEADER.size] + container.checksum(data) + data[container.START :]
