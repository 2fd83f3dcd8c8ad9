"""The page on torch: the processor stands in for a GPU, and a module that pickles what it is given for `spaces`."""

import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gradio.context import LocalContext
from support.photos import make_photo

import space.gpu
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from prior.config import PriorConfig
from prior.protocol import LevelSettings, SampleRequest, Settings
from prior.sampler import Sampler
from prior.sampling import sample
from prior.torch_runtime import TorchPrior
from space.device import check_torch, default_device
from space.generation.generate import generate
from space.generation.request import ANY, GenerationRequest
from space.gpu import PAINT_SECONDS, SAMPLE_SECONDS, load_sampler, load_tokenizer, prepare
from space.models import Models

CPU = "cpu:0"  # torch's processor: for `Models`, "cpu" alone is onnxruntime
SETTINGS = Settings((LevelSettings(),) * 3)

pytestmark = pytest.mark.usefixtures("one_thread")


class Lent:
    """Stands in for `spaces`: hands arguments and results over as bytes, and counts what it runs."""

    def __init__(self):
        self.durations: list[int] = []
        self.calls: list[str] = []
        self.yielded = self.closed = 0

    def module(self) -> ModuleType:
        module = ModuleType("spaces")
        module.GPU = lambda *, duration: lambda function: self.wrap(function, duration)
        return module

    def wrap(self, function: Callable, duration: int) -> Callable:
        self.durations.append(duration)

        def call(*arguments: Any) -> Any:
            self.calls.append(function.__name__)
            return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(arguments)))))

        def steps(*arguments: Any) -> Iterator[Any]:
            self.calls.append(function.__name__)
            running = function(*pickle.loads(pickle.dumps(arguments)))
            try:
                for step in running:
                    self.yielded += 1
                    yield pickle.loads(pickle.dumps(step))
            finally:
                running.close()
                self.closed += 1

        return steps if inspect.isgeneratorfunction(function) else call


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> Lent:
    """A ZeroGPU Space, as far as this process can tell."""
    lent = Lent()
    monkeypatch.setitem(sys.modules, "spaces", lent.module())
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return lent


@pytest.fixture
def asked_for() -> Iterator[None]:
    """Inside a visitor's request."""
    token = LocalContext.in_event_listener.set(True)
    yield
    LocalContext.in_event_listener.reset(token)


def load(prior_folder: Path) -> Sampler:
    """The packaged tokenizer would not fit a test's prior: take one without weights."""
    config = PriorConfig.load(prior_folder)
    return load_sampler(prior_folder, SimpleNamespace(fingerprint=config.fingerprint), device=CPU)


# On any GPU -----------------------------------------------------------------------------------------------------------


def test_it_paints_what_onnxruntime_paints_in_float(artifact: Path):
    ours, other = load_tokenizer(artifact, device=CPU), OnnxTokenizer(artifact, target="cpu", precision="float")
    image = (np.asarray(make_photo(3, 64, 48), np.float32) / 255).transpose(2, 0, 1)[None]
    tokens = ours.encode(image)
    assert np.array_equal(tokens, other.encode(image))
    assert np.allclose(ours.decode(tokens), other.decode(tokens), atol=1e-4)
    assert "torch" in ours.running_on and CPU in ours.running_on


def test_it_samples_what_torch_samples(prior_folder: Path):
    ours, other = load(prior_folder), TorchPrior.load(prior_folder)
    *_, mine = ours.sample(count=2, settings=SETTINGS, seed=5)
    request = SampleRequest.of_classes(other, np.full(2, len(other.classes)), SETTINGS, 5)
    *_, theirs = sample(other, request)
    assert mine.known.all() and np.array_equal(mine.tokens, theirs.tokens)


def test_a_wrong_wish_is_refused_before_a_gpu_is_asked_for(lent: Lent, gpt_folder: Path):
    sampler = load(gpt_folder)
    with pytest.raises(ValueError, match="settings for 1 levels"):
        sampler.sample(settings=Settings((LevelSettings(),)))
    with pytest.raises(ValueError, match="the color bias is"):
        sampler.sample(settings=SETTINGS, color_bias=np.zeros(3))
    assert lent.calls == []


