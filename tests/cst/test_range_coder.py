"""Codes to bits and back, under any code model."""

from fractions import Fraction

import numpy as np
import pytest
from constriction import stream
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.code_models import NeighborModel, random_tokens

from cst.codec.range_coder import PARTS, StaticModel, decode, encode, fixed_point, iter_decode
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.config import PRETRAINED, TokenizerConfig

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
SIDES = st.integers(1, 9)


# Round trips ----------------------------------------------------------------------------------------------------------


@given(SIZES, SIDES, SIDES, st.integers(0, 10**6))
@example((1, 1, 1), 1, 1, 0)
@settings(deadline=None)
def test_round_trip_under_a_model_of_earlier_codes(sizes, h, w, seed):
    tokens, model = random_tokens(sizes, h, w, seed), NeighborModel(sizes)
    payload = encode(tokens, model)
    assert len(payload) % 4 == 0
    assert np.array_equal(decode(payload, tokens.shape, model), tokens)


@given(SIZES, SIDES, SIDES, st.integers(0, 10**6))
@settings(deadline=None)
def test_round_trip_under_counted_statistics(sizes, h, w, seed):
    rng = np.random.default_rng(seed)
    counts = tuple((rng.integers(2**32, size=size) >> rng.integers(32, size=size)).astype(np.uint32) for size in sizes)
    tokens, model = random_tokens(sizes, h, w, seed), StaticModel(Statistics(counts))
    found = decode(encode(tokens, model), tokens.shape, model)
    assert np.array_equal(found, tokens)
    assert found.dtype == np.int32


@pytest.mark.parametrize("heavy", [1, 2**23, PARTS])
@pytest.mark.parametrize("size", [2, 3, 8192])
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_code_of_frequency_zero_can_be_written(heavy, size, place):
    class OneSided(NeighborModel):
        def code_distributions(self, tokens):
            weights = np.zeros(size, np.float32)
            weights[0 if place == "first" else -1] = heavy
            rows = np.arange(tokens.shape[1])
            yield 0, rows, rows * 0, weights

    tokens = np.array([0, size - 1, 0, 0, size // 2, size - 1, 0])[None, :, None].repeat(30, 1)
    assert np.array_equal(decode(encode(tokens, OneSided((size,))), tokens.shape, OneSided((size,))), tokens)


def test_likely_codes_take_few_bits_and_a_single_code_none():
    near, far = np.zeros((1, 32, 32), np.int32), random_tokens((40,), 32, 32, 0)
    model = NeighborModel((40,))
    assert len(encode(near, model)) < 0.55 * len(encode(far, model))
    assert encode(np.zeros((2, 8, 8), np.int32), NeighborModel((1, 1))) == b""


def test_decoding_in_steps_counts_the_codes():
    tokens, model = random_tokens((5, 6), 4, 5, 0), NeighborModel((5, 6))
    counts = list(iter_decode(encode(tokens, model), tokens.shape, model))
    assert sum(counts) == tokens.size and len(counts) == 2 * 4 * 3


# The same on every machine --------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60_000), min_size=2, max_size=200).filter(any))
@example([43, 0])  # constriction's own conversion leaves nothing for the last symbol
@example([PARTS, 0])
@example([1, PARTS - 1])
@settings(deadline=None)
def test_every_code_owns_its_frequency_plus_one(weights):
    parts = fixed_point(np.array(weights, np.float32))
    room = PARTS - len(weights)
    assert parts.dtype == np.float32 and int(parts.astype(np.int64).sum()) == room
    assert np.float32(room) / np.cumsum(parts, dtype=np.float32)[-1] == 1  # the factor in constriction's conversion
    for given_, part in zip(weights, parts.astype(int).tolist(), strict=True):
        exact = Fraction(given_ * room, sum(weights))
        assert exact - 1 < part or part == parts.max()
        assert part < exact + len(weights)


def test_the_coder_spends_exactly_these_parts():
    weights = fixed_point(np.array([5, 0, 100, 7, 1, 0], np.float32))
    edges = np.concatenate([[0], np.cumsum(weights.astype(np.int64) + 1)])
    assert edges[-1] == PARTS
    table, family = stream.model.Categorical(weights, perfect=False), stream.model.Categorical(perfect=False)
    for symbol in range(6):
        for quantile in (edges[symbol], edges[symbol + 1] - 1):  # of a fresh decoder: its first 24 bits
            word = np.array([quantile << 8, 2**31], np.uint32)
            assert stream.queue.RangeDecoder(word).decode(table, 1)[0] == symbol
            assert stream.queue.RangeDecoder(word).decode(family, weights[None])[0] == symbol


def test_the_static_model_has_whole_frequencies_and_a_fingerprint():
    config = TokenizerConfig.load(PRETRAINED)
    statistics = Statistics.of_artifact(PRETRAINED, config)
    model = StaticModel(statistics)
    for weights, counts in zip(model.frequencies, statistics.counts, strict=True):
        assert weights.dtype == np.float32 and np.array_equal(weights, np.floor(weights))
        assert weights.min() >= 1 and weights.astype(np.int64).sum() <= PARTS
        assert (np.diff(weights[np.argsort(counts, kind="stable")]) >= 0).all()
    fewer = tuple(counts // 2 for counts in statistics.counts)
    assert len(model.fingerprint) == 16 and int(model.fingerprint, 16) >= 0
    assert StaticModel(statistics).fingerprint == model.fingerprint != StaticModel(Statistics(fewer)).fingerprint


@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [2**32 - 1] * 5, [2**32 - 1, 0, 0], list(range(9000))])
def test_any_counts_make_a_model(counts):
    (weights,) = StaticModel(Statistics((np.array(counts, np.uint32),))).frequencies
    assert weights.min() >= 1 and weights.astype(np.int64).sum() <= PARTS


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-1, 5, 2**20])
def test_a_code_outside_the_model_is_refused(code):
    tokens = np.full((1, 1, 2), code)
    with pytest.raises(
        ValueError, match=rf"level 0 span {code} to {code}; accepted: 0 to 4, the codes of the code model"
    ):
        encode(tokens, NeighborModel((5,)))


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_payload_gives_codes_in_range_or_one_clear_error(payload):
    try:
        tokens = decode(payload, (2, 3, 4), NeighborModel((5, 40)))
    except ValueError as error:
        assert "its payload" in str(error) and "\n" not in str(error)
    else:
        assert tokens.min() >= 0 and tokens[0].max() < 5 and tokens[1].max() < 40


def test_a_payload_that_is_too_long_is_refused():
    tokens, model = random_tokens((40, 40), 4, 5, 0), NeighborModel((40, 40))
    for more in (b"\1\2\3\4" * 3, b"\0" * 12):
        with pytest.raises(ValueError, match="continues after the last of 40 codes"):
            decode(encode(tokens, model) + more, tokens.shape, model)
    with pytest.raises(ValueError, match="accepted: a multiple of 4"):
        decode(encode(tokens, model) + b"\1", tokens.shape, model)
