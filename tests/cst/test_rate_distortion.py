"""The table of bytes per photo, compared with other formats at the same PSNR."""

import pytest

import cst.evaluation.rate_distortion
from cst import CST
from cst.flags import run


def table(capsys, *flags: object) -> dict[str, list[float]]:
    cst.evaluation.rate_distortion.main([str(flag) for flag in flags])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    return {line[0]: [float(cell.replace(",", "").rstrip("%")) for cell in line[1:]] for line in lines[1:]}


def test_rows_match_the_sizes_of_the_files(counted_artifact, photos, capsys):
    rows = table(capsys, "--images", photos / "photo-03.png", "--all", "--tokenizer", counted_artifact)
    assert list(rows) == ["fixed length", ".cst", *(f"{x}, same PSNR" for x in ("JPEG", "WEBP", "AVIF"))]
    tokenizer = CST.from_pretrained(counted_artifact)
    tokens = tokenizer.encode(photos / "photo-03.png")
    size = len(tokenizer.compress(tokens))
    fixed, packed = rows["fixed length"], rows[".cst"]
    assert fixed[:2] == [tokens.packed_bytes(tokenizer.tokenizer.levels), 100]
    assert packed[:3] == [size, round(100 * size / fixed[0], 1), round(8 * size / (103 * 84), 3)]
    assert fixed[3] == packed[3] and all(row[3] >= packed[3] for row in rows.values())


def test_no_held_out_photos_is_an_error(counted_artifact, photos, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(
            lambda: cst.evaluation.rate_distortion.main(
                ["--images", str(photos / "photo-00.png"), "--tokenizer", str(counted_artifact)]
            )
        )
    assert "give --all to use every photo" in capsys.readouterr().err
