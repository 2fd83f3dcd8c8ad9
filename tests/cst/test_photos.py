"""Photos in folders and archives: which are found, their classes, the split, and the cache."""

import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bad_pictures import encoded
from support.photos import make_photo

from cst.images import FORMATS
from cst.photos import PHOTO_SUFFIXES, Entry, Photos, find_photos, is_validation, split

# Many pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path) -> Path:
    """Photos in nested folders, in a zip, and in a zip within a zip, and other files."""
    inner, outer = io.BytesIO(), tmp_path / "b" / "outer.zip"
    (tmp_path / "a" / "deep").mkdir(parents=True)
    outer.parent.mkdir()
    make_photo(0, 20, 20).save(tmp_path / "a" / "deep" / "one.PNG")
    make_photo(1, 20, 20).save(tmp_path / "a" / "two.webp")
    (tmp_path / "a" / "notes.txt").write_text("no photo", encoding="utf-8")
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("rose/four.png", encoded(make_photo(3, 20, 20)))
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._three.jpg", b"resource fork")
        archive.writestr("tulip/three.jpg", encoded(make_photo(2, 20, 20), "JPEG"))
        archive.writestr("more.zip", inner.getvalue())
        archive.writestr("readme.md", "no photo")
    return tmp_path


def test_photos_are_found_in_nested_folders_zips_and_zips_in_zips(library):
    entries = find_photos([library])
    assert [entry.name for entry in entries] == ["one.PNG", "two.webp", "four.png", "three.jpg"]
    assert [entry.label for entry in entries] == ["deep", "a", "rose", "tulip"]
    assert str(entries[2]) == f"{library}/b/outer.zip/more.zip/rose/four.png"
    photos = Photos(entries)
    assert [photo.shape for photo in photos] == [(20, 20, 3)] * 4
    assert np.array_equal(photos[2], make_photo(3, 20, 20))
    assert find_photos([library]) == entries


def test_finding_nothing_is_an_error_with_the_paths(tmp_path):
    with pytest.raises(ValueError, match=f"no such file or folder: '{tmp_path}/none'"):
        find_photos([tmp_path / "none"])
    with pytest.raises(ValueError, match=f"no photos found in '{tmp_path}'"):
        find_photos([tmp_path])


@pytest.mark.parametrize("nested", [False, True])
def test_a_damaged_archive_is_refused_by_name(nested, tmp_path):
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    if nested:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.zip", b"nothing")
    with pytest.raises(ValueError, match=r"inner.zip' is not a" if nested else r"photos.zip' is not a"):
        find_photos([path])


def test_unreadable_photos_are_skipped_and_named(library):
    (library / "a" / "bad.png").write_bytes(b"no photo")
    path = library / "b" / "damaged.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("five.png", b"\x89PNG" + bytes(range(256)) * 40)
        start = archive.getinfo("five.png").header_offset + 30 + len("five.png")
    data = bytearray(path.read_bytes())
    data[start : start + 20] = b"\xff" * 20  # no deflate stream begins so
    path.write_bytes(data)
    photos = Photos(find_photos([library]))
    assert len(list(photos)) == 4
    assert set(photos.unreadable) == {f"{library}/a/bad.png", f"{path}/five.png"}
    assert all(photos.unreadable.values())


def test_photos_keep_only_what_fits_in_memory(photos):
    kept = Photos(find_photos([photos]), memory_gib=60_000 / 2**30)  # two photos of about 25 kB
    first = kept[0]
    assert kept[0] is first
    for index in range(len(kept)):
        assert kept[index] is not None
    assert kept[0] is not first
    assert np.array_equal(kept[0], first)


