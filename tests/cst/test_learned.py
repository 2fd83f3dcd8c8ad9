"""The learned tokenizers: quantizer, networks, training, export and the protocol."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from cst.learned.config import PRESETS, LearnedTokenizerConfig
from cst.learned.model import LearnedNet
from cst.learned.onnx_runtime import DECODER, ENCODER, OnnxLearnedTokenizer
from cst.learned.quantize import Quantizer, k_means, nearest
from cst.learned.torch_runtime import load_net, to_tokenizer
from cst.training import export_learned, train_learned
from cst.training.config import LEARNED_SMOKE
from cst.training.train_learned import Trainer

TINY = {
    name: dataclasses.replace(config, codes=16, width=32, layers=min(config.layers, 1))
    for name, config in PRESETS.items()
}

SMOKE = dataclasses.replace(LEARNED_SMOKE, precision="no")


def started(config, seed: int = 0) -> LearnedNet:
    """An untrained network with codes for random pictures."""
    torch.manual_seed(seed)
    net = LearnedNet(config)
    net.quantizer.start(net.encoder(torch.rand(8, 3, 64, 64) * 2 - 1))
    return net.eval()


def quantizer(**changes) -> Quantizer:
    torch.manual_seed(0)
    return Quantizer(dataclasses.replace(TINY["rq-vae"], code_width=8, **changes))


# The quantizer --------------------------------------------------------------------------------------------------------


def test_the_nearest_code_is_the_one_at_the_smallest_distance():
    rows, table = torch.randn(50, 6), torch.randn(20, 6)
    assert nearest(rows, table).equal(torch.cdist(rows.double(), table.double()).argmin(1))


def test_k_means_finds_clusters():
    centers = torch.eye(5) * 10
    rows = centers.repeat_interleave(200, 0) + 0.1 * torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    table = k_means(rows, 40)
    assert torch.cdist(rows, table).amin(1).max() < 1


@pytest.mark.parametrize(("depth", "groups", "normalize"), [(1, 1, False), (3, 1, False), (1, 4, False), (1, 1, True)])
def test_codes_stand_for_the_vectors_that_the_decoder_gets(depth: int, groups: int, normalize: bool):
    layer = quantizer(depth=depth, groups=groups, normalize=normalize, ema=0.0)
    z = torch.randn(2, 8, 3, 5)
    layer.start(z)
    codes = layer.encode(z)
    assert codes.shape == (2, depth * groups, 3, 5) and codes.min() >= 0 and codes.max() < 16
    layer.eval()
    assert layer(z)[0].allclose(layer.look_up(codes), atol=1e-6)
    if normalize:
        assert layer.look_up(codes).norm(dim=1).allclose(torch.ones(2, 3, 5), atol=1e-6)


def test_every_residual_code_comes_nearer():
    layer = quantizer()
    z = torch.randn(4, 8, 8, 8)
    layer.start(z)
    codes, gaps = layer.encode(z), []
    for depth in (1, 2, 3):
        total = layer.codebook[codes[:, :depth]].sum(1).movedim(-1, 1)
        gaps.append((z - total).square().mean().item())
    assert gaps[0] > gaps[1] > gaps[2]


def test_gradients_pass_straight_through_and_pull_codes_and_vectors_together():
    layer = quantizer(depth=1, ema=0.0)
    z = torch.randn(1, 8, 16, 16, requires_grad=True)
    layer.start(z)
    out, loss = layer(z)
    out.sum().backward(retain_graph=True)
    assert z.grad.equal(torch.ones_like(z)) and layer.table.grad is None
    loss.backward()
    assert layer.table.grad.abs().sum() > 0


def test_without_gradients_codes_move_to_the_mean_of_what_they_replace():
    layer = quantizer(depth=1, ema=0.5)
    z = torch.randn(1, 8, 8, 8)
    layer.start(z)
    layer.train()
    for _ in range(40):
        layer(z)
    rows, codes = layer.rows(z), layer.encode(z).flatten()
    for code in codes.unique():
        assert layer.table[code].allclose(rows[codes == code].mean(0), atol=1e-4)


def test_only_unused_codes_are_restarted():
    layer = quantizer(depth=1)
    z = torch.randn(1, 8, 4, 4)
    layer.start(z)
    layer.counts[3], before = 0.0, layer.table.clone()
    assert layer.restart_unused(z).tolist() == [3]
    changed = (layer.table != before).any(1)
    assert changed[3] and changed.sum() == 1
    assert (layer.rows(z) == layer.table[3]).all(1).any()


def test_before_its_start_the_quantizer_changes_nothing():
    layer, z = quantizer(), torch.randn(1, 8, 2, 2)
    out, loss = layer(z)
    assert out.equal(z) and loss == 0


# The networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_a_network_decodes_what_it_encodes(name: str):
    config = TINY[name]
    net, images = started(config), torch.rand(2, 3, 64, 96)
    codes = net.encode(images)
    assert codes.shape == (2, len(config.levels), 64 // config.factor, 96 // config.factor)
    picture = net.decode(codes)
    assert picture.shape == images.shape and picture.min() >= 0 and picture.max() <= 1
    assert net(images)[0].clamp(0, 1).allclose(picture, atol=1e-5)


def test_the_rates_are_those_of_the_papers_and_rq_vae_has_the_rate_of_cst():
    bits = {name: sum(np.log2(level.size) for level in config.levels) for name, config in PRESETS.items()}
    assert bits["rq-vae"] == 33
    assert bits["movq"] == 32
    assert (bits["vq-vae-linear"], bits["vq-vae"], bits["vit-vqgan"]) == (11, 9, 13)


def test_the_scale_and_bias_of_movq_s_decoder_depend_on_the_codes():
    net = started(TINY["movq"])
    norm = net.decoder.norm
    x = torch.randn(1, 8, 16, 16)
    one, other = (norm(x, torch.full((1, 64, 4, 4), value)) for value in (0.0, 1.0))
    assert not one.allclose(other)
    assert one.allclose(norm.norm(x) + norm.bias.bias.view(1, -1, 1, 1), atol=1e-5)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind 'wavelet'; accepted: linear, strided"):
        LearnedNet(dataclasses.replace(TINY["movq"], kind="wavelet"))


# On arrays ------------------------------------------------------------------------------------------------------------


def test_a_transformer_reads_large_pictures_in_tiles():
    config = dataclasses.replace(TINY["vit-vqgan"], tile=4)
    net = started(config)
    whole = to_tokenizer(net, LearnedTokenizerConfig(name="tiny", model=dataclasses.replace(config, tile=0)))
    tiled = to_tokenizer(net, LearnedTokenizerConfig(name="tiny", model=config))
    images = np.random.default_rng(0).random((1, 3, 48, 32), np.float32)
    tokens = tiled.encode(images)
    assert tokens.shape == (1, 1, 6, 4)
    assert np.array_equal(tokens[:, :, :3], whole.encode(images[:, :, :24]))  # two tiles of three rows
    assert np.array_equal(tiled.decode(tokens)[:, :, 24:], whole.decode(tokens[:, :, 3:]))


def test_what_does_not_fit_is_refused():
    tokenizer = to_tokenizer(started(TINY["rq-vae"]), LearnedTokenizerConfig(name="tiny", model=TINY["rq-vae"]))
    with pytest.raises(ValueError, match="sides multiples of 8"):
        tokenizer.encode(np.zeros((1, 3, 60, 64), np.float32))
    with pytest.raises(ValueError, match=r"accepted: integers \(B, 3, h, w\)"):
        tokenizer.decode(np.zeros((1, 2, 4, 4), np.int32))
    with pytest.raises(ValueError, match="codes span 0 to 16; accepted: 0 to 15"):
        tokenizer.decode(np.full((1, 3, 1, 2), [0, 16], np.int32))


# Training and export --------------------------------------------------------------------------------------------------


def train(photos: Path, out: Path, **changes) -> list[dict]:
    out.mkdir(exist_ok=True)
    config = dataclasses.replace(SMOKE, **changes)
    return train_learned.train(Trainer("tiny", config, images=[str(photos)], out=out))


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(photos: Path, tmp_path: Path, one_thread: None):
    straight = train(photos, tmp_path / "straight", adversarial=0.0)
    train(photos, tmp_path / "stopped", adversarial=0.0, steps=20, checkpoint_minutes=0.0)
    config = dataclasses.replace(SMOKE, adversarial=0.0, checkpoint_minutes=0.0)
    (tmp_path / "resumed").mkdir()
    trainer = Trainer("tiny", config, images=[str(photos)], out=tmp_path / "resumed")
    for step in range(12):  # past the start of the codebook and a restart
        trainer.step(step, trainer.crops[step])
    trainer.save(12)
    resumed = train(photos, tmp_path / "resumed", adversarial=0.0)
    assert resumed[-1]["psnr"] == straight[-1]["psnr"]


def test_a_collapsed_codebook_is_reported(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "run").mkdir()
    trainer = Trainer("tiny", dataclasses.replace(SMOKE), images=[str(photos)], out=tmp_path / "run")
    trainer.ema.quantizer.started.fill_(True)
    trainer.ema.quantizer.table[1:] = 1e6
    trainer.artifact = dataclasses.replace(
        trainer.artifact, model=dataclasses.replace(trainer.artifact.model, codes=64)
    )
    trainer.validate(1, 0.1)
    assert "the codebook has collapsed" in capsys.readouterr().out


def test_the_exported_graphs_give_the_codes_and_pictures_of_torch(learned_folder: Path):
    net, config = load_net(learned_folder)
    ours, theirs = OnnxLearnedTokenizer(learned_folder), to_tokenizer(net, config)
    assert (ours.fingerprint, ours.patch, len(ours.levels)) == (config.fingerprint, 8, 3)
    images = np.random.default_rng(0).random((2, 3, 40, 72), np.float32)
    tokens = ours.encode(images)
    assert tokens.dtype == np.int32 and tokens.shape == (2, 3, 5, 9)
    assert (tokens[:, 0] == theirs.encode(images)[:, 0]).mean() > 0.9  # weights in 8 bits
    assert ours.decode(tokens) == pytest.approx(theirs.decode(tokens), abs=0.02)


def test_the_codebook_is_not_rounded(learned_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(learned_folder, tmp_path / "copy")
    monkeypatch.setattr(export_learned, "SMALL", 0)
    export_learned.export(tmp_path / "copy")
    codebook = load_net(learned_folder)[0].quantizer.table.detach().numpy()
    for name in (ENCODER, DECODER):
        tensors = onnx.load(tmp_path / "copy" / name).graph.initializer
        rounded = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.INT8]
        assert rounded and not [tensor.name for tensor in rounded if sorted(tensor.dims) == sorted(codebook.shape)]


def test_a_folder_that_is_something_else_is_refused(learned_folder: Path, artifact: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="of format"):
        OnnxLearnedTokenizer(artifact)
    (tmp_path / "config.json").write_bytes((learned_folder / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"has no encoder\.onnx"):
        OnnxLearnedTokenizer(tmp_path)
    LearnedTokenizerConfig(name="tiny", model=PRESETS["tiny"]).save(tmp_path)
    with pytest.raises(ValueError, match="python -m cst export-learned"):
        OnnxLearnedTokenizer(tmp_path)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"model": "gan"}, "no model 'gan'; accepted: vq-vae-linear"),
        ({"size": 60}, "crops of 60 pixels; accepted: multiples of 8"),
    ],
)
def test_a_setting_that_can_not_be_is_refused(photos: Path, tmp_path: Path, flags: dict, words: str):
    config = dataclasses.replace(SMOKE, size=flags.get("size", 64))
    with pytest.raises(ValueError, match=words):
        Trainer(flags.get("model", "tiny"), config, images=[str(photos)], out=tmp_path)
