"""What the Look inside tab shows is true: codes, probabilities, bits, and where each code lies on its sheet."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import make_photo

from cst import CST, metrics
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from prior.config import LEVEL_OF
from prior.sampler import Sampler
from space.color import ramp
from space.generation.request import ANY
from space.tabs.inside import bit_maps as surprise
from space.tabs.inside import codebook_sheet as atlas
from space.tabs.inside import codebook_tiles
from space.tabs.inside import patch_card as patch
from space.tabs.inside import tab as inside
from space.tabs.inside.analysis import Look, expect, statistics_of, take_apart
from space.tabs.inside.codebook_layout import EMPTY, arranged, by_hue, by_likeness, oklab
from space.tabs.inside.codebook_tiles import contrast, tiles


@pytest.fixture(scope="module")
def cst(artifact: Path) -> CST:
    return CST.from_pretrained(artifact, target="cpu")


@pytest.fixture(scope="module")
def codebooks(cst: CST) -> Codebooks:
    return cst.tokenizer.codebooks


@pytest.fixture
def sampler(prior_folder: Path, cst: CST) -> Sampler:
    return Sampler.from_pretrained(folder=prior_folder, tokenizer=cst.tokenizer)


@pytest.fixture
def look(cst: CST, sampler: Sampler) -> Look:
    return expect(take_apart(cst, sampler, make_photo(3, 80, 60)), sampler, "daisy")


@pytest.fixture(scope="module")
def statistics(codebooks: Codebooks) -> Statistics:
    """Code k of every level was seen k times."""
    return Statistics(tuple(np.arange(level.size, dtype=np.uint32) for level in codebooks.levels))


# What the model expected ----------------------------------------------------------------------------------------------


def test_the_likeliest_codes_and_the_bits_are_the_priors_own(look: Look, sampler: Sampler, codebooks: Codebooks):
    tokens, label = look.tokens[None], np.array([sampler.label("daisy")])
    state = sampler.prior.new_state()
    maps, fixed = sampler.prior.prepare(tokens, tokens >= 0, None)
    order = sampler.prior.decoding_order({name: ~known for name, known in fixed.items()})
    found = [
        (LEVEL_OF[name], *divmod(int(position), look.tokens.shape[2]), scores)
        for name, positions in order
        for position, scores in zip(positions, state.predict(name, positions, maps, label)[0], strict=True)
        if name in ("shape", "texture")  # a color's bits also hold its share of the coarse colors'
    ]
    for level, row, column, scores in found:
        said = patch.numbers(look, column, row, None, codebooks)["levels"][codebooks.levels[level].name]
        assert said["code"] == tokens[0, level, row, column]
        assert said["bits"] == pytest.approx(-scores[said["code"]] / math.log(2), rel=1e-3)
        p = np.exp(scores.astype(np.float64))
        listed = [each["probability"] for each in said["likeliest"]]
        assert listed == pytest.approx(np.sort(p)[::-1][:5], rel=1e-3)
        assert [p[each["code"]] for each in said["likeliest"]] == pytest.approx(listed, rel=1e-3)
        codes = [each["code"] for each in said["likeliest"]]
        assert said["rank"] == (codes.index(said["code"]) + 1 if said["code"] in codes else None)


def test_the_bits_of_the_maps_are_those_of_the_prior(look: Look, sampler: Sampler, codebooks: Codebooks):
    log_prob = sampler.prior.log_prob(look.tokens[None], np.array([sampler.label("daisy")]))
    assert surprise.bits(look).sum() == pytest.approx(-log_prob.sum() / math.log(2), rel=1e-4)
    numbers = surprise.measure(look, codebooks.levels, None)
    bits = sum(numbers.expected_bits.values()) * look.tokens[0].size
    assert bits == pytest.approx(-log_prob.sum() / math.log(2), rel=1e-3)


def test_the_probabilities_shown_never_pass_one(look: Look, codebooks: Codebooks):
    html = patch.expectations(look, 1, 2, codebooks)
    lists = re.findall(r"<ol.*?</ol>", html)
    assert len(lists) == 3
    for found in lists:
        shown = [float(value) for value in re.findall(r"([\d.]+)%</span>", found)]
        assert 5 <= len(shown) <= 6 and sum(shown) <= 100
        assert found.count('"true') == 1


def test_a_probability_is_rounded_down():
    assert [patch.percent(p) for p in (1, 0.349, 0.0559, 0.00129, 0.00001)] == [
        "100%", "34%", "5.5%", "0.12%", "&lt; 0.01%"
    ]  # fmt: skip


def test_the_kind_of_flower_counts_and_an_unknown_one_is_refused(look: Look, sampler: Sampler):
    free = expect(look, sampler, ANY)
    assert look.kind == "daisy" and free.kind == ANY
    assert not np.array_equal(free.expected.log_prob, look.expected.log_prob)
    with pytest.raises(ValueError, match="did you mean daisy"):
        expect(look, sampler, "daisies")


# Maps and bits --------------------------------------------------------------------------------------------------------


def test_a_map_is_dark_at_none_and_brightest_from_the_top_of_its_scale():
    picture = np.asarray(surprise.heat(np.array([[0.0, 5.0], [9.0, 30.0]]), 9))
    side = surprise.cell_side(2)
    corners = picture[side // 2 :: side, side // 2 :: side]
    assert np.array_equal(corners[0, 0], ramp()[0])
    assert np.array_equal(corners[1, 0], ramp()[255]) and np.array_equal(corners[1, 1], ramp()[255])
    assert picture.shape == (2 * side, 2 * side, 3)
    assert ramp()[0].sum() < corners[0, 1].sum() < ramp()[255].sum()


def test_the_table_counts_what_each_way_to_store_takes(look: Look, codebooks: Codebooks, statistics: Statistics):
    numbers = surprise.measure(look, codebooks.levels, statistics)
    assert numbers.fixed_bits == {"color": 4, "shape": 5, "texture": 6}
    shares = [np.maximum(codes, 1) / counts.sum() for codes, counts in zip(look.tokens, statistics.counts, strict=True)]
    assert list(numbers.static_bits.values()) == pytest.approx([-np.log2(share).mean() for share in shares], rel=1e-4)
    table = surprise.table(numbers)
    assert f"<td>{15 * look.tokens[0].size // 8}</td>" in table and f"Expected by {look.model}" in table
    for name, size in numbers.bytes.items():
        assert numbers.file_psnr_db[name] >= numbers.psnr_db and f"<td>{size:,}</td>" in table


def test_without_a_prior_and_statistics_the_table_leaves_them_out(cst: CST):
    look = take_apart(cst, None, make_photo(3, 80, 60))
    numbers = surprise.measure(look, cst.tokenizer.levels, None)
    assert (numbers.model, numbers.expected_bits, numbers.static_bits) == (None, None, None)
    table = surprise.table(numbers)
    assert "Expected by" not in table and "Common codes" not in table and "Fixed length" in table


# One patch ------------------------------------------------------------------------------------------------------------


def test_a_place_is_counted_from_one_and_refused_outside(look: Look):
    most = look.tokens.shape[1]
    assert look.place(1, 4) == (0, 3)
    beyond = ((most + 1, 1, "column"), (1, most + 1, "row"))
    for column, row, name in ((0, 1, "column"), *beyond, (1, None, "row"), (1.5, 1, "column")):
        with pytest.raises(ValueError, match=f"the {name} .*accepted: a whole number from 1 to {most}"):
            look.place(column, row)


def test_a_press_on_a_photo_that_is_no_longer_kept_asks_for_it_again(codebooks: Codebooks):
    assert inside.chooser(codebooks, None)(None, 1, 1) == (inside.FORGOTTEN, "")


def test_the_card_says_how_common_codes_are_or_why_not(look: Look, codebooks: Codebooks, statistics: Statistics):
    code = look.tokens[2, 0, 1]
    total = statistics.counts[2].sum()
    said = patch.numbers(look, 1, 0, statistics, codebooks)["levels"]["texture"]
    assert said["one_in"] == (pytest.approx(total / code) if code else None)
    assert patch.common(statistics, 2, 63) == "1 in 32 patches" and patch.common(statistics, 2, 0) == "in no patch"
    assert patch.UNCOUNTED not in patch.card(look, 1, 0, statistics, codebooks)
    without = patch.card(look, 1, 0, None, codebooks)
    assert patch.UNCOUNTED in without and "1 in" not in without


def test_large_numbers_are_told_with_two_digits():
    assert [codebook_tiles.rounded(value) for value in (1.234, 12.34, 240.4, 98_765)] == ["1.2", "12", "240", "99,000"]


def test_entries_are_drawn_around_gray_and_colors_as_they_are(codebooks: Codebooks):
    assert np.array_equal(tiles(codebooks, 0)[:, 0, 0], np.round(codebooks.color * 255).astype(np.uint8))
    for level in (1, 2):
        table = codebooks.tables[level].reshape(-1, 3, 8, 8).transpose(0, 2, 3, 1)
        drawn = tiles(codebooks, level) / 255 - 0.5
        raised = table * contrast(codebooks, level)[:, None, None, None]
        assert np.abs(drawn - np.clip(raised, -0.5, 0.5)).max() < 0.003
        faint, strong = np.argsort(np.abs(codebooks.tables[level]).max(1))[[0, -1]]
        assert contrast(codebooks, level)[faint] > contrast(codebooks, level)[strong]


def test_a_tokenizer_without_statistics_has_none(cst: CST):
    assert statistics_of(cst) is None


# The sheets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_code_lies_on_its_sheet_once_where_it_is_drawn(codebooks: Codebooks, level: int):
    codes = arranged(codebooks, level)
    assert sorted(codes[codes != EMPTY]) == list(range(codebooks.levels[level].size))
    counts = np.zeros(codebooks.levels[level].size, int)
    counts[3] = 1
    enlarge = atlas.enlargement(codebooks, level)
    lit = np.asarray(atlas.sheet(codebooks, level, counts))
    side = 9 * enlarge
    for (row, column), code in np.ndenumerate(codes):
        at = atlas.code_at(codebooks, level, column * side + side / 2, row * side + side / 2)
        drawn = lit[
            row * side : row * side + 8 * enlarge : enlarge, column * side : column * side + 8 * enlarge : enlarge
        ]
        if code == EMPTY:
            assert at is None and not drawn[..., 3].any()
            continue
        assert at == code and np.array_equal(drawn[..., :3], tiles(codebooks, level)[code])
        assert (drawn[..., 3] == (255 if code == 3 else atlas.DIM)).all()
    whole = np.asarray(atlas.sheet(codebooks, level, None))
    assert set(np.unique(whole[..., 3])) <= {0, 255}
    assert atlas.code_at(codebooks, level, lit.shape[1] + 5, 0) is None


@pytest.mark.parametrize("count", [1, 2, 33, 120])
def test_likeness_keeps_every_code_and_brings_alike_ones_together(count: int):
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    x -= x.mean(0)
    columns = math.ceil(math.sqrt(2 * count))
    sheet = by_likeness(x, math.ceil(count / columns), columns)
    assert sorted(sheet[sheet != EMPTY]) == list(range(count))
    assert np.array_equal(sheet, by_likeness(x, math.ceil(count / columns), columns))
    if count == 120:
        near = np.linalg.norm(x[sheet[:-1, 1:]] - x[sheet[:-1, :-1]], axis=-1).mean()
        by_chance = np.linalg.norm(x[1:] - x[:-1], axis=-1).mean()
        assert near < 0.7 * by_chance


def test_colors_go_from_gray_through_all_hues_each_column_light_to_dark():
    gray = np.repeat(np.linspace(0, 1, 8)[:, None], 3, axis=1)
    hues = [
        np.array(rgb) * light
        for rgb in ([1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1])
        for light in np.linspace(0.4, 1, 8)
    ]
    colors = np.concatenate([hues, gray])
    sheet = by_hue(colors)
    lightness = oklab(colors)[:, 0]
    first = sheet[:, 0][sheet[:, 0] != EMPTY]
    assert (first >= len(hues)).all()
    for column in sheet.T:
        found = lightness[column[column != EMPTY]]
        assert (np.diff(found) <= 0).all()
    assert oklab(np.array([[1.0, 1, 1], [0, 0, 0]])) == pytest.approx(np.array([[1, 0, 0], [0, 0, 0]]), abs=1e-3)


def test_usage_is_counted_from_the_photos_own_codes(cst: CST):
    photo = make_photo(5, 96, 64)
    tokens = cst.encode(photo).codes
    for index, (counts, level) in enumerate(zip(atlas.count(cst, photo), cst.tokenizer.levels, strict=True)):
        usage = atlas.measure(level.name, counts)
        assert usage.patches == 12 * 8 and usage.used == len(np.unique(tokens[index]))
        assert usage.perplexity == pytest.approx(metrics.usage(counts)[1], abs=0.01)
        assert f"{usage.used:,} of {level.size:,}" in atlas.describe(usage, counts, "your photo")


def test_a_histogram_falls_from_left_to_right_and_of_nothing_is_flat():
    counts = np.array([1, 0, 50, 7, 7, 0, 900])
    path = re.search(r'd="([^"]+)"', atlas.histogram(counts, "shape")).group(1)
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", path)]
    assert heights[:-1] == sorted(heights[:-1])
    assert "900 times" in atlas.histogram(counts, "shape")
    assert "nan" not in atlas.histogram(np.zeros(4, int), "shape")


def test_a_tile_tells_how_often_it_occurs(codebooks: Codebooks, statistics: Statistics):
    counts = np.zeros(64, int)
    counts[7] = 3
    told = atlas.tell(codebooks, 2, 7, statistics, counts)
    assert "texture 7" in told and "1 in 290 patches of training photos" in told and "3 in your photo" in told
    assert "none in your photo" in atlas.tell(codebooks, 2, 8, None, counts)


def test_a_look_paints_what_the_tokenizer_paints(look: Look, cst: CST):
    side = look.tokens.shape[1]
    assert look.square.shape == look.painted.shape == (8 * side, 8 * side, 3)
    painted = cst.tokenizer.decode(look.tokens[None])[0].transpose(1, 2, 0)
    assert np.abs(look.painted / 255 - painted).max() < 0.005
    assert surprise.enlarged(replace(look, expected=None)).size == (512, 512)
    assert isinstance(surprise.enlarged(look), Image.Image)
