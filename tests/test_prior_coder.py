"""The priors as what a file is coded under: every code once, from what came before, alike on every machine."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import prior.coder
from prior.coder import MOST, WEIGHTS, PriorModel, load, windows
from prior.config import PRESETS, PRETRAINED, PriorConfig
from prior.runtime import OnnxPrior
from prior.torch_runtime import TorchPrior, build, save_prior

pytestmark = pytest.mark.usefixtures("one_thread")
GRIDS = [(1, 1), (3, 20), (16, 16), (17, 33)]
# sha256 of the weights of two windows of the packaged priors, one of them narrow
GOLDEN = {
    "gpt": "bf7b5de153e82c8a9d567639a32c6a4e2a55668f96c86157f5ed16cbf176611e",
    "pixelcnn": "2bbe7a5e8771074f343b0ba484bbc92d87a2dc4a98be723078d46fea7701f710",
}


def random_tokens(model: PriorModel, grid: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(level.size, size=grid) for level in model.config.vocabulary]).astype(np.int32)


def log_prob(model: PriorModel, tokens: np.ndarray) -> np.ndarray:
    """(L, h, w) int -> (L, h, w) float64: the natural log of every code's share of the weights."""
    found = np.full(tokens.shape, np.nan)
    for level, rows, columns, weights in model.walk(tokens):
        chosen = weights[np.arange(len(rows)), tokens[level, rows, columns]]
        found[level, rows, columns] = np.log(chosen / weights.sum(1, dtype=np.float64))
    return found


def decoding(model: PriorModel, tokens: np.ndarray, garbage: int) -> Iterator[tuple]:
    """The walk of one who knows of the codes only those that it has come by."""
    known = np.full(tokens.shape, garbage, np.int32)
    for level, rows, columns, weights in model.walk(known):
        yield level, rows, columns, weights
        known[level, rows, columns] = tokens[level, rows, columns]


def bold(config: PriorConfig, folder: Path, seed: int = 0) -> TorchPrior:
    """A network of random weights, large enough for its opinions to be strong; saved to `folder` too."""
    import torch

    net = build(config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw) / weight.shape[-1] ** 0.5 + (weight == 1).float())
    save_prior(net, config, folder)
    return TorchPrior.load(folder)


@pytest.fixture
def model(prior_folder) -> PriorModel:
    """Each of the tiny priors in turn."""
    return PriorModel(prior_folder, fingerprint=PriorConfig.load(prior_folder).fingerprint)


@pytest.fixture
def copy(prior_folder, tmp_path) -> Path:
    """A copy of each prior, to be changed."""
    for name in ("config.json", WEIGHTS):
        shutil.copy(prior_folder / name, tmp_path / name)
    return tmp_path


