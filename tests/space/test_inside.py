"""What the Look inside tab shows is true: codes, probabilities, bits, and where each code lies on its sheet."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from support.photos import make_photo

from cst import CST, metrics
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from prior import sampling
from prior.config import FULL, LEVEL_OF
from prior.sampler import Sampler
from space.color import oklab, ramp
from space.generation.request import ANY
from space.models import Models
from space.tabs.inside import bit_maps, codebook_sheet, patch_card
from space.tabs.inside.analysis import Analysis, encode_square, predict, statistics_of
from space.tabs.inside.codebook_layout import EMPTY, angle_and_fineness, code_layout, fill_columns, hue_and_darkness
from space.tabs.inside.codebook_tiles import contrast, frequency_text, tiles, two_digits
from space.tabs.inside.tab import FORGOTTEN, InsideTab


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
def look(cst: CST, sampler: Sampler) -> Analysis:
    return predict(encode_square(cst, sampler, make_photo(3, 80, 60)), sampler, "daisy")


@pytest.fixture(scope="module")
def statistics(codebooks: Codebooks) -> Statistics:
    """Code k of every level was seen k times."""
    return Statistics(tuple(np.arange(level.size, dtype=np.uint32) for level in codebooks.levels))


# What the model expected ----------------------------------------------------------------------------------------------


def test_the_likeliest_codes_and_the_bits_are_the_priors_own(look: Analysis, sampler: Sampler, codebooks: Codebooks):
    tokens, label = look.tokens[None], np.array([sampler.label("daisy")])
    state = sampler.prior.new_state()
    maps, fixed = sampler.prior.prepare(tokens, tokens >= 0, None)
    order = sampler.prior.decoding_order({name: ~known for name, known in fixed.items()})
    found = [
        (LEVEL_OF[name], *divmod(int(position), look.tokens.shape[2]), scores)
        for name, positions in order
        for position, scores in zip(positions, state.predict(name, positions, maps, label)[0], strict=True)
        if name in FULL
    ]
    for level, row, column, scores in found:
        said = patch_card.patch_numbers(look, column, row, None, codebooks)["levels"][codebooks.levels[level].name]
        assert said["code"] == tokens[0, level, row, column]
        assert said["bits"] == pytest.approx(-scores[said["code"]] / math.log(2), rel=1e-3)
        p = np.exp(scores.astype(np.float64))
        listed = [each["probability"] for each in said["likeliest"]]
        assert listed == pytest.approx(np.sort(p)[::-1][:5], rel=1e-3)
        assert [p[each["code"]] for each in said["likeliest"]] == pytest.approx(listed, rel=1e-3)
        codes = [each["code"] for each in said["likeliest"]]
        assert said["rank"] == (codes.index(said["code"]) + 1 if said["code"] in codes else None)


def test_the_bits_of_the_maps_are_those_of_the_prior(look: Analysis, sampler: Sampler, codebooks: Codebooks):
    log_prob = sampling.log_prob(sampler.prior, look.tokens[None], np.array([sampler.label("daisy")]))
    assert bit_maps.code_bits(look.scores).sum() == pytest.approx(-log_prob.sum() / math.log(2), rel=1e-4)
    numbers = bit_maps.measure_bits(look, codebooks.levels, None)
    bits = sum(numbers.expected_bits.values()) * look.tokens[0].size
    assert bits == pytest.approx(-log_prob.sum() / math.log(2), rel=1e-3)


def test_the_probabilities_shown_never_pass_one(look: Analysis, codebooks: Codebooks):
    html = patch_card.predictions(look, 1, 2, codebooks)
    lists = re.findall(r"<ol.*?</ol>", html)
    assert len(lists) == 3
    for found in lists:
        shown = [float(value) for value in re.findall(r"([\d.]+)%</span>", found)]
        assert 5 <= len(shown) <= 6 and sum(shown) <= 100
        assert found.count('"true') == 1


def test_a_probability_is_rounded_down():
    assert [patch_card.percent(p) for p in (1, 0.349, 0.0559, 0.00129, 0.00001)] == [
        "100%", "34%", "5.5%", "0.12%", "&lt; 0.01%"
    ]  # fmt: skip


def test_the_kind_of_flower_counts_and_an_unknown_one_is_refused(look: Analysis, sampler: Sampler):
    free = predict(look, sampler, ANY)
    assert look.kind == "daisy" and free.kind == ANY
    assert not np.array_equal(free.scores.log_prob, look.scores.log_prob)
    with pytest.raises(ValueError, match="did you mean daisy"):
        predict(look, sampler, "daisies")


# Maps and bits --------------------------------------------------------------------------------------------------------


def test_a_map_is_dark_at_none_and_brightest_from_the_top_of_its_scale():
    picture = np.asarray(bit_maps.draw_map(np.array([[0.0, 5.0], [9.0, 30.0]]), 9))
    side = bit_maps.cell_size(2)
    corners = picture[side // 2 :: side, side // 2 :: side]
    assert np.array_equal(corners[0, 0], ramp()[0])
    assert np.array_equal(corners[1, 0], ramp()[255]) and np.array_equal(corners[1, 1], ramp()[255])
    assert picture.shape == (2 * side, 2 * side, 3)
    assert ramp()[0].sum() < corners[0, 1].sum() < ramp()[255].sum()


def test_the_table_counts_what_each_way_to_store_takes(look: Analysis, codebooks: Codebooks, statistics: Statistics):
    numbers = bit_maps.measure_bits(look, codebooks.levels, statistics)
    assert numbers.fixed_bits == {"color": 4, "shape": 5, "texture": 6}
    shares = [np.maximum(codes, 1) / counts.sum() for codes, counts in zip(look.tokens, statistics.counts, strict=True)]
    assert list(numbers.static_bits.values()) == pytest.approx([-np.log2(share).mean() for share in shares], rel=1e-4)
    table = bit_maps.bit_table(numbers)
    assert f"<td>{15 * look.tokens[0].size // 8}</td>" in table and f"Predicted by {look.model}" in table
    for name, size in numbers.bytes.items():
        assert numbers.file_psnr_db[name] >= numbers.psnr_db and f"<td>{size:,}</td>" in table


def test_without_a_prior_and_statistics_the_table_leaves_them_out(cst: CST):
    look = encode_square(cst, None, make_photo(3, 80, 60))
    numbers = bit_maps.measure_bits(look, cst.tokenizer.levels, None)
    assert (numbers.model, numbers.expected_bits, numbers.static_bits) == (None, None, None)
    table = bit_maps.bit_table(numbers)
    assert "Predicted by" not in table and "Common codes" not in table and "Fixed length" in table


# One patch ------------------------------------------------------------------------------------------------------------


def test_a_place_is_counted_from_one_and_refused_outside(look: Analysis):
    most = look.tokens.shape[1]
    assert look.place(1, 4) == (0, 3)
    beyond = ((most + 1, 1, "column"), (1, most + 1, "row"))
    for column, row, name in ((0, 1, "column"), *beyond, (1, None, "row"), (1.5, 1, "column")):
        with pytest.raises(ValueError, match=f"the {name} .*accepted: a whole number from 1 to {most}"):
            look.place(column, row)


def test_a_click_on_a_photo_that_is_no_longer_kept_asks_for_it_again(artifact: Path, lay_out: Callable):
    inside = lay_out(lambda: InsideTab(Models(artifact), gr.Tab()))
    assert inside.show_patch(None, 1, 1) == {inside.card: FORGOTTEN, inside.predictions: ""}


def test_the_card_says_how_common_codes_are_or_why_not(look: Analysis, codebooks: Codebooks, statistics: Statistics):
    code = look.tokens[2, 0, 1]
    total = statistics.counts[2].sum()
    said = patch_card.patch_numbers(look, 1, 0, statistics, codebooks)["levels"]["texture"]
    assert said["one_in"] == (pytest.approx(total / code) if code else None)
    assert frequency_text(statistics, 2, 63) == "1 in 32 patches" and frequency_text(statistics, 2, 0) == "in no patch"
    assert patch_card.UNCOUNTED not in patch_card.patch_card(look, 1, 0, statistics, codebooks)
    without = patch_card.patch_card(look, 1, 0, None, codebooks)
    assert patch_card.UNCOUNTED in without and "1 in" not in without


def test_large_numbers_are_told_with_two_digits():
    assert [two_digits(value) for value in (1.234, 12.34, 240.4, 98_765)] == ["1.2", "12", "240", "99,000"]


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
    codes = code_layout(codebooks, level)
    assert sorted(codes[codes != EMPTY]) == list(range(codebooks.levels[level].size))
    counts = np.zeros(codebooks.levels[level].size, int)
    counts[3] = 1
    enlarge = codebook_sheet.enlargement(codebooks, level)
    lit = np.asarray(codebook_sheet.draw_sheet(codebooks, level, counts))
    side = 9 * enlarge
    for (row, column), code in np.ndenumerate(codes):
        at = codebook_sheet.code_at(codebooks, level, column * side + side / 2, row * side + side / 2)
        drawn = lit[
            row * side : row * side + 8 * enlarge : enlarge, column * side : column * side + 8 * enlarge : enlarge
        ]
        if code == EMPTY:
            assert at is None and not drawn[..., 3].any()
            continue
        assert at == code and np.array_equal(drawn[..., :3], tiles(codebooks, level)[code])
        assert (drawn[..., 3] == (255 if code == 3 else codebook_sheet.DIM)).all()
    whole = np.asarray(codebook_sheet.draw_sheet(codebooks, level, None))
    assert set(np.unique(whole[..., 3])) <= {0, 255}
    assert codebook_sheet.code_at(codebooks, level, lit.shape[1] + 5, 0) is None


@pytest.mark.parametrize("count", [1, 2, 33, 120])
def test_a_sheet_holds_every_code_once(count: int):
    across, down = np.random.default_rng(0).normal(size=(2, count))
    sheet = fill_columns(across, down, aspect=2)
    assert sorted(sheet[sheet != EMPTY]) == list(range(count))
    columns = [column[column != EMPTY] for column in sheet.T]
    assert all((np.diff(down[column]) >= 0).all() for column in columns)
    assert all(across[left].max() <= across[right].min() for left, right in itertools.pairwise(columns) if len(right))


def test_patterns_are_arranged_by_the_direction_of_their_lines_and_their_fineness():
    y, x = np.mgrid[:8, :8]
    waves = [np.sin((x * np.cos(a) + y * np.sin(a)) * f) for a in (0, 0.7, 1.5) for f in (0.5, 1.0)]
    angle, fineness = angle_and_fineness(np.stack([np.stack([wave] * 3).ravel() for wave in waves]))
    assert angle / 2 == pytest.approx([0, 0, 0.7, 0.7, 1.5, 1.5], abs=0.1)
    assert (fineness[::2] < fineness[1::2]).all()


def test_colors_go_from_gray_through_all_hues_each_column_light_to_dark():
    gray = np.repeat(np.linspace(0, 1, 8)[:, None], 3, axis=1)
    hues = [
        np.array(rgb) * light
        for rgb in ([1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1])
        for light in np.linspace(0.4, 1, 8)
    ]
    colors = np.concatenate([hues, gray])
    sheet = fill_columns(*hue_and_darkness(colors), aspect=8)
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
    for index, (counts, level) in enumerate(
        zip(codebook_sheet.count_codes(cst, photo), cst.tokenizer.levels, strict=True)
    ):
        usage = codebook_sheet.measure_usage(level.name, counts)
        assert usage.patches == 12 * 8 and usage.used == len(np.unique(tokens[index]))
        assert usage.perplexity == pytest.approx(metrics.usage(counts)[1], abs=0.01)
        assert f"{usage.used:,} of {level.size:,}" in codebook_sheet.usage_html(usage, counts, "your photo")


def test_a_histogram_falls_from_left_to_right_and_of_nothing_is_flat():
    counts = np.array([1, 0, 50, 7, 7, 0, 900])
    path = re.search(r'd="([^"]+)"', codebook_sheet.histogram(counts, "shape")).group(1)
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", path)]
    assert heights[:-1] == sorted(heights[:-1])
    assert "900 times" in codebook_sheet.histogram(counts, "shape")
    assert "nan" not in codebook_sheet.histogram(np.zeros(4, int), "shape")


def test_a_tile_tells_how_often_it_occurs(codebooks: Codebooks, statistics: Statistics):
    counts = np.zeros(64, int)
    counts[7] = 3
    told = codebook_sheet.describe_code(codebooks, 2, 7, statistics, counts)
    assert "texture 7" in told and "1 in 290 patches of training photos" in told and "3 in your photo" in told
    assert "none in your photo" in codebook_sheet.describe_code(codebooks, 2, 8, None, counts)


def test_a_look_paints_what_the_tokenizer_paints(look: Analysis, cst: CST):
    side = look.tokens.shape[1]
    assert look.square.shape == look.rendered.shape == (8 * side, 8 * side, 3)
    painted = cst.tokenizer.decode(look.tokens[None])[0].transpose(1, 2, 0)
    assert np.abs(look.rendered / 255 - painted).max() < 0.005
    assert bit_maps.enlarged_square(replace(look, scores=None)).size == (512, 512)
    assert isinstance(bit_maps.enlarged_square(look), Image.Image)
