"""Convert pictures to sRGB by their embedded ICC profile, or by the color chunks of a PNG."""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green and blue
PRIMARIES = {  # of PNG cICP chunks: ITU-T H.273, table 2
    1: SRGB,
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
WHITE_NITS = 203  # luminance that HDR content shows as white (ITU-R BT.2408)
Curve = Callable[[np.ndarray], np.ndarray]  # stored value in [0, 1] -> linear light in [0, 1]


def to_srgb(image: Image.Image, chunks: dict[bytes, bytes]) -> tuple[Image.Image, str]:
    """Convert a picture to sRGB, without a profile, and say what could not be used.

    image: any mode; transparency is kept. chunks: those of its PNG file, if it is one (`png_chunks`). Gray pictures
    stay gray. A profile that cannot be used is ignored; the message gives the reason, and is
    empty otherwise.
    """
    profile = image.info.pop("icc_profile", None)
    image.info.pop("gamma", None)
    try:
        if image.mode == "LAB":
            return _apply(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))), ""
        if b"cICP" in chunks:
            try:
                profile = _cicp_profile(chunks[b"cICP"])
            except (ValueError, struct.error):
                if profile is None:
                    raise
        elif profile is None and b"sRGB" not in chunks and (b"gAMA" in chunks or b"cHRM" in chunks):
            profile = _chunk_profile(chunks)
        if profile is None:
            return image, ""
        return _apply(image, ImageCms.ImageCmsProfile(io.BytesIO(profile))), ""
    except (ImageCms.PyCMSError, OSError, ValueError, struct.error, KeyError) as error:
        return image, f"its color profile can't be used and is ignored ({error})"


def _apply(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    space = source.profile.xcolor_space.strip()
    transparent = "transparency" in image.info and not image.mode.startswith("I;16")
    if transparent and image.mode == "L":
        image, transparent = image.convert("LA"), False
    if image.mode in ("P", "PA", "1", "RGBa", "La") or transparent:
        image = image.convert("RGBA" if image.mode in ("PA", "RGBa", "La") or transparent else "RGB")
    alpha = image.getchannel("A") if "A" in image.getbands() and image.mode != "LAB" else None
    if image.mode in ("L", "LA", "I;16", "I;16B", "I;16L") and space in ("GRAY", "RGB"):
        return _apply_gray(image, source, alpha)
    wanted = {"RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}.get(space)
    if wanted == "RGB" and image.mode not in ("CMYK", "LAB"):
        image = image.convert("RGB")
    elif image.mode != wanted:
        raise ValueError(f"it is of {space} colors, and the picture of {image.mode}")
    converted = _convert(image, source)
    if alpha is not None:
        converted.putalpha(alpha)
    converted.info.pop("icc_profile", None)
    return converted


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    """Relative colorimetric, to 8-bit sRGB."""
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB")
    assert converted is not None
    return converted


def _apply_gray(image: Image.Image, source: ImageCms.ImageCmsProfile, alpha: Image.Image | None) -> Image.Image:
    """Through the profile's 256 gray levels, and between them, so that 16-bit pictures keep their shadows."""
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    table = _convert(levels if source.profile.xcolor_space == "GRAY" else levels.convert("RGB"), source)
    curve = np.asarray(table)[0, :, 1].astype(np.float64)
    if image.mode.startswith("I;16"):
        values = np.interp(np.arange(65536) / 257, np.arange(256), curve * 257).round().astype(np.uint16)
        stored = np.asarray(image).astype(np.uint16)
        transparent = image.info.get("transparency")
        return Image.fromarray(np.where(stored == transparent, np.uint16(65535), values[stored]))
    gray = Image.fromarray(curve.round().astype(np.uint8)[np.asarray(image.getchannel(0))])
    if alpha is not None:
        gray.putalpha(alpha)
    return gray


# PNG chunks ----------------------------------------------------------------------------------------------------------


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG file before its pixels, by name; none for other files. data: the file, or its beginning."""
    chunks: dict[bytes, bytes] = {}
    at = 8
    while data[:8] == b"\x89PNG\r\n\x1a\n" and at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            break
        chunks[name] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return chunks


def _chunk_profile(chunks: dict[bytes, bytes]) -> bytes | None:
    """The profile that gAMA and cHRM chunks describe (PNG, third edition, sections 11.3.2.1 and 11.3.2.2)."""
    primaries = SRGB
    if b"cHRM" in chunks:
        primaries = tuple(value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
    curve: Curve = _srgb_curve
    if b"gAMA" in chunks:
        (stored,) = struct.unpack(">I", chunks[b"gAMA"])
        if not stored:
            raise ValueError("its gAMA chunk is 0")
        if abs(stored - 45455) > 100:  # otherwise the approximation of sRGB that many programs write
            curve = _power_curve(100_000 / stored)
    return matrix_profile(primaries, curve)


def _cicp_profile(chunk: bytes) -> bytes:
    """The profile of a cICP chunk (PNG, third edition, section 11.3.2.6; ITU-T H.273)."""
    primaries, transfer, matrix, full_range = struct.unpack(">4B", chunk)
    curves: dict[int, Curve] = {
        **dict.fromkeys((1, 6, 14, 15), _bt709_curve),
        4: _power_curve(2.2), 5: _power_curve(2.8), 8: _power_curve(1.0),
        13: _srgb_curve, 16: _pq_curve, 18: _hlg_curve,
    }  # fmt: skip
    if primaries not in PRIMARIES or transfer not in curves or matrix != 0 or full_range != 1:
        raise ValueError(
            f"cICP {primaries}, {transfer}, {matrix}, {full_range}; accepted: primaries {sorted(PRIMARIES)}, transfer "
            f"functions {sorted(curves)}, matrix 0, full range 1"
        )
    return matrix_profile(PRIMARIES[primaries], curves[transfer])


def _power_curve(exponent: float) -> Curve:
    return lambda value: value**exponent


def _srgb_curve(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _bt709_curve(value: np.ndarray) -> np.ndarray:
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def _pq_curve(value: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, clipped at reference white."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = value ** (1 / m2)
    nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return np.minimum(nits / WHITE_NITS, 1)


def _hlg_curve(value: np.ndarray) -> np.ndarray:
    """ARIB STD-B67 on a display of 1,000 nits (system gamma 1.2, per channel), clipped at reference white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return np.minimum(1000 * scene**1.2 / WHITE_NITS, 1)


def matrix_profile(primaries: tuple[float, ...], curve: Curve) -> bytes:
    """An ICC profile (version 2) of an RGB space.

    primaries: x and y of white, red, green and blue. curve: of every channel.
    """
    white, *colors = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in np.reshape(primaries, (4, 2)))
    matrix = np.stack(colors, 1)
    matrix = matrix * np.linalg.solve(matrix, white)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), (_xyz(column) for column in (adapt @ matrix).T), strict=True))
    values = np.round(65535 * np.clip(curve(np.linspace(0, 1, 4096)), 0, 1)).astype(">u2")
    tone = b"curv" + bytes(4) + struct.pack(">I", len(values)) + values.tobytes()
    tags |= {b"wtpt": _xyz(D50), **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone)}
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 4) + b"PNG\0" + bytes(78)
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3I", *(round(65536 * value) for value in D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * float(value)) for value in values))
