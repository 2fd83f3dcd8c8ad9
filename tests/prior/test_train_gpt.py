"""Training the parts of a GPT through the command: each learns by itself, resumes exactly, and is put together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from support.interruption import interrupt_after
from support.photos import CLASSES, make_photo
from support.server import free_port

import prior.training.train
from cst.photos import Photos, find_photos
from prior.config import CODEBOOKS, GPT_PARTS, PARTS, GPTTrainConfig, PriorConfig
from prior.models.gpt import AUGMENTATIONS
from prior.torch_runtime import TorchPrior
from prior.training.augmented_crops import PERMUTATIONS, AugmentedCrops
from prior.training.train_gpt import lr_multiplier

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ["--smoke", "--precision", "no"]


@pytest.fixture
def train(kinds_of_photo, artifact):
    """Call `prior.train` to a folder; returns the checkpoint of the part."""

    def call(out: Path, *more: str, part: str = "color_half", images: Path = kinds_of_photo) -> dict:
        parts = [] if part == "all" else ["--part", part]
        paths = ["--images", str(images), "--tokenizer", str(artifact), "--out", str(out)]
        prior.training.train.main([*paths, *QUICK, *parts, *more])
        return load_file(out / f"state-{PARTS[0] if part == 'all' else part}.safetensors")

    return call


def progress(out: Path, part: str = "color_half") -> dict:
    with safe_open(out / f"state-{part}.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["progress"])


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def test_all_parts_are_trained_and_put_together(train, tmp_path):
    train(tmp_path, part="all")
    config = PriorConfig.load(tmp_path)
    assert (config.kind, config.classes, config.grid) == ("gpt", CLASSES, (8, 8))
    assert set(config.files) == {*config.weights, CODEBOOKS}
    net = TorchPrior.load(tmp_path).net
    for part in PARTS:
        assert json.loads((tmp_path / f"training-{part}.json").read_text(encoding="utf-8"))["steps"] == 6
        assert [point["step"] for point in progress(tmp_path, part)["history"]] == [3, 6]
        for name, value in load_file(tmp_path / f"{part}.safetensors").items():
            assert torch.equal(net.parts[part].state_dict()[name], value.float())
    assert not list(tmp_path.glob("**/*.part"))


@pytest.mark.parametrize("part", ["layout", "shape"])
def test_training_learns(part, train, tmp_path):
    train(tmp_path, "--steps", "40", "--validate-every", "20", part=part)
    first, last = progress(tmp_path, part)["history"]
    assert last["train"] < first["train"] < 6  # of 16 colors or 32 shapes
    assert not PriorConfig.load(tmp_path).files  # the other parts are still to come


@pytest.mark.parametrize("part", ["layout", "texture"])
def test_a_run_stopped_and_resumed_ends_bit_for_bit_the_same(part, train, tmp_path, monkeypatch):
    straight = train(tmp_path / "straight", part=part)
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", "--checkpoint-minutes", "0", part=part)
    monkeypatch.undo()
    assert progress(tmp_path / "broken", part)["step"] == 2
    assert same(train(tmp_path / "broken", part=part), straight)


def test_a_longer_training_goes_on_from_where_the_rate_began_to_fall(train, tmp_path):
    train(tmp_path)
    constant = tmp_path / "constant-color_half.safetensors"
    with safe_open(constant, framework="pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == 4  # of 6, with the last 40% falling
    constant.replace(tmp_path / "state-color_half.safetensors")
    train(tmp_path, "--steps", "12")
    assert progress(tmp_path)["step"] == 12


def test_the_rate_rises_stays_and_falls_to_zero():
    config = GPTTrainConfig(steps=100, warmup=10, decay_share=0.4)
    rates = [lr_multiplier(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert set(rates[10:60]) == {1.0}
    assert rates[60:] == pytest.approx(np.arange(40, 0, -1) / 40)


def test_two_processes_share_the_work(run_python, kinds_of_photo, artifact, tmp_path):
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        2,
        "--master-port",
        free_port(),
        "-m",
        "prior",
        "train",
    ]
    paths = ["--images", kinds_of_photo, "--tokenizer", artifact, "--out", tmp_path, "--part", "shape"]
    done = run_python(*launch, *paths, *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("from step 0") == 1  # one of them speaks
    assert [point["step"] for point in progress(tmp_path, "shape")["history"]] == [3, 6]


def test_a_folder_of_another_prior_is_refused_and_left_as_it_was(train, photos, tmp_path):
    train(tmp_path)
    before = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"holds a prior with another grid \(.*; resume with its own settings"):
        train(tmp_path, "--size", "128")
    with pytest.raises(ValueError, match="holds a prior with another classes"):
        train(tmp_path, images=photos)
    assert {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_is_refused_by_name(train, tmp_path):
    train(tmp_path)
    state = tmp_path / "state-color_half.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"state-color_half.safetensors' is not a readable checkpoint"):
        train(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(train, tmp_path):
    with pytest.raises(
        ValueError, match=r"the loss became (nan|inf) at step \d; there is no checkpoint: continue with a l"
    ):
        train(tmp_path, "--learning-rate", "1e30", "--muon-learning-rate", "1e30")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--size", "96"], "pictures of 96 pixels; accepted: multiples of 64"),
        (["--size", "0"], "pictures of 0 pixels"),
        (["--batch", "0"], "batch 0; accepted: at least 1"),
        (["--precision", "fp16"], "no precision 'fp16'; accepted: auto, bf16, no"),
        (["--min-crop", "1.5"], "crops of at least 1.5 of a photo; accepted: above 0 and at most 1"),
        (["--loss-share", "0"], "a share of 0.0 of the tokens in the loss; accepted: above 0 and at most 1"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_before_the_folder_is_made(flags, said, train, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()


def test_every_part_has_settings():
    assert tuple(GPT_PARTS) == PARTS


# Pictures that are told how they were augmented -----------------------------------------------------------------------


@pytest.fixture
def crops(tmp_path):
    """Make crops of one photo: red grows to the right, green to the bottom, blue is zero."""
    (tmp_path / "ramp").mkdir()
    ramp = np.zeros((100, 140, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(140), np.arange(100)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp" / "ramp.png")

    def make(**options: object) -> AugmentedCrops:
        given = {
            "size": 32,
            "batch": 40,
            "min_crop": 0.5,
            "seed": 3,
            "turned": True,
            "coarse": True,
            "full": 32,
            **options,
        }
        return AugmentedCrops(Photos(find_photos([tmp_path])), [0], **given)

    return make


def test_a_batch_depends_on_nothing_but_seed_and_step(crops):
    for one, other in zip(crops()[5], crops()[5], strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(crops()[5][0], crops(seed=4)[5][0])


def test_what_is_told_undoes_the_augmentation(crops):
    pictures, labels, told = crops()[0]
    assert (pictures.shape, pictures.dtype) == ((40, 3, 32, 32), np.uint8)
    assert (told.shape, told.dtype) == ((40, AUGMENTATIONS), np.float32)
    assert (labels == 0).all()
    for picture, (flipped, turned, *rest) in zip(pictures.astype(int), told, strict=True):
        order = list(PERMUTATIONS[int(np.argmax(rest[:5])) + 1] if max(rest[:5]) else PERMUTATIONS[0])
        picture = picture[np.argsort(order)]
        assert (picture[2] == 0).all()  # blue is where it was
        picture = picture.transpose(0, 2, 1) if turned else picture
        picture = picture[:, ::-1] if flipped else picture
        assert (np.diff(picture[1].mean(1)) > 0).all()  # green grows to the bottom again
        side = np.ptp(picture[1].mean(1)) / 31 * 32
        assert np.log2(side / 100) == pytest.approx(rest[5], abs=0.05)


def test_the_place_of_a_crop_is_told_from_the_middle(crops):
    pictures, _, told = crops(turned=False)[0]
    assert (told[:, :7] == 0).all()
    middle = pictures[:, 1].astype(float).mean((1, 2))  # green: the row
    assert (middle - 49.5) / 100 == pytest.approx(told[:, 8], abs=0.02)
    column = pictures[:, 0].astype(float).mean((1, 2))
    mirrored = pictures[:, 0, 0, 0] > pictures[:, 0, 0, -1]
    assert np.where(mirrored, -1, 1) * (column - 69.5) / 100 == pytest.approx(told[:, 9], abs=0.02)


def test_many_crops_are_the_whole_side_and_nothing_is_told_of_a_whole_square(tmp_path):
    (tmp_path / "daisy").mkdir()
    make_photo(0, 64, 64).save(tmp_path / "daisy" / "square.png")
    options = {"size": 32, "batch": 60, "min_crop": 0.5, "seed": 0, "turned": False, "coarse": False, "full": 32}
    _, _, told = AugmentedCrops(Photos(find_photos([tmp_path])), [0], **options)[0]
    assert 0.1 < (told == 0).all(1).mean() < 0.5


def test_a_tint_changes_the_light_a_little(crops):
    plain, tinted = (crops(color_jitter=tint)[0][0].astype(int) for tint in (0.0, 0.1))
    gaps = np.abs(plain - tinted)
    assert gaps.mean() > 0 and gaps.max() <= round(0.1 * 139 + 0.05 * 255) + 1
    assert crops(color_jitter=0.1)[0][0].dtype == np.uint8


def test_how_much_too_small_a_photo_is_is_told(crops):
    assert (crops(full=100)[0][2][:, 11] == 0).all()  # its shorter side has 100 pixels
    assert crops(full=200)[0][2][:, 11] == pytest.approx(5)
