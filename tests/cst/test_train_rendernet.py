"""Training by its command: it learns, resumes exactly, averages all weights and refuses invalid settings."""

import re

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.interruption import interrupt_after, progress
from support.quick import FIT
from support.server import free_port

import cst.training.export_rendernet
import cst.training.fit_codebooks
import cst.training.retrain
import cst.training.train_rendernet
from cst import CST
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.torch_runtime import TorchTokenizer
from cst.training import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ["--smoke", "--precision", "no", "--steps", "8", "--warmup", "2", "--validate-every", "4", "--validate-on", "1"]
EVERY_LOSS = ["--adversarial", "0.01"]


@pytest.fixture
def train(photos, codebooks_folder):
    """Call `cst.train` to a folder; returns its checkpoint."""

    def call(out, *more: str, quick: list[str] = QUICK) -> dict[str, torch.Tensor]:
        paths = ["--codebooks", str(codebooks_folder), "--images", str(photos), "--out", str(out)]
        cst.training.train_rendernet.main([*paths, *quick, *more])
        return load_file(out / "state.safetensors")

    return call


def largest_gap(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert set(one) == set(other)
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def test_a_small_network_learns_from_a_larger_one_and_is_exported(train, artifact, photos, tmp_path, capsys):
    state = train(tmp_path, "--preset", "tiny-fast", "--teacher", str(artifact))
    teacher = load_file(artifact / "rendernet.safetensors")
    table = "embeddings.0.weight"  # of equal width: it starts from the teacher's
    assert (state[f"net/{table}"] - teacher[table].float()).abs().mean() < 0.02
    cst.training.export_rendernet.main(["--tokenizer", str(tmp_path), "--images", str(photos)])
    printed = capsys.readouterr().out
    assert float(re.search(r"largest difference ([\d.e-]+)", printed)[1]) < 1e-4
    assert float(re.search(r"int8 loses (-?[\d.]+) dB", printed)[1]) < 0.1
    operators = {node.op_type for node in onnx.load(tmp_path / "rendernet.int8.onnx").graph.node}
    assert "BatchNormalization" not in operators and "Conv" in operators


def test_a_teacher_of_other_codebooks_is_refused(train, artifact, photos, tmp_path):
    cst.training.fit_codebooks.main(["--images", str(photos), "--out", str(tmp_path / "other"), *FIT, "--seed", "1"])
    paths = ["--codebooks", str(tmp_path / "other"), "--images", str(photos), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="accepted: a teacher with the same codebooks"):
        cst.training.train_rendernet.main([*paths, *QUICK, "--teacher", str(artifact)])


@pytest.mark.parametrize("losses", [[], EVERY_LOSS], ids=["base", "every loss"])
def test_a_run_stopped_and_resumed_ends_with_the_same_weights(losses, train, tmp_path, monkeypatch):
    straight = train(tmp_path / "straight", *losses)
    interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", *losses, "--checkpoint-minutes", "0")
    assert progress(tmp_path / "broken")["step"] == 3
    monkeypatch.undo()
    resumed = train(tmp_path / "broken", *losses)
    assert largest_gap(straight, resumed) < 1e-6
    assert (
        largest_gap(*(load_file(tmp_path / name / "rendernet.safetensors") for name in ("straight", "broken"))) < 1e-6
    )
    steps = [point["step"] for point in progress(tmp_path / "broken")["history"]]
    assert steps == [4, 8]


def test_a_run_killed_while_saving_resumes_from_the_checkpoint_before(train, tmp_path):
    straight = train(tmp_path)
    whole = (tmp_path / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors.part").write_bytes(whole[: len(whole) // 2])
    assert largest_gap(train(tmp_path), straight) == 0


def test_a_checkpoint_that_can_not_be_written_leaves_the_one_before(train, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, "--checkpoint-minutes", "0")
    monkeypatch.undo()

    def fail(tensors, path, **_):
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        train(tmp_path)
    assert progress(tmp_path)["step"] == 2
    assert not list(tmp_path.glob("*.part"))


def test_a_checkpoint_of_another_network_is_refused(train, tmp_path):
    train(tmp_path)
    with pytest.raises(
        ValueError, match=r"other settings \(preset: tiny, now base\); resume with its own, or give another --out"
    ):
        train(tmp_path, "--preset", "base")
    whole = (tmp_path / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors").write_bytes(whole[:5000])
    with pytest.raises(ValueError, match=r"state.safetensors' is not a readable checkpoint"):
        train(tmp_path)


def test_batchnorm_statistics_are_averaged_like_weights(train, tmp_path, monkeypatch):
    states, save = [], checkpoint.save

    def keep(path, **state):
        save(path, **state)
        states.append(load_file(path))

    monkeypatch.setattr(checkpoint, "save", keep)
    train(tmp_path, "--checkpoint-minutes", "0")
    before, after = states[4:6]
    for name in ("running_mean", "running_var", "weight"):
        name = f"blocks.0.norm.{name}"
        start, goal, reached = before[f"ema/{name}"], after[f"net/{name}"], after[f"ema/{name}"]
        decay = (1 + 5) / (10 + 5)  # early on; then the configured one
        assert not torch.equal(start, goal)
        assert torch.allclose(reached, decay * start + (1 - decay) * goal, atol=1e-6)
    kept = load_file(tmp_path / "rendernet.safetensors")
    last = states[-1]
    for name, value in kept.items():
        assert torch.equal(value, last[f"ema/{name}"].half() if value.is_floating_point() else last[f"ema/{name}"])


@pytest.mark.parametrize("stop", [4, 6])
def test_batchnorm_keeps_its_averaged_statistics_toward_the_end(stop, train, tmp_path, monkeypatch):
    states, save = [], checkpoint.save

    def keep(path, **state):
        save(path, **state)
        states.append(load_file(path))

    monkeypatch.setattr(checkpoint, "save", keep)
    half = ["--freeze-norm", "0.5", "--checkpoint-minutes", "0"]
    train(tmp_path / "straight", *half)
    for kind in ("mean", "var"):
        name = f"blocks.0.norm.running_{kind}"
        assert not torch.equal(states[2][f"net/{name}"], states[3][f"net/{name}"])
        for state in states[4:]:
            assert torch.equal(state[f"net/{name}"], states[3][f"ema/{name}"])
    assert not torch.equal(states[4]["net/blocks.0.norm.weight"], states[7]["net/blocks.0.norm.weight"])
    interrupt_after(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", *half)
    monkeypatch.undo()
    assert largest_gap(train(tmp_path / "broken", *half), states[7]) < 1e-6


def test_the_saved_network_has_the_measured_psnr(artifact, photos):
    """The artifact, read back, reaches the PSNR that validation reported for it."""
    from cst.images import load_image, pad_to_multiple, to_float
    from cst.metrics import psnr
    from cst.photos import find_photos, split

    tokenizer, values = TorchTokenizer(artifact), []
    for entry in split(find_photos([photos]))[1]:
        original = to_float(load_image(entry.path))
        _, height, width = original.shape
        picture = tokenizer.decode(tokenizer.encode(pad_to_multiple(original, 8)[None]))
        values.append(psnr(picture[0, :, :height, :width], original))
    assert np.mean(values) == pytest.approx(progress(artifact)["history"][-1]["psnr"], abs=0.01)


def test_training_learns_and_leaves_sheets_a_curve_and_an_artifact(artifact, photos):
    history = progress(artifact)["history"]
    assert [point["step"] for point in history] == [60, 120]
    sheet = Image.open(artifact / "sheet-000120.png")
    with sheet, Image.open(artifact / "curve.png") as curve:
        assert sheet.height % 84 == 0
        assert sheet.width % 3 == 0  # original | centroid picture | rendered
        third = sheet.width // 3
        sides = [sheet.crop((i * third, 0, (i + 1) * third, 84)) for i in range(3)]
        assert sides[0].tobytes() in {Image.open(path).tobytes() for path in photos.iterdir()}
        assert len({side.tobytes() for side in sides}) == 3
        assert min(curve.size) > 200


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(train, tmp_path):
    with pytest.raises(ValueError, match=r"the loss became (nan|inf) at step \d+; there is no checkpoint yet"):
        train(tmp_path, "--learning-rate", "1e30")
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--preset", "huge"], "no preset 'huge'; accepted: base, fast, tiny, tiny-fast"),
        (["--size", "30"], "crops of 30 pixels; accepted: multiples of the patch, 8"),
        (["--size", "0"], "crops of 0 pixels"),
    ],
)
def test_an_invalid_setting_is_refused(flags, said, train, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, *flags)


def test_training_continues_in_the_folder_of_its_codebooks(photos, tmp_path):
    paths = ["--images", str(photos), "--out", str(tmp_path)]
    cst.training.fit_codebooks.main([*paths, *FIT])
    cst.training.train_rendernet.main([*paths, "--codebooks", str(tmp_path), *QUICK])
    assert TokenizerConfig.load(tmp_path).rendernet is not None
    assert TorchTokenizer(tmp_path).levels[2].size == 64


def test_the_smoke_preset_runs_as_a_command(run_python, photos, codebooks_folder, tmp_path):
    paths = ["--codebooks", codebooks_folder, "--images", photos, "--out", tmp_path]
    done = run_python("-m", "cst", "train", "--smoke", *paths)
    assert done.returncode == 0, done.stderr
    assert re.search(r"step 20: \d+\.\d+ dB, centroid \d+\.\d+", done.stdout + done.stderr)
    assert "step/s" in done.stderr or "s/step" in done.stderr  # progress
    assert TorchTokenizer(tmp_path).net.config.blocks == 2
    refused = run_python("-m", "cst", "train", "--smoke", *paths[:4], "--out", tmp_path / "other", "--preset", "huge")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: no preset 'huge'; accepted: base, fast, tiny, tiny-fast\n",
    )


@pytest.mark.parametrize("losses", [[], EVERY_LOSS], ids=["base", "every loss"])
def test_two_processes_train_one_network(losses, run_python, photos, codebooks_folder, tmp_path):
    # `accelerate launch` only starts a second process on GPUs; on a CPU, use torch's own launcher.
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port(), "-m"]
    paths = ["--codebooks", codebooks_folder, "--images", photos, "--out", tmp_path]
    done = run_python(*launch, "cst", "train", *paths, *QUICK, *losses)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parameters on cpu") == 1  # only the main process prints
    assert progress(tmp_path)["step"] == 8
    assert TorchTokenizer(tmp_path).net.config.blocks == 2


def test_retraining_can_be_interrupted_anywhere(photos, tmp_path, monkeypatch):
    words = ["--smoke", "--images", str(photos), "--out", str(tmp_path)]

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        cst.training.train_rendernet, "use_bf16", lambda precision, device: False
    )  # the same precision in every run
    for module in (cst.training.train_rendernet, cst.training.export_rendernet):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, "main", stop)
            cst.training.retrain.main(words)
    for _ in range(2):  # and a finished one may be run again
        cst.training.retrain.main(words)
        picture = CST.from_pretrained(tmp_path, target="cpu")
        assert picture.decode(picture.encode(photos / "photo-00.png")).size == (100, 84)
