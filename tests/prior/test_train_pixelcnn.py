"""Training a PixelCNN through its command: it learns, resumes exactly, shares its work, and stops at nonsense."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.interruption import interrupt_after, progress
from support.photos import CLASSES, make_photo
from support.server import free_port

import prior.training.train
from cst.tokenizer.config import TokenizerConfig
from prior.config import PriorConfig, TrainConfig
from prior.torch_runtime import TorchPrior
from prior.training.train_pixelcnn import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = [
    "--preset",
    "pixelcnn-tiny",
    "--smoke",
    "--precision",
    "no",
    "--size",
    "16",
    "--steps",
    "6",
    "--warmup",
    "2",
    "--validate-every",
    "3",
]


@pytest.fixture
def train(kinds_of_photo, artifact):
    """Call `prior.train` to a folder; returns its checkpoint."""

    def call(out: Path, *more: str, images: Path = kinds_of_photo, tokenizer: Path = artifact) -> dict:
        paths = ["--images", str(images), "--tokenizer", str(tokenizer), "--out", str(out)]
        prior.training.train.main([*paths, *QUICK, *more])
        return load_file(out / "state.safetensors")

    return call


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


# It learns and leaves what it should ----------------------------------------------------------------------------------


def test_training_learns_and_leaves_an_artifact_a_sheet_and_a_curve(train, kinds_of_photo, tmp_path):
    train(tmp_path, "--steps", "40", "--validate-every", "20")
    first, last = progress(tmp_path)["history"]
    assert (first["step"], last["step"]) == (20, 40)
    assert sum(last["train"]) < sum(first["train"]) < math.log2(16 * 32 * 64)
    config = PriorConfig.load(tmp_path)
    assert (config.classes, config.grid, set(config.files)) == (CLASSES, (2, 2), {"model.safetensors"})
    assert json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))["steps"] == 40
    with Image.open(tmp_path / "sheet-000040.png") as sheet, Image.open(tmp_path / "curve.png") as curve:
        assert sheet.width > 3 * 128  # a picture a class, in two rows: colors, and all three levels
        assert sheet.height > 2 * 128
        assert min(curve.size) > 200
    assert not list(tmp_path.glob("**/*.part"))


def test_what_is_kept_reaches_the_bits_that_validation_reported(train, kinds_of_photo, artifact, tmp_path):
    from cst.photos import find_photos, split
    from cst.tokenizer.codebooks import Codebooks
    from prior.training.labeled_crops import encode_squares

    train(tmp_path)
    codebooks = Codebooks.of_artifact(artifact, TokenizerConfig.load(artifact))
    held_out = split(find_photos([kinds_of_photo]))[1]
    tokens, labels = encode_squares(held_out, PriorConfig.load(tmp_path), codebooks)
    bits = -TorchPrior.load(tmp_path).log_prob(tokens, labels).mean((0, 2, 3)) / np.log(2)
    history = progress(tmp_path)["history"]
    reported = min((point["bits"] for point in history), key=sum)
    assert bits.tolist() == pytest.approx(reported, abs=0.01)  # half precision


def test_the_smoke_preset_runs_as_a_command(run_python, kinds_of_photo, artifact, tmp_path):
    paths = ["--images", kinds_of_photo, "--tokenizer", artifact, "--out"]
    done = run_python("-m", "prior", "train", "--preset", "pixelcnn-tiny", "--smoke", "--size", 16, *paths, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"14 photos of 3 classes, 1 held out; 0\.\d+M parameters on cpu", done.stdout)
    assert re.search(r"step 20: \d+\.\d+ bits per patch held out \(training\): color \d", done.stdout + done.stderr)
    assert "step/s" in done.stderr or "s/step" in done.stderr  # progress
    refused = run_python("-m", "prior", "train", "--preset", "huge", *paths, tmp_path / "other")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("error: no preset 'huge'; accepted: tiny, small")
    assert not (tmp_path / "other").exists()


# It resumes -----------------------------------------------------------------------------------------------------------


def test_a_run_stopped_and_resumed_ends_bit_for_bit_the_same(train, tmp_path, monkeypatch):
    straight = train(tmp_path / "straight")
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", "--checkpoint-minutes", "0")
    monkeypatch.undo()
    assert progress(tmp_path / "broken")["step"] == 4
    assert same(train(tmp_path / "broken"), straight)
    assert same(*(load_file(tmp_path / name / "model.safetensors") for name in ("straight", "broken")))
    reported = [[point["bits"] for point in progress(tmp_path / name)["history"]] for name in ("straight", "broken")]
    assert reported[0] == reported[1]


def test_a_finished_run_may_be_run_again(train, tmp_path):
    assert same(train(tmp_path), train(tmp_path))


def test_a_run_stopped_before_anything_was_kept_begins_again(train, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stop)
        train(tmp_path)
    assert not (tmp_path / "state.safetensors").exists()
    assert same(train(tmp_path), train(tmp_path / "straight"))


def test_a_damaged_checkpoint_is_refused_by_name(train, tmp_path):
    train(tmp_path)
    whole = (tmp_path / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors").write_bytes(whole[:5000])
    with pytest.raises(ValueError, match=r"state.safetensors' is not a readable checkpoint"):
        train(tmp_path)


def test_a_folder_of_another_prior_is_refused_and_left_as_it_was(train, photos, artifact, codebooks_folder, tmp_path):
    train(tmp_path)

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    changes = {"model": ["--preset", "pixelcnn"], "grid": ["--size", "32"]}
    for name, flags in {**changes, "beam": ["--beam", "2"]}.items():
        with pytest.raises(ValueError, match=rf"holds a prior with another {name} \(.*; resume with its own settings"):
            train(tmp_path, *flags)
    with pytest.raises(ValueError, match=r"holds a prior with another classes \(\('Blue bell', 'daisy', 'wild_rose'\)"):
        train(tmp_path, images=photos)
    assert files() == before


def test_a_folder_of_another_tokenizers_prior_is_refused(train, artifact, tmp_path):
    from safetensors.numpy import save_file

    from cst.tokenizer.codebooks import Codebooks

    train(tmp_path / "prior")
    own = TokenizerConfig.load(artifact)
    books = Codebooks.of_artifact(artifact, own)
    (other := tmp_path / "other").mkdir()
    tables = {"color": books.color[::-1].copy(), "shape": books.shape, "texture": books.texture}
    save_file(tables, other / "codebooks.safetensors")
    config = TokenizerConfig(levels=own.levels, fingerprint=Codebooks(**tables).fingerprint)
    config.with_files(other, "codebooks.safetensors").save(other)
    with pytest.raises(ValueError, match=f"holds a prior with another fingerprint .'{own.fingerprint}'"):
        train(tmp_path / "prior", tokenizer=other)
    train(tmp_path / "new", tokenizer=other)  # codebooks alone are enough: sheets show the centroid picture


def test_the_folder_of_a_tokenizer_is_not_written_to(train, artifact, tmp_path):
    config = TokenizerConfig.load(artifact)
    config.save(tmp_path)
    with pytest.raises(ValueError, match=r"format \('cst-tokenizer', 1\); accepted: \('cst-prior', 1\)"):
        train(tmp_path)
    assert TokenizerConfig.load(tmp_path) == config


# It shares its work ---------------------------------------------------------------------------------------------------


def test_two_processes_train_what_one_does(run_python, train, kinds_of_photo, artifact, tmp_path):
    even = ["--batch", "8"]
    alone = train(tmp_path / "one", *even)
    # `accelerate launch` starts a second process on GPUs alone; on a CPU it takes torch's own launcher.
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port(), "-m"]
    paths = ["--images", kinds_of_photo, "--tokenizer", artifact, "--out", tmp_path / "two"]
    done = run_python(*launch, "prior", "train", *paths, *QUICK, *even)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("processes 2, from step 0") == 1  # one of them speaks
    one, two = (progress(tmp_path / name)["history"] for name in ("one", "two"))
    assert [point["step"] for point in two] == [3, 6]
    for there, here in zip(one, two, strict=True):
        assert here["bits"] == pytest.approx(there["bits"], abs=1e-4)
    together = load_file(tmp_path / "two" / "state.safetensors")
    assert set(together) == set(alone)
    weights = [name for name in alone if name.startswith("ema/")]
    assert max((alone[name] - together[name]).abs().max().item() for name in weights) < 1e-4


def test_a_batch_that_is_not_shared_evenly_is_refused(kinds_of_photo, artifact, tmp_path, monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", 3)
    config = TrainConfig(preset="pixelcnn-tiny", size=16, batch=4, precision="no")
    with pytest.raises(ValueError, match="a batch of 4; accepted: as many pictures for each of 3 processes"):
        Trainer(config, tokenizer=artifact, images=[str(kinds_of_photo)], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# It knows when to stop ------------------------------------------------------------------------------------------------


def point(*bits: float) -> dict:
    return {"step": 0, "bits": list(bits), "train": list(bits)}


def test_a_run_that_no_longer_gains_ends_early_and_says_so(train, tmp_path, capfd):
    flags = ["--learning-rate", "0", "--patience", "1", "--validate-every", "1"]
    train(tmp_path, *flags)
    said = capfd.readouterr()
    assert "no gain in 1 validations: stopping at step" in said.out + said.err
    assert progress(tmp_path)["step"] < 6
    assert TorchPrior.load(tmp_path).grid == (2, 2)
    ended = (tmp_path / "model.safetensors").read_bytes()
    train(tmp_path, *flags)  # and when run again, at once
    assert (tmp_path / "model.safetensors").read_bytes() == ended


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_checkpoint(interrupted, train, tmp_path, monkeypatch):
    said = "there is no checkpoint"
    if interrupted:
        interrupt_after(monkeypatch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, "--checkpoint-minutes", "0")
        monkeypatch.undo()
        said = f"the last good checkpoint is '{tmp_path}/state.safetensors'"
    with pytest.raises(ValueError, match=rf"the loss became (nan|inf) at step \d; {said}: continue with a lower"):
        train(tmp_path, "--learning-rate", "1e30")
    assert (tmp_path / "state.safetensors").exists() == interrupted
    assert not interrupted or progress(tmp_path)["step"] == 2


# What it is given -----------------------------------------------------------------------------------------------------


def test_no_photos_are_refused_before_the_folder_is_made(train, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no photos found in"):
        train(tmp_path / "out", images=tmp_path / "empty")
    with pytest.raises(ValueError, match="no such file or folder"):
        train(tmp_path / "out", images=tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_one_photo_of_one_class_is_enough(train, tmp_path):
    (tmp_path / "daisy").mkdir()
    make_photo(0, 40, 30).save(tmp_path / "daisy" / "one.png")
    train(tmp_path / "out", images=tmp_path / "daisy")
    assert PriorConfig.load(tmp_path / "out").classes == ("daisy",)
    assert sum(progress(tmp_path / "out")["history"][-1]["bits"]) > 0


def test_photos_that_can_not_be_read_are_named_and_passed_over(train, tmp_path, capsys):
    (tmp_path / "daisy").mkdir()
    for seed in range(3):
        make_photo(seed, 40, 30).save(tmp_path / "daisy" / f"{seed}.png")
    (tmp_path / "daisy" / "bad.png").write_text("no photo", encoding="utf-8")
    train(tmp_path / "out", "--batch", "8", images=tmp_path / "daisy")
    assert f"skipped: {tmp_path}/daisy/bad.png: the given file is not a picture" in capsys.readouterr().out


def test_a_folder_of_unreadable_photos_is_refused(train, tmp_path):
    (tmp_path / "daisy").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "daisy" / name).write_text("no photo", encoding="utf-8")
    with pytest.raises(ValueError, match=r"none of 1 photos is readable and of a known class"):
        train(tmp_path / "out", images=tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--preset", "huge"], "no preset 'huge'; accepted: tiny, small, base, large, pixelcnn-tiny"),
        (["--size", "30"], "pictures of 30 pixels; accepted: multiples of the patch, 8"),
        (["--size", "0"], "pictures of 0 pixels"),
        (["--batch", "0"], "a batch of 0; accepted: as many pictures for each of 1 processes"),
        (["--precision", "fp16"], "no precision 'fp16'; accepted: auto, bf16, no"),
        (["--min-crop", "1.5"], "crops of at least 1.5 of a photo; accepted: above 0 and at most 1"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_before_the_folder_is_made(flags, said, train, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
