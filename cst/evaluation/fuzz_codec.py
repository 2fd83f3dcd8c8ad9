"""Corrupt .cst files in many ways, and check that reading each raises a one-line error or returns the right tokens.

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

Corruption = Callable[[bytes, bytes, np.random.Generator], bytes]
SIZES = ((1, 1), (8, 8), (17, 9), (64, 40), (121, 75))  # (width, height) of the corrupted pictures
REFUSED, READ = "refused", "read"  # with a one-line error; with the right tokens
REPAIRED = ", checksum repaired"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="number of corrupted files (default 100000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corruptions (default 0)")
    parser.add_argument("--tokenizer", help="artifact folder or Hub repository (default: the packaged one)")
    flags = parser.parse_args(arguments)
    start = time.perf_counter()
    tokenizer, model = open_model(flags.tokenizer)
    outcomes = fuzz(tokenizer, model, files=flags.files, seed=flags.seed)
    print(table(outcomes))
    print(f"{outcomes.total():,} files in {time.perf_counter() - start:.0f} seconds, no other outcome")


def table(outcomes: Counter[tuple[str, str]]) -> str:
    """The number of files refused and read correctly, one row per corruption."""
    lines = [f"{'':<20}{'':>10}{'':>10}{'with checksum repaired':>30}"]
    lines.append(f"{'':<20}{REFUSED:>10}{READ:>10}{REFUSED:>20}{READ:>10}")
    for name in CORRUPTIONS:
        counts = [outcomes[name + suffix, outcome] for suffix in ("", REPAIRED) for outcome in (REFUSED, READ)]
        lines.append(f"{name:<20}{counts[0]:>10,}{counts[1]:>10,}{counts[2]:>20,}{counts[3]:>10,}")
    return "\n".join(lines)


def open_model(source: str | None) -> tuple[TokenizerConfig, StaticModel]:
    """The configuration and code model of a tokenizer. Raises ValueError if it has no statistics."""
    folder = find_artifact(source or PRETRAINED)
    tokenizer = TokenizerConfig.load(folder)
    return tokenizer, StaticModel(Statistics.of_artifact(folder, tokenizer))


def fuzz(tokenizer: TokenizerConfig, model: CodeModel, *, files: int, seed: int) -> Counter[tuple[str, str]]:
    """Count (corruption, outcome) pairs over corrupted files. Raises as `attempt` at the first wrong outcome."""
    rng = np.random.default_rng(seed)
    intact = [container.compress(make_tokens(tokenizer, size, rng), model, tokenizer=tokenizer) for size in SIZES]
    outcomes: Counter[tuple[str, str]] = Counter()
    for _ in tqdm(range(files), unit="file"):
        name = list(CORRUPTIONS)[rng.integers(len(CORRUPTIONS))]
        data = CORRUPTIONS[name](intact[rng.integers(len(intact))], intact[rng.integers(len(intact))], rng)
        if rng.random() < 0.5:
            name, data = name + REPAIRED, repair(data)
        outcomes[name, attempt(data, tokenizer, model)] += 1
    return outcomes


def attempt(data: bytes, tokenizer: TokenizerConfig, model: CodeModel) -> str:
    """Read a file -> the outcome. Raises if the reader misbehaves: another exception, or wrong tokens."""
    try:
        tokens = container.decompress(data, model, tokenizer=tokenizer)
    except ValueError as error:
        assert str(error) and "\n" not in str(error), f"not one line: {str(error)!r}"
        return REFUSED
    for codes, size in zip(tokens.codes, tokenizer.levels.values(), strict=True):
        assert 0 <= codes.min() <= codes.max() < size, "codes out of range"
    assert container.crc(tokens.codes) == container.Header.read(data).crc, "wrong codes"
    return READ


def make_tokens(tokenizer: TokenizerConfig, size: tuple[int, int], rng: np.random.Generator) -> Tokens:
    _, h, w = container.grid(size, tokenizer)
    codes = [rng.integers(level, size=(h, w)) for level in tokenizer.levels.values()]
    return Tokens(np.stack(codes).astype(np.int32), size, tokenizer.fingerprint)


# Corruptions: (a file, another file, generator) -> bytes --------------------------------------------------------------


def flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip one to eight bits."""
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 9)):
        array[rng.integers(len(array))] ^= 1 << rng.integers(8)
    return array.tobytes()


def cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Remove the end."""
    return data[: rng.integers(len(data))]


def insert(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Insert random bytes."""
    place = rng.integers(len(data) + 1)
    return data[:place] + rng.bytes(int(rng.integers(1, 20))) + data[place:]


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Join the beginning of one file and the end of another."""
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def noise(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Replace everything with random bytes."""
    return rng.bytes(int(rng.integers(200)))


def edit(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Set one byte of the header to a random value."""
    place = rng.integers(container.START)
    return data[:place] + rng.bytes(1) + data[place + 1 :]


def resize(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Change width and height, rarely to more than 2,048."""
    sides = (2 ** rng.uniform(0, 11, 2)).astype("<u2") if rng.random() < 0.99 else rng.integers(2**16, size=2)
    return data[:6] + sides.astype("<u2").tobytes() + data[10:]


def rewrite(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Replace the payload with random bytes."""
    return data[: container.START] + rng.bytes(int(rng.integers(len(data))))


CORRUPTIONS: dict[str, Corruption] = {
    "bits flipped": flip, "cut short": cut, "bytes inserted": insert, "two files spliced": splice,
    "header edited": edit, "another size": resize, "another payload": rewrite, "noise": noise,
}  # fmt: skip


def repair(data: bytes) -> bytes:
    """Restore the first bytes and the checksum, so that the checks after them are reached."""
    data = (container.MAGIC + bytes([container.VERSION]) + data[5:]).ljust(container.START, b"\0")
    return data[: container.HEADER.size] + container.checksum(data) + data[container.START :]
