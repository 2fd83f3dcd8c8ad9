"""Sampling: seeds, what is kept, what is cut off, guidance, and how it says no. On a model of a few lines of numpy."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cst.tokenizer.protocol import Level
from prior.decode_state import order_by_map, order_by_patch
from prior.protocol import LevelSettings, SampleRequest, Settings, Step
from prior.sampling import filter_probabilities, log_prob, sample, sample_categorical, score_tokens

SIZES = (5, 7, 11)
GRID = (3, 4)
SHAPE = (3, *GRID)


NAMES = ("color", "shape", "texture")


def order_by_level(fixed: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Level by level and token by token."""
    order = []
    for name, known in fixed.items():
        unknown = np.flatnonzero(~known.all(0).ravel())
        order += [(name, np.array([position])) for position in range(unknown[-1] + 1 if len(unknown) else 0)]
    return order


class Toy:
    """A prior whose every distribution depends on all that comes before, the place and the class."""

    levels = tuple(Level(name, size) for name, size in zip(NAMES, SIZES, strict=True))
    grid, sketch_grid, classes = GRID, GRID, ("a", "b")
    guided = ("color",)

    def __init__(self, order: Callable = order_by_level):
        self.decoding_order, self.predicted, self.batches = order, [], []  # batches: (level, pictures) of each call
        self.turn = np.empty((len(SIZES), GRID[0] * GRID[1]), int)  # of every token
        for turn, (name, (position,)) in enumerate(order(self.prepare(*nothing(1), None)[1])):
            self.turn[NAMES.index(name), position] = turn

    def prepare(self, known: np.ndarray, mask: np.ndarray, sketch: np.ndarray | None) -> tuple[dict, dict]:
        maps = dict(zip(NAMES, np.where(mask, known, 0).astype(np.int32).swapaxes(0, 1), strict=True))
        return maps, dict(zip(NAMES, mask.copy().swapaxes(0, 1), strict=True))

    def new_state(self) -> "Toy":
        return self

    def predict(self, name: str, positions: np.ndarray, maps: dict[str, np.ndarray], label: np.ndarray) -> np.ndarray:
        level, (position,) = NAMES.index(name), positions.tolist()
        tokens = np.stack([maps[each] for each in NAMES], 1)
        assert (tokens.dtype, label.dtype) == (np.int32, np.int64)
        self.predicted.append((level, position))
        self.batches.append((level, len(tokens)))
        before = (self.turn < self.turn[level, position]).ravel()
        weights = np.random.default_rng([level, position]).normal(size=(tokens[0].size + 3, SIZES[level]))
        given = np.concatenate([tokens.reshape(len(tokens), -1) * before / 5, np.eye(3)[label]], 1)
        scores = given @ weights
        return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)[:, None]


def nothing(batch: int) -> tuple[np.ndarray, np.ndarray]:
    known = np.zeros((batch, *SHAPE), np.int32)
    return known, known > 0


def run(
    toy: Toy,
    batch: int = 2,
    *,
    label: list[int] | None = None,
    seed: int = 0,
    known: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    color_bias: np.ndarray | None = None,
    **wanted: object,
) -> list[Step]:
    """All steps of a sampling."""
    known = np.zeros((batch, *SHAPE), np.int32) if known is None else known
    mask = np.zeros((batch, *SHAPE), bool) if mask is None else mask
    label = np.array(label or [0] * batch)
    return list(sample(toy, SampleRequest(known, mask, label, Settings(**wanted), seed, color_bias=color_bias)))


