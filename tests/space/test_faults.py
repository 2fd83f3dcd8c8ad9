"""What is left when the disk is full, a save is killed, or a model is damaged; and what is said then."""

import shutil
from pathlib import Path

import pytest
from support.server import free_port

from cst.artifact import replacing
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from prior.config import PRETRAINED, PriorConfig
from space.models import Models

# A disk on which no file can grow beyond 64 kB, as far as this process sees.
FULL = """
import resource
import numpy as np
from pathlib import Path
from PIL import Image

def on_a_full_disk(save, path):
    path.write_bytes(b"old")
    try:
        save(path)
    except (OSError, ValueError) as error:
        left = [(other.name, other.read_bytes()) for other in path.parent.iterdir()]
        print(path.name, type(error).__name__, left == [(path.name, b"old")])
    else:
        print(path.name, "was saved")
    path.unlink()

resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
noise = np.random.default_rng(0)
"""


def lines(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_keeps_the_old_picture_tokens_and_settings(run_python, tmp_path):
    code = f"""{FULL}
from cst import Tokens
from cst.convert import save_png
from cst.artifact import write_json
folder = Path({str(tmp_path)!r})
picture = Image.fromarray(noise.integers(256, size=(300, 300, 3)).astype(np.uint8))
tokens = Tokens(noise.integers(8000, size=(3, 200, 200)), (1600, 1600), "0" * 16)
on_a_full_disk(lambda path: save_png(picture, path), folder / "picture.png")
on_a_full_disk(tokens.save, folder / "tokens.npz")
on_a_full_disk(lambda path: write_json(path, {{"words": "word " * 20_000}}), folder / "config.json")
"""
    assert lines(run_python("-c", code)) == [
        "picture.png OSError True",
        "tokens.npz OSError True",
        "config.json OSError True",
    ]


def test_a_full_disk_keeps_the_old_checkpoint(run_python, tmp_path):
    code = f"""{FULL}
import torch
from cst.training import checkpoint
save = lambda path: checkpoint.save(path, modules={{"net": torch.nn.Linear(300, 300)}}, optimizers={{}}, progress={{}})
on_a_full_disk(save, Path({str(tmp_path)!r}) / "state.safetensors")
"""
    assert lines(run_python("-c", code)) == ["state.safetensors OSError True"]


def test_a_training_killed_while_saving_leaves_a_checkpoint_that_loads(run_python, tmp_path):
    code = f"""
import os, signal, time
import torch
from pathlib import Path
from cst.training import checkpoint

torch.set_num_threads(1)
path, net = Path({str(tmp_path)!r}) / "state.safetensors", torch.nn.Linear(700, 700)
save = lambda step: checkpoint.save(path, modules={{"net": net}}, optimizers={{}}, progress={{"step": step}})
save(0)
for trial in range(12):
    child = os.fork()
    while not child:
        step = globals().get("step", checkpoint.load(path, modules={{"net": net}}, optimizers={{}})["step"]) + 1
        torch.nn.init.constant_(net.weight, step)
        save(step)
    time.sleep(0.03 + 0.011 * trial)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    step = checkpoint.load(path, modules={{"net": net}}, optimizers={{}})["step"]
    assert step == 0 or (net.weight == step).all()
    print(step)
"""
    steps = [int(line) for line in lines(run_python("-c", code))]
    assert len(steps) == 12 and steps == sorted(steps) and steps[-1] > 3


def test_a_write_that_can_not_be_kept_leaves_the_old_file_alone(tmp_path, monkeypatch):
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.fsync", fail)  # where a disk that lags behind says that it is full
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "file") as part:
        part.write_text("new", encoding="utf-8")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_new_file_is_on_the_disk_before_its_name_and_the_name_before_success(tmp_path, monkeypatch):
    done, fsync, replace = [], __import__("os").fsync, Path.replace
    monkeypatch.setattr("os.fsync", lambda handle: (done.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda *paths: (done.append("rename"), replace(*paths))[1])
    with replacing(tmp_path / "file") as part:
        part.write_text("new", encoding="utf-8")
    assert done == ["sync", "rename", "sync"]


# Weights --------------------------------------------------------------------------------------------------------------


def spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        if how == "truncated":
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2] ^= 16
        path.write_bytes(data)


@pytest.fixture
def priors(tmp_path, monkeypatch) -> Path:
    """The packaged priors, as links, so that a file can be put in the place of one."""
    for kind in ("gpt", "pixelcnn"):
        (tmp_path / kind).mkdir()
        for name in ("config.json", *PriorConfig.load(PRETRAINED / kind).files):
            (tmp_path / kind / name).symlink_to(PRETRAINED / kind / name)
    monkeypatch.setattr("space.models.PRETRAINED", tmp_path)
    monkeypatch.setattr("prior.sampler.PRETRAINED", tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
@pytest.mark.parametrize("kind", ["gpt", "pixelcnn"])
def test_a_damaged_prior_is_told_to_visitors_without_the_servers_folders(kind, how, priors):
    name = PriorConfig.load(PRETRAINED / kind).weights[0]
    whole = (priors / kind / name).resolve()
    (priors / kind / name).unlink()
    shutil.copy(whole, priors / kind / name)
    spoil(priors / kind / name, how)
    models = Models()
    if kind in models.refusals:  # the GPT is loaded at once
        said = models.refusals[kind]
    else:
        with pytest.raises(ValueError) as error:
            models.sampler(kind)
        said = str(error.value)
    assert (f"{kind}' has no {name}" if how == "missing" else "damaged: its checksum") in said
    assert str(priors) not in said


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_the_app_names_a_damaged_tokenizer_and_ends(how, run_python, tmp_path):
    shutil.copytree(TOKENIZER, tmp_path / "tokenizer")
    spoil(tmp_path / "tokenizer" / "rendernet.int8.onnx", how)
    done = run_python("app.py", "--port", free_port(), "--tokenizer", tmp_path / "tokenizer")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ") and "rendernet.int8.onnx" in done.stderr
    assert ("copy it again" in done.stderr) == (how != "missing")


# Folders that can't be written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["cst fit", "cst train", "cst evaluate", "prior train", "prior sample"])
def test_an_output_below_a_file_is_one_clear_line(command, run_python, artifact, photos, gpt_folder, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    module, *words = command.split()
    out = ["--out", tmp_path / "file" / "out"]
    flags = {
        "cst fit": ["--images", photos, "--smoke"],
        "cst train": ["--images", photos, "--codebooks", artifact, "--smoke", "--precision", "no"],
        "cst evaluate": ["--images", photos, "--tokenizer", artifact, "--all"],
        "prior train": ["--images", photos, "--tokenizer", artifact, "--smoke", "--precision", "no"],
        "prior sample": ["--prior", gpt_folder, "--tokenizer", artifact, "--count", "1"],
    }[command]
    done = run_python("-m", module, *words, *flags, *out)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert str(tmp_path / "file") in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text(encoding="utf-8") == "no folder"
