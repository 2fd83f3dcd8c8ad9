"""`python -m cst`: its outputs and its errors."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from support.bad_pictures import BAD
from support.photos import make_photo

from cst import CST, Tokens, __main__
from cst.flags import run
from cst.images import load_image


@pytest.fixture
def cst(artifact) -> CST:
    return CST.from_pretrained(artifact, target="cpu")


@pytest.fixture
def command(artifact, capsys):
    """Run `python -m cst` in this process -> (exit code, lines of stdout, lines of stderr)."""

    def call(*arguments: object, tokenizer: Path = artifact) -> tuple[int, list[str], list[str]]:
        words = [*map(str, arguments), "--tokenizer", str(tokenizer), "--target", "cpu"]
        capsys.readouterr()
        try:
            run(lambda: __main__.main(words))
            code = 0
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# Outputs --------------------------------------------------------------------------------------------------------------


def test_reconstruct_equals_the_python_interface_and_reports_the_psnr(command, cst, photos, tmp_path):
    photo = photos / "photo-00.png"
    code, out, err = command("reconstruct", photo, tmp_path / "out.png")
    assert (code, err) == (0, [])
    assert out[0].startswith(f"{photo} -> {tmp_path}/out.png: 100x84, {3 * 11 * 13} tokens, ")
    assert 15 < float(out[0].split()[-2]) < 50
    assert np.array_equal(load_image(tmp_path / "out.png"), cst.decode(cst.encode(photo)))
    assert files(tmp_path) == {"out.png"}


def test_encode_then_decode_equals_reconstruct(command, photos, tmp_path):
    photo = photos / "photo-01.png"
    assert command("encode", photo, tmp_path / "a.npz")[0] == 0
    assert command("decode", tmp_path / "a.npz", tmp_path / "a.png")[0] == 0
    assert command("reconstruct", photo, tmp_path / "b.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Tokens.load(tmp_path / "a.npz").codes.shape == (3, 11, 13)


def test_the_beam_and_precision_asked_for_are_used(command, artifact, photos, tmp_path):
    photo = photos / "photo-02.png"
    command("encode", photo, tmp_path / "greedy.npz", "--beam", 1)
    expected = CST.from_pretrained(artifact, target="cpu", beam=1, precision="float")
    assert np.array_equal(Tokens.load(tmp_path / "greedy.npz").codes, expected.encode(photo).codes)
    command("decode", tmp_path / "greedy.npz", tmp_path / "float.png", "--precision", "float")
    assert np.array_equal(load_image(tmp_path / "float.png"), expected.decode(expected.encode(photo)))


def test_a_folder_is_written_to_a_folder_of_the_same_names_with_progress(command, photos, tmp_path):
    source, out = tmp_path / "in", tmp_path / "made" / "out"
    (source / "deep").mkdir(parents=True)
    shutil.copy(photos / "photo-00.png", source / "one.png")
    make_photo(1, 30, 20).save(source / "deep" / "two.jpg")
    (source / "notes.txt").write_text("no photo", encoding="utf-8")
    (source / "._one.png").write_bytes(b"left there by macOS")
    code, said, err = command("reconstruct", source, out)
    assert code == 0
    assert files(out) == {"one.png", "deep/two.png"}
    assert len(said) == 2
    assert "2/2" in err[-1]
    assert "file/s" in err[-1]
    assert command("encode", source, out)[0] == 0
    assert files(out) == {"one.png", "deep/two.png", "one.npz", "deep/two.npz"}


def test_a_color_profile_that_cannot_be_used_is_reported(command, tmp_path):
    make_photo(0, 20, 20).save(tmp_path / "in.png", icc_profile=b"no profile")
    code, _, err = command("reconstruct", tmp_path / "in.png", tmp_path / "out.png")
    assert code == 0
    assert err[0].startswith(f"{tmp_path}/in.png: its color profile can't be used and is ignored (")


def test_a_target_that_is_not_there_is_reported(artifact, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    photo, out = str(photos / "photo-00.png"), str(tmp_path / "out.png")
    __main__.main(["reconstruct", photo, out, "--tokenizer", str(artifact), "--target", "cuda"])
    assert capsys.readouterr().err == (
        "--target cuda: the installed onnxruntime has no CUDAExecutionProvider for cuda; the CPU is used\n"
    )


def test_several_files_are_written_to_a_folder(command, photos, tmp_path):
    assert command("encode", photos / "photo-00.png", photos / "photo-01.png", tmp_path / "out")[0] == 0
    assert files(tmp_path) == {"out/photo-00.npz", "out/photo-01.npz"}


def test_an_output_in_a_missing_folder_makes_the_folder(command, photos, tmp_path):
    assert command("encode", photos / "photo-00.png", tmp_path / "new" / "deep" / "out.npz")[0] == 0
    assert files(tmp_path) == {"new/deep/out.npz"}


def test_an_old_output_is_replaced(command, photos, tmp_path):
    (tmp_path / "out.png").write_text("old", encoding="utf-8")
    assert command("reconstruct", photos / "photo-00.png", tmp_path / "out.png")[0] == 0
    assert load_image(tmp_path / "out.png").size == (100, 84)


def test_compress_then_decompress_equals_reconstruct(command, counted_artifact, photos, tmp_path):
    photo = photos / "photo-01.png"
    code, out, err = command("compress", photo, tmp_path / "a.cst", tokenizer=counted_artifact)
    size = (tmp_path / "a.cst").stat().st_size
    said = f"{size} bytes, {8 * size / (101 * 84):.3f} bits per pixel"
    assert (code, err) == (0, [])
    assert out == [
        f"{photo} -> {tmp_path}/a.cst: {said}, {size / 269:.1%} of the 269 bytes at a fixed length"  # 15 bits per patch
    ]
    code, out, err = command("decompress", tmp_path / "a.cst", tmp_path / "a.png", tokenizer=counted_artifact)
    assert (code, out, err) == (0, [f"{tmp_path}/a.cst -> {tmp_path}/a.png: 101x84 from {said}"], [])
    assert command("reconstruct", photo, tmp_path / "b.png", tokenizer=counted_artifact)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_of_photos_is_compressed_and_decompressed(command, counted_artifact, photos, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("photo-00.png", "photo-01.png"):
        shutil.copy(photos / name, tmp_path / "in")
    assert command("compress", tmp_path / "in", tmp_path / "packed", tokenizer=counted_artifact)[0] == 0
    assert command("decompress", tmp_path / "packed", tmp_path / "out", tokenizer=counted_artifact)[0] == 0
    assert files(tmp_path / "packed") == {"photo-00.cst", "photo-01.cst"}
    assert files(tmp_path / "out") == {"photo-00.png", "photo-01.png"}


def test_benchmark_measures_both_precisions(command):
    code, out, _ = command("benchmark", "--size", 64, 100, "--repeats", 2)
    assert code == 0
    assert sum(line.endswith("pixels") for line in out) == 2
    for kind in ("render float", "render int8", "encode, beam 1", "encode, beam 4"):
        rows = [line for line in out if line.startswith(kind)]
        assert len(rows) == 2
        numbers = [float(word.rstrip("x")) for word in rows[0][34:].split()]
        assert len(numbers) == 5
        assert numbers[0] <= numbers[1] <= numbers[2]
    assert any("CPUExecutionProvider" in line for line in out)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only on Linux")
def test_benchmark_reports_the_memory_of_encoding_and_rendering(command):
    code, out, _ = command("benchmark", "--size", 68, "--memory", "--target", "cpu")
    assert code == 0
    said = [re.sub(r"\d+ MiB", "N MiB", line) for line in out]
    rendered = [f"rendering them, {precision}, adds N MiB, 0 of them the picture" for precision in ("int8", "float")]
    assert said == ["encoding 64x64 pixels adds N MiB at its peak", *rendered]


def test_benchmark_compares_with_other_searches(command):
    code, out, _ = command("benchmark", "--size", 64, "--repeats", 1, "--against")
    assert code == 0
    assert all(any(line.startswith(name) for line in out) for name in ("sklearn KMeans.predict", "torch.cdist"))


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(command, tmp_path):
    """Run a command that must fail: one line, exit code 2, and no new files. Returns the line."""

    def call(*arguments: object, **options: Path) -> str:
        before = files(tmp_path)
        code, out, err = command(*arguments, **options)
        assert (code, out, len(err)) == (2, [], 1), err
        assert err[0].startswith("error: ")
        assert files(tmp_path) == before
        return err[0]

    return call


def test_a_missing_file_is_refused(refused, tmp_path):
    words = ("reconstruct", "out.png"), ("encode", "out.npz"), ("decode", "out.png"), ("compress", "out.cst")
    for word, made in (*words, ("decompress", "out.png")):
        assert (
            refused(word, tmp_path / "none.jpg", tmp_path / made)
            == f"error: no such file or folder: '{tmp_path}/none.jpg'"
        )


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(("word", "made"), [("reconstruct", "out.png"), ("encode", "out.npz")])
def test_a_bad_picture_is_refused(name, word, made, refused, tmp_path):
    make, message = BAD[name]
    (tmp_path / name).write_bytes(make())
    line = refused(word, tmp_path / name, tmp_path / made)
    assert f"'{tmp_path}/{name}'" in line
    assert re.search(message, line)


def test_a_file_that_is_no_tokens_is_refused(refused, photos, tmp_path):
    (tmp_path / "words.npz").write_text("words", encoding="utf-8")
    for source in (tmp_path / "words.npz", photos / "photo-00.png"):
        assert f"'{source}' is not a file of tokens" in refused("decode", source, tmp_path / "out.png")


def test_a_file_that_is_no_cst_file_is_refused(refused, counted_artifact, photos, tmp_path):
    line = refused("decompress", photos / "photo-00.png", tmp_path / "out.png", tokenizer=counted_artifact)
    assert line.startswith(f"error: '{photos}/photo-00.png': not a .cst file")
    data = (Path(__file__).parents[1] / "golden" / "cat.cst").read_bytes()
    (tmp_path / "cut.cst").write_bytes(data[:-1])
    (tmp_path / "other.cst").write_bytes(data)
    line = refused("decompress", tmp_path / "cut.cst", tmp_path / "out.png", tokenizer=counted_artifact)
    assert "damaged or cut short" in line
    line = refused("decompress", tmp_path / "other.cst", tmp_path / "out.png", tokenizer=counted_artifact)
    assert "it was written by the tokenizer 1590c6c1302812bc, this one is" in line


def test_compress_requires_statistics(refused, photos, tmp_path):
    words = ("compress", photos, tmp_path / "out")
    (tmp_path / "out").mkdir()
    assert "has no statistics of its codes; count them with" in refused(*words)


def test_cut_tokens_are_refused(refused, cst, photos, tmp_path):
    path = tmp_path / "tokens.npz"
    cst.encode(photos / "photo-00.png").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert f"'{path}' is not a file of tokens, or is damaged" in refused("decode", path, tmp_path / "out.png")


def test_the_tokens_of_another_tokenizer_are_refused(refused, cst, photos, tmp_path):
    tokens = cst.encode(photos / "photo-00.png")
    Tokens(tokens.codes, tokens.size, "f" * 16).save(tmp_path / "other.npz")
    line = refused("decode", tmp_path / "other.npz", tmp_path / "out.png")
    assert line == (
        f"error: these tokens were written by the tokenizer {'f' * 16}, this one is {tokens.fingerprint}; "
        "decode them with the tokenizer that wrote them"
    )


@pytest.mark.parametrize("out", ["/proc/x.png", "/proc/x/y.png", "/dev/null/x.png", "{here}/file.txt/x.png"])
def test_an_output_that_can_not_be_written_is_refused(out, refused, photos, tmp_path):
    (tmp_path / "file.txt").write_text("not a folder", encoding="utf-8")
    out = out.format(here=tmp_path)
    assert str(Path(out).parent) in refused("reconstruct", photos / "photo-00.png", out)


def test_a_disk_that_fills_up_leaves_the_old_output(refused, photos, tmp_path, monkeypatch):
    def half(picture, path, format):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    (tmp_path / "out.png").write_text("old", encoding="utf-8")
    monkeypatch.setattr(Image.Image, "save", half)
    assert "No space left on device" in refused("reconstruct", photos / "photo-00.png", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(("word", "name"), [("reconstruct", "out.jpg"), ("encode", "out.png"), ("decode", "out")])
def test_an_output_of_another_kind_is_refused(word, name, refused, photos, tmp_path):
    accepted = ".npz" if word == "encode" else ".png"
    line = refused(word, photos / "photo-00.png", tmp_path / name)
    assert f"'{tmp_path}/{name}' is not a name to write to; accepted: a path that ends in {accepted}" in line


def test_a_folder_as_the_output_of_one_file_is_refused(refused, photos, tmp_path):
    (tmp_path / "folder.png").mkdir()
    assert "is not a name to write to" in refused("reconstruct", photos / "photo-00.png", tmp_path / "folder.png")


def test_a_folder_without_photos_is_refused(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert f"nothing to do in '{tmp_path}/empty'" in refused("encode", tmp_path / "empty", tmp_path / "out")


def test_two_sources_of_one_name_are_refused_before_any_work(refused, tmp_path):
    make_photo(0, 20, 20).save(tmp_path / "one.png")
    make_photo(1, 20, 20).save(tmp_path / "one.jpg")
    line = refused("encode", tmp_path / "one.png", tmp_path / "one.jpg", tmp_path / "out")
    assert f"would both be written to '{tmp_path}/out/one.npz'" in line


def test_a_folder_that_is_no_tokenizer_is_refused(refused, photos, tmp_path):
    photo = photos / "photo-00.png"
    assert "it has no config.json" in refused("encode", photo, tmp_path / "out.npz", tokenizer=tmp_path)
    assert "is not a folder" in refused("encode", photo, tmp_path / "out.npz", tokenizer=tmp_path / "none")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--threads", 0], "0 threads; accepted: at least 1"),
        (["--beam", 0], "a beam of 0; accepted: a whole number, at least 1"),
        (["--target", "npu"], "needs VitisAI's config file"),
    ],
)
def test_an_invalid_setting_is_refused(flags, said, artifact, photos, tmp_path, capsys):
    words = ["encode", photos / "photo-00.png", tmp_path / "out.npz", "--tokenizer", artifact, *flags]
    with pytest.raises(SystemExit, match="2"):
        run(lambda: __main__.main([str(word) for word in words]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert files(tmp_path) == set()


def test_benchmark_refuses_invalid_sizes(refused):
    assert "at least 8 pixels" in refused("benchmark", "--size", 4)
    assert "at least 1 repeat" in refused("benchmark", "--repeats", 0)


def test_among_many_files_bad_ones_are_named_and_the_others_written(command, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    make_photo(0, 20, 20).save(source / "good.png")
    (source / "words.jpg").write_text("words", encoding="utf-8")
    code, out, err = command("reconstruct", source, tmp_path / "out")
    assert code == 2
    assert any(line.startswith(f"skipped: '{source}/words.jpg' is not a picture") for line in out)
    assert err[-1] == f"error: 1 of 2 files could not be read; the others are in '{tmp_path}/out'"
    assert files(tmp_path / "out") == {"good.png"}


def test_the_real_command_exits_with_2_and_one_line(run_python, artifact, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(BAD["cut.jpg"][0]())
    (tmp_path / "cut.tif").write_bytes(b"II*\0\x08\0\0\0\x02\0\0\x01\x04\0")  # Pillow warns about this file
    for name in ("cut.jpg", "cut.tif"):
        done = run_python("-m", "cst", "encode", tmp_path / name, tmp_path / "out.npz", "--tokenizer", artifact)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"error: '{tmp_path}/{name}' ")
    assert files(tmp_path) == {"cut.jpg", "cut.tif"}


@pytest.mark.parametrize("verb", ["fit", "train", "export", "evaluate"])
def test_every_command_refuses_a_missing_folder_in_one_line(verb, artifact, tmp_path, capsys):
    from cst.__main__ import main

    flags = {
        "fit": ["--out", tmp_path / "out"],
        "train": ["--out", tmp_path / "out", "--codebooks", artifact, "--precision", "no"],
        "export": ["--tokenizer", artifact],
        "evaluate": ["--out", tmp_path / "out", "--tokenizer", artifact],
    }[verb]
    words = [str(word) for word in ("--images", tmp_path / "none", *flags)]
    with pytest.raises(SystemExit, match="2"):
        run(lambda: main([verb, *words]))
    said = capsys.readouterr()
    expected = f"error: no such file or folder: '{tmp_path}/none'; give folders of photos, zip archives or photos\n"
    assert (said.out, said.err) == ("", expected)


def test_a_folder_is_never_written_over_itself(refused, tmp_path):
    make_photo(0, 16, 16).save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    assert "would be overwritten" in refused("reconstruct", tmp_path, tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == before
