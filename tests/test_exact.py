"""Arithmetic that is the same everywhere: exact where it says so, and close to what it stands in for."""

import math

import numpy as np
import pytest

from prior.config import PRESETS, PRETRAINED, PriorConfig
from prior.exact import ACTIVATION, WEIGHT, Linear, exp, fixed, rms_norm, shares, sigmoid, silu, tanh, weights
from prior.exact_gpt import TURN, turns

SHAPES = [(5, 3), (64, 48), (256, 768), (300, 7)]


def some(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, shape)


def by_python(x: np.ndarray, weight: np.ndarray, limit: int) -> list[list[int]]:
    """The product in fixed point, by Python's integers, which know no rounding."""

    def whole(value: float, places: int, limit: int) -> int:
        return max(-limit, min(limit, round(float(value) * 2**places)))

    rows = [[whole(value, ACTIVATION, limit) for value in row] for row in x]
    columns = [[whole(value, WEIGHT, 2**52) for value in column] for column in weight.T]
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in rows]


# Products -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e9])
@pytest.mark.parametrize("many", [False, True])
def test_a_product_is_what_whole_numbers_say(many, scale):
    """Also where activations are too large to be exact, and so stay at the limit."""
    weight, x = some(64, 8), some(3, 64, seed=1, scale=scale)
    linear = Linear(weight, many=many)
    wanted = by_python(x, weight, linear.limit)
    assert max(abs(value) for row in wanted for value in row) < 2**53
    assert [[int(value) for value in row] for row in linear(x) * 2.0 ** (ACTIVATION + WEIGHT)] == wanted


def test_no_sum_of_a_product_can_leave_what_is_exact():
    for seed, shape in enumerate(SHAPES):
        linear = Linear(some(*shape, seed=seed, scale=100.0))
        most = np.abs(linear.slices).swapaxes(0, 1).reshape(shape[0], -1)
        sums = [sum(int(value) for value in column) * linear.limit for column in most.T]
        assert 2**50 < max(sums) < 2**53
    assert Linear(np.zeros((3, 2))).limit > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_order_of_the_summands_does_not_matter(shape):
    weight, x = some(*shape), some(5, shape[0], seed=1)
    order = np.random.default_rng(2).permutation(shape[0])
    assert np.array_equal(Linear(weight)(x), Linear(weight[order])(x[:, order]))


@pytest.mark.parametrize("shape", SHAPES)
def test_neither_does_how_the_numbers_lie_in_memory(shape):
    weight, x = some(*shape), some(5, shape[0], seed=1)
    wanted = Linear(weight)(x)
    assert np.array_equal(Linear(np.asfortranarray(weight))(np.asfortranarray(x)), wanted)
    assert np.array_equal(Linear(weight, many=True)(x), wanted)
    assert np.array_equal(Linear(weight)(np.repeat(x, 2, 0)[::2]), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_the_same_alone_as_among_others(shape):
    linear, x = Linear(some(*shape), some(shape[1], seed=3)), some(7, shape[0], seed=1)
    together = linear(x)
    assert all(np.array_equal(linear(x[row : row + 1])[0], together[row]) for row in range(7))
    assert np.array_equal(linear(x.reshape(1, 7, -1))[0], together)


def test_a_product_is_close_to_the_one_in_floating_point():
    weight, bias, x = some(256, 96, scale=0.05), some(96, seed=1), some(4, 256, seed=2)
    assert np.abs(Linear(weight, bias)(x) - (x @ weight + bias)).max() < 2e-4


# Functions ------------------------------------------------------------------------------------------------------------


def test_exp_is_close_to_that_of_numpy_and_never_falls():
    x = np.concatenate([np.linspace(-700, 700, 200_001), np.linspace(-2, 2, 100_001), some(1000)])
    assert np.abs(exp(x) / np.exp(x) - 1).max() < 1e-10
    assert (np.diff(exp(np.linspace(-30, 30, 100_001))) > 0).all()
    assert exp(np.array([0.0])) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(sigmoid, lambda x: 1 / (1 + np.exp(-x))), (tanh, np.tanh), (silu, lambda x: x / (1 + np.exp(-x)))],
)
def test_the_gates_are_close_to_those_of_numpy_and_never_fall(ours, theirs):
    x = np.linspace(-30, 30, 60_001)
    assert np.abs(ours(x) - theirs(x)).max() < 1e-9
    assert (np.diff(ours(x[x >= 0])) > -1e-12).all()


def test_the_functions_end_where_they_should():
    ends = np.array([-np.inf, -1000.0, 0.0, 1000.0])
    assert sigmoid(ends) == pytest.approx([0, 0, 0.5, 1], abs=1e-300)
    assert tanh(ends).tolist() == [-1, -1, 0, 1]
    found = exp(ends)
    assert 0 < found[0] == found[1] < 1e-300 and found[2] == 1 and 1e300 < found[3] < np.inf
    assert silu(ends[1:]) == pytest.approx([0, 0, 1000], abs=1e-290)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_norm_is_close_to_the_one_in_floating_point_whatever_the_order(scale):
    x, gain = some(5, 256, scale=scale), some(256, seed=1)
    found = rms_norm(x, gain, 1e-6)
    assert found == pytest.approx(x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain, rel=1e-9)
    order = np.random.default_rng(2).permutation(256)
    assert np.array_equal(rms_norm(x[:, order], gain[order], 1e-6), found[:, order])
    assert np.array_equal(rms_norm(x[2:3], gain, 1e-6), found[2:3])
    assert (rms_norm(np.zeros((1, 8)), np.ones(8), 1e-6) == 0).all()


def test_shares_are_a_softmax_in_whole_numbers():
    scores = some(4, 300, scale=3)
    scores[0, 7] = -np.inf
    found = shares(scores, 20)
    assert np.array_equal(found, np.rint(found)) and (found.max(-1) == 2**20).all()
    assert found[0, 7] == 0
    wanted = np.exp(scores - scores.max(-1, keepdims=True))
    assert np.abs(found / 2**20 - wanted).max() < 2**-20


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("size", [1, 2, 512, 8192])
def test_weights_are_whole_and_in_proportion_and_fit(size, spread):
    scores = some(6, size, scale=spread)
    found = weights(scores, 2**24)
    assert (found.dtype, found.shape) == (np.float32, scores.shape)
    assert np.array_equal(found, np.rint(found)) and found.min() >= 1
    total = found.sum(-1, dtype=np.float64)
    assert (total <= 2**24).all() and (total > 2**24 - 2 * size).all()
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    assert np.abs(found / 2**24 - p).max() < 2e-3 * p.max() + 2**-23
    assert np.array_equal(weights(scores[1:2], 2**24), found[1:2])


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_no_cosine_is_so_near_a_rounding_boundary_that_a_library_could_move_it(preset):
    """Cosines and powers are the library's; within 1e-9 of the last place kept, no two would ever disagree."""
    model = PRESETS[preset]
    found = turns(model.width // model.heads, PriorConfig.load(PRETRAINED / "gpt").grid) * 2.0**TURN
    assert np.abs(found - np.floor(found) - 0.5).min() > 1e-7
    assert np.array_equal(fixed(found + 5e-8, 0), fixed(found, 0))


def test_positions_turn_as_the_network_was_trained():
    import torch

    from prior.gpt import GridRotary

    theirs = GridRotary(32, 5)(torch.zeros(1), torch.arange(20)[None])
    assert np.abs(turns(32, (4, 5)) - np.stack([part[0].numpy() for part in theirs])).max() < 1e-5
    assert math.isclose(turns(32, (4, 5))[0, 6, 0], math.cos(1))
