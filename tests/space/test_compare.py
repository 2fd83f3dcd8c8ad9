"""The same photo by CST and by learned tokenizers."""

import re
from pathlib import Path

import pytest
from support.photos import make_photo

from space.models import Models
from space.tabs.reconstruct import compare


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, learned_folder: Path, tmp_path: Path) -> list[compare.Row]:
    """CST, a learned tokenizer, and one whose files are missing."""
    (tmp_path / "movq").mkdir()
    monkeypatch.setattr(compare, "packaged", lambda: [learned_folder, tmp_path / "movq"])
    views = list(compare.compare(Models(), make_photo(0, 100, 84)))
    assert [len(view) for view in views] == [1, 2, 3]
    return views[-1]


def test_rows_are_sorted_by_bits_per_pixel_and_measured(rows: list[compare.Row]):
    learned, ours, missing = rows
    assert (learned.name, ours.name, missing.name) == (
        "RQ-VAE (Lee et al., 2022)", "CST, rendered in 8 bits", "MoVQ (Zheng et al., 2022)",
    )  # fmt: skip
    assert learned.measurement.bits_per_pixel == pytest.approx(12 * 13 * 11 / 8400, abs=0.001)
    assert ours.measurement.psnr_db > learned.measurement.psnr_db
    assert 0 < ours.measurement.l1 < learned.measurement.l1 < 1


def test_what_can_not_be_used_says_why_without_a_folder_of_the_server(rows: list[compare.Row], tmp_path: Path):
    assert rows[-1].measurement is None
    assert rows[-1].problem.startswith("'movq' is not a learned tokenizer")
    text = compare.comparison_html(rows)
    assert str(tmp_path) not in text and "Not available: &#x27;movq&#x27;" in text
    assert compare.to_json(rows)[-1] == {"name": "MoVQ (Zheng et al., 2022)", "problem": rows[-1].problem}


def test_bits_per_pixel_are_told_first_and_every_picture_has_a_text(rows: list[compare.Row]):
    text = compare.comparison_html(rows)
    assert len(re.findall(r'<img src="data:image/webp', text)) == len(re.findall(r'alt="[^"]+"', text)) == 4
    assert re.search(r"<b>CST, rendered in 8 bits</b> <span>0\.\d\d bits per pixel · [\d.]+ dB · SSIM 0", text)
