"""The critic: trained by its command, the same on torch and onnxruntime, and what chooses the best of several."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import prior.training.train_critic
from prior.config import PriorConfig
from prior.onnx_runtime import CRITIC, OnnxPrior
from prior.protocol import LevelSettings, SampleRequest, Settings
from prior.sampling import sample
from prior.torch_runtime import CRITIC_WEIGHTS, TorchPrior
from prior.training.train_critic import accuracy, jitter, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(gpt_folder: Path, kinds_of_photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny GPT with a critic."""
    folder = tmp_path_factory.mktemp("critic") / "gpt"
    shutil.copytree(gpt_folder, folder)
    prior.training.train_critic.main(["--images", str(kinds_of_photo), "--prior", str(folder), "--smoke"])
    return folder


def test_a_critic_is_added_to_the_folder_and_says_the_same_on_torch_as_on_onnx(folder: Path):
    assert {CRITIC, CRITIC_WEIGHTS} <= set(PriorConfig.load(folder).files)
    ours, theirs = OnnxPrior(folder, threads=1), TorchPrior.load(folder)
    maps = {"color_half": np.random.default_rng(0).integers(16, size=(5, 4, 4))}
    assert ours.critic(maps).shape == (5,)
    assert ours.critic(maps) == pytest.approx(theirs.critic(maps), abs=0.01)  # half precision


def test_the_best_of_several_color_maps_is_drawn_and_told(folder: Path):
    prior = OnnxPrior(folder, threads=1)
    settings = Settings((LevelSettings(),) * 3, candidates=4)
    steps = list(sample(prior, SampleRequest.of_classes(prior, np.array([0, 1]), settings, 3)))
    assert next(step.best_of for step in steps if step.name == "shape") == 4
    assert {step.best_of for step in steps if step.name.startswith("color_")} == {1}
    assert steps[-1].known.all() and steps[-1].tokens.shape == (2, 3, 8, 8)


def test_without_a_critic_the_first_color_map_is_drawn(folder: Path, gpt_folder: Path):
    drawn = []
    for where, candidates in ((gpt_folder, 8), (folder, 1)):
        settings = Settings((LevelSettings(),) * 3, candidates=candidates)
        prior = OnnxPrior(where, threads=1)
        *_, last = sample(prior, SampleRequest.of_classes(prior, np.array([0]), settings, 3))
        drawn.append(last.tokens)
    assert np.array_equal(*drawn)


def test_it_learns_where_colors_lie():
    """Photos: bright above dark. Drawn: dark above bright. Every color is as frequent in both."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 200, 8, 8, 3, generator=generator) * 0.3
    ramp = torch.linspace(0.6, 0.1, 8)[:, None, None]
    photos, drawn = noise[0] + ramp, noise[1] + ramp.flip(0)
    critic = train(photos[:100], drawn[:100], steps=60)
    assert accuracy(critic, photos[100:], drawn[100:]) > 0.95


def test_the_jitter_keeps_what_lies_where():
    torch.manual_seed(0)
    maps = torch.rand(50, 4, 4, 1).expand(50, 4, 4, 3) * 0.5 + 0.25
    changed = jitter(maps)
    assert changed.shape == maps.shape and not torch.allclose(changed, maps)
    for one, other in zip(maps[..., 0].flatten(1), changed.mean(3), strict=True):
        agree = [torch.corrcoef(torch.stack([one, each.flatten()]))[0, 1] for each in (other, other.flip(1))]
        assert max(agree) > 0.95


def test_only_a_gpt_has_a_critic(pixelcnn_folder: Path, kinds_of_photo: Path):
    with pytest.raises(ValueError, match="is a pixelcnn; accepted: a GPT"):
        prior.training.train_critic.main(["--images", str(kinds_of_photo), "--prior", str(pixelcnn_folder), "--smoke"])
