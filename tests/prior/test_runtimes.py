"""The priors on onnxruntime: what torch says, without torch, and strict about its folder."""

import contextlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

import prior.training.export
import prior.training.train
from cst.artifact import sha256
from prior.config import CODEBOOKS, PriorConfig
from prior.onnx_runtime import OnnxPrior
from prior.protocol import LevelSettings, SampleRequest, Settings
from prior.sampler import DEFAULTS
from prior.sampling import log_prob, sample
from prior.torch_runtime import TorchPrior, save_prior

pytestmark = pytest.mark.usefixtures("one_thread")
GOOD = DEFAULTS["pixelcnn"]


def random_tokens(config: PriorConfig, batch: int) -> np.ndarray:
    rng = np.random.default_rng(batch)
    return np.stack([rng.integers(level.size, size=(batch, *config.grid)) for level in config.vocabulary], 1)


def last_of(prior: OnnxPrior | TorchPrior, label: list[int], settings: Settings = GOOD, seed: int = 0) -> np.ndarray:
    """The tokens of new pictures."""
    *_, last = sample(prior, SampleRequest.of_classes(prior, np.array(label), settings, seed))
    return last.tokens


@pytest.fixture
def copy(prior_folder, tmp_path) -> Path:
    """A copy of each prior, to be spoiled."""
    for name in ("config.json", *PriorConfig.load(prior_folder).files):
        shutil.copy(prior_folder / name, tmp_path / name)
    return tmp_path


def change_config(folder: Path, **changes: object) -> None:
    """Set keys of config.json; None removes one."""
    values = {**json.loads((folder / "config.json").read_text(encoding="utf-8")), **changes}
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in values.items() if v is not None}), encoding="utf-8"
    )


# What torch says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_is_as_sure_of_every_token_as_torch(batch, prior_folder):
    ours, theirs = OnnxPrior(prior_folder, threads=1), TorchPrior.load(prior_folder)
    tokens, label = random_tokens(ours.config, batch), np.arange(batch) % 4
    found = log_prob(ours, tokens, label)
    assert (found.dtype, found.shape) == (np.float32, tokens.shape)
    assert np.abs(found - theirs.log_prob(tokens, label)).max() < 1e-4
    assert (ours.levels, ours.grid, ours.classes, ours.sketch_grid) == (
        theirs.levels, theirs.grid, theirs.classes, theirs.sketch_grid,
    )  # fmt: skip


@pytest.mark.parametrize("settings", [Settings(), GOOD, Settings((LevelSettings(top_k=1),) * 3)])
def test_the_same_seed_draws_the_same_on_onnx_as_on_torch(settings, prior_folder):
    ours, theirs = OnnxPrior(prior_folder, threads=1), TorchPrior.load(prior_folder)
    one, other = (last_of(prior, [0, 2, 3], settings, seed=5) for prior in (ours, theirs))
    # A chance that falls within rounding of a border may go either way, and what follows with it.
    assert (one == other).mean() > 0.9


def test_a_picture_does_not_depend_on_how_many_are_drawn_with_it(prior_folder):
    ours = OnnxPrior(prior_folder, threads=1)
    assert (last_of(ours, [0, 1, 2, 3, 0])[:2] == last_of(ours, [0, 1])).mean() > 0.9


def test_the_known_part_of_a_picture_is_kept(prior_folder):
    ours = OnnxPrior(prior_folder, threads=1)
    known = random_tokens(ours.config, 2)
    mask = np.zeros(known.shape, bool)
    mask[:, 0], mask[:, :, :2] = True, True
    *_, last = sample(ours, SampleRequest(known, mask, np.array([0, 1]), GOOD, 0))
    assert np.array_equal(last.tokens[mask], known[mask])
    assert not np.array_equal(last.tokens, known)
    assert (last.bits[:, 0] == 0).all()


def test_colors_known_here_and_there_are_guided_around(prior_folder):
    """Guidance asks for twice the pictures at some tokens and not at others; torch keeps nothing between them."""
    ours, theirs = OnnxPrior(prior_folder, threads=1), TorchPrior.load(prior_folder)
    known = random_tokens(ours.config, 2)
    mask = np.zeros(known.shape, bool)
    mask[:, 0, :, ::2] = True
    wanted = Settings((LevelSettings(top_k=1),) * 3, guidance=4.0)
    request = SampleRequest(known, mask, np.array([0, 1]), wanted, 0)
    one, other = ([*sample(prior, request)][-1] for prior in (ours, theirs))
    assert np.array_equal(one.tokens, other.tokens)
    if (
        ours.config.kind == "pixelcnn"
    ):  # the GPT's coarse colors are drawn here, and need not be those that its likelihood speaks of
        found = np.where(mask, 0, theirs.log_prob(one.tokens, np.array([0, 1])))
        assert one.bits == pytest.approx(-found.sum((2, 3)) / np.log(2), abs=1e-3)