def test_photos_can_be_read_from_several_threads(library):
    photos, alone = Photos(find_photos([library]), memory_gib=2000 / 2**30), Photos(find_photos([library]))
    gate = threading.Barrier(8)

    def read(thread: int) -> bool:
        gate.wait()
        order = np.random.default_rng(thread).integers(4, size=40)
        return all(np.array_equal(photos[int(i)], alone[int(i)]) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_the_validation_split_is_stable_and_disjoint():
    names = [f"image_{i:05d}.jpg" for i in range(1, 2001)]
    held_out = [name for name in names if is_validation(name)]
    assert held_out[:4] == ["image_00086.jpg", "image_00091.jpg", "image_00107.jpg", "image_00171.jpg"]
    assert 0.02 < len(held_out) / len(names) < 0.045
    entries = [Entry(Path("folder") / name) for name in names]
    training, validation = split(entries)
    assert not set(training) & set(validation)
    assert sorted(map(str, training + validation)) == sorted(map(str, entries))
    elsewhere = [Entry(Path("archive.zip"), (f"other/{name}",)) for name in reversed(names)]
    assert {entry.name for entry in split(elsewhere)[1]} == set(held_out)


def test_a_split_of_few_photos_is_never_empty():
    entries = [Entry(Path(name)) for name in ("b.png", "c.png", "d.png")]
    assert not any(is_validation(entry.name) for entry in entries)
    training, validation = split(entries)
    assert (len(training), len(validation)) == (2, 1)
    assert split(entries[:1]) == (entries[:1], entries[:1])


# Folders of other systems --------------------------------------------------------------------------------------------

JUNK = ("._1.jpg", ".hidden.jpg", "Thumbs.db", "__MACOSX/1.jpg", "@eaDir/1.jpg", ".Trash-1000/1.jpg",
        ".ipynb_checkpoints/1.jpg", "rose/.git/deep/1.jpg")  # fmt: skip


def put(root: Path, *names: str) -> Path:
    """Photos of these names: in a folder, or in a zip archive if the path ends so."""
    data = encoded(make_photo(0, 9, 9))
    if root.suffix == ".zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name in names:
                archive.writestr(name, data)
    else:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    return root


def classes(*paths: Path) -> dict[str, str]:
    return {entry.name: entry.label for entry in find_photos(paths)}


@pytest.mark.parametrize("root", ["photos", "photos.zip"])
def test_hidden_files_and_those_of_systems_are_no_photos(root, tmp_path):
    folder = put(tmp_path / root, "rose/2.jpg", *JUNK)
    assert classes(folder) == {"2.jpg": "rose"}


def test_a_hidden_folder_that_is_given_is_searched(tmp_path):
    assert classes(put(tmp_path / ".cache", "rose/1.jpg")) == {"1.jpg": "rose"}


@pytest.mark.parametrize("root", ["flowers", "flowers.zip"])
@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["rose/garden/1.jpg", "tulip/garden/2.jpg"], ["rose", "tulip"]),
        (["all/flowers/Rose/1.webp", "all/flowers/Tulip/2.webp"], ["Rose", "Tulip"]),
        (["Rose/1.webp", "Rose/2.webp"], ["Rose", "Rose"]),
        (["1.webp", "2.webp"], ["flowers", "flowers"]),
        (["1.webp", "tulip/2.webp"], ["flowers", "tulip"]),
    ],
)
def test_a_class_is_the_first_folder_below_what_all_photos_share(root, names, labels, tmp_path):
    assert list(classes(put(tmp_path / root, *names)).values()) == labels


def test_archives_in_one_folder_are_classes(tmp_path):
    put(tmp_path / "rose.zip", "1.jpg")
    put(tmp_path / "tulip.zip", "2.jpg")
    assert classes(tmp_path) == {"1.jpg": "rose", "2.jpg": "tulip"}


def test_backslashes_in_an_archive_separate_folders(tmp_path):
    root = put(tmp_path / "windows.zip", "rose\\1.jpg", "tulip\\2.jpg")
    assert classes(root) == {"1.jpg": "rose", "2.jpg": "tulip"}
    assert len(list(Photos(find_photos([root])))) == 2


def test_linked_folders_are_followed_once(tmp_path):
    put(tmp_path / "elsewhere", "1.jpg")
    put(tmp_path / "flowers", "tulip/2.jpg")
    (tmp_path / "flowers" / "rose").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "flowers" / "tulip" / "loop").symlink_to(tmp_path / "flowers")
    assert classes(tmp_path / "flowers") == {"1.jpg": "rose", "2.jpg": "tulip"}


def test_names_that_differ_only_in_unicode_form_are_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert set(classes(put(tmp_path / "flowers.zip", f"{composed}/1.jpg", f"{decomposed}/2.jpg")).values()) == {
        composed
    }


def test_names_that_are_not_utf8_are_read_and_printed_escaped(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        put(tmp_path / "flowers", f"rose/{name}", "rose/1.jpg")
    except OSError:
        pytest.skip("this file system accepts no such names")
    entries = find_photos([tmp_path])
    assert len(list(Photos(entries))) == 2 and sum(map(len, split(entries))) == 2
    assert str(entries[1]).endswith(r"rose/caf\xe9.jpg") and str(entries[1]).isascii()


def test_every_format_that_opens_singly_is_found_in_folders():
    Image.init()
    known = {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS}
    assert known <= PHOTO_SUFFIXES
    assert {".jfif", ".jif", ".mpo", ".pbm", ".apng", ".heic"} <= PHOTO_SUFFIXES


def test_the_last_photo_of_a_class_is_never_held_out():
    held_out = next(name for name in (f"{number}.jpg" for number in range(1000)) if is_validation(name))
    entries = [
        Entry(Path("rose") / held_out, label="rose"),
        *(Entry(Path(f"t{i}.jpg"), label="tulip") for i in range(3)),
    ]
    training, validation = split(entries)
    assert entries[0] in training and [entry.label for entry in validation] == ["tulip"]
