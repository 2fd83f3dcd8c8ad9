"""Where RenderNet runs: targets, precisions and threads."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from support.codebooks import make_tokens

from cst import CST
from cst.metrics import psnr
from cst.tokenizer.onnx_runtime import OnnxTokenizer


def without(monkeypatch, package: str) -> None:
    """As if a package were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "tpu"}, "no target 'tpu'; accepted: auto, openvino, cpu, cuda, npu, directml, coreml"),
        ({"precision": "int4"}, "no precision 'int4'; accepted: int8, float"),
        ({"threads": 0}, "0 threads; accepted: at least 1"),
        ({"beam": 0}, "a beam of 0; accepted: a whole number, at least 1"),
        ({"target": "npu"}, "the npu target needs VitisAI's config file; give --npu-config FILE"),
    ],
)
def test_an_unknown_option_is_refused_with_the_accepted_ones(options, said, artifact):
    for load in (OnnxTokenizer, CST.from_pretrained):
        with pytest.raises(ValueError, match=said):
            load(artifact, **options)


@pytest.mark.parametrize("target", ["cuda", "npu", "directml", "coreml"])
def test_an_unavailable_target_falls_back_to_the_cpu_with_a_note(target, artifact, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    tokenizer = OnnxTokenizer(artifact, target=target, npu_config="vaip_config.json")
    assert "CPUExecutionProvider" in tokenizer.running_on
    assert "the installed onnxruntime has no " in tokenizer.running_on
    expected = OnnxTokenizer(artifact, target="cpu").decode(make_tokens(0))
    assert np.array_equal(tokenizer.decode(make_tokens(0)), expected)


def test_a_target_that_fails_to_start_is_noted(artifact, monkeypatch):
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    if "CUDAExecutionProvider" in onnxruntime.capi._pybind_state.get_available_providers():
        pytest.skip("CUDA is there")
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # onnxruntime's own
        tokenizer = OnnxTokenizer(artifact, target="cuda")
    assert "CPUExecutionProvider (CUDAExecutionProvider could not start)" in tokenizer.running_on


def test_the_cpu_is_not_called_a_fallback(artifact):
    tokenizer = OnnxTokenizer(artifact, target="cpu")
    assert tokenizer.running_on.endswith("CPUExecutionProvider") and tokenizer.fallback == ""


def test_without_openvino_its_target_falls_back_with_a_note(artifact, monkeypatch):
    without(monkeypatch, "openvino")
    tokenizer = OnnxTokenizer(artifact, target="openvino")
    assert "CPUExecutionProvider" in tokenizer.running_on
    assert "openvino is not installed: pip install" in tokenizer.running_on
    assert OnnxTokenizer(artifact).running_on.startswith("onnxruntime")
    assert tokenizer.decode(make_tokens(0)).shape == (2, 3, 48, 72)


@pytest.mark.parametrize(("precision", "near"), [("float", 40), ("int8", 40)])
def test_openvino_equals_onnxruntime(precision, near, artifact):
    pytest.importorskip("openvino")
    ours = OnnxTokenizer(artifact, target="openvino", precision=precision)
    assert ours.running_on.startswith("openvino 2")
    assert OnnxTokenizer(artifact, precision=precision).running_on == ours.running_on  # `auto` takes it
    theirs = OnnxTokenizer(artifact, target="cpu", precision=precision)
    for seed, (b, h, w) in enumerate([(1, 1, 1), (2, 6, 9), (1, 13, 4)]):
        tokens = make_tokens(seed, b, h, w)
        assert psnr(ours.decode(tokens), theirs.decode(tokens)) > near


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_one_tokenizer_serves_several_threads(target, artifact):
    if target == "openvino":
        pytest.importorskip("openvino")
    tokenizer = OnnxTokenizer(artifact, target=target, threads=1)
    batches = [make_tokens(seed, 1, 4 + seed % 3, 5) for seed in range(24)]
    alone = [tokenizer.decode(tokens) for tokens in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(tokenizer.decode, batches))
        codes = list(pool.map(tokenizer.encode, alone))
    assert all(map(np.array_equal, together, alone))
    assert all(np.array_equal(found, tokenizer.encode(picture)) for found, picture in zip(codes, alone, strict=True))


def test_openvino_takes_no_more_memory_the_more_threads_have_asked(artifact, monkeypatch):
    compiled = pytest.importorskip("openvino").CompiledModel
    create, made = compiled.create_infer_request, []
    monkeypatch.setattr(compiled, "create_infer_request", lambda model: made.append(model) or create(model))
    tokenizer = OnnxTokenizer(artifact, target="openvino")
    for seed in range(4):
        with ThreadPoolExecutor(1) as one:
            one.submit(tokenizer.decode, make_tokens(seed)).result()
    assert len(made) == 1


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_a_result_is_not_overwritten_by_the_next(target, artifact):
    if target == "openvino":
        pytest.importorskip("openvino")
    tokenizer = OnnxTokenizer(artifact, target=target)
    first = tokenizer.decode(make_tokens(0))
    kept = first.copy()
    tokenizer.decode(make_tokens(1))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_picture_does_not_depend_on_the_threads(threads, artifact):
    one = OnnxTokenizer(artifact, target="cpu", threads=threads)
    assert np.allclose(
        one.decode(make_tokens(0)), OnnxTokenizer(artifact, target="cpu").decode(make_tokens(0)), atol=1e-6
    )


def test_a_beam_can_be_chosen(artifact):
    images = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    usual, greedy = OnnxTokenizer(artifact), OnnxTokenizer(artifact, beam=1)
    assert (usual.beam, greedy.beam) == (4, 1)
    assert np.array_equal(greedy.encode(images), usual.codebooks.encode(images, beam=1))
    assert not np.array_equal(greedy.encode(images), usual.encode(images))
