"""`python -m prior`: what it writes, and how it answers mistakes."""

import pytest
from PIL import Image

from cst import Tokens
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from prior.__main__ import main
from prior.config import PriorConfig
from prior.onnx_runtime import OnnxPrior
from prior.sampler import Sampler


@pytest.fixture
def paths(prior_folder, artifact) -> list[str]:
    return ["--prior", str(prior_folder), "--tokenizer", str(artifact)]


def test_sample_writes_pictures_tokens_and_a_sheet(paths, artifact, tmp_path, capsys):
    main(["sample", *paths, "--class", "DAISY", "--count", "3", "--seed", "5", "--out", str(tmp_path)])
    names = sorted(path.name for path in tmp_path.iterdir())
    pictures = [f"daisy-5-00{i}.{end}" for i in range(3) for end in ("npz", "png")]
    assert names == [*pictures, "sheet.png"]
    with Image.open(tmp_path / "daisy-5-000.png") as picture:
        side = picture.width
    assert side == picture.height == 8 * PriorConfig.load(paths[1]).grid[0]
    assert Tokens.load(tmp_path / "daisy-5-000.npz").codes.shape == (3, side // 8, side // 8)
    assert f"3 pictures of {side}x{side}" in capsys.readouterr().out


def test_the_same_seed_writes_the_same_pictures_and_another_seed_others(paths, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        main(["sample", *paths, "--count", "1", "--seed", str(seed), "--out", str(tmp_path / name)])
    codes = [Tokens.load(next((tmp_path / name).glob("*.npz"))).codes for name in "abc"]
    assert (codes[0] == codes[1]).all() and (codes[0] != codes[2]).any()


def test_more_pictures_than_a_batch_holds_all_differ(gpt_folder, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("prior.draw.MAX_PICTURES", 2)
    main(["sample", "--prior", str(gpt_folder), "--tokenizer", str(artifact), "--count", "5", "--out", str(tmp_path)])
    codes = {Tokens.load(path).codes.tobytes() for path in tmp_path.glob("*.npz")}
    assert len(codes) == 5


def test_half_the_size_is_the_picture_that_the_whole_one_is_drawn_after(gpt_folder, artifact, tmp_path, capsys):
    command = ["sample", "--prior", str(gpt_folder), "--tokenizer", str(artifact), "--count", "1", "--out"]
    main([*command, str(tmp_path), "--size", "32"])
    assert "1 pictures of 32x32" in capsys.readouterr().out
    sampler = Sampler(OnnxTokenizer(artifact), OnnxPrior(gpt_folder))
    *_, last = sampler.sample(count=1)
    assert (Tokens.load(tmp_path / "any-0-000.npz").codes == last.half[0]).all()
    with Image.open(tmp_path / "any-0-000.png") as picture:
        assert picture.size == (32, 32)
    with pytest.raises(ValueError, match="pictures of 16 pixels; accepted: 64 or 32"):
        main([*command, str(tmp_path), "--size", "16"])


def test_settings_are_given_once_for_all_levels_or_once_each(paths, tmp_path):
    main(["sample", *paths, "--count", "1", "--out", str(tmp_path), "--temperature", "0.5", "--top-k", "4", "8", "8"])


def test_sheet_puts_both_models_side_by_side(gpt_folder, pixelcnn_folder, artifact, tmp_path, monkeypatch):
    folders, tokenizer = {"gpt": gpt_folder, "pixelcnn": pixelcnn_folder}, OnnxTokenizer(artifact)
    packaged = lambda kind, **_: Sampler(tokenizer, OnnxPrior(folders[kind]))  # noqa: E731
    monkeypatch.setattr("prior.draw.Sampler.from_pretrained", packaged)
    main(["sheet", "--class", "daisy", "BLUE BELL", "--count", "2", "--out", str(tmp_path / "sheet.png")])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == 2 * (64 + 6) + 24 and sheet.width > 4 * 64
    main(["sheet", "--class", "daisy", "--count", "2", "--model", "gpt", "--out", str(tmp_path / "sheet.webp")])
    with Image.open(tmp_path / "sheet.webp") as sheet:
        assert (sheet.format, sheet.height) == ("WEBP", 64 + 6 + 24)
    with pytest.raises(ValueError, match=r"accepted: a path that ends in \.png or \.webp"):
        main(["sheet", "--class", "daisy", "--out", str(tmp_path / "sheet.jpg")])


def test_classes_lists_the_kinds(paths, capsys):
    main(["classes", *paths])
    assert capsys.readouterr().out.split("\n") == ["Blue bell", "daisy", "wild_rose", ""]


MISTAKES = {
    "class": (["--class", "dasy"], "no class 'dasy'; did you mean daisy?"),
    "count": (["--count", "0"], "0 pictures; accepted: at least 1"),
    "seed": (["--seed", "-1"], "the seed -1; accepted: a whole number from 0"),
    "temperature": (["--temperature", "0"], "a temperature of 0.0; accepted: above 0"),
    "top-p": (["--top-p", "1.5"], "top-p 1.5; accepted"),
    "top-k": (["--top-k", "1", "2"], "--top-k has 2 values; accepted: 1 for all levels, or 3"),
    "guidance": (["--guidance", "-1"], "a guidance of -1.0; accepted: from 0"),
    "threads": (["--threads", "0"], "0 threads; accepted: at least 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_before_anything_is_written(gpt_folder, artifact, tmp_path, name):
    flags, said = MISTAKES[name]
    paths = ["--prior", str(gpt_folder), "--tokenizer", str(artifact), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError) as failure:
        main(["sample", *paths, *flags])
    assert said in str(failure.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(paths, tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="can't write to"):
        main(["sample", *paths, "--out", str(tmp_path / "out")])
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_mistake_is_one_line_and_exit_code_2(run_python, gpt_folder, tmp_path):
    done = run_python("-m", "prior", "sample", "--prior", gpt_folder, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "this prior was trained on the tokenizer" in done.stderr


def test_benchmark_compares_with_generate(gpt_folder, pixelcnn_folder, capsys):
    main(["benchmark", "--prior", str(gpt_folder), "--batch", "1", "--repeats", "1", "--threads", "1"])
    said = capsys.readouterr().out
    assert all(word in said for word in ("color", "shape", "texture", "generate()", "tokens/s"))
    with pytest.raises(ValueError, match="is a pixelcnn"):
        main(["benchmark", "--prior", str(pixelcnn_folder)])
