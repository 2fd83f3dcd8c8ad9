"""Pictures in other color spaces, depths and containers become the same sRGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.bad_pictures import chunk, encoded

from cst.color_profiles import PRIMARIES, SRGB, matrix_profile, png_chunks
from cst.images import load_image

STORED = ((231, 60, 40), (60, 199, 70), (50, 90, 211), (128, 128, 128))  # four quarters
DISPLAY_P3 = ((251, 31, 13), (0, 202, 40), (34, 91, 219), (128, 128, 128))  # STORED, if it is Display P3, in sRGB
ADOBE_RGB = ((255, 57, 34), (0, 200, 53), (0, 90, 216), (129, 129, 129))
LINEAR = {40: 110, 100: 168, 160: 208, 220: 239}  # gray levels of linear light -> sRGB


def srgb_curve(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


P3_PROFILE = matrix_profile(PRIMARIES[12], srgb_curve)
ADOBE_PROFILE = matrix_profile((0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), lambda value: value ** (563 / 256))
LINEAR_PROFILE = matrix_profile(SRGB, lambda value: value)


def quarters(colors: tuple = STORED, side: int = 64) -> Image.Image:
    grid = np.array(colors, np.uint8).reshape(2, 2, -1)
    return Image.fromarray(grid.repeat(side // 2, 0).repeat(side // 2, 1).squeeze())


def centers(picture: Image.Image) -> list[tuple[int, ...]]:
    first, second = picture.width // 4, 3 * picture.width // 4
    return [picture.getpixel((x, y)) for y in (first, second) for x in (first, second)]


def assert_near(picture: Image.Image, colors: tuple) -> None:
    assert picture.mode == "RGB" and "icc_profile" not in picture.info
    np.testing.assert_allclose(centers(picture), np.broadcast_to(np.reshape(colors, (4, -1)), (4, 3)), atol=3)


def png_with(image: Image.Image, **chunks: bytes) -> bytes:
    """A PNG with chunks before its pixels."""
    data = encoded(image)
    return data[:33] + b"".join(chunk(name.encode(), value) for name, value in chunks.items()) + data[33:]


@pytest.mark.parametrize(("profile", "right"), [(P3_PROFILE, DISPLAY_P3), (ADOBE_PROFILE, ADOBE_RGB)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_applied_and_dropped(profile, right, format):
    settings = {"quality": 100} if format in ("JPEG", "WEBP") else {}
    assert_near(load_image(encoded(quarters(), format, icc_profile=profile, **settings)), right)


@pytest.mark.parametrize("picture", [quarters().convert("RGBA"), quarters().quantize(16)], ids=["RGBA", "P"])
def test_a_profile_is_applied_to_palette_and_transparent_pictures(picture):
    assert_near(load_image(encoded(picture, icc_profile=P3_PROFILE)), DISPLAY_P3)


def test_transparency_is_white_whatever_the_profile():
    picture = quarters().convert("RGBA")
    picture.putalpha(0)
    assert load_image(encoded(picture, icc_profile=P3_PROFILE)).getpixel((5, 5)) == (255, 255, 255)


def test_a_profile_turns_with_its_picture():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    data = encoded(quarters(), "JPEG", icc_profile=P3_PROFILE, exif=exif, quality=100)
    assert_near(load_image(data), DISPLAY_P3[::-1])


@pytest.mark.parametrize("depth", [8, 16])
def test_a_gray_ramp_of_linear_light_is_brightened(depth):
    ramp = quarters(tuple(LINEAR))
    if depth == 16:
        ramp = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    right = tuple(LINEAR.values())
    assert_near(load_image(encoded(ramp, icc_profile=LINEAR_PROFILE)), right)
    assert_near(load_image(png_with(ramp, gAMA=struct.pack(">I", 100_000))), right)


def test_lab_pictures_are_read():
    soft = ((200, 120, 100), (90, 160, 110), (100, 110, 180), (128, 128, 128))
    lab = ImageCms.profileToProfile(quarters(soft), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
                                    outputMode="LAB")  # fmt: skip
    assert_near(load_image(encoded(lab, "TIFF")), soft)


@pytest.mark.parametrize(
    ("chunks", "right"),
    [
        ({"cICP": bytes([12, 13, 0, 1])}, DISPLAY_P3),
        ({"cICP": bytes([1, 13, 0, 1])}, STORED),
        ({"gAMA": struct.pack(">I", 45455), "cHRM": struct.pack(">8I", *(round(1e5 * v) for v in PRIMARIES[12]))},
         DISPLAY_P3),
        ({"gAMA": struct.pack(">I", 45455)}, STORED),
        ({"gAMA": struct.pack(">I", 100_000), "sRGB": b"\0"}, STORED),
    ],
)  # fmt: skip
def test_png_color_chunks_count(chunks, right):
    assert_near(load_image(png_with(quarters(), **chunks)), right)


def test_cicp_wins_over_a_profile():
    data = png_with(Image.open(io.BytesIO(encoded(quarters()))), cICP=bytes([12, 13, 0, 1]))
    assert_near(load_image(data), DISPLAY_P3)


def test_white_of_high_dynamic_range_stays_white():
    for transfer in (16, 18):  # PQ, HLG
        picture = load_image(png_with(quarters(((255,) * 3, (0,) * 3) * 2), cICP=bytes([9, transfer, 0, 1])))
        assert_near(picture, ((255,) * 3, (0,) * 3) * 2)


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters(), icc_profile=b"no profile"),
        png_with(quarters(), gAMA=bytes(4)),
        png_with(quarters(), cICP=bytes([200, 13, 0, 1])),
        encoded(quarters().convert("CMYK"), "JPEG", icc_profile=P3_PROFILE),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored_and_reported(data):
    picture = load_image(data)
    assert picture.size == (64, 64)
    assert picture.info["problem"].startswith("its color profile can't be used and is ignored (")


def test_chunks_of_other_files_are_none():
    assert png_chunks(encoded(quarters(), "JPEG")) == png_chunks(b"") == {}
    assert png_chunks(b"\x89PNG\r\n\x1a\n" + b"\xff" * 9) is not None


# Depth ---------------------------------------------------------------------------------------------------------------

TONES = (10, 80, 160, 250)


def tiff(values: np.ndarray, *, bits: int, white_is_zero: bool = False, sample: int = 1) -> bytes:
    """A gray, little-endian, uncompressed TIFF, of which Pillow writes only some kinds."""
    data = values.astype({1: f"<u{bits // 8}", 2: f"<i{bits // 8}", 3: f"<f{bits // 8}"}[sample]).tobytes()
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, int(not white_is_zero)),
            (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)), (339, 3, sample)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def tones() -> np.ndarray:
    return np.asarray(quarters(TONES)).astype(np.int64)


@pytest.mark.parametrize(
    "data",
    [
        tiff(tones() * 257, bits=16),
        tiff(65535 - tones() * 257, bits=16, white_is_zero=True),
        tiff(tones() * 16843009, bits=32),
        tiff(tones() * 8421504, bits=32, sample=2),
        tiff(tones() / 255, bits=32, sample=3),
        tiff(tones(), bits=32, sample=3),
        tiff(tones() * 257, bits=32, sample=3),
    ],
    ids=["16-bit", "white is zero", "32-bit", "signed", "float to 1", "float to 255", "float to 65535"],
)
def test_deep_gray_keeps_its_tones(data):
    assert_near(load_image(data), TONES)


@pytest.mark.parametrize("value", [-9999, -np.inf, np.inf, np.nan])
def test_no_data_values_are_clipped(value):
    values = tones() / 255
    values[0, 0] = value
    picture = load_image(tiff(values, bits=32, sample=3))
    assert_near(picture, TONES)
    assert picture.getpixel((0, 0)) == ((255,) * 3 if value == np.inf else (0,) * 3)


def test_the_transparent_value_of_a_16_bit_gray_png_becomes_white():
    rows = (b"\0" + struct.pack(">4H", 1000, 40_000, 1000, 20_000)) * 2
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 16, 0, 0, 0, 0))
    body = chunk(b"tRNS", struct.pack(">H", 1000)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    picture = load_image(b"\x89PNG\r\n\x1a\n" + header + body)
    assert np.asarray(picture)[0, :, 0].tolist() == [255, 156, 255, 78]


# Containers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_shown_whole(missing):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    data = encoded(noise, "JPEG")
    assert np.array_equal(load_image(data[:-missing]), load_image(data))
    with pytest.raises(ValueError, match="damaged or cut short"):
        load_image(data[: -missing - 2])


def test_a_frame_smaller_than_its_canvas_lies_on_white():
    data = bytearray(encoded(Image.new("P", (20, 10)), "GIF"))
    data[6:10] = struct.pack("<2H", 40, 30)
    start = data.index(b"\x2c")
    data[start + 1 : start + 5] = struct.pack("<2H", 10, 12)
    picture = load_image(bytes(data))
    assert picture.size == (40, 30)
    white = (np.asarray(picture) == 255).all(2)
    assert not white[12:22, 10:30].any() and white.sum() == 40 * 30 - 20 * 10


def test_the_first_picture_of_several_is_read_upright_in_its_profile():
    exif = Image.Exif()
    exif[0x0112] = 3
    file = io.BytesIO()
    settings = {"icc_profile": P3_PROFILE, "exif": exif, "quality": 100}
    quarters().save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))], **settings)
    assert_near(load_image(file.getvalue()), DISPLAY_P3[::-1])


def test_a_heic_photo_is_read_or_names_the_package_that_reads_it(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(quarters()).save(file, quality=-1)
    assert_near(load_image(file.getvalue()), STORED)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="is a HEIC photo, which needs a package: pip install pillow-heif"):
        load_image(file.getvalue())