# The walk -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
def test_every_code_is_walked_by_once_with_weights_that_fit(grid, model):
    tokens = random_tokens(model, grid)
    seen = np.zeros(tokens.shape, int)
    for level, rows, columns, weights in model.walk(tokens):
        np.add.at(seen[level], (rows, columns), 1)
        assert (weights.dtype, weights.shape) == (np.float32, (len(rows), model.config.vocabulary[level].size))
        assert np.array_equal(weights, np.rint(weights)) and weights.min() >= 0
        assert (weights.sum(1, dtype=np.float64) <= 2**24).all()
    assert (seen == 1).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_a_decoder_that_does_not_know_the_rest_finds_the_same_weights(grid, model):
    tokens = random_tokens(model, grid, seed=1)
    for garbage in (0, -(2**31), 2**31 - 1):
        for one, other in zip(model.walk(tokens), decoding(model, tokens, garbage), strict=True):
            assert one[0] == other[0]
            assert all(np.array_equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


def test_the_tokens_are_left_as_they_are(model):
    tokens = random_tokens(model, (5, 6))
    before = tokens.copy()
    assert len(list(model.walk(tokens))) > 0
    assert np.array_equal(tokens, before)


def test_tokens_of_other_levels_are_refused(model):
    with pytest.raises(ValueError, match=r"tokens are \(2, 4, 4\); accepted: \(3, h, w\)"):
        next(model.walk(np.zeros((2, 4, 4), np.int32)))


def test_a_window_is_the_same_alone_as_among_others(model):
    tokens = random_tokens(model, (8, 12))
    together = log_prob(model, tokens)
    for top in (0, 4):
        for left in (0, 4, 8):
            part = np.s_[:, top : top + 4, left : left + 4]
            assert np.array_equal(log_prob(model, tokens[part]), together[part])


def test_a_grid_of_more_windows_than_fit_at_once_is_walked_in_turns():
    found = list(windows((17 * 16, 33), (16, 16)))
    assert [len(part) for part in found] == [MOST, 17 * 3 - MOST]
    assert len(np.unique(np.concatenate(found), axis=0)) == 17 * 3


# The network ----------------------------------------------------------------------------------------------------------


def test_a_file_is_as_small_as_the_prior_promises(model, prior_folder):
    theirs = OnnxPrior(prior_folder, threads=1)
    tokens = random_tokens(model, model.config.grid)
    wanted = theirs.log_prob(tokens[None], np.array([len(theirs.classes)]))[0]
    assert log_prob(model, tokens).sum() == pytest.approx(wanted.sum(), rel=5e-3)
    assert log_prob(model, tokens) == pytest.approx(wanted, abs=1e-3)


def test_chances_are_those_of_a_network_with_strong_opinions(prior_folder, tmp_path):
    config = PriorConfig.load(prior_folder)
    theirs = bold(config, tmp_path)
    model = PriorModel(tmp_path, fingerprint=config.fingerprint)
    tokens = np.stack([random_tokens(model, config.grid, seed) for seed in range(3)])
    wanted = theirs.log_prob(tokens, np.full(3, len(theirs.classes)))
    found = np.stack([log_prob(model, each) for each in tokens])
    sure = wanted > np.log(1e-3)  # below, whole numbers out of 2**24 are coarser than that
    assert sure.mean() > 0.3 and wanted.std() > 0.3
    assert np.abs(found - wanted)[sure].max() < 1e-4 + 64 * 2**-24 * 1e3


def test_a_narrow_picture_is_seen_by_the_pixelcnn_as_it_is(pixelcnn_folder, tmp_path):
    """What is beyond the edge of the photo is nothing, as what is beyond the edge of a window is."""
    import torch

    config = PriorConfig.load(pixelcnn_folder)
    theirs = bold(config, tmp_path)
    model = PriorModel(tmp_path, fingerprint=config.fingerprint)
    tokens = random_tokens(model, (3, 2))
    with torch.no_grad():
        wanted = theirs.net(torch.from_numpy(tokens[None].astype(np.int64)), torch.tensor([len(config.classes)]))
    wanted = np.stack([level[0].reshape(3, 2).numpy() for level in wanted])
    assert np.exp(log_prob(model, tokens)) == pytest.approx(np.exp(wanted), abs=1e-4)


def test_what_is_beyond_the_edge_says_nothing(model):
    """A narrow window is the same alone as beside one that is wider."""
    tokens = random_tokens(model, (4, 6))
    assert np.array_equal(log_prob(model, tokens)[:, :, 4:], log_prob(model, tokens[:, :, 4:]))


# Every machine --------------------------------------------------------------------------------------------------------

WALK = """
import hashlib
import numpy as np
from prior.coder import load
from prior.config import PRETRAINED, PriorConfig
model = load({kind!r}, PriorConfig.load(PRETRAINED / {kind!r}).fingerprint)
tokens = np.arange(3 * 3 * 19).reshape(3, 3, 19).astype(np.int32) * 7919 % np.array([512, 2048, 8192])[:, None, None]
digest = hashlib.sha256()
for level, rows, columns, weights in model.walk(tokens.astype(np.int32)):
    digest.update(np.ascontiguousarray(weights, "<f4").tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize(("threads", "core"), [("1", "Nehalem"), ("2", "")])  # Nehalem has no fused multiply-add
@pytest.mark.parametrize("kind", GOLDEN)
def test_the_packaged_priors_give_these_very_weights_on_every_machine(kind, threads, core, run_python):
    """Of 3x19 patches, by as many threads as the BLAS is told, with products for one processor and another.

    If this fails where it passed before, a photo coded on another machine can't be decoded on this one, or one coded
    yesterday today. If a prior was trained anew, or the arithmetic was changed on purpose, write the new hash above,
    and for the arithmetic raise `prior.exact.VERSION`. If nothing was changed, this machine, its numpy or its BLAS
    computes something else than `prior.exact` takes for granted: find the first step of the walk whose weights differ
    from those of a machine that passes, and in it the first product or function; tests/test_exact.py tries each alone.
    """
    environment = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    environment |= {"OPENBLAS_CORETYPE": core} if core else {}
    done = run_python("-c", WALK.format(kind=kind), **environment)
    assert done.stdout.strip() == GOLDEN[kind], done.stderr


def test_coding_imports_no_training_library(run_python):
    heavy = ("torch", "transformers", "sklearn", "scipy", "onnx")
    done = run_python("-c", f"import sys, prior.coder\nprint([name for name in {heavy} if name in sys.modules])")
    assert (done.stdout, done.stderr) == ("[]\n", "")


# The folder -----------------------------------------------------------------------------------------------------------


def change_weights(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change all weights of a prior's folder, honestly: with the checksum."""
    from safetensors.numpy import load_file, save_file

    save_file({name: change(value) for name, value in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    PriorConfig.load(folder).with_files(folder, WEIGHTS).save(folder)


def test_a_fingerprint_is_of_the_weights_and_of_the_arithmetic(copy, model, monkeypatch):
    config = PriorConfig.load(copy)
    assert len(model.fingerprint) == 16 and int(model.fingerprint, 16) >= 0
    assert PriorModel(copy, fingerprint=config.fingerprint).fingerprint == model.fingerprint
    change_weights(copy, lambda weight: weight * weight.dtype.type(0.5))
    assert PriorModel(copy, fingerprint=config.fingerprint).fingerprint != model.fingerprint
    change_weights(copy, lambda weight: weight * weight.dtype.type(2))
    monkeypatch.setattr(prior.coder, "VERSION", prior.coder.VERSION + 1)
    assert PriorModel(copy, fingerprint=config.fingerprint).fingerprint != model.fingerprint


def test_the_packaged_priors_say_which_they_are():
    fingerprint = PriorConfig.load(PRETRAINED / "gpt").fingerprint
    models = [load(kind, fingerprint) for kind in ("gpt", "pixelcnn")]
    assert [model.name for model in models] == ["gpt", "pixelcnn"]
    assert models[0].fingerprint != models[1].fingerprint


def test_another_tokenizer_kind_or_damaged_file_is_refused(copy):
    config = PriorConfig.load(copy)
    with pytest.raises(ValueError, match=r"writes tokens of the tokenizer .*, and this tokenizer is 0123456789abcdef"):
        load(config.kind, "0123456789abcdef")
    with pytest.raises(ValueError, match="no prior 'diffusion'; accepted: gpt, pixelcnn"):
        load("diffusion", config.fingerprint)
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged: its checksum is not the one in config\.json"):
        PriorModel(copy, fingerprint=config.fingerprint)
    (copy / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=f"has no {WEIGHTS}"):
        PriorModel(copy, fingerprint=config.fingerprint)


def test_weights_that_are_not_of_this_network_are_refused_by_name(copy):
    config = PriorConfig.load(copy)
    values = json.loads((copy / "config.json").read_text())
    values["model"] |= {"layers": [3, 1, 1]} if config.kind == "gpt" else {"blocks": 3}
    (copy / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"has no weights .*(layers\.2|blocks\.3)"):
        PriorModel(copy, fingerprint=config.fingerprint)


def test_a_simple_pixelcnn_is_refused(pixelcnn_folder, tmp_path):
    simple = dataclasses.replace(PRESETS["pixelcnn-simple"], width=16, blocks=1)
    config = dataclasses.replace(PriorConfig.load(pixelcnn_folder), model=simple)
    save_prior(build(config), config, tmp_path)
    with pytest.raises(ValueError, match=r"a simple PixelCNN .* take a gated one"):
        PriorModel(tmp_path, fingerprint=config.fingerprint)
