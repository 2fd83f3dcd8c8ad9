"""The table of the quality of each level, of the decoder and of other formats."""

import json
import math

import pytest
from PIL import Image
from support.photos import make_photo

import cst.evaluation.tokenizer_quality
from cst.metrics import psnr
from cst.photos import is_validation
from cst.tokenizer.onnx_runtime import OnnxTokenizer

STAGES = ["color", "+ shape", "+ texture", "rendered float", "rendered int8"]
CODECS = ["JPEG, same bytes", "WEBP, same bytes", "AVIF, same bytes"]


def strict(text: str) -> dict:
    """Parse JSON as the standard has it: no NaN, no Infinity."""

    def refuse(constant: str):
        raise AssertionError(f"{constant} in the JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def result(artifact, photos, tmp_path_factory) -> tuple[dict, str]:
    out = tmp_path_factory.mktemp("evaluation") / "new" / "folder"
    cst.evaluation.tokenizer_quality.main(
        ["--images", str(photos), "--all", "--tokenizer", str(artifact), "--out", str(out), "--limit", "6"]
    )
    return strict((out / "table.json").read_text(encoding="utf-8")), (out / "table.md").read_text(encoding="utf-8")


def test_every_level_adds_to_the_one_before(result):
    rows = {row["name"]: row for row in result[0]["rows"]}
    assert list(rows) == STAGES + CODECS
    for measure in ("psnr", "ssim", "ms_ssim"):
        values = [rows[name][measure] for name in STAGES[:3]]
        assert values[0] < values[1] < values[2]
    assert rows["color"]["l1"] > rows["+ shape"]["l1"] > rows["+ texture"]["l1"]
    assert rows["rendered float"]["psnr"] > rows["+ texture"]["psnr"]
    assert rows["rendered int8"]["psnr"] == pytest.approx(rows["rendered float"]["psnr"], abs=0.1)


def test_bits_are_those_of_the_codes_and_of_the_files(result):
    rows = {row["name"]: row["bits_per_pixel"] for row in result[0]["rows"]}
    padding = (88 * 104) / (84 * 100), (88 * 120) / (84 * 113)  # photos of 100 to 115 by 84 pixels
    for name, bits in zip(STAGES, (4, 4 + 5, 4 + 5 + 6, 15, 15), strict=True):
        assert 1.02 * bits / 64 < rows[name] < 1.2 * bits / 64
    assert min(padding) > 1.02
    for name in CODECS:
        assert rows[name] > 0


def test_the_table_that_is_shown_is_the_one_that_is_saved(result):
    table, text = result
    for row in table["rows"]:
        assert f"| {row['name']} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['ms_ssim']:.4f} |" in text
    for name, codes in (("color", 16), ("shape", 32), ("texture", 64)):
        used, perplexity = table["usage"][name]
        assert 0 < used <= 1 <= perplexity <= codes
        assert f"| {name} | {codes} | {used:.1%} | {perplexity:.0f} |" in text
    assert table["photos"] == 6
    assert "6 photos" in text


def test_the_numbers_are_those_of_the_pictures_as_a_person_gets_them(artifact, tmp_path):
    import numpy as np

    photo = make_photo(40, 64, 48)
    photo.save(tmp_path / "photo.png")
    flags = ["--images", tmp_path / "photo.png", "--all", "--no-codecs", "--tokenizer", artifact, "--out", tmp_path]
    cst.evaluation.tokenizer_quality.main([str(flag) for flag in flags])
    rows = {row["name"]: row for row in strict((tmp_path / "table.json").read_text(encoding="utf-8"))["rows"]}
    assert list(rows) == STAGES
    original = np.asarray(photo).transpose(2, 0, 1).astype(np.float32) / 255
    for precision in ("float", "int8"):
        tokenizer = OnnxTokenizer(artifact, target="cpu", precision=precision)
        picture = np.round(tokenizer.decode(tokenizer.encode(original[None]))[0] * 255) / 255
        assert rows[f"rendered {precision}"]["psnr"] == pytest.approx(psnr(picture, original), abs=1e-4)
    assert rows["+ texture"]["bits_per_pixel"] == pytest.approx(math.log2(16 * 32 * 64) / 64)


def test_without_all_only_held_out_photos_are_measured(artifact, photos, tmp_path, capsys):
    names = [path.name for path in photos.iterdir()]
    held_out = sum(is_validation(name) for name in names)
    flags = ["--images", str(photos), "--no-codecs", "--tokenizer", str(artifact), "--out", str(tmp_path)]
    if held_out:
        cst.evaluation.tokenizer_quality.main(flags)
        assert strict((tmp_path / "table.json").read_text(encoding="utf-8"))["photos"] == held_out
    else:
        with pytest.raises(ValueError, match="give --all to use every photo"):
            cst.evaluation.tokenizer_quality.main(flags)


def test_unreadable_photos_are_skipped_and_nothing_readable_is_an_error(artifact, tmp_path):
    make_photo(0, 40, 40).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no photo", encoding="utf-8")
    flags = ["--all", "--no-codecs", "--tokenizer", str(artifact), "--out", str(tmp_path / "out")]
    cst.evaluation.tokenizer_quality.main(["--images", str(tmp_path), *flags])
    assert strict((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))["photos"] == 1
    (tmp_path / "good.png").unlink()
    with pytest.raises(ValueError, match="none of the 1 photos can be read"):
        cst.evaluation.tokenizer_quality.main(["--images", str(tmp_path / "bad.png"), *flags])


def test_a_photo_drawn_perfectly_still_gives_valid_json(artifact, tmp_path):
    color = OnnxTokenizer(artifact, target="cpu").codebooks.color[0]
    Image.new("RGB", (32, 32), tuple(round(float(x) * 255) for x in color)).save(tmp_path / "flat.png")
    flags = ["--images", str(tmp_path / "flat.png"), "--all", "--no-codecs", "--tokenizer", str(artifact)]
    cst.evaluation.tokenizer_quality.main([*flags, "--out", str(tmp_path)])
    rows = {row["name"]: row["psnr"] for row in strict((tmp_path / "table.json").read_text(encoding="utf-8"))["rows"]}
    assert rows["color"] == 100