def test_the_page_draws_with_it(artifact: Path, gpt_folder: Path, pixelcnn_folder: Path, tmp_path: Path):
    models = Models(artifact, priors={"gpt": gpt_folder, "pixelcnn": pixelcnn_folder}, device=CPU)
    assert models.kinds == ("gpt", "pixelcnn") and models.cst("int8") is models.cst("float")
    for kind in models.kinds:
        *growing, last = generate(models.sampler(kind), GenerationRequest(ANY, 1, 5, SETTINGS), tmp_path, lambda: False)
        assert growing and last.numbers["codes"] == {"gpt": 192, "pixelcnn": 48}[kind] and not last.numbers["stopped"]


def test_without_a_gpu_cuda_is_one_clear_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="finds no GPU"):
        prepare("cuda")


def test_without_torch_a_gpu_is_one_clear_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ValueError, match=r"needs torch, .*requirements-zerogpu.txt"):
        check_torch()


@pytest.mark.parametrize(
    ("variables", "device"),
    [
        ({}, "cpu"),
        ({"SPACES_ZERO_GPU": "true"}, "cuda"),
        ({"SPACES_ZERO_GPU": "false"}, "cpu"),
        ({"CST_DEVICE": "cuda"}, "cuda"),
        ({"CST_DEVICE": "cpu", "SPACES_ZERO_GPU": "1"}, "cpu"),
    ],
)
def test_the_host_says_which_device(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], device: str):
    for name in ("CST_DEVICE", "SPACES_ZERO_GPU"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_device() == device


def test_a_device_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CST_DEVICE", "tpu")
    with pytest.raises(ValueError, match="CST_DEVICE is 'tpu'; accepted: cpu, cuda"):
        default_device()


# On ZeroGPU -----------------------------------------------------------------------------------------------------------


def test_all_gpu_functions_are_known_before_the_page_is_served(lent: Lent, artifact, gpt_folder, pixelcnn_folder):
    Models(artifact, priors={"gpt": gpt_folder, "pixelcnn": pixelcnn_folder}, device=CPU)
    assert lent.durations == [PAINT_SECONDS, SAMPLE_SECONDS, SAMPLE_SECONDS] and lent.calls == []


def test_spaces_is_imported_before_weights_are_moved(monkeypatch: pytest.MonkeyPatch, lent: Lent, artifact, tmp_path):
    (tmp_path / "spaces.py").write_text(
        "def GPU(*, duration):\n    return lambda function: function\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spaces")
    seen, load = [], space.gpu.TorchTokenizer
    monkeypatch.setattr(
        space.gpu,
        "TorchTokenizer",
        lambda *given, **options: seen.append("spaces" in sys.modules) or load(*given, **options),
    )
    load_tokenizer(artifact, device=CPU)
    assert seen == [True]


def test_steps_and_pictures_come_back_from_another_process(
    lent: Lent, asked_for: None, artifact: Path, gpt_folder: Path, tmp_path: Path
):
    models = Models(artifact, priors={"gpt": gpt_folder}, device=CPU)
    *growing, last = generate(models.sampler("gpt"), GenerationRequest(ANY, 1, 5, SETTINGS), tmp_path, lambda: False)
    assert growing and last.numbers["codes"] == 192
    assert lent.calls == ["write", "paint"] and lent.yielded > 48


def test_closing_the_iterator_ends_the_sampling_there(lent: Lent, gpt_folder: Path):
    steps = load(gpt_folder).sample(count=1, settings=SETTINGS)
    assert next(steps).done == 1 and lent.closed == 0
    steps.close()
    assert (lent.yielded, lent.closed) == (1, 1)


def test_a_stop_is_seen_though_the_sampling_runs_elsewhere(
    lent: Lent, asked_for: None, artifact: Path, gpt_folder: Path, tmp_path: Path
):
    models = Models(artifact, priors={"gpt": gpt_folder}, device=CPU)
    stops = iter([False, False, True])
    *_, last = generate(models.sampler("gpt"), GenerationRequest(ANY, 1, 5, SETTINGS), tmp_path, lambda: next(stops))
    assert last.numbers["stopped"] and last.numbers["codes"] == 0  # coarse colors alone
    assert (lent.yielded, lent.closed) == (3, 1)


def test_what_no_visitor_asked_for_is_painted_without_a_gpu(lent: Lent, artifact: Path):
    tokenizer = load_tokenizer(artifact, device=CPU)
    tokens = np.zeros((1, 3, 4, 4), np.int32)
    assert tokenizer.decode(tokens).shape == (1, 3, 32, 32) and lent.calls == []
    token = LocalContext.in_event_listener.set(True)
    tokenizer.decode(tokens)
    LocalContext.in_event_listener.reset(token)
    assert lent.calls == ["paint"]
