"""`Sampler`: pictures by the name of their kind, shown while they are made."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from support.photos import CLASSES, make_photo

from cst.images import center_crop, to_float, to_image
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.tokens import Tokens
from prior.onnx_runtime import OnnxPrior
from prior.protocol import LevelSettings, Settings
from prior.sampler import DEFAULTS, MAX_PICTURES, Sampler


@pytest.fixture(scope="module")
def tokenizer(artifact) -> OnnxTokenizer:
    return OnnxTokenizer(artifact, threads=1)


@pytest.fixture(scope="module")
def sampler(tokenizer, gpt_folder) -> Sampler:
    return Sampler(tokenizer, OnnxPrior(gpt_folder, threads=1))


def pixels(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures])


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("daisy", 1),
        ("DAISY", 1),
        (" Daisy ", 1),
        ("blue bell", 0),
        ("blue_bell", 0),
        ("Blue  Bell", 0),
        ("wild_rose", 2),
        ("Wild Rose", 2),
        (None, 3),
    ],
)
def test_a_class_goes_by_its_name_in_any_case(name, index, sampler):
    assert sampler.classes == CLASSES
    assert sampler.label(name) == index


def test_an_unknown_class_is_refused_with_the_nearest_names(sampler):
    with pytest.raises(ValueError, match=r"no class 'dasy'; did you mean daisy\?"):
        sampler.label("dasy")
    with pytest.raises(ValueError, match=r"no class 'rose'; did you mean wild_rose\?"):
        sampler.label("rose")
    with pytest.raises(ValueError, match=r"no class '12345'; accepted: Blue bell, daisy, wild_rose$"):
        sampler.label("12345")
    with pytest.raises(ValueError, match="no class ''"):
        sampler.label("")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": 0}, f"0 pictures; accepted: 1 to {MAX_PICTURES} at once"),
        ({"count": MAX_PICTURES + 1}, f"{MAX_PICTURES + 1} pictures; accepted: 1 to {MAX_PICTURES}"),
        ({"seed": -1}, "the seed -1; accepted: a whole number from 0"),
        ({"name": "thistle"}, "no class 'thistle'"),
    ],
)
def test_what_can_not_be_drawn_is_refused_at_once(arguments, said, sampler):
    with pytest.raises(ValueError, match=said):
        sampler.sample(**arguments)


def test_settings_for_another_number_of_levels_are_refused(sampler):
    with pytest.raises(ValueError, match="settings for 2 levels; accepted: 3, one per level"):
        next(sampler.sample(settings=Settings(levels=(LevelSettings(),) * 2)))


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt", "pixelcnn"])
def test_a_seed_draws_the_same_pictures_again(kind, tokenizer, request):
    folder = request.getfixturevalue(f"{kind}_folder")
    sampler = Sampler.from_pretrained(folder=folder, tokenizer=tokenizer, threads=1)
    assert sampler.defaults == DEFAULTS[kind]
    draws = [list(sampler.sample("daisy", count=2, seed=seed))[-1] for seed in (1, 1, 2)]
    assert np.array_equal(draws[0].tokens, draws[1].tokens)
    assert not np.array_equal(draws[0].tokens, draws[2].tokens)
    pictures = sampler.decode(draws[0])
    assert [picture.size for picture in pictures] == [sampler.size] * 2 == [(64, 64) if kind == "gpt" else (32, 32)] * 2


def test_a_preview_grows_from_coarse_to_fine(sampler, tokenizer):
    steps = list(sampler.sample("daisy", count=2))
    books: Codebooks = tokenizer.codebooks
    for level, name in enumerate(("color", "shape", "texture"), 1):
        step = [step for step in steps if step.name == name][-1]
        drawn = books.centroid_picture(steps[-1].tokens, levels=level)
        if name == "color":  # until there are shapes, the picture of half the size is shown
            drawn = books.centroid_picture(steps[-1].half).repeat(2, 2).repeat(2, 3)
        assert np.array_equal(pixels(sampler.preview(step)), pixels([to_image(picture) for picture in drawn]))
    first = pixels(sampler.preview(steps[0]))  # the whole picture in one color
    assert (first == first[:, :1, :1]).all()
    second = pixels(sampler.preview(steps[1]))  # the top left quarter of four
    assert (second[:, 32:] == first[:, 32:]).all() and (second[:, :32, :32] == second[:, :1, :1]).all()
    nothing = dataclasses.replace(steps[0], colors=steps[0].colors * 0 - 1)
    assert (pixels(sampler.preview(nothing)) == 128).all()  # gray where nothing is yet
    assert (pixels(sampler.preview(nothing, blank=1.0)) == 255).all()


def test_finished_pictures_are_painted_by_rendernet(sampler, tokenizer):
    *_, last = sampler.sample("daisy", count=2)
    painted = pixels(sampler.decode(last))
    assert np.array_equal(painted, pixels([to_image(picture) for picture in tokenizer.decode(last.tokens)]))
    assert not np.array_equal(painted, pixels(sampler.preview(last)))


def test_unfinished_pictures_are_painted_where_they_are_whole(sampler):
    *_, last = sampler.sample("daisy", count=2)
    known = last.known.copy()
    known[:, 2, 4:] = False
    part = dataclasses.replace(last, known=known)
    painted, finished, draft = map(pixels, (sampler.decode(part), sampler.decode(last), sampler.preview(part)))
    assert np.array_equal(painted[:, :32], finished[:, :32])
    assert np.array_equal(painted[:, 32:], draft[:, 32:])


def test_pictures_are_tokens_that_the_tokenizer_reads(sampler, tokenizer, tmp_path):
    *_, last = sampler.sample("daisy", count=2)
    for index, tokens in enumerate(sampler.tokens(last)):
        tokens.save(tmp_path / "tokens.npz")
        read = Tokens.load(tmp_path / "tokens.npz")
        assert (read.size, read.fingerprint) == ((64, 64), tokenizer.fingerprint)
        assert np.array_equal(read.codes, last.tokens[index])


# Pairing --------------------------------------------------------------------------------------------------------------


def test_the_prior_of_another_tokenizer_is_refused(gpt_folder):
    own = OnnxTokenizer(threads=1)  # the packaged one
    with pytest.raises(ValueError, match=f"not on {own.config.fingerprint}; "):
        Sampler.from_pretrained(folder=gpt_folder, tokenizer=own)


def test_a_model_that_is_not_packaged_is_refused():
    with pytest.raises(ValueError, match="no model 'diffusion'; accepted: gpt, pixelcnn"):
        Sampler.from_pretrained("diffusion")


# What is known already ------------------------------------------------------------------------------------------------


def test_a_photo_is_encoded_as_the_prior_learned_it(sampler, tokenizer):
    photo = make_photo(7, 70, 50)
    tokens = sampler.encode(photo)
    square = to_float(center_crop(photo, 64))
    assert np.array_equal(tokens, tokenizer.codebooks.encode(square[None], beam=sampler.prior.config.beam)[0])


def test_known_tokens_are_kept_in_every_picture_and_the_others_drawn(sampler):
    known = sampler.encode(make_photo(7, 70, 50))
    mask = np.zeros(known.shape, bool)
    mask[:, :2] = True  # the top half
    *_, last = sampler.sample("daisy", count=3, known=known, mask=mask)
    assert all(np.array_equal(picture[mask], known[mask]) for picture in last.tokens)
    assert not np.array_equal(last.tokens[0], last.tokens[1])


def test_a_color_bias_reaches_the_colors(sampler):
    bias = np.zeros((*sampler.prior.grid, sampler.prior.levels[0].size), np.float32)
    bias[..., 5] = 50
    *_, last = sampler.sample(count=2, color_bias=bias)
    assert (last.tokens[:, 0] == 5).all()