# Seeds and steps ------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_pictures_and_another_one_others():
    first, again, other = (run(Toy(), seed=seed)[-1].tokens for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_a_picture_does_not_depend_on_how_many_are_drawn_with_it():
    many = run(Toy(), 5, label=[0, 1, 2, 0, 1])[-1]
    few = run(Toy(), 2, label=[0, 1])[-1]
    assert np.array_equal(many.tokens[:2], few.tokens)
    assert np.allclose(many.bits[:2], few.bits)


@pytest.mark.parametrize("order", [order_by_level, order_by_patch])
def test_every_step_adds_one_token_and_leaves_the_others(order):
    steps = run(toy := Toy(order))
    assert [step.done for step in steps] == list(range(1, 37))
    assert {step.total for step in steps} == {36}
    assert [NAMES.index(step.name) for step in steps] == [level for level, _ in toy.predicted]
    for before, after in itertools.pairwise(steps):
        assert (after.known & ~before.known).sum() == 2  # one a picture
        assert np.array_equal(after.tokens[before.known], before.tokens[before.known])
        assert (before.tokens[~before.known] == 0).all()
        assert (after.bits >= before.bits).all()
    assert steps[-1].known.all()
    assert steps[-1].tokens.dtype == np.int32


def test_the_orders_go_map_by_map_and_patch_by_patch():
    fixed = {name: np.zeros((1, *GRID), bool) for name in ("color_eighth", *NAMES)}
    by_map = order_by_map(fixed, reach=1)
    assert by_map[:12] == [("color_eighth", np.array([position])) for position in range(12)]
    diagonals = [positions.tolist() for name, positions in by_map if name == "shape"]
    assert diagonals == [[0], [1], [2, 4], [3, 5], [6, 8], [7, 9], [10], [11]]
    by_patch = order_by_patch({name: fixed[name] for name in NAMES})
    assert [(name, int(position)) for name, (position,) in by_patch] == [
        (name, position) for position in range(12) for name in NAMES
    ]


def test_a_diagonal_needs_nothing_that_is_written_with_it_or_later():
    for reach in (1, 2, 3):
        turn = {}
        for time, (_, positions) in enumerate(order_by_map({"shape": np.zeros((1, 7, 9), bool)}, reach)):
            turn |= {divmod(int(position), 9): time for position in positions}
        for row, column in itertools.product(range(7), range(9)):
            for down, right in itertools.product(range(-reach, 1), range(-reach, reach + 1)):
                before = (row + down, column + right)
                if (down, right) < (0, 0) and before in turn:
                    assert turn[before] < turn[row, column]


def test_leaving_early_costs_no_more_and_harms_nothing():
    toy = Toy()
    known = np.zeros((1, *SHAPE), np.int32)
    steps = sample(toy, SampleRequest(known, known > 0, np.array([0]), Settings(), 0))
    first = next(steps)
    steps.close()
    assert len(toy.predicted) == first.done == 1
    assert not known.any()
    assert np.array_equal(run(toy, 1)[0].tokens, first.tokens)


def test_bits_are_those_of_what_was_drawn_by_the_model_itself():
    """Whatever the settings: temperature, cut and guidance change what is drawn, not what it would cost."""
    hot = LevelSettings(temperature=2.0, top_k=4, top_p=0.9, min_p=0.05)
    last = run(Toy(), 3, label=[0, 1, 2], levels=(hot,) * 3, guidance=3.0)[-1]
    found = log_prob(Toy(), last.tokens, np.array([0, 1, 2]))
    assert last.bits == pytest.approx(-found.sum((2, 3)) / np.log(2), rel=1e-5)


def test_drawn_tokens_follow_the_distribution():
    p = np.array([0.5, 0.0, 0.3, 0.2])
    chance = np.random.default_rng(0).random(20_000)
    share = np.bincount(sample_categorical(p[None].repeat(len(chance), 0), chance), minlength=4) / len(chance)
    assert share == pytest.approx(p, abs=0.015)
    assert share[1] == 0
    assert sample_categorical(np.array([[0.0, 1.0, 0.0]] * 2), np.array([0.0, np.nextafter(1, 0)])).tolist() == [1, 1]


# What is known --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [order_by_level, order_by_patch])
@settings(max_examples=20, deadline=None)
@given(share=st.sampled_from([0.1, 0.5, 0.9]), seed=st.integers(0, 99))
def test_known_tokens_are_kept_and_cost_no_bits(order, share, seed):
    rng = np.random.default_rng(seed)
    known = np.stack([rng.integers(size, size=(2, *GRID)) for size in SIZES], 1)
    mask = rng.random(known.shape) < share
    mask[0, 2, 2, 3] = False
    steps = run(Toy(order), known=known, mask=mask, label=[0, 1])
    assert all(np.array_equal(step.tokens[mask], known[mask]) for step in steps)
    last = steps[-1]
    assert last.known.all()
    found = np.where(mask, 0, log_prob(Toy(order), last.tokens, np.array([0, 1])))
    assert last.bits == pytest.approx(-found.sum((2, 3)) / np.log(2), rel=1e-5)


def test_what_is_masked_out_may_hold_anything():
    known = np.full((1, *SHAPE), -7)
    assert np.array_equal(run(Toy(), 1, known=known)[-1].tokens, run(Toy(), 1)[-1].tokens)


def test_what_is_known_does_not_shift_the_chances_of_the_rest():
    """A picture whose known tokens are those the seed would have drawn comes out the same."""
    whole = run(Toy())[-1].tokens
    for level in range(3):
        mask = np.zeros(whole.shape, bool)
        mask[:, level] = True
        assert np.array_equal(run(Toy(), known=whole, mask=mask)[-1].tokens, whole)


@pytest.mark.parametrize("order", [order_by_level, order_by_patch])
def test_a_level_that_is_wholly_known_costs_no_prediction(order):
    mask = np.zeros((2, *SHAPE), bool)
    mask[:, 1] = True
    steps = run(toy := Toy(order), mask=mask)
    assert {level for level, _ in toy.predicted} == {0, 2}
    assert (len(steps), steps[-1].total) == (24, 24)
    assert (steps[-1].bits[:, 1] == 0).all()


def test_where_all_is_known_there_is_one_step_that_holds_it():
    known = np.zeros((1, *SHAPE), np.int32)
    (only,) = run(Toy(), 1, known=known, mask=known == 0)
    assert (only.tokens == known).all() and only.known.all() and (only.done, only.total) == (0, 0)


def test_a_level_is_written_up_to_its_last_unknown_token_alone():
    mask = np.ones((2, *SHAPE), bool)
    mask[0, 1, 1, 2] = mask[1, 1, 0, 3] = mask[1, 2, 0, 0] = False
    fixed = dict(zip(NAMES, mask.swapaxes(0, 1), strict=True))
    assert order_by_level(fixed) == [("shape", position) for position in range(7)] + [("texture", 0)]
    assert order_by_map(fixed, reach=3)[-1][1].tolist() == [0]
    assert order_by_patch(fixed) == [("texture", 0), ("shape", 3), ("shape", 6)]


# What is cut off ------------------------------------------------------------------------------------------------------


def cut(p: list[float], **wanted: float) -> list[float]:
    """`filter_probabilities` of one distribution, given up to a factor."""
    return filter_probabilities(np.log(np.array([p])) + 3, LevelSettings(**wanted))[0].tolist()


def test_temperature_sharpens_and_flattens():
    p = [0.5, 0.3, 0.2]
    assert cut(p) == pytest.approx(p)
    assert cut(p, temperature=0.5) == pytest.approx(np.square(p) / np.square(p).sum())
    assert cut(p, temperature=2) == pytest.approx(np.sqrt(p) / np.sqrt(p).sum())
    assert cut(p, temperature=0.001) == pytest.approx([1, 0, 0])


def test_top_k_keeps_that_many_of_the_most_likely():
    assert cut([0.1, 0.4, 0.2, 0.3], top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert cut([0.1, 0.4, 0.2, 0.3], top_k=1) == pytest.approx([0, 1, 0, 0])
    for everything in (0, 4, 9):
        assert cut([0.1, 0.4, 0.2, 0.3], top_k=everything) == pytest.approx([0.1, 0.4, 0.2, 0.3])


def test_top_p_keeps_the_fewest_that_reach_the_share():
    p = [0.1, 0.4, 0.2, 0.3]
    assert cut(p, top_p=0.39) == pytest.approx([0, 1, 0, 0])
    assert cut(p, top_p=0.41) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert cut(p, top_p=0.71) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    assert cut(p, top_p=1e-9) == pytest.approx([0, 1, 0, 0])
    assert cut(p, top_p=1) == pytest.approx(p)


def test_min_p_keeps_what_is_that_share_of_the_most_likely():
    p = [0.1, 0.4, 0.2, 0.3]
    assert cut(p, min_p=0.51) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert cut(p, min_p=0.49) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    assert cut(p, min_p=0.999) == pytest.approx([0, 1, 0, 0])


def test_the_cuts_apply_one_after_another_temperature_first():
    p = [0.4, 0.3, 0.2, 0.1]
    assert cut(p, top_k=2, top_p=0.6) == pytest.approx([4 / 7, 3 / 7, 0, 0])  # 4/7 alone is less than 0.6
    assert cut(p, top_k=2, top_p=0.55) == pytest.approx([1, 0, 0, 0])
    assert cut(p, temperature=0.5, min_p=0.5) == pytest.approx([16 / 25, 9 / 25, 0, 0])
    assert cut(p, temperature=0.5, min_p=0.6) == pytest.approx([1, 0, 0, 0])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    temperature=st.floats(0.01, 10),
    top_k=st.integers(0, 50),
    top_p=st.floats(1e-6, 1),
    min_p=st.floats(0, 0.999),
)
def test_every_cut_leaves_a_distribution_of_the_most_likely(seed, size, temperature, top_k, top_p, min_p):
    scores = np.random.default_rng(seed).normal(0, 5, (3, size)).astype(np.float32)
    p = filter_probabilities(scores, LevelSettings(temperature, top_k, top_p, min_p))
    assert p.shape == scores.shape
    assert p.sum(1) == pytest.approx(1)
    assert (p[np.arange(3), scores.argmax(1)] == p.max(1)).all()
    for row, kept in zip(scores, p > 0, strict=True):
        if kept.any() and not kept.all() and temperature > 0.5:
            assert row[kept].min() >= row[~kept].max()
        assert kept.sum() <= (top_k or size)


# Guidance -------------------------------------------------------------------------------------------------------------


def test_guidance_1_is_the_model_itself_and_costs_one_prediction():
    plain, guided, nearly = Toy(), Toy(), Toy()
    expected = run(plain)[-1].tokens
    assert np.array_equal(run(guided, guidance=1.0)[-1].tokens, expected)
    assert np.array_equal(run(nearly, guidance=1.0 + 1e-9)[-1].tokens, expected)
    assert set(guided.batches) == {(0, 2), (1, 2), (2, 2)}
    assert set(nearly.batches) == {(0, 4), (1, 2), (2, 2)}  # twice the work, on the first level alone


def test_guidance_0_ignores_the_class_on_the_first_level():
    free = run(Toy(), label=[2, 2])[-1].tokens
    found = run(Toy(), label=[0, 1], guidance=0.0)[-1].tokens
    assert np.array_equal(found[:, 0], free[:, 0])
    assert not np.array_equal(found[:, 1:], free[:, 1:])
    assert not np.array_equal(run(Toy(), label=[0, 1])[-1].tokens[:, 0], free[:, 0])


def test_guidance_makes_what_the_class_makes_likelier_count_for_more():
    def gain(guidance: float) -> float:
        """How much likelier the colors drawn are with their class than without."""
        tokens = run(Toy(), 40, guidance=guidance)[-1].tokens
        own, free = (log_prob(Toy(), tokens, np.full(40, label))[:, 0].sum() for label in (0, 2))
        return own - free

    assert gain(0.0) < gain(1.0) < gain(3.0) < gain(8.0)


@pytest.mark.parametrize("order", [order_by_level, order_by_patch])
def test_finer_levels_are_drawn_by_the_model_itself(order):
    """Given the colors, guidance changes nothing."""
    colors = run(Toy(order), guidance=4.0)[-1].tokens
    mask = np.zeros(colors.shape, bool)
    mask[:, 0] = True
    for guidance in (1.0, 4.0):
        assert np.array_equal(run(Toy(order), known=colors, mask=mask, guidance=guidance)[-1].tokens, colors)


def test_without_a_class_guidance_changes_nothing():
    toy = Toy()
    assert np.array_equal(run(toy, label=[2, 2], guidance=5.0)[-1].tokens, run(Toy(), label=[2, 2])[-1].tokens)
    assert {count for _, count in toy.batches} == {2}  # and costs nothing
    mixed = run(Toy(), label=[0, 2], guidance=5.0)[-1].tokens
    assert np.array_equal(mixed[1], run(Toy(), label=[2, 2])[-1].tokens[1])


# How it says no -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0.0}, r"a temperature of 0\.0; accepted: above 0"),
        ({"temperature": float("nan")}, "a temperature of nan"),
        ({"temperature": 11}, "a temperature of 11"),
        ({"top_k": -1}, "top-k -1; accepted: 0"),
        ({"top_p": 0.0}, r"top-p 0\.0; accepted: above 0"),
        ({"top_p": 1.5}, r"top-p 1\.5"),
        ({"min_p": 1.0}, r"min-p 1\.0"),
        ({"min_p": -0.1}, r"min-p -0\.1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        LevelSettings(**changes)


@pytest.mark.parametrize("guidance", [-1.0, 11.0, float("nan")])
def test_a_guidance_out_of_range_is_refused(guidance):
    with pytest.raises(ValueError, match=f"a guidance of {guidance}; accepted: from 0 to 10"):
        Settings(guidance=guidance)


def test_settings_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().guidance = 3


KNOWN = np.zeros((2, *SHAPE), np.int32)
GOOD = {"known": KNOWN, "mask": np.zeros(KNOWN.shape, bool), "label": np.array([0, 1]), "settings": Settings()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"known": KNOWN[0]}, r"tokens are int32 \(3, 3, 4\); accepted: integers \(B, 3, 3, 4\)"),
        ({"known": KNOWN[:, :, :2]}, r"tokens are int32 \(2, 3, 2, 4\)"),
        ({"known": KNOWN[:0]}, r"tokens are int32 \(0, 3, 3, 4\)"),
        ({"known": KNOWN * 1.0}, r"tokens are float64"),
        ({"mask": KNOWN}, r"the mask is int32 \(2, 3, 3, 4\); accepted: bool \(2, 3, 3, 4\)"),
        ({"mask": KNOWN[:1] > 0}, r"the mask is bool \(1, 3, 3, 4\)"),
        ({"known": KNOWN + 6, "mask": KNOWN == 0}, "color codes span 6 to 6; accepted: 0 to 4"),
        ({"known": KNOWN - 1, "mask": KNOWN == 0}, "color codes span -1 to -1; accepted: 0 to 4"),
        ({"label": np.array([0])}, r"classes are int64 \(1,\); accepted: integers \(2,\)"),
        ({"label": np.array([0.0, 1.0])}, r"classes are float64 \(2,\)"),
        ({"label": np.array([0, 3])}, "classes span 0 to 3; accepted: 0 to 1, or 2 for none"),
        ({"label": np.array([-1, 0])}, "classes span -1 to 0"),
        ({"settings": Settings(levels=(LevelSettings(),))}, "settings for 1 levels; accepted: 3, one per level"),
    ],
)
def test_arguments_that_do_not_fit_the_model_are_refused_before_any_work(changes, said):
    toy, arguments = Toy(), {**GOOD, **changes}
    with pytest.raises(ValueError, match=said):
        next(sample(toy, SampleRequest(**arguments, seed=0)))
    assert not toy.predicted


