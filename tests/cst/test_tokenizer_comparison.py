"""The table of all tokenizers on the same photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cst.evaluation.tokenizer_comparison
from cst.evaluation import tokenizer_quality
from cst.images import to_float


def features(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """In place of the network's: means over a grid of 4x4 cells."""
    values = np.stack([to_float(picture.resize((4, 4), Image.Resampling.BOX)).ravel() for picture in pictures])
    return {"middle": values, "last": values}


@pytest.fixture(scope="module")
def rows(artifact: Path, learned_folder: Path, photos: Path) -> dict[str, list[str]]:
    """Name -> cells, in the order of the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cst.evaluation.tokenizer_comparison, "network_features", features)
        patch.setattr(cst.evaluation.tokenizer_comparison, "network", lambda: None)
        printed: list[str] = []
        patch.setattr("builtins.print", lambda text, **_: printed.append(text))
        folders = ["--tokenizer", str(artifact), "--learned", str(learned_folder)]
        tokenizer_quality.main(["--all-tokenizers", "--images", str(photos), "--all", "--limit", "8", *folders])
    table = [line.strip("| ").split(" | ") for line in printed[-1].splitlines() if line.startswith("|")]
    assert table[0][:3] == ["tokenizer", "bits/pixel", "PSNR dB"]
    return {name: cells for name, *cells in table[2:]}


def test_the_rows_are_sorted_by_bits_per_pixel(rows: dict[str, list[str]]):
    bits = [float(cells[0]) for cells in rows.values()]
    assert bits == sorted(bits)
    assert {"CST, color", "CST, + shape", "CST, + texture", "CST, rendered, 8 bits", "JPEG", "WEBP"} < set(rows)


def test_every_level_of_cst_comes_nearer(rows: dict[str, list[str]]):
    levels = [rows[f"CST, {name}"] for name in ("color", "+ shape", "+ texture")]
    assert float(levels[0][1]) < float(levels[1][1]) < float(levels[2][1])
    assert float(levels[0][3]) > float(levels[1][3]) > float(levels[2][3])
    assert [cells[5].count("/") for cells in levels] == [0, 1, 2]  # usage of each codebook


def test_a_learned_tokenizer_is_a_row_like_the_others(rows: dict[str, list[str]]):
    bits, quality, _, _, distance, used, perplexity, encode, decode, size = rows["rq-vae"]
    assert 12 / 64 <= float(bits) < 1.3 * 12 / 64  # three of 16 codes for 8x8 pixels, padded
    assert float(quality) > 0 and float(distance) == float(distance)
    assert used.endswith("%") and 1 <= float(perplexity) <= 16
    assert min(float(encode), float(decode), float(size)) > 0
