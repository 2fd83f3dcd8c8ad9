"""Other formats at the same number of bytes."""

import io

import pytest
from PIL import Image
from support.photos import make_photo

from cst.image_formats import FORMATS, LOWEST_QUALITY, _encode, at_bytes, at_psnr, iter_at_bytes
from cst.images import to_float
from cst.metrics import psnr


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("limit", [800, 1200, 2500])
def test_a_picture_is_coded_as_well_as_the_bytes_allow(format, limit):
    photo = make_photo(0, 64, 56)
    coded = at_bytes(photo, format, limit)
    assert coded.bytes <= limit
    assert len(_encode(photo, format, coded.quality)) == coded.bytes
    assert coded.quality == 100 or len(_encode(photo, format, coded.quality + 1)) > limit
    assert (coded.picture.mode, coded.picture.size) == ("RGB", photo.size)
    with Image.open(io.BytesIO(_encode(photo, format, coded.quality))) as again:
        assert again.convert("RGB").tobytes() == coded.picture.tobytes()


def test_no_quality_of_jpeg_would_have_been_better():
    photo = make_photo(1, 64, 56)
    sizes = {quality: len(_encode(photo, "JPEG", quality)) for quality in range(1, 101)}
    for limit in (700, 1000, 3000, 10**6):
        best = max(quality for quality, size in sizes.items() if size <= limit)
        assert at_bytes(photo, "JPEG", limit).quality == best


@pytest.mark.parametrize("format", FORMATS)
def test_if_nothing_fits_the_lowest_quality_is_used(format):
    coded = at_bytes(make_photo(0, 64, 56), format, 10)
    assert coded.quality == LOWEST_QUALITY[format]
    assert coded.bytes > 10


def test_the_search_can_be_stopped_after_each_file(monkeypatch):
    made = []
    monkeypatch.setattr("cst.image_formats._encode", lambda *given: made.append(given) or _encode(*given))
    photo = make_photo(0, 64, 56)
    steps = iter_at_bytes(photo, "WEBP", 1200)
    for count in range(1, 4):
        assert next(steps) is None and len(made) == count
    *_, coded = steps
    assert coded == at_bytes(photo, "WEBP", 1200) and len(made) <= 16  # two searches of 7 files, 1 to open


def test_an_unknown_format_is_refused_and_the_known_ones_named():
    with pytest.raises(ValueError, match="no format 'HEIC'; accepted: JPEG, WEBP, AVIF"):
        at_bytes(make_photo(0, 16, 16), "HEIC", 1000)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("wanted", [24.0, 30.0])
def test_the_smallest_file_with_the_psnr_is_found(format, wanted):
    photo = make_photo(0, 64, 56)
    coded = at_psnr(photo, format, wanted)
    assert psnr(to_float(coded.picture), to_float(photo)) >= wanted
    assert coded.bytes == len(_encode(photo, format, coded.quality))
    if coded.quality > LOWEST_QUALITY[format]:
        with Image.open(io.BytesIO(_encode(photo, format, coded.quality - 1))) as worse:
            assert psnr(to_float(worse.convert("RGB")), to_float(photo)) < wanted


def test_if_no_quality_has_the_psnr_the_best_is_used():
    assert at_psnr(make_photo(0, 64, 56), "JPEG", 200.0).quality == 100


def test_an_unknown_format_is_refused_for_a_psnr_too():
    with pytest.raises(ValueError, match="no format 'GIF'"):
        at_psnr(make_photo(0, 16, 16), "GIF", 30.0)
