"""Counts of codes: made from training photos, saved with the tokenizer, checked when read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cst.training.count_codes
from cst.images import pad_to_multiple, to_float
from cst.photos import Photos, find_photos, split
from cst.tokenizer.code_statistics import STATISTICS_FILE, Statistics
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import PRETRAINED, TokenizerConfig


@pytest.fixture
def folder(codebooks_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny codebooks, to be counted into."""
    return Path(shutil.copytree(codebooks_folder, tmp_path / "tokenizer"))


def count(folder: Path, photos: Path, *flags: str) -> Statistics:
    cst.training.count_codes.main(["--images", str(photos), "--tokenizer", str(folder), *flags])
    return Statistics.of_artifact(folder, TokenizerConfig.load(folder))


def test_the_codes_of_training_photos_are_counted_and_no_others(folder, photos, capsys):
    statistics = count(folder, photos)
    config = TokenizerConfig.load(folder)
    codebooks = Codebooks.of_artifact(folder, config)
    training, held_out = split(find_photos([str(photos)]))
    assert held_out
    wanted = [np.zeros(level.size, int) for level in codebooks.levels]
    for photo in Photos(training):
        padded = pad_to_multiple(to_float(Image.fromarray(photo)), 8)
        for level, codes in enumerate(codebooks.encode(padded[None], beam=config.beam)[0]):
            wanted[level] += np.bincount(codes.ravel(), minlength=len(wanted[level]))
    for counted, right in zip(statistics.counts, wanted, strict=True):
        assert counted.dtype == np.uint32 and np.array_equal(counted, right)
    assert "color" in capsys.readouterr().out
    assert config.files[STATISTICS_FILE] and config.files["codebooks.safetensors"]


def test_a_limit_counts_fewer_photos(folder, photos):
    assert 0 < count(folder, photos, "--limit", "3").counts[0].sum() < count(folder, photos).counts[0].sum()


def test_shares_sum_to_one_and_what_never_occurred_is_rare_but_not_impossible():
    statistics = Statistics((np.array([6, 3, 0, 1], np.uint32),))
    assert np.allclose(statistics.share(0, np.array([0, 1, 2, 3])), [0.6, 0.3, 0.1, 0.1])


def test_missing_statistics_are_an_error_that_names_the_command(codebooks_folder):
    with pytest.raises(ValueError, match=r"has no statistics .* python -m cst count-codes"):
        Statistics.of_artifact(codebooks_folder, TokenizerConfig.load(codebooks_folder))


def test_altered_statistics_are_refused(folder, photos):
    count(folder, photos)
    data = bytearray((folder / STATISTICS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / STATISTICS_FILE).write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        Statistics.of_artifact(folder, TokenizerConfig.load(folder))


def test_statistics_of_other_codebooks_are_refused(folder, photos):
    Statistics(tuple(np.ones(5, np.uint32) for _ in range(3))).save(
        folder, Codebooks.of_artifact(folder, TokenizerConfig.load(folder)).levels
    )
    TokenizerConfig.load(folder).with_files(folder, STATISTICS_FILE).save(folder)
    with pytest.raises(ValueError, match="does not fit"):
        Statistics.of_artifact(folder, TokenizerConfig.load(folder))


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_below_one_is_refused(folder, photos, limit):
    with pytest.raises(ValueError, match="accepted: at least 1"):
        count(folder, photos, "--limit", limit)


def test_the_packaged_statistics_fit_and_cover_every_color():
    config = TokenizerConfig.load(PRETRAINED)
    statistics = Statistics.of_artifact(PRETRAINED, config)
    assert [len(counts) for counts in statistics.counts] == list(config.levels.values())
    assert len({int(counts.sum()) for counts in statistics.counts}) == 1  # every patch has one code of each level
    assert (statistics.counts[0] > 0).all()