def test_several_threads_may_sample_at_once(prior_folder):
    ours = OnnxPrior(prior_folder, threads=1)
    alone = [last_of(ours, [seed % 4], seed=seed) for seed in range(3)]
    together: list[np.ndarray | None] = [None] * 3

    def draw(seed: int) -> None:
        together[seed] = last_of(ours, [seed % 4], seed=seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


# The folder -----------------------------------------------------------------------------------------------------------


def test_a_prior_says_what_it_is(prior_folder):
    config = PriorConfig.load(prior_folder)
    assert config.levels == {"color": 16, "shape": 32, "texture": 64}
    assert (config.grid, config.patch, config.beam) == ((8, 8) if config.kind == "gpt" else (4, 4), 8, 1)
    assert config.classes == ("Blue bell", "daisy", "wild_rose")
    assert all(sha256(prior_folder / name) == digest for name, digest in config.files.items())
    assert not list(prior_folder.glob("*.part"))


def test_a_saved_configuration_comes_back_as_it_was(copy):
    config = PriorConfig.load(copy)
    config.save(copy)
    assert PriorConfig.load(copy) == config


def test_the_graphs_share_the_weights_and_say_nothing_of_where_they_were_made(prior_folder):
    graphs = sorted(prior_folder.glob("*.onnx"))
    for path in graphs:
        graph = onnx.load(path, load_external_data=False).graph
        assert not any(len(item.raw_data) > 10_000 for item in graph.initializer)
        assert any(item.data_location == onnx.TensorProto.EXTERNAL for item in graph.initializer)
        assert b"/torch/" not in path.read_bytes()
        assert str(Path(prior.training.export.__file__).parent).encode() not in path.read_bytes()
    config = PriorConfig.load(prior_folder)
    codebooks = [CODEBOOKS] if config.kind == "gpt" else []
    assert set(config.files) == {*config.weights, *codebooks, *(path.name for path in graphs)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": 3}, r"PriorConfig: unknown keys \['colour'\]"),
        ({"fingerprint": None}, r"missing keys \['fingerprint'\]"),
        ({"kind": "diffusion"}, "a prior of kind 'diffusion'; accepted: gpt, pixelcnn"),
        ({"kind": None}, "a prior of kind None"),
        ({"model": {"depth": 3}}, r"unknown keys \['depth'\]"),
        ({"version": 2}, r"format \('cst-prior', 2\); accepted: \('cst-prior', 1\)"),
        ({"format": "cst-tokenizer"}, "format .'cst-tokenizer', 1"),
    ],
)
def test_a_configuration_that_is_not_understood_names_what_is_wrong(changes, said, copy):
    change_config(copy, **changes)
    for load in (PriorConfig.load, OnnxPrior, TorchPrior.load):
        with pytest.raises(ValueError, match=said):
            load(copy)


def test_a_damaged_configuration_is_refused_or_still_means_a_prior(copy):
    whole, rng = (copy / "config.json").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (copy / "config.json").write_bytes(data)
        with contextlib.suppress(ValueError):
            assert len(PriorConfig.load(copy).vocabulary) == 3


def test_a_folder_of_something_else_is_refused_by_name(artifact, tmp_path):
    with pytest.raises(ValueError, match=f"'{tmp_path}' is not a prior: it has no config.json; make one with"):
        OnnxPrior(tmp_path)
    with pytest.raises(ValueError, match=r"format \('cst-tokenizer', 1\); accepted: \('cst-prior', 1\)"):
        OnnxPrior(artifact)


def test_the_prior_of_another_tokenizer_is_refused(prior_folder):
    own = PriorConfig.load(prior_folder).fingerprint
    assert OnnxPrior(prior_folder, fingerprint=own).config.fingerprint == own
    with pytest.raises(ValueError, match=f"trained on the tokenizer {own}, not on {'f' * 16}; "):
        OnnxPrior(prior_folder, fingerprint="f" * 16)


def test_one_flipped_bit_is_noticed(copy):
    for name in PriorConfig.load(copy).files:
        whole = (copy / name).read_bytes()
        for place in (0.1, 0.5, 0.99):
            data = bytearray(whole)
            data[int(len(data) * place)] ^= 1
            (copy / name).write_bytes(data)
            with pytest.raises(ValueError, match=f"{name}' is damaged: its checksum is not the one in config.json"):
                OnnxPrior(copy)
        (copy / name).write_bytes(whole)
    OnnxPrior(copy)


def test_a_missing_file_is_named(copy):
    for name in PriorConfig.load(copy).files:
        whole = (copy / name).read_bytes()
        (copy / name).unlink()
        with pytest.raises(ValueError, match=f"has no {name}"):
            OnnxPrior(copy)
        (copy / name).write_bytes(whole)


def test_a_prior_that_is_not_exported_says_how_to(copy):
    net = TorchPrior.load(copy).net
    save_prior(net, PriorConfig.load(copy), copy)  # as training does, over an exported one
    with pytest.raises(ValueError, match=rf"has no \w+.onnx; make it with python -m prior export --prior {copy}"):
        OnnxPrior(copy)
    weights = PriorConfig.load(copy).weights[0]
    (copy / weights).unlink()
    with pytest.raises(ValueError, match=f"has no {weights}"):
        prior.training.export.main(["--prior", str(copy)])


def test_the_simple_pixelcnn_samples_on_torch_alone(artifact, kinds_of_photo, tmp_path):
    paths = ["--images", str(kinds_of_photo), "--tokenizer", str(artifact), "--out", str(tmp_path)]
    quick = ["--smoke", "--precision", "no", "--size", "16", "--steps", "1"]
    prior.training.train.main([*paths, *quick, "--preset", "pixelcnn-simple"])
    with pytest.raises(ValueError, match="only the gated PixelCNN has a step graph"):
        prior.training.export.main(["--prior", str(tmp_path)])
    assert last_of(TorchPrior.load(tmp_path), [0]).shape == (1, 3, 2, 2)


def test_a_number_of_threads_that_can_not_be_is_refused(gpt_folder):
    with pytest.raises(ValueError, match="0 threads; accepted: at least 1"):
        OnnxPrior(gpt_folder, threads=0)
