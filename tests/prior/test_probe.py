"""The linear probe of the GPT's layers."""

from pathlib import Path

import numpy as np
import pytest

from prior.evaluation import probe
from prior.torch_runtime import load_prior


def test_classes_that_a_line_separates_are_read():
    rng = np.random.default_rng(0)
    labels = np.array(["rose", "tulip", "iris"] * 40)
    features = rng.normal(size=(120, 8)) + 6 * np.eye(8)[np.unique(labels, return_inverse=True)[1]]
    assert probe.probe(features[:60], labels[:60], features[60:], labels[60:]) == (1.0, 1.0)
    noise = rng.normal(size=(120, 8))
    assert probe.probe(noise[:60], labels[:60], noise[60:], labels[60:])[0] < 0.6


def test_every_layer_is_averaged_over_the_places_and_does_not_depend_on_the_batch(gpt_folder: Path, monkeypatch):
    net, config = load_prior(gpt_folder)
    grids = np.random.default_rng(0).integers(0, 256, (5, *config.grid, 3), dtype=np.uint8)
    layers, histogram, maps = probe.layer_features(net, grids)
    assert len(layers) == 1 + config.model.layers_of(probe.PART)
    assert all(layer.shape == (5, config.model.width) for layer in layers)
    assert histogram.sum(1) == pytest.approx(np.ones(5))
    assert maps.shape == (5, 3 * config.grid[0] * config.grid[1] // 4)
    monkeypatch.setattr(probe, "BATCH", 2)
    again, *_ = probe.layer_features(net, grids)
    assert layers[-1] == pytest.approx(again[-1], abs=1e-5)
    assert not np.allclose(layers[0], layers[-1])


def test_the_command_prints_a_table_and_draws_a_plot(
    gpt_folder: Path, kinds_of_photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    probe.main(["--images", str(kinds_of_photo), "--prior", str(gpt_folder), "--plot", str(tmp_path / "probe.png")])
    printed = capsys.readouterr().out
    assert "| layer 0 (input) |" in printed and "| color map |" in printed
    assert (tmp_path / "probe.png").stat().st_size > 1000


def test_a_pixelcnn_is_refused(pixelcnn_folder: Path, kinds_of_photo: Path):
    with pytest.raises(ValueError, match="is a pixelcnn; the probe is of a GPT"):
        probe.main(["--images", str(kinds_of_photo), "--prior", str(pixelcnn_folder)])


@pytest.mark.parametrize("name", ["probe.txt", "missing/probe.png"])
def test_a_plot_that_can_not_be_written_is_refused_at_once(kinds_of_photo: Path, tmp_path: Path, name: str):
    with pytest.raises(ValueError, match=r"accepted: a \.png file"):
        probe.main(["--images", str(kinds_of_photo), "--plot", str(tmp_path / name)])
