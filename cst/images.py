"""Read any picture as RGB, resize it, and convert between uint8 and float."""

import importlib.util
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile

from cst.color_profiles import png_chunks, to_srgb

# Accepted formats. Pillow's others run external programs (EPS) or are no use for photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
JPEG_END = b"\xff\xd9"
ImageLike = str | os.PathLike | bytes | Image.Image | np.ndarray


def load_image(source: ImageLike) -> Image.Image:
    """Read a picture as upright, opaque, 8-bit RGB.

    source: a path, encoded bytes, a PIL image, or an array: (H, W) or (H, W, 1 to 4), uint8, uint16, or float in
    [0, 1]. Applies the EXIF orientation, composites transparency on white, converts gray, palette, CMYK and 16-bit
    modes, and takes the first frame of an animation. Raises ValueError for anything that is not a complete, readable
    picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _flatten(source, {})
    name = "the given file" if isinstance(source, bytes) else f"'{os.fspath(source)}'"
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise ValueError(f"no such file: {name}; give the path of a JPEG, PNG, WebP or other picture")
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"{name} can't be read ({error.strerror}); check its permissions") from None
    try:
        return _decode(data)
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
            raise ValueError(f"{name} is a HEIC photo, which needs a package: pip install pillow-heif") from None
        raise ValueError(f"{name} is not a picture that can be read; give a JPEG, PNG, WebP or similar file") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} declares more pixels than can be opened safely; give a smaller picture") from None
    except (OSError, SyntaxError, EOFError, IndexError, MemoryError, RuntimeError, ValueError) as error:
        # RuntimeError: AVIF. ValueError: compressed text chunks that would inflate without end.
        raise ValueError(f"{name} is damaged or cut short ({error}); save or download it again") from None


def _decode(data: bytes) -> Image.Image:
    """The bytes of a file -> upright, opaque RGB."""
    formats = list(FORMATS)
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats.append("HEIF")
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            return _flatten(image, png_chunks(data))
    except OSError:
        if not data.startswith(b"\xff\xd8") or data.endswith(JPEG_END):
            raise
        # Only the end marker may be missing. If pixels were missing too, they would depend on what follows.
        pictures = []
        for filling in (b"", b"\x5a\xa5" * 32):
            with Image.open(io.BytesIO(data.removesuffix(b"\xff") + filling + JPEG_END), formats=["JPEG"]) as image:
                pictures.append(_flatten(image, {}))
        if pictures[0].tobytes() != pictures[1].tobytes():
            raise
        return pictures[0]


def _flatten(image: Image.Image, chunks: dict[bytes, bytes]) -> Image.Image:
    """Any PIL mode and color profile -> upright, opaque sRGB. chunks: see `png_chunks`."""
    frame = image.tile[0].extents if isinstance(image, GifImageFile) and image.tile else None
    image.load()
    if frame is not None and frame != (0, 0, *image.size):  # the rest of the canvas is transparent
        canvas = Image.new("RGBA", image.size)
        canvas.paste(image.convert("RGBA").crop(frame), frame)
        image = canvas
    image = _deep_gray(image)
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block: keep the stored orientation
        image = image.copy()
    image, problem = to_srgb(image, chunks)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        transparent = image.info.get("transparency")
        image = _from_array(values if transparent is None else np.where(values == transparent, 65535, values))
    if image.mode == "La":  # gray premultiplied by its alpha, which Pillow only converts to LA
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    image.info = {"problem": problem} if problem else {}
    return image


def _deep_gray(image: Image.Image) -> Image.Image:
    """Gray pictures of 32 bits or float -> 16 bits; other pictures unchanged, but for inverted 16-bit TIFF."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        largest = values[np.isfinite(values)].max(initial=0)
        full = next((limit for limit in (1, 255, 65535) if largest <= limit), largest)
        gray = np.nan_to_num(values / full, posinf=1)
    elif image.mode == "I":
        signed = tags.get(339, (1,))[0] == 2
        if tags.get(258, (16,))[0] == 32:
            gray = np.asarray(image) / (2**31 - 1) if signed else np.asarray(image).view(np.uint32) / (2**32 - 1)
        else:
            gray = np.asarray(image) / 65535
    elif image.mode.startswith("I;16") and tags.get(262) == 0:  # WhiteIsZero
        gray = 1 - np.asarray(image) / 65535
    else:
        return image
    info, picture = image.info, Image.fromarray(np.round(65535 * gray.clip(0, 1)).astype(np.uint16))
    picture.info, picture._exif = info, image.getexif()  # type: ignore[attr-defined]
    return picture


def _from_array(array: np.ndarray) -> Image.Image:
    """(H, W) or (H, W, 1 to 4) uint8, uint16 or float in [0, 1] -> RGB."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"an array of shape {array.shape} is not a picture; accepted: (H, W) or (H, W, 1 to 4)")
    if array.dtype == np.uint16:
        array = np.round(array / 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError(f"a float picture must lie in [0, 1]; this one spans {array.min():g} to {array.max():g}")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an array of {array.dtype} is not a picture; accepted: uint8, uint16, or float in [0, 1]")
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[array.shape[2]]
    if array.shape[2] == 1:
        array = array[..., 0]
    return _flatten(Image.fromarray(np.ascontiguousarray(array), mode if mode == "LA" else None), {})


def fit_within(image: Image.Image, longest: int) -> Image.Image:
    """Shrink so that the longest side is at most `longest` pixels; never enlarge."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def limit_shortest_side(image: Image.Image, shortest: int) -> Image.Image:
    """Shrink so that the shortest side is at most `shortest` pixels; never enlarge."""
    scale = shortest / min(image.size)
    return fit_within(image, round(max(image.size) * scale)) if scale < 1 else image


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """The largest central square of a picture, resized to `size` x `size` pixels."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)


def to_float(image: Image.Image) -> np.ndarray:
    """RGB picture -> (3, H, W) float32 in [0, 1]."""
    array = np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")
    array /= 255
    return array


def to_uint8(images: np.ndarray) -> np.ndarray:
    """(..., 3, H, W) float32 in [0, 1] -> (..., H, W, 3) uint8, rounded."""
    return np.round(np.clip(np.moveaxis(images, -3, -1), 0, 1) * 255).astype(np.uint8)


def to_image(image: np.ndarray) -> Image.Image:
    """(3, H, W) float32 in [0, 1] -> RGB picture."""
    return Image.fromarray(to_uint8(image))


def pad_to_multiple(images: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row and column of (..., H, W) until both are multiples of `multiple`."""
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + [(0, bottom), (0, right)], mode="edge")
