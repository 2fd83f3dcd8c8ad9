"""Pictures in, pictures out: reading any photo, walking folders and archives, and the uint8 <-> float edge."""

import hashlib
import io
import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2", ".tga"}
# What may be opened. Others that Pillow knows run outside programs (EPS) or are of no use for photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
ImageLike = str | os.PathLike | bytes | Image.Image | np.ndarray


def load_image(source: ImageLike) -> Image.Image:
    """Read a picture as a person sees it: upright, opaque, 8-bit RGB.

    Takes a path, encoded bytes, a PIL image or an array ((H, W) or (H, W, 1 to 4): uint8, uint16, or float in
    [0, 1]). EXIF orientation is applied, transparency is composited on white, gray, palette, CMYK and 16-bit modes
    are converted, and of an animation the first frame is taken. Raises ValueError for anything that is not a whole
    readable picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _flatten(source)
    name = "the given file" if isinstance(source, bytes) else f"'{os.fspath(source)}'"
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise ValueError(f"no such file: {name}; give the path of a JPEG, PNG, WebP or other picture")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            return _flatten(image)
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that can be read; give a JPEG, PNG, WebP or similar file") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} declares more pixels than can be opened safely; give a smaller picture") from None
    except (OSError, SyntaxError, EOFError, IndexError, MemoryError, RuntimeError, ValueError) as error:
        # AVIF's are RuntimeErrors; ValueErrors are of words beside the pixels that would inflate without end
        raise ValueError(f"{name} is damaged or cut short ({error}); save or download it again") from None


def _flatten(image: Image.Image) -> Image.Image:
    """Any PIL mode -> upright opaque RGB."""
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels: keep them as they lie
        image = image.copy()
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return _from_array(np.clip(np.asarray(image).astype(np.int64), 0, 65535).astype(np.uint16))
    if image.mode == "F":
        array = np.nan_to_num(np.asarray(image))
        return _from_array(array if array.max(initial=0) <= 1 else array / array.max())
    if image.mode == "La":  # gray premultiplied by its alpha, which Pillow converts to LA alone
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


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
    return _flatten(Image.fromarray(np.ascontiguousarray(array), mode if mode == "LA" else None))


def fit_within(image: Image.Image, longest: int) -> Image.Image:
    """Shrink so that the longest side is at most `longest` pixels; never enlarge."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)


def shorten(image: Image.Image, shortest: int) -> Image.Image:
    """Shrink so that the shortest side is at most `shortest` pixels; never enlarge."""
    scale = shortest / min(image.size)
    return fit_within(image, round(max(image.size) * scale)) if scale < 1 else image


def middle(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle of a picture, resized to `size` x `size` pixels."""
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


# Reading many photos -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Where one photo lies: a file, or a member of a zip archive (of an archive inside an archive, and so on)."""

    path: Path
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name alone, which decides the validation split."""
        return Path(self.members[-1] if self.members else self.path).name

    @property
    def label(self) -> str:
        """The name of the folder that holds the photo: its class, where the folders are classes."""
        return Path(self.members[-1] if self.members else self.path.absolute()).parent.name

    def __str__(self) -> str:
        return "/".join([str(self.path), *self.members])


def find_photos(paths: Iterable[str | os.PathLike]) -> list[Entry]:
    """List every photo below the given files, folders and zip archives, nested ones too, in a fixed order.

    Raises ValueError for a path that does not exist, an unreadable archive, or when nothing is found.
    """
    paths = [Path(path) for path in paths]
    entries = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"no such file or folder: '{path}'; give folders of photos, zip archives or photos")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix.lower() == ".zip":
                entries += _find_in_zip(file)
            elif file.suffix.lower() in SUFFIXES:
                entries.append(Entry(file))
    if not entries:
        looked = ", ".join(f"'{path}'" for path in paths)
        raise ValueError(f"no photos found in {looked}; accepted: {' '.join(sorted(SUFFIXES))} files, or .zip of them")
    return entries


def _find_in_zip(path: Path, outer: tuple[str, ...] = ()) -> list[Entry]:
    found = []
    try:
        with _open_zip(path, outer) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, OSError, zlib.error, RuntimeError) as error:
        raise ValueError(f"'{Entry(path, outer)}' is not a readable zip archive ({error})") from None
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix == ".zip":
            found += _find_in_zip(path, (*outer, name))
        elif suffix in SUFFIXES and not name.startswith("__MACOSX/"):
            found.append(Entry(path, (*outer, name)))
    return found


def _open_zip(path: Path, outer: tuple[str, ...]) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path)
    for name in outer:
        archive = zipfile.ZipFile(io.BytesIO(archive.read(name)))
    return archive


def is_validation(name: str, share: int = 32) -> bool:
    """Whether a photo of this file name is held out: one in `share`, by a hash, the same on every machine and run."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % share == 0


def split(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """(training, validation) photos, by `is_validation` of their names; neither is ever empty.

    The held-out ones come in the order of a hash, so that the first few are a fair sample of all folders. A single
    photo is in both.
    """
    by_hash = sorted(entries, key=lambda entry: hashlib.sha256(entry.name.encode()).digest())
    held_out = [entry for entry in by_hash if is_validation(entry.name)]
    if not held_out:
        held_out = by_hash[:1]
    chosen = set(held_out)
    return [entry for entry in entries if entry not in chosen] or list(entries), held_out


class Photos:
    """Random access to photos as (H, W, 3) uint8, shortest side at most `shortest` pixels; the last stay in memory.

    Safe to read from several threads.

    `photos[i]` is None for a file that cannot be read; such files are listed in `unreadable` with the reason.
    """

    def __init__(self, entries: Sequence[Entry], *, shortest: int = 288, memory_gib: float = 6.0):
        self.entries = list(entries)
        self.shortest = shortest
        self.unreadable: dict[str, str] = {}
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._room = int(memory_gib * 2**30)
        self._archives: dict[tuple[Path, tuple[str, ...]], zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> np.ndarray | None:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        entry = self.entries[index]
        try:
            photo = np.asarray(shorten(load_image(self._read(entry)), self.shortest))
        except (ValueError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            self.unreadable[str(entry)] = str(error)
            return None
        with self._lock:
            self._room += self._kept.pop(index).nbytes if index in self._kept else 0
            self._kept[index] = photo
            self._room -= photo.nbytes
            while self._room < 0 and len(self._kept) > 1:
                self._room += self._kept.popitem(last=False)[1].nbytes
        return photo

    def __iter__(self) -> Iterator[np.ndarray]:
        """The readable photos, in order."""
        for index in range(len(self)):
            if (photo := self[index]) is not None:
                yield photo

    def _read(self, entry: Entry) -> bytes:
        if not entry.members:
            return entry.path.read_bytes()
        key = (entry.path, entry.members[:-1])
        with self._lock:
            if key not in self._archives:
                self._archives[key] = _open_zip(*key)
            return self._archives[key].read(entry.members[-1])
