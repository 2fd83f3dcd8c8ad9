"""Entropy coding of tokens: a code model gives the frequencies of codes, and a range coder turns codes into bits.

Encoder and decoder must agree on every probability to the last bit, on any two machines. So frequencies are whole
numbers, and `fixed_point` scales them, in integer arithmetic, to the total at which the `constriction` library
(Bamler, 2022, "Understanding Entropy Coding With Asymmetric Numeral Systems") rounds nothing. The library multiplies
the running sum of V frequencies by (2**24 - V) / total, rounds down, and adds 1 per symbol so that none is impossible.
At a total of 2**24 - V that factor is exactly 1.0, and running sums of whole numbers below 2**24 are exact in float32:
symbol i owns exactly its frequency + 1 of the 2**24 parts, on every machine. At other totals the factor is rounded, and
the last symbol can be left with nothing: the frequencies (43, 0) are one such case.
"""

import hashlib
from collections.abc import Generator, Iterator
from typing import Protocol, TypeVar

import numpy as np
from constriction import stream

from cst.tokenizer.code_statistics import Statistics

PARTS = 2**24  # of a probability; float32 holds every whole number up to this one
WORD = np.dtype("<u4")  # of the payload
Result = TypeVar("Result")


class CodeModel(Protocol):
    """Frequencies of codes as whole numbers, the same on every machine.

    fingerprint: 16 hex digits that identify the frequencies.
    """

    fingerprint: str

    def code_distributions(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Visit every entry of (L, h, w) int32 tokens once, in batches: (level, rows (n,), columns (n,), frequencies).

        frequencies: (V,), shared by the n codes, or (n, V); float32 whole numbers >= 0 with a sum of 1 to 2**24 per
        distribution. When the iteration resumes, tokens[level, rows, columns] hold the right codes. During decoding,
        entries that have not been visited yet are undefined.
        """
        ...


class StaticModel:
    """The `CodeModel` in which each code is as likely everywhere as it is in photos."""

    def __init__(self, statistics: Statistics):
        self.frequencies = tuple(_frequencies(counts) for counts in statistics.counts)
        data = b"".join(level.astype(WORD).tobytes() for level in self.frequencies)
        self.fingerprint = hashlib.sha256(data).hexdigest()[:16]

    def code_distributions(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """One batch per level, in raster order; see `CodeModel`."""
        rows, columns = (index.ravel() for index in np.indices(tokens.shape[1:]))
        for level, frequencies in enumerate(self.frequencies):
            yield level, rows, columns, frequencies


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """(V,) counts -> (V,) float32 whole numbers of at least 1, with a sum of at most 2**24.

    Half an occurrence is added to every count, for codes that never occurred (Krichevsky and Trofimov, 1981).
    """
    doubled = 2 * counts.astype(np.int64) + 1
    return np.maximum(doubled * (PARTS - len(doubled)) // doubled.sum(), 1).astype(np.float32)


def encode(tokens: np.ndarray, model: CodeModel) -> bytes:
    """(L, h, w) integers -> the payload, a multiple of 4 bytes. Raises ValueError for codes outside the model."""
    tokens, encoder = tokens.astype(np.int32), stream.queue.RangeEncoder()
    for level, rows, columns, frequencies in model.code_distributions(tokens):
        codes, size = tokens[level, rows, columns], frequencies.shape[-1]
        if not 0 <= codes.min() <= codes.max() < size:
            raise ValueError(
                f"codes of level {level} span {codes.min()} to {codes.max()}; accepted: 0 to {size - 1}, the codes of "
                "the code model"
            )
        if size > 1:  # a vocabulary of one code takes no bits
            encoder.encode(codes, *_distribution(frequencies))
    return encoder.get_compressed().astype(WORD).tobytes()


def decode(payload: bytes, shape: tuple[int, int, int], model: CodeModel) -> np.ndarray:
    """The payload of `encode` -> (L, h, w) int32. Raises ValueError for a payload that `encode` can't have written.

    Some wrong payloads decode to wrong codes, all in range: only a checksum detects those.
    """
    return finish(iter_decode(payload, shape, model))


def iter_decode(payload: bytes, shape: tuple[int, int, int], model: CodeModel) -> Generator[int, None, np.ndarray]:
    """As `decode`, in steps at which a caller can stop: yields how many more codes are done and returns all codes."""
    if len(payload) % WORD.itemsize:
        raise ValueError(f"its payload has {len(payload)} bytes; accepted: a multiple of {WORD.itemsize}")
    tokens = np.zeros(shape, np.int32)
    decoder = stream.queue.RangeDecoder(np.frombuffer(payload, WORD).astype(np.uint32))
    for level, rows, columns, frequencies in model.code_distributions(tokens):
        if frequencies.shape[-1] > 1:
            amount = (len(rows),) if frequencies.ndim == 1 else ()
            try:
                tokens[level, rows, columns] = decoder.decode(*_distribution(frequencies), *amount)
            except AssertionError:  # raised by constriction for bits that no encoder writes
                raise ValueError(
                    "its payload was not written under this code model; compress the photo again"
                ) from None
        yield len(rows)
    if not decoder.maybe_exhausted():
        raise ValueError(f"its payload of {len(payload)} bytes continues after the last of {tokens.size} codes")
    return tokens


def finish(steps: Generator[object, None, Result]) -> Result:
    """Run a generator to its end -> the value that it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _distribution(frequencies: np.ndarray) -> tuple:
    """The arguments of constriction's `encode` and `decode`: a distribution, or a family and its (n, V) frequencies."""
    frequencies, categorical = fixed_point(frequencies), stream.model.Categorical
    if frequencies.ndim == 1:
        return (categorical(frequencies, perfect=False),)
    return categorical(perfect=False), frequencies


def fixed_point(frequencies: np.ndarray) -> np.ndarray:
    """(V,) or (n, V) whole numbers >= 0 of any sum from 1 to 2**24 -> the same in proportion, with a sum of 2**24 - V.

    Integer arithmetic: scaled and rounded down; the remainder goes to the most likely code (the first, if several).
    """
    integers = frequencies.astype(np.int64)
    total, room = integers.sum(-1, keepdims=True), PARTS - integers.shape[-1]
    assert integers.min() >= 0 and total.min() >= 1 and total.max() <= PARTS, "frequencies of a code model"
    scaled = integers * room // total
    most_likely = scaled.argmax(-1, keepdims=True)
    remainder = room - scaled.sum(-1, keepdims=True)
    np.put_along_axis(scaled, most_likely, np.take_along_axis(scaled, most_likely, -1) + remainder, -1)
    return scaled.astype(np.float32)
