"""Photos of known kinds as tokens: a matter of seed and step alone, shared evenly, and under the right name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import CLASSES, make_photo

from cst.images import center_crop, to_float
from cst.photos import Photos, find_photos
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import TokenizerConfig
from prior.config import PRESETS, PriorConfig
from prior.training.labeled_crops import LabeledCrops, class_names, encode_squares

COLORS = {"blue": (0, 0, 255), "green": (0, 128, 0), "red": (255, 0, 0)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders named after the one color of the photos in them."""
    folder = tmp_path_factory.mktemp("plain")
    for name, color in COLORS.items():
        (folder / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40 + number, 30), color).save(folder / name / f"{name}-{number}.png")
    return folder


def make_crops(images: Path, *, seed: int = 0, batch: int = 6, min_crop: float = 0.5, **more: slice) -> LabeledCrops:
    entries = find_photos([images])
    labels = [class_names(entries).index(entry.label) for entry in entries]
    return LabeledCrops(Photos(entries), labels, size=16, batch=batch, min_crop=min_crop, seed=seed, **more)


@pytest.fixture
def codebooks(artifact) -> Codebooks:
    return Codebooks.of_artifact(artifact, TokenizerConfig.load(artifact))


@pytest.fixture
def prior(codebooks) -> PriorConfig:
    """A prior of 4x4 patches that knows all three kinds."""
    return PriorConfig(
        kind="gpt",
        model=PRESETS["tiny"],
        levels={level.name: level.size for level in codebooks.levels},
        fingerprint=codebooks.fingerprint,
        patch=8,
        beam=1,
        grid=(4, 4),
        classes=CLASSES,
    )


def test_a_batch_depends_on_seed_and_step_alone(kinds_of_photo):
    crops = make_crops(kinds_of_photo)
    first, labels = crops[7]
    assert (first.shape, first.dtype, labels.shape, labels.dtype) == ((6, 3, 16, 16), np.uint8, (6,), np.int64)
    crops[3]
    for again in (crops[7], make_crops(kinds_of_photo)[7]):
        assert np.array_equal(again[0], first)
        assert np.array_equal(again[1], labels)
    assert not np.array_equal(crops[8][0], first)
    assert not np.array_equal(make_crops(kinds_of_photo, seed=1)[7][0], first)
    ahead = [*crops.ahead(7, 9)]
    assert np.array_equal(ahead[0][0], first)
    assert np.array_equal(ahead[1][1], crops[8][1])


def test_a_crop_is_labeled_by_the_folder_it_comes_from(plain):
    crops, names = make_crops(plain, batch=8), sorted(COLORS)
    seen = set()
    for step in range(4):
        for crop, label in zip(*crops[step], strict=True):
            assert (crop == np.array(COLORS[names[label]]).reshape(3, 1, 1)).all()
            seen.add(label)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_all_processes_are_the_batch_of_one(processes, kinds_of_photo):
    whole, labels = make_crops(kinds_of_photo)[5]
    for process in range(processes):
        share = slice(process, None, processes)
        crops, own = make_crops(kinds_of_photo, share=share)[5]
        assert np.array_equal(crops, whole[share])
        assert np.array_equal(own, labels[share])


def test_a_crop_is_a_square_between_the_least_and_all_of_the_shorter_side(tmp_path):
    (tmp_path / "ramp").mkdir()
    ramp = np.zeros((100, 140, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(140), np.arange(100)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp" / "ramp.png")
    crops = np.concatenate([make_crops(tmp_path, batch=20)[step][0] for step in range(5)]).astype(int)
    across = np.abs(crops[:, 0, :, -2] - crops[:, 0, :, 1]).mean(1) / 13 * 16  # 13 of 16 pixels: away from the border
    down = np.abs(crops[:, 1, -2] - crops[:, 1, 1]).mean(1) / 13 * 16
    assert np.abs(across - down).max() < 3  # square
    assert 48 < across.min() < 60
    assert 90 < across.max() < 102
    flipped = crops[:, 0, 8, 0] > crops[:, 0, 8, -1]
    assert 0.3 < flipped.mean() < 0.7
    assert (crops[:, 1, 0] < crops[:, 1, -1]).all()  # never upside down
    whole = make_crops(tmp_path, min_crop=1.0)[0][0]
    assert (np.ptp(whole[:, 1].astype(int), axis=(1, 2)) > 90).all()


def test_the_smallest_photo_still_gives_a_crop(tmp_path):
    (tmp_path / "dot").mkdir()
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot" / "dot.png")
    assert (make_crops(tmp_path, min_crop=0.1)[0][0] == np.array([255, 0, 0]).reshape(3, 1, 1)).all()


def test_classes_are_the_names_of_the_folders(kinds_of_photo, photos):
    assert class_names(find_photos([kinds_of_photo])) == CLASSES
    assert class_names(find_photos([photos])) == (photos.name,)


def test_squares_are_encoded_as_the_tokenizer_does(kinds_of_photo, codebooks, prior):
    entries = find_photos([kinds_of_photo])
    tokens, labels = encode_squares(entries, prior, codebooks)
    assert (tokens.shape, tokens.dtype) == ((15, 3, 4, 4), np.int32)
    assert [CLASSES[label] for label in labels] == [entry.label for entry in entries]
    square = center_crop(Image.open(entries[3].path), 32)
    assert np.array_equal(tokens[3], codebooks.encode(to_float(square)[None])[0])


def test_the_middle_is_the_largest_square(kinds_of_photo):
    photo = np.arange(20 * 31 * 3, dtype=np.uint8).reshape(20, 31, 3)
    assert np.array_equal(np.asarray(center_crop(Image.fromarray(photo), 20)), photo[:, 5:25])
    turned = photo.transpose(1, 0, 2)
    assert np.array_equal(np.asarray(center_crop(Image.fromarray(turned), 20)), turned[5:25])


def test_large_squares_are_not_shrunk_first(codebooks, prior, tmp_path):
    (tmp_path / "daisy").mkdir()
    photo = make_photo(0, 400, 400)
    photo.save(tmp_path / "daisy" / "large.png")
    tokens, _ = encode_squares(find_photos([tmp_path]), dataclasses.replace(prior, grid=(50, 50)), codebooks)
    assert np.array_equal(tokens, codebooks.encode(to_float(photo)[None]))


def test_photos_that_are_damaged_or_of_no_known_class_are_left_out(codebooks, prior, tmp_path):
    for name in ("daisy", "thistle"):
        (tmp_path / name).mkdir()
        make_photo(0, 40, 40).save(tmp_path / name / f"{name}.png")
    (tmp_path / "daisy" / "bad.png").write_text("no photo", encoding="utf-8")
    tokens, labels = encode_squares(find_photos([tmp_path]), prior, codebooks)
    assert (len(tokens), labels.tolist()) == (1, [1])
    (tmp_path / "daisy" / "daisy.png").unlink()
    with pytest.raises(ValueError, match=r"none of 2 photos is readable and of a known class; .*\(Blue bell, da"):
        encode_squares(find_photos([tmp_path]), prior, codebooks)
