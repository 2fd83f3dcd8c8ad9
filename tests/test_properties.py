"""Whatever a program passes to the public functions: a right result, or a ValueError that says what is accepted."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from support.photos import make_photo

from cst import CST, Tokens
from cst.image_formats import FORMATS, at_bytes, at_psnr
from cst.metrics import l1, ms_ssim, psnr, ssim
from cst.tokenizer.onnx_runtime import FILES, TARGETS, OnnxTokenizer
from prior.protocol import LevelSettings, Settings
from prior.sampler import Sampler
from prior.sampling import log_prob

QUIET = settings(
    derandomize=True, deadline=None, max_examples=60, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
NUMBER = st.floats() | st.integers(-(2**70), 2**70)
DTYPES = st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64, np.bool_, "U3"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9)
ANYTHING = arrays.arrays(DTYPES, SHAPES)
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")
SIDE = st.integers(1, 40)


def attempt(function: Callable, *arguments: object, **named: object) -> object:
    """Its result, or None if it refused in words."""
    try:
        return function(*arguments, **named)
    except ValueError as error:
        assert str(error)
        return None


@pytest.fixture(scope="module")
def cst(counted_artifact: Path) -> CST:
    return CST.from_pretrained(counted_artifact, target="cpu", threads=1)


@pytest.fixture(scope="module")
def sampler(gpt_folder: Path, artifact: Path) -> Sampler:
    tokenizer = OnnxTokenizer(artifact, target="cpu", threads=1)
    return Sampler.from_pretrained(folder=gpt_folder, tokenizer=tokenizer, threads=1)


@given(array=ANYTHING)
@QUIET
def test_any_array_is_taken_apart_as_a_picture_or_refused(array: np.ndarray, cst: CST):
    tokens = attempt(cst.encode, array)
    if tokens is not None:
        assert tokens.size == (array.shape[1], array.shape[0])
        assert cst.decode(tokens).size == tokens.size


@given(
    width=SIDE, height=SIDE, seed=st.integers(0, 9),
    mode=st.sampled_from(MODES),
)  # fmt: skip
@QUIET
def test_a_picture_of_any_mode_and_size_comes_back_at_its_size(width: int, height: int, seed: int, mode: str, cst: CST):
    photo = make_photo(seed, width, height)
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
    else:
        through = {"PA": "P", "La": "LA", "RGBa": "RGBA", "HSV": "RGB"}.get(mode)
        photo = (photo.convert(through) if through else photo).convert(mode)
    assert photo.mode == mode
    assert cst.decode(cst.encode(photo)).size == (width, height)


@given(codes=ANYTHING, width=NUMBER, height=NUMBER, levels=NUMBER)
@QUIET
def test_tokens_of_any_kind_are_painted_or_refused(codes: np.ndarray, width, height, levels, cst: CST):
    tokens = Tokens(codes, (width, height), cst.tokenizer.fingerprint)
    for function in (cst.decode, cst.compress, lambda tokens: cst.centroid_picture(tokens, levels=levels)):
        attempt(function, tokens)


@given(data=st.data(), h=st.integers(1, 4), w=st.integers(1, 4), levels=st.integers(-1, 5))
@QUIET
def test_whole_tokens_are_painted_at_their_size(data: st.DataObject, h: int, w: int, levels: int, cst: CST):
    size = data.draw(st.integers(8 * w - 7, 8 * w)), data.draw(st.integers(8 * h - 7, 8 * h))
    sizes = [level.size for level in cst.tokenizer.levels]
    codes = np.stack([data.draw(arrays.arrays(np.int32, (h, w), elements=st.integers(0, k - 1))) for k in sizes])
    tokens = Tokens(codes, size, cst.tokenizer.fingerprint)
    assert cst.decode(tokens).size == size
    drawn = attempt(cst.centroid_picture, tokens, levels=levels)
    assert (drawn is not None) == (1 <= levels <= 3)
    assert np.array_equal(cst.decompress(cst.compress(tokens)).codes, codes)


@given(images=ANYTHING, beam=NUMBER)
@QUIET
def test_the_tokenizer_takes_what_its_protocol_says_and_nothing_else(images: np.ndarray, beam, cst: CST):
    for function in (
        cst.tokenizer.encode,
        cst.tokenizer.decode,
        lambda x: cst.tokenizer.codebooks.encode(x, beam=beam),
    ):
        attempt(function, images)


@given(
    target=st.sampled_from([*TARGETS, "tpu", ""]), precision=st.sampled_from([*FILES, "int4"]),
    threads=st.none() | st.integers(-1, 3) | NUMBER, beam=st.none() | st.integers(-1, 3) | NUMBER,
)  # fmt: skip
@settings(QUIET, max_examples=25)
def test_options_of_a_tokenizer_are_understood_or_refused(target, precision, threads, beam, counted_artifact: Path):
    opened = attempt(OnnxTokenizer, counted_artifact, target=target, precision=precision, threads=threads, beam=beam)
    assert opened is None or beam is None or opened.beam == beam


@given(source=st.text(max_size=40) | st.binary(max_size=40))
@QUIET
def test_what_is_no_file_or_folder_is_refused(source, cst: CST, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    attempt(cst.encode, source)
    if isinstance(source, str):
        assert attempt(Tokens.load, source) is None


@given(
    name=st.none() | st.text(max_size=9), count=NUMBER, seed=NUMBER,
    known=st.none() | ANYTHING, mask=st.none() | ANYTHING, bias=st.none() | ANYTHING,
)  # fmt: skip
@QUIET
def test_a_wish_for_pictures_is_granted_or_refused(name, count, seed, known, mask, bias, sampler: Sampler):
    attempt(lambda: next(iter(sampler.sample(name, count=count, seed=seed, known=known, mask=mask, color_bias=bias))))


@given(count=st.integers(1, 3), seed=st.integers(0, 2**64), temperature=st.floats(0.01, 10), guidance=st.floats(0, 10))
@settings(QUIET, max_examples=8)
def test_every_setting_in_range_draws_codes_in_range(count, seed, temperature, guidance, sampler: Sampler):
    wished = Settings((LevelSettings(temperature),) * 3, guidance)
    *_, step = sampler.sample("daisy", count=count, seed=seed, settings=wished)
    assert len(sampler.decode(step)) == count
    for index, level in enumerate(sampler.prior.levels):
        assert set(step.tokens[:, index].ravel()) <= set(range(level.size))


@given(tokens=ANYTHING, label=ANYTHING)
@QUIET
def test_likelihoods_are_of_tokens_that_fit_alone(tokens: np.ndarray, label: np.ndarray, sampler: Sampler):
    attempt(log_prob, sampler.prior, tokens, label)


@given(
    format=st.sampled_from([*FORMATS, "TIFF", ""]), limit=NUMBER, width=st.integers(1, 30), height=st.integers(1, 30)
)
@settings(QUIET, max_examples=25)
def test_other_formats_give_a_picture_of_the_same_size_or_refuse(format, limit, width: int, height: int):
    photo = make_photo(0, width, height)
    for function in (at_bytes, at_psnr):
        coded = attempt(function, photo, format, limit)
        assert coded is None or (coded.picture.size == photo.size and coded.bytes > 0)
        assert (coded is None) == (format not in FORMATS or math.isnan(limit))


FLOATS = arrays.arrays(st.sampled_from([np.float32, np.float64]), SHAPES, elements=st.floats(0, 1, width=32))
WHOLE = arrays.arrays(np.uint8, SHAPES)


@given(image=FLOATS | WHOLE, original=FLOATS | WHOLE)
@QUIET
def test_measures_compare_pictures_of_one_shape_or_refuse(image: np.ndarray, original: np.ndarray):
    for measure in (psnr, ssim, ms_ssim, l1):
        for other in (image, original):
            found = attempt(measure, image, other)
            assert found is None or isinstance(found, float)
