"""Tokens as a stream of bits: a model says how likely each code is in whole numbers, and a range coder spends them.

Encoder and decoder must agree on every probability to the last bit, on any two machines. So models speak in whole
numbers, and `fixed_point` brings those, by integer arithmetic, to the total at which the conversion inside the
`constriction` library (Bamler, 2022, "Understanding Entropy Coding With Asymmetric Numeral Systems") rounds nothing.
It multiplies the running sum of V weights by (2**24 - V) / total, rounds down, and adds 1 a symbol so that none is
impossible. At a total of 2**24 - V that factor is exactly 1.0, and running sums of whole numbers below 2**24 are exact
in float32: symbol i owns exactly its weight + 1 of the 2**24 parts, wherever it is computed. At other totals the
factor is rounded, and at some the last symbol can be left with nothing: the weights (43, 0) are one such case.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypeVar

import numpy as np
from constriction import stream

from cst.tokenizer.code_statistics import Statistics

PARTS = 2**24  # of a probability, and the largest whole number up to which float32 holds every one
WORD = np.dtype("<u4")  # of the payload
STATIC = "static"
Told = Callable[[int], object]  # called with how many more codes are done
Result = TypeVar("Result")


class CodeModel(Protocol):
    """A model of tokens in whole numbers, the same on every machine.

    name: as in `container.MODELS`. fingerprint: 16 hex digits, of what its probabilities come from.
    """

    name: str
    fingerprint: str

    def walk(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Every entry of (L, h, w) int32 tokens once, some at a time: (level, rows (n,), columns (n,), weights).

        weights: (V,), shared by the n codes, or (n, V); float32 that holds whole numbers >= 0, whose sum is 1 to
        2**24 a row. When the iteration is resumed, tokens[level, rows, columns] are right; in decoding, what has not
        been yielded yet has no meaning.
        """
        ...


class StaticModel:
    """Each code as likely everywhere as it is in photos; the `CodeModel` protocol."""

    name = STATIC

    def __init__(self, statistics: Statistics):
        self.weights = tuple(_weights(counts) for counts in statistics.counts)
        self.fingerprint = hashlib.sha256(b"".join(w.astype(WORD).tobytes() for w in self.weights)).hexdigest()[:16]

    def walk(self, tokens: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """One step a level, in raster order; see `CodeModel.walk`."""
        rows, columns = (index.ravel() for index in np.indices(tokens.shape[1:]))
        for level, weights in enumerate(self.weights):
            yield level, rows, columns, weights


def _weights(counts: np.ndarray) -> np.ndarray:
    """(V,) counts -> (V,) float32 whole numbers of at least 1 whose sum is at most 2**24.

    Each code counts half a time more than it was seen, for those that were never seen (Krichevsky and Trofimov, 1981).
    """
    twice = 2 * counts.astype(np.int64) + 1
    return np.maximum(twice * (PARTS - len(twice)) // twice.sum(), 1).astype(np.float32)


def encode(tokens: np.ndarray, model: CodeModel, *, told: Told | None = None) -> bytes:
    """(L, h, w) integers -> the payload, a multiple of 4 bytes. Raises ValueError for codes that have no weight."""
    tokens, encoder = tokens.astype(np.int32), stream.queue.RangeEncoder()
    for level, rows, columns, weights in model.walk(tokens):
        codes, size = tokens[level, rows, columns], weights.shape[-1]
        if not 0 <= codes.min() <= codes.max() < size:
            raise ValueError(
                f"codes of level {level} span {codes.min()} to {codes.max()}; accepted: 0 to {size - 1}, the codes "
                f"that the model '{model.name}' knows"
            )
        if size > 1:  # of one code there is nothing to say
            encoder.encode(codes, *_distribution(weights))
        if told:
            told(len(codes))
    return encoder.get_compressed().astype(WORD).tobytes()


def decode(payload: bytes, shape: tuple[int, int, int], model: CodeModel, *, told: Told | None = None) -> np.ndarray:
    """The payload of `encode` -> (L, h, w) int32. Raises ValueError for one that nothing can have been encoded to.

    Other wrong payloads give wrong codes, in range: it takes a checksum to know them.
    """
    return finish(decoding(payload, shape, model), told)


def decoding(payload: bytes, shape: tuple[int, int, int], model: CodeModel) -> Generator[int, None, np.ndarray]:
    """As `decode`, in steps at which a caller can stop: yields how many more codes are done, and returns all."""
    if len(payload) % WORD.itemsize:
        raise ValueError(f"its payload is of {len(payload)} bytes; accepted: a multiple of {WORD.itemsize}")
    tokens = np.zeros(shape, np.int32)
    decoder = stream.queue.RangeDecoder(np.frombuffer(payload, WORD).astype(np.uint32))
    for level, rows, columns, weights in model.walk(tokens):
        if weights.shape[-1] > 1:
            distribution, many = _distribution(weights), (len(rows),) if weights.ndim == 1 else ()
            try:
                tokens[level, rows, columns] = decoder.decode(*distribution, *many)
            except AssertionError:  # what constriction raises for bits that no encoder writes
                raise ValueError(f"its payload is of no codes that the model '{model.name}' can write") from None
        yield len(rows)
    if not decoder.maybe_exhausted():
        raise ValueError(f"its payload of {len(payload)} bytes goes on after the last of {tokens.size} codes")
    return tokens


def finish(steps: Generator[int, None, Result], told: Told | None = None) -> Result:
    """Take all steps of what is done code by code -> what it returns."""
    while True:
        try:
            codes = next(steps)
        except StopIteration as end:
            return end.value
        if told:
            told(codes)


def _distribution(weights: np.ndarray) -> tuple:
    """What constriction's `encode` and `decode` take: a table of (V,) weights, or a family and its (n, V) weights."""
    weights, categorical = fixed_point(weights), stream.model.Categorical
    return (categorical(weights, perfect=False),) if weights.ndim == 1 else (categorical(perfect=False), weights)


def fixed_point(weights: np.ndarray) -> np.ndarray:
    """(V,) or (n, V) whole numbers >= 0 of any sum from 1 to 2**24 -> the same in proportion, of sum 2**24 - V.

    In integers alone: scaled and rounded down, and what is missing goes to the likeliest (the first, if several).
    """
    whole = weights.astype(np.int64)
    total, room = whole.sum(-1, keepdims=True), PARTS - whole.shape[-1]
    assert whole.min() >= 0 and total.min() >= 1 and total.max() <= PARTS, "a model's weights"
    scaled = whole * room // total
    likeliest = scaled.argmax(-1, keepdims=True)
    missing = room - scaled.sum(-1, keepdims=True)
    np.put_along_axis(scaled, likeliest, np.take_along_axis(scaled, likeliest, -1) + missing, -1)
    return scaled.astype(np.float32)