# A color bias -------------------------------------------------------------------------------------------------


def bias_to(code: int, strength: float) -> np.ndarray:
    bias = np.zeros((*GRID, SIZES[0]), np.float32)
    bias[..., code] = strength
    return bias


def test_a_strong_bias_decides_the_colors_and_nothing_else():
    free, leaning = run(Toy())[-1].tokens, run(Toy(), color_bias=bias_to(3, 50))[-1].tokens
    assert (leaning[:, 0] == 3).all() and not (free[:, 0] == 3).all()
    assert len(np.unique(leaning[:, 1:])) > 1
    assert np.array_equal(run(Toy(), color_bias=bias_to(3, 0))[-1].tokens, free)


def test_a_bias_multiplies_the_model_s_own_probabilities():
    """The color of the first patch, over many seeds: p(c) exp(bias(c)), normalized."""
    own = np.exp(Toy().predict("color", np.array([0]), Toy().prepare(*nothing(1), None)[0], np.array([0]))[0, 0])
    wanted = own * np.exp([0, 0, 1.5, 0, 0])
    known, mask = np.zeros((400, *SHAPE), np.int32), np.ones((400, *SHAPE), bool)
    mask[:, 0, 0, 0] = False
    drawn = run(Toy(), 400, known=known, mask=mask, color_bias=bias_to(2, 1.5))[-1].tokens[:, 0, 0, 0]
    assert np.allclose(np.bincount(drawn, minlength=5) / 400, wanted / wanted.sum(), atol=0.08)


