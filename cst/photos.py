"""Find photos in folders and (nested) zip archives, split them, and read them with a cache."""

import hashlib
import io
import os
import threading
import unicodedata
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cst.images import limit_shortest_side, load_image

PHOTO_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".heic", ".heif", ".hif", ".heics",
    ".heifs", ".avif", ".avifs", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".icb", ".vda", ".vst", ".ico",
}  # fmt: skip
NO_PHOTOS = {"__MACOSX", "@eaDir"}  # folders of operating systems; hidden ones are left out too


@dataclass(frozen=True)
class Entry:
    """The place of one photo: a file, or a member of a zip archive, which may be nested in other archives.

    label: the class of the photo, if the folders are classes; see `find_photos`.
    """

    path: Path
    members: tuple[str, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """The file name without folders, which decides the validation split."""
        return _parts(self.members[-1])[-1] if self.members else self.path.name

    def __str__(self) -> str:
        """Printable in any case: bytes that are not UTF-8 are escaped."""
        return (
            "/".join([str(self.path), *self.members]).encode(errors="surrogateescape").decode(errors="backslashreplace")
        )


def find_photos(paths: Iterable[str | os.PathLike]) -> list[Entry]:
    """List every photo in the given files, folders and (nested) zip archives, in a fixed order.

    Hidden files and folders, and those that operating systems add, are left out. Linked folders are followed once. The
    class of a photo is the first folder below the deepest folder that all photos of the given folder, or of the
    archive, share. It is that shared folder where none is below it, and the archive's name where there is none at all.
    Raises ValueError for a path that does not exist, an unreadable archive, or when nothing is found.
    """
    roots = [Path(path) for path in paths]
    entries: list[Entry] = []
    for path in roots:
        if not path.exists():
            raise ValueError(f"no such file or folder: '{path}'; give folders of photos, zip archives or photos")
        files = files_below(path) if path.is_dir() else [path]
        own = [file.parts for file in files if file.suffix.lower() in PHOTO_SUFFIXES]
        labels = _labels(own if path.is_dir() else [file.absolute().parts for file in files], path.absolute().name)
        for file in files:
            if file.suffix.lower() == ".zip":
                entries += _find_in_zip(file)
            elif file.suffix.lower() in PHOTO_SUFFIXES:
                entries.append(Entry(file, label=next(labels)))
    if not entries:
        searched = ", ".join(f"'{path}'" for path in roots)
        suffixes = " ".join(sorted(PHOTO_SUFFIXES))
        raise ValueError(f"no photos found in {searched}; accepted: {suffixes} files, or .zip of them")
    return entries


def files_below(root: Path) -> list[Path]:
    """The files below a folder, sorted, without hidden and system ones; each linked folder once."""
    files: list[Path] = []
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(filter(_may_hold_photos, folders))
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(files)


def _may_hold_photos(folder: str) -> bool:
    return not folder.startswith(".") and folder not in NO_PHOTOS


def _parts(name: str) -> tuple[str, ...]:
    """The folders and file name of a zip's member; some programs write backslashes."""
    return PurePosixPath(name.replace("\\", "/")).parts


def _labels(paths: Sequence[tuple[str, ...]], root: str) -> Iterator[str]:
    """The class of every photo of a folder or archive, given its folders and file name; see `find_photos`."""
    shared = os.path.commonprefix([parts[:-1] for parts in paths])  # noqa: RUF071 (tuples, not strings)
    for parts in paths:
        below = parts[len(shared) : -1]
        yield unicodedata.normalize("NFC", below[0] if below else shared[-1] if shared else root)


def _find_in_zip(path: Path, outer: tuple[str, ...] = ()) -> list[Entry]:
    entries: list[Entry] = []
    try:
        with _open_zip(path, outer) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, OSError, zlib.error, RuntimeError) as error:
        raise ValueError(f"'{Entry(path, outer)}' is not a readable zip archive ({error})") from None
    names = [name for name in names if _parts(name) and all(map(_may_hold_photos, _parts(name)))]
    photos = [_parts(name) for name in names if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES]
    labels = _labels(photos, Path(outer[-1] if outer else path).stem)
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == ".zip":
            entries += _find_in_zip(path, (*outer, name))
        elif suffix in PHOTO_SUFFIXES:
            entries.append(Entry(path, (*outer, name), next(labels)))
    return entries


def _open_zip(path: Path, outer: tuple[str, ...]) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path)
    for name in outer:
        archive = zipfile.ZipFile(io.BytesIO(archive.read(name)))
    return archive


def is_validation(name: str, share: int = 32) -> bool:
    """Whether a photo of this file name is held out: one in `share`, chosen by a hash of the name."""
    return int.from_bytes(_digest(name)) % share == 0


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def split(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Split photos by `is_validation` of their names -> (training, held out), neither of them empty.

    Held-out photos are sorted by a hash, so that the first few are a fair sample of all folders. The last photo of a
    class is never held out. If every class has only one photo, one of them is in both lists.
    """
    by_hash = sorted(entries, key=lambda entry: _digest(entry.name))
    left = Counter(entry.label for entry in entries)
    held_out = []
    for entry in by_hash:
        if is_validation(entry.name) and left[entry.label] > 1:
            held_out.append(entry)
            left[entry.label] -= 1
    if not held_out:
        held_out = [entry for entry in by_hash if left[entry.label] > 1][:1]
    chosen = set(held_out)
    return [entry for entry in entries if entry not in chosen], held_out or by_hash[:1]


class Photos:
    """Random access to photos as (H, W, 3) uint8, with a cache of the last ones read. Thread-safe.

    shortest: larger photos are shrunk to this shortest side, pixels. memory_gib: size of the cache. `photos[i]` is None
    for a file that cannot be read; `unreadable` lists these files with the reason.
    """

    def __init__(self, entries: Sequence[Entry], *, shortest: int = 288, memory_gib: float = 6.0):
        self.entries = list(entries)
        self.shortest = shortest
        self.unreadable: dict[str, str] = {}
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._room = int(memory_gib * 2**30)
        self._archives: dict[tuple[Path, tuple[str, ...]], zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> np.ndarray | None:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        entry = self.entries[index]
        try:
            photo = np.asarray(limit_shortest_side(load_image(self._read(entry)), self.shortest))
        except (ValueError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            self.unreadable[str(entry)] = str(error)
            return None
        with self._lock:
            self._room += self._cache.pop(index).nbytes if index in self._cache else 0
            self._cache[index] = photo
            self._room -= photo.nbytes
            while self._room < 0 and len(self._cache) > 1:
                self._room += self._cache.popitem(last=False)[1].nbytes
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
