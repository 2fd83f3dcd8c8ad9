"""Find photos in folders and (nested) zip archives, split them, and read them with a cache."""

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

from cst.images import limit_shortest_side, load_image

PHOTO_SUFFIXES = {
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2", ".tga",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The place of one photo: a file, or a member of a zip archive, which may be nested in other archives."""

    path: Path
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name without folders, which decides the validation split."""
        return Path(self.members[-1] if self.members else self.path).name

    @property
    def label(self) -> str:
        """The name of the folder that holds the photo: its class, if the folders are classes."""
        return Path(self.members[-1] if self.members else self.path.absolute()).parent.name

    def __str__(self) -> str:
        return "/".join([str(self.path), *self.members])


def find_photos(paths: Iterable[str | os.PathLike]) -> list[Entry]:
    """List every photo in the given files, folders and (nested) zip archives, in a fixed order.

    Raises ValueError for a path that does not exist, an unreadable archive, or when nothing is found.
    """
    roots = [Path(path) for path in paths]
    entries: list[Entry] = []
    for path in roots:
        if not path.exists():
            raise ValueError(f"no such file or folder: '{path}'; give folders of photos, zip archives or photos")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix.lower() == ".zip":
                entries += _find_in_zip(file)
            elif file.suffix.lower() in PHOTO_SUFFIXES:
                entries.append(Entry(file))
    if not entries:
        searched = ", ".join(f"'{path}'" for path in roots)
        suffixes = " ".join(sorted(PHOTO_SUFFIXES))
        raise ValueError(f"no photos found in {searched}; accepted: {suffixes} files, or .zip of them")
    return entries


def _find_in_zip(path: Path, outer: tuple[str, ...] = ()) -> list[Entry]:
    entries: list[Entry] = []
    try:
        with _open_zip(path, outer) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, OSError, zlib.error, RuntimeError) as error:
        raise ValueError(f"'{Entry(path, outer)}' is not a readable zip archive ({error})") from None
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix == ".zip":
            entries += _find_in_zip(path, (*outer, name))
        elif suffix in PHOTO_SUFFIXES and not name.startswith("__MACOSX/"):
            entries.append(Entry(path, (*outer, name)))
    return entries


def _open_zip(path: Path, outer: tuple[str, ...]) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path)
    for name in outer:
        archive = zipfile.ZipFile(io.BytesIO(archive.read(name)))
    return archive


def is_validation(name: str, share: int = 32) -> bool:
    """Whether a photo of this file name is held out: one in `share`, chosen by a hash of the name."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % share == 0


def split(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Split photos by `is_validation` of their names -> (training, held out), neither of them empty.

    Held-out photos are sorted by a hash, so that the first few are a fair sample of all folders. A single photo is in
    both lists.
    """
    by_hash = sorted(entries, key=lambda entry: hashlib.sha256(entry.name.encode()).digest())
    held_out = [entry for entry in by_hash if is_validation(entry.name)]
    if not held_out:
        held_out = by_hash[:1]
    chosen = set(held_out)
    return [entry for entry in entries if entry not in chosen] or list(entries), held_out


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