def test_bits_are_the_model_s_own_whatever_the_bias():
    steps = run(Toy(), color_bias=bias_to(3, 50))
    counted = -log_prob(Toy(), steps[-1].tokens, np.array([0, 0]))[:, 0].sum((1, 2)) / np.log(2)
    assert np.allclose(steps[-1].bits[:, 0], counted, rtol=1e-4)


@pytest.mark.parametrize(
    "bias", [np.zeros((3, 4, 6), np.float32), np.zeros((3, 4, 5), int), np.full((3, 4, 5), np.nan), np.zeros(5)]
)
def test_a_bias_that_does_not_fit_is_refused_before_any_work(bias):
    toy = Toy()
    with pytest.raises(ValueError, match=r"the color bias is .* accepted: finite floats \(3, 4, 5\)"):
        run(toy, color_bias=bias)
    assert not toy.predicted


# Scores --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [order_by_level, order_by_patch])
def test_scores_hold_the_most_likely_codes_of_every_place(order):
    tokens, label = run(Toy(order))[-1].tokens, np.array([0, 1])
    found = score_tokens(Toy(order), tokens, label, top=4)
    assert np.array_equal(found.log_prob + found.shared, log_prob(Toy(order), tokens, label))
    assert found.codes.shape == found.p.shape == (2, *SHAPE, 4)
    maps, _ = Toy(order).prepare(tokens, tokens >= 0, None)
    for name, positions in order(Toy(order).prepare(*nothing(2), None)[1]):
        level, (row, column) = NAMES.index(name), divmod(int(positions[0]), GRID[1])
        p = np.exp(Toy(order).predict(name, positions, maps, label))[:, 0]
        likeliest = np.argsort(-p, axis=1)[:, :4]
        assert np.array_equal(found.codes[:, level, row, column], likeliest)
        assert np.allclose(found.p[:, level, row, column], np.take_along_axis(p, likeliest, 1))


@pytest.mark.parametrize("top", [0, 6])
def test_scores_of_more_codes_than_there_are_are_refused(top):
    with pytest.raises(ValueError, match="accepted: 1 to 5"):
        score_tokens(Toy(), np.zeros((1, *SHAPE), np.int32), np.array([0]), top=top)


def test_the_first_map_of_the_layout_is_run_to_its_end():
    """Every token of the second map attends to all of the first, also where the lower part is known."""
    known = {name: np.zeros((1, side, side), bool) for name, side in (("color_eighth", 4), ("color_quarter", 8))}
    for mask in known.values():
        mask[:, mask.shape[1] // 2 :] = True
    order = order_by_map(known, reach=3)
    assert [positions[0] for name, positions in order if name == "color_eighth"] == list(range(16))
    assert [positions[0] for name, positions in order if name == "color_quarter"] == list(range(32))
