"""What is remixed, without a page: colors that are snapped, leans, masks, kept codes, and levels from two photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import make_photo

from cst import Tokens
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from prior.onnx_runtime import OnnxPrior
from prior.protocol import LevelSettings, Settings
from prior.sampler import Sampler
from space.color import oklab
from space.generation.color_bias import keeping_lightness, toward_painted
from space.generation.conditioning import (
    AREAS,
    Conditioning,
    area,
    for_colors,
    nearest_colors,
    of_sketch,
    striped,
    with_hole,
)
from space.generation.generate import generate
from space.generation.request import ANY, GenerationRequest
from space.tabs.sketch.tab import fill_empty
from space.widgets.painting import Cells, Painting, read_cells

GRID = (4, 4)  # of the tiny prior's sketches; its pictures have twice the patches each way


@pytest.fixture(scope="module")
def sampler(artifact: Path, gpt_folder: Path) -> Sampler:
    return Sampler(OnnxTokenizer(artifact, threads=1), OnnxPrior(gpt_folder, threads=1))


def drawn(sampler: Sampler, given: Conditioning, folder: Path, verb: str = "completed", stopped: bool = False) -> tuple:
    """(what is shown at last, codes of all pictures): two pictures are drawn."""
    request = GenerationRequest(ANY, 2, 3, Settings((LevelSettings(),) * 3), verb, given)
    *_, last = generate(sampler, request, folder, lambda: stopped)
    names = [] if stopped else [Path(path).with_suffix(".npz") for path, _ in last.pictures]
    return last, [Tokens.load(name).codes for name in names]


def half_painted(color: str = "#ff0000") -> Image.Image:
    """A square canvas: its left half painted, its right half clear."""
    canvas = Image.new("RGBA", (64, 64))
    canvas.paste(color, (0, 0, 32, 64))
    return canvas


# Strokes --------------------------------------------------------------------------------------------------------------


def test_strokes_become_the_mean_color_of_each_patch(tmp_path: Path):
    half_painted().save(tmp_path / "strokes.png")
    cells = read_cells([str(tmp_path / "strokes.png")], GRID)
    assert cells.painted.tolist() == [[True, True, False, False]] * 4
    assert np.allclose(cells.colors[cells.painted], (1, 0, 0))


def test_a_patch_counts_as_painted_from_a_quarter_on(tmp_path: Path):
    canvas = Image.new("RGBA", (64, 64))
    canvas.paste("blue", (0, 0, 8, 8))  # a quarter of a patch
    canvas.paste("blue", (16, 0, 22, 8))  # less
    canvas.save(tmp_path / "strokes.png")
    cells = read_cells([str(tmp_path / "strokes.png")], GRID)
    assert np.argwhere(cells.painted).tolist() == [[0, 0]]
    assert np.allclose(cells.colors[0, 0], (0, 0, 1))  # of what is painted, not of the empty part


def test_layers_lie_over_the_background_and_a_composite_is_all_of_it(tmp_path: Path):
    paths = [str(tmp_path / name) for name in ("below.png", "strokes.png")]
    Image.new("RGB", (32, 32), "#0000ff").save(paths[0])
    half_painted().save(paths[1])
    both = read_cells(Painting(paths[0], (paths[1],)).stack, GRID)
    assert (
        both.painted.all() and np.allclose(both.colors[0, 0], (1, 0, 0)) and np.allclose(both.colors[0, 3], (0, 0, 1))
    )
    assert Painting(paths[0], (), paths[1]).stack == (paths[1],)
    assert not read_cells(Painting().stack, GRID).painted.any()


def test_filling_paints_only_what_is_empty(tmp_path: Path):
    half_painted().save(tmp_path / "layer.png")
    value = fill_empty(Painting(layers=(str(tmp_path / "layer.png"),)), color="#00ff00")
    filled = np.asarray(value["layers"][0])
    assert (filled[:, :256] == (255, 0, 0, 255)).all() and (filled[:, 256:] == (0, 255, 0, 255)).all()


def test_a_canvas_that_is_no_square_picture_is_refused_by_its_name_alone(tmp_path: Path):
    Image.new("RGB", (60, 40)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    for name, words in (("wide.png", "'wide.png' has 60 x 40 pixels; accepted: a square"), ("text.png", "'text.png'")):
        with pytest.raises(ValueError, match=words) as caught:
            read_cells([str(tmp_path / name)], GRID)
        assert str(tmp_path) not in str(caught.value)


# Leans ----------------------------------------------------------------------------------------------------------------


def test_oklab_knows_white_black_and_red():
    colors = oklab(np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0]]))
    assert colors == pytest.approx(np.array([[1, 0, 0], [0, 0, 0], [0.628, 0.225, 0.126]]), abs=1e-3)


def test_a_bias_is_to_the_painted_color_and_nowhere_else():
    codebook = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    colors, painted = np.tile(codebook[1], (2, 2, 1)), np.array([[True, False], [False, True]])
    bias = toward_painted(codebook, colors, painted)
    assert bias.shape == (2, 2, 3) and np.isfinite(bias).all()
    assert (bias[~painted] == 0).all()
    assert (bias[painted].argmax(1) == 1).all() and (bias[painted][:, 1] == 0).all() and bias[painted].min() < -10
    assert (toward_painted(codebook, colors, painted, deviation=1.0)[painted] >= bias[painted]).all()


def test_recoloring_keeps_the_lightness_and_frees_the_hue_as_far_as_asked():
    codebook = np.array([[0.5, 0.5, 0.5], [0.95, 0.95, 0.95], [0.85, 0.30, 0.30]])
    gray, light, red = range(3)  # the red is about as light as the gray
    assert abs(oklab(codebook)[gray, 0] - oklab(codebook)[red, 0]) < 0.02
    codes = np.full((1, 1), gray)
    free, half, near = (keeping_lightness(codebook, codes, far)[0, 0] for far in (1.0, 0.5, 0.0))
    assert free[red] > -1 and free[light] < -10
    assert free[red] > half[red] > near[red]
    assert near[gray] == half[gray] == free[gray] == 0
    with pytest.raises(ValueError, match="accepted: 0"):
        keeping_lightness(codebook, codes, 1.5)


# What is given --------------------------------------------------------------------------------------------------------


def test_snapping_takes_the_nearest_color_code(sampler: Sampler):
    books = sampler.tokenizer.codebooks
    codes = np.arange(16).reshape(GRID)
    assert np.array_equal(nearest_colors(books, np.clip(books.color, 0, 1)[codes]), codes)


def test_an_exact_sketch_fixes_the_painted_codes_alone(sampler: Sampler, tmp_path: Path):
    books = sampler.tokenizer.codebooks
    cells = Cells(np.tile(np.clip(books.color[5], 0, 1), (*GRID, 1)), np.tri(4, dtype=bool))
    given = of_sketch(sampler, cells, "exactly")
    assert np.array_equal(given.sketch >= 0, cells.painted) and given.mask is None and given.color_bias is None
    last, _ = drawn(sampler, given, tmp_path)
    assert last.numbers["codes"] == 2 * 3 * 64
    *_, step = sampler.sample(count=2, sketch=given.sketch, settings=Settings((LevelSettings(),) * 3))
    assert step.written["color_half"] == 1


def test_a_wholly_painted_exact_sketch_leaves_shapes_and_textures_to_the_model(sampler: Sampler, tmp_path: Path):
    cells = Cells(np.full((*GRID, 3), 0.5, np.float32), np.ones(GRID, bool))
    last, pictures = drawn(sampler, of_sketch(sampler, cells, "exactly"), tmp_path, "drawn from a sketch")
    assert last.numbers["codes"] == 2 * 3 * 64 and "Drawn from a sketch by GPT" in last.live
    assert not np.array_equal(pictures[0][1:], pictures[1][1:])
    assert Path(last.archive).name == "drawn-from-a-sketch-any-kind-3.zip"


def test_a_loose_sketch_biases_and_fixes_nothing(sampler: Sampler):
    books = sampler.tokenizer.codebooks
    wanted = np.clip(books.color[np.arange(16).reshape(GRID)], 0, 1)
    given = of_sketch(sampler, Cells(wanted, np.ones(GRID, bool)), "loosely")
    assert given.mask is None and given.sketch is None and given.color_bias.shape == (*GRID, 16)

    def gap(bias: np.ndarray | None) -> float:
        """How far the drawn half map is from what was painted."""
        steps = sampler.sample(count=2, color_bias=bias)
        step = next(step for step in steps if step.written["color_half"] == 1)
        return float(np.abs(books.color[step.colors[:, ::2, ::2]] - wanted).mean())

    assert gap(given.color_bias) < gap(None) / 2


@pytest.mark.parametrize("closely", ["exactly", "loosely"])
def test_an_empty_sketch_is_refused(sampler: Sampler, closely: str):
    with pytest.raises(ValueError, match="nothing is painted yet"):
        of_sketch(sampler, Cells(np.zeros((*GRID, 3), np.float32), np.zeros(GRID, bool)), closely)


@pytest.mark.parametrize("name", AREAS)
def test_completing_keeps_every_code_outside_the_hole(sampler: Sampler, tmp_path: Path, name: str):
    photo, hole = make_photo(1, 50, 40), area(name, sampler.prior.grid)
    last, pictures = drawn(sampler, with_hole(sampler, photo, hole), tmp_path)
    own = sampler.encode(photo)
    for codes in pictures:
        assert np.array_equal(codes[:, ~hole], own[:, ~hole])
    assert any(not np.array_equal(codes[:, hole], own[:, hole]) for codes in pictures)
    assert last.numbers["codes"] == 2 * 3 * hole.sum() and last.numbers["given"] == ()


def test_the_areas_are_where_they_are_called():
    assert area("top half", GRID).tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert area("right half", GRID).tolist() == [[False, False, True, True]] * 4
    assert np.array_equal(area("bottom half", GRID), ~area("top half", GRID))
    assert np.argwhere(area("middle", GRID)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    with pytest.raises(ValueError, match="no part 'all'; accepted: top half"):
        area("all", GRID)


def test_a_hole_that_is_nowhere_is_refused(sampler: Sampler):
    with pytest.raises(ValueError, match="nothing is brushed"):
        with_hole(sampler, make_photo(1, 40, 40), np.zeros(GRID, bool))


def test_the_stripes_lie_on_the_hole_alone():
    photo, hole = make_photo(1, 64, 64), area("bottom half", GRID)
    changed = (np.asarray(striped(photo, hole)) != np.asarray(photo)).any(2)
    assert not changed[:32].any() and changed[32:].mean() > 0.95


def test_recoloring_keeps_shapes_and_textures_and_little_of_the_hue(sampler: Sampler, tmp_path: Path):
    photo = make_photo(2, 40, 40)
    own, given = sampler.encode(photo), for_colors(sampler, photo, 1.0)
    last, pictures = drawn(sampler, given, tmp_path, "recolored")
    for codes in pictures:
        assert np.array_equal(codes[1:], own[1:])
    assert last.numbers["codes"] == 2 * 64 and last.numbers["given"] == ("shape", "texture")
    lightness = oklab(sampler.tokenizer.codebooks.color)[:, 0]
    free = drawn(sampler, Conditioning(given.known, given.mask), tmp_path, "free")[1]
    off = [np.mean([np.abs(lightness[codes[0]] - lightness[own[0]]).mean() for codes in found])
           for found in (pictures, free)]  # fmt: skip
    assert off[0] < off[1]


def test_other_words_are_refused(sampler: Sampler):
    with pytest.raises(ValueError, match="accepted: exactly, loosely"):
        of_sketch(sampler, Cells(np.zeros((*GRID, 3), np.float32), np.ones(GRID, bool)), "nearly")


def test_a_completion_that_is_stopped_shows_the_kept_part(sampler: Sampler, tmp_path: Path):
    given = with_hole(sampler, make_photo(1, 40, 40), area("bottom half", sampler.prior.grid))
    last, _ = drawn(sampler, given, tmp_path, stopped=True)
    assert last.numbers["stopped"] and last.numbers["codes"] == 0  # the first code is a kept one
    assert "Stopped after 0% of the codes" in last.live
    with Image.open(last.pictures[0][0]) as picture:
        alpha = np.asarray(picture)[..., 3]
    assert (alpha[:32] == 255).all()
