"""Fitting codebooks: reproducible, resumable, and undisturbed by bad photos and dead codes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from support.quick import FIT

import cst.training.fit_codebooks
from cst.photos import Photos, find_photos
from cst.tokenizer.config import TokenizerConfig
from cst.training.config import FitConfig

QUICK = ["--color", "8", "--shape", "12", "--texture", "16", "--passes", "2", "--patches-per-pass", "1024"]
QUICK += ["--chunk", "512", "--patches-per-photo", "64"]


def fit(photos, out, *more: str) -> dict[str, np.ndarray]:
    cst.training.fit_codebooks.main(["--images", str(photos), "--out", str(out), *QUICK, *more])
    return load_file(out / "codebooks.safetensors")


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_seed_decides_the_codebooks(photos, tmp_path):
    first = fit(photos, tmp_path / "a")
    assert {name: table.shape for name, table in first.items()} == {
        "color": (8, 3),
        "shape": (12, 192),
        "texture": (16, 192),
    }
    assert all(table.dtype == np.float16 and np.isfinite(table).all() for table in first.values())
    assert same(first, fit(photos, tmp_path / "b"))
    assert not same(first, fit(photos, tmp_path / "c", "--seed", "1"))


@pytest.mark.parametrize("calls", [1, 2, 4, 6])
def test_an_interrupted_fit_resumes_to_the_same_codebooks(calls, photos, tmp_path, monkeypatch):
    straight = fit(photos, tmp_path / "straight")
    usage, seen = cst.training.fit_codebooks.usage, []

    def interrupt(counts):  # called once a pass, before its state is saved
        seen.append(counts)
        if len(seen) == calls:
            raise KeyboardInterrupt
        return usage(counts)

    monkeypatch.setattr(cst.training.fit_codebooks, "usage", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(photos, tmp_path / "broken")
    monkeypatch.undo()
    assert not (tmp_path / "broken" / "codebooks.safetensors").exists()
    assert same(fit(photos, tmp_path / "broken"), straight)
    assert len(seen) == calls


def test_a_finished_fit_run_again_does_no_new_work(photos, tmp_path, monkeypatch):
    first = fit(photos, tmp_path)
    monkeypatch.setattr(cst.training.fit_codebooks, "stream_patches", None)
    assert same(fit(photos, tmp_path), first)


def test_a_fit_is_not_resumed_with_other_settings(photos, tmp_path):
    fit(photos, tmp_path)
    with pytest.raises(ValueError, match=r"holds a run with other settings \(seed: 0, now 3\); resume"):
        fit(photos, tmp_path, "--seed", "3")


def test_the_result_is_an_artifact_with_only_codebooks(codebooks_folder):
    config = TokenizerConfig.load(codebooks_folder)
    assert config.levels == {"color": 16, "shape": 32, "texture": 64}
    assert (config.patch, config.beam, config.rendernet) == (8, 4, None)
    assert config.check_file(codebooks_folder, "codebooks.safetensors").is_file()
    assert not list(codebooks_folder.glob("*.part"))


def test_dead_codes_are_brought_back_to_life(photos, tmp_path, capsys):
    centroids = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    centroids[3:] = 50  # where no color is
    save_file({"centroids": centroids, "passes": np.array(1)}, tmp_path / "color.safetensors")
    fitted = fit(photos, tmp_path, "--passes", "4")
    assert "color pass 2: 37.5% used, 5 re-seeded" in "".join(capsys.readouterr())
    assert fitted["color"].max() <= 1
    assert len(np.unique(fitted["color"], axis=0)) == 8


def test_photos_with_fewer_colors_than_codes_fit_without_trouble(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, color in enumerate(["red", "white", "black", "red"]):
        Image.new("RGB", (40, 40), color).save(folder / f"{index}.png")
    fitted = fit(folder, tmp_path / "out")
    assert all(np.isfinite(table).all() for table in fitted.values())
    found = {tuple(color) for color in fitted["color"].astype(float).round(2)}
    assert {(1, 0, 0), (1, 1, 1), (0, 0, 0)} <= found


def test_unreadable_photos_are_skipped_counted_and_named(photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "words.jpg").write_text("no photo", encoding="utf-8")
    (folder / "cut.png").write_bytes((folder / "photo-03.png").read_bytes()[:500])
    fit(folder, tmp_path / "out")
    said = capsys.readouterr().out
    assert f"skipped: {folder}/words.jpg: the given file is not a picture" in said
    assert f"skipped: {folder}/cut.png: " in said
    assert "2 unreadable photos skipped" in said


def test_a_fit_without_readable_photos_is_an_error(tmp_path):
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        (tmp_path / name).write_text("no photo", encoding="utf-8")
    with pytest.raises(ValueError, match=r"none of the \d photos can be read .*one.jpg: .*not a picture"):
        fit(tmp_path, tmp_path / "out")


def test_the_validation_photos_are_never_fitted(photos, tmp_path, monkeypatch):
    seen = []

    class Spy(Photos):
        def __init__(self, entries, **options):
            super().__init__(entries, **options)
            seen.append({entry.name for entry in entries})

    monkeypatch.setattr(cst.training.fit_codebooks, "Photos", Spy)
    fit(photos, tmp_path)
    training, validation = seen
    assert not training & validation
    assert len(training | validation) == 16


def test_patches_come_from_anywhere_at_every_scale(photos):
    config = FitConfig(chunk=256, patches_per_photo=16)
    entries = Photos(find_photos([photos]))
    first, second = (
        next(cst.training.fit_codebooks.stream_patches(entries, config, np.random.default_rng(0))) for _ in range(2)
    )
    assert (first.shape, first.dtype) == ((256, 192), np.float32)
    assert 0 <= first.min() < first.max() <= 1
    assert np.array_equal(first, second)
    other = next(cst.training.fit_codebooks.stream_patches(entries, config, np.random.default_rng(1)))
    assert not np.array_equal(first, other)


def test_photos_of_one_flat_color_have_one_code(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (80, 64), (120, 30, 200)).save(tmp_path / "photos" / f"{number}.png")
    tables = fit(tmp_path / "photos", tmp_path / "out")
    assert all(np.isfinite(table).all() for table in tables.values())
    assert "nan" not in capsys.readouterr().out


def test_a_fit_is_not_resumed_with_other_photos(photos, tmp_path):
    fit(photos, tmp_path)
    kept = (tmp_path / "codebooks.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"other settings \(photos: 15 photos \(\w{8}\), now \d+ photos"):
        fit(sorted(photos.iterdir())[0], tmp_path)
    assert (tmp_path / "codebooks.safetensors").read_bytes() == kept


def test_the_command_fits_prints_a_table_and_resumes(run_python, photos, tmp_path):
    command = ["-m", "cst", "fit", "--images", photos, "--out", tmp_path, *FIT]
    done = run_python(*command)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines[lines.index("0 unreadable photos skipped") + 2 :]]
    assert rows[0] == ["level", "codes", "used", "perplexity", "PSNR", "dB"]
    assert [row[:2] for row in rows[1:4]] == [["color", "16"], ["shape", "32"], ["texture", "64"]]
    values = [float(row[4]) for row in rows[1:4]]
    assert values == sorted(values)  # every level adds
    assert "patch/s" in done.stderr  # progress
    assert json.loads((tmp_path / "fit.json").read_text(encoding="utf-8"))["texture"] == 64
    refused = run_python(*command, "--texture", "65")
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"error: '{tmp_path}' holds a run with other settings (texture: 64, now 65); resume with its own, or give "
        "another --out\n"
    )
