"""Read any kind of picture, and find photos in folders and archives."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from support.bad_pictures import BAD, ODD, encoded
from support.photos import make_photo

from cst import CST
from cst.images import fit_within, limit_shortest_side, load_image, pad_to_multiple, to_float, to_image, to_uint8

STORED = {  # EXIF orientation -> how an upright picture lies in the file
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def pixel(picture: Image.Image) -> tuple[int, int, int]:
    assert picture.mode == "RGB"
    return picture.getpixel((0, 0))


# One picture ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_comes_out_upright(orientation):
    upright = make_photo(0, 24, 16)
    way = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if way is None else upright.transpose(way)
    assert np.array_equal(load_image(encoded(stored, exif=exif)), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_broken_exif_block_leaves_the_pixels_as_they_lie():
    photo = make_photo(0, 24, 16)
    for block in (
        b"Exif\0\0nonsense",
        b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff",
        b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01",
    ):
        assert load_image(encoded(photo, "JPEG", exif=block)).size == photo.size
    exif = Image.Exif()
    exif[0x0112] = 99
    assert np.array_equal(load_image(encoded(photo, exif=exif)), photo)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (0, 51), (204, 204, 204)),
        ("La", (0, 51), (204, 204, 204)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 77 * 257, (77, 77, 77)),
        ("I", 77 * 257, (77, 77, 77)),
        ("F", 0.25, (64, 64, 64)),
    ],
)
def test_every_pillow_mode_becomes_opaque_rgb(mode, color, expected):
    assert pixel(load_image(Image.new(mode, (9, 5), color))) == expected


def test_a_transparent_palette_color_becomes_white():
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 1), 1)
    loaded = load_image(encoded(picture, transparency=0))
    assert (loaded.getpixel((0, 0)), loaded.getpixel((1, 1))) == ((255, 255, 255), (40, 50, 60))


def test_the_transparent_color_of_an_rgb_or_gray_png_becomes_white():
    assert pixel(load_image(encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)))) == (255, 255, 255)
    assert pixel(load_image(encoded(Image.new("L", (4, 4), 7), transparency=7))) == (255, 255, 255)


def test_a_16_bit_gray_png_keeps_its_tones():
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    loaded = np.asarray(load_image(encoded(Image.fromarray(ramp))))
    assert np.array_equal(loaded, np.repeat(np.arange(256).reshape(16, 16, 1), 3, 2))


def test_16_bit_color_keeps_its_tone():
    make, _ = ODD["sixteen-bit-color.png"]
    assert load_image(make()).getpixel((3, 2)) == (128, 128, 128)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_every_odd_picture_is_read_at_its_size(name):
    make, size = ODD[name]
    picture = load_image(make())
    assert (picture.mode, picture.size) == ("RGB", size)


def test_a_cmyk_jpeg_keeps_its_colors():
    loaded = load_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.array(pixel(loaded)) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_becomes_its_first_frame(format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)
    red, green, blue = pixel(load_image(data))
    assert red > 240 > 15 > max(green, blue)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA"])
def test_every_listed_format_is_read_from_a_path_and_from_bytes(format, tmp_path):
    photo = make_photo(1, 40, 24)
    path = tmp_path / "photo"
    path.write_bytes(encoded(photo, format))
    assert load_image(path).size == photo.size
    assert np.array_equal(load_image(path), load_image(path.read_bytes()))


def test_arrays_of_every_depth_agree():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.asarray(load_image(gray))
    assert np.array_equal(expected, np.repeat(gray[..., None], 3, 2))
    for array in (gray[..., None], gray.astype(np.uint16) * 257, gray / 255, (gray / 255).astype(np.float32)):
        assert np.array_equal(load_image(array), expected)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3, 4, 5)), "shape (2, 3, 4, 5)"),
        (np.zeros((4, 4, 5)), "shape (4, 4, 5)"),
        (np.zeros((0, 4, 3)), "shape (0, 4, 3)"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.full((4, 4, 3), 1.5), "[0, 1]"),
        (np.full((4, 4), np.nan), "[0, 1]"),
    ],
)
def test_an_invalid_array_is_refused_with_a_description(array, said):
    with pytest.raises(ValueError) as error:
        load_image(array)
    assert said in str(error.value)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, np.float64, np.int32, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6),
    )
)
@settings(derandomize=True, deadline=None, max_examples=100, database=None)
def test_any_array_gives_a_picture_of_its_size_or_a_value_error(array):
    try:
        picture = load_image(array)
    except ValueError:
        return
    assert (picture.mode, picture.size) == ("RGB", array.shape[1::-1])


# Files that are no picture --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_picture_is_refused_by_name(name, tmp_path):
    make, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(make())
    for source in (path, path.read_bytes()):
        with pytest.raises(ValueError, match=message):
            load_image(source)
    with pytest.raises(ValueError, match=name):
        load_image(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ValueError, match=f"no such file: '{path}'"):
            load_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of damaged metadata, then goes on
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "AVIF", "JPEG2000", "TGA"])
def test_damage_anywhere_gives_a_picture_or_a_value_error(format):
    rng = np.random.default_rng(0)
    whole = encoded(make_photo(2, 40, 24), format)
    for attempt in range(60):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.integers(len(data) if attempt % 3 else 64)] = rng.integers(256)
        if attempt % 2:
            del data[rng.integers(len(data)) :]
        with contextlib.suppress(ValueError):
            assert load_image(bytes(data)).mode == "RGB"


# Sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 9), (8, 16), (13, 21), (33, 8)])
def test_odd_sizes_are_padded_by_their_edge_and_cropped_back(width, height, artifact):
    photo = make_photo(3, width, height)
    padded = pad_to_multiple(to_float(photo), 8)
    assert (padded.shape[1] % 8, padded.shape[2] % 8) == (0, 0)
    assert np.array_equal(padded[:, :height, :width], to_float(photo))
    assert (padded[:, height:] == padded[:, height - 1 : height]).all()
    assert (padded[:, :, width:] == padded[:, :, width - 1 : width]).all()
    cst = CST.from_pretrained(artifact, target="cpu")
    tokens = cst.encode(photo)
    assert np.array_equal(tokens.codes, cst.tokenizer.encode(padded[None])[0])
    assert cst.decode(tokens).size == cst.centroid_picture(tokens).size == photo.size


def test_every_8_bit_value_survives_conversion_to_float_and_back():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    floats = to_float(Image.fromarray(values))
    assert (floats.dtype, floats.shape, floats.min(), floats.max()) == (np.float32, (3, 16, 16), 0, 1)
    assert np.array_equal(to_uint8(floats), values)
    assert np.array_equal(to_image(floats), values)
    assert np.array_equal(to_uint8(floats * 3 - 1)[..., 0], np.clip(np.round(values[..., 0] * 3.0 - 255), 0, 255))


def test_pictures_are_shrunk_but_never_enlarged():
    photo = make_photo(0, 120, 60)
    assert fit_within(photo, 40).size == (40, 20)
    assert limit_shortest_side(photo, 30).size == (60, 30)
    assert fit_within(photo, 500).size == limit_shortest_side(photo, 500).size == photo.size
    assert fit_within(Image.new("RGB", (400, 1)), 20).size == (20, 1)


def test_postscript_is_not_opened():
    with pytest.raises(ValueError, match="not a picture that can be read"):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
