"""The tokenizer on onnxruntime or OpenVINO, for the app and the command line. Never imports torch."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from cst.cpu import available_cpus
from cst.tokenizer.codebook_tokenizer import CodebookTokenizer, Render
from cst.tokenizer.config import PRETRAINED, TokenizerConfig

FILES = {"int8": "rendernet.int8.onnx", "float": "rendernet.float.onnx"}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "npu": "VitisAIExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
MAX_THREADS = 1024
MAX_PATCHES = {"int8": 20_480, "float": 6_800}  # rendered in one piece: under a second on two cores
TARGETS = ("auto", "openvino", *PROVIDERS)


def add_runtime_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose a tokenizer and where it runs."""
    parser.add_argument("--tokenizer", metavar="DIR", help="artifact folder or Hub repository (default: packaged)")
    parser.add_argument("--target", default="auto", choices=TARGETS, help="where RenderNet runs (default auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: the library's choice)")


class OnnxTokenizer(CodebookTokenizer):
    """A tokenizer whose RenderNet runs on onnxruntime or OpenVINO. Safe to call from several threads.

    target: one of `TARGETS`. `auto` takes OpenVINO if it is installed, else a GPU, else the CPU. A target that is not
    available falls back to the CPU; `fallback` says why, or is empty. precision: "int8" or "float".
    threads: None leaves the choice to the library. npu_config: VitisAI's config file. beam: see `CodebookTokenizer`.
    """

    def __init__(
        self,
        folder: str | os.PathLike = PRETRAINED,
        *,
        target: str = "auto",
        precision: str = "int8",
        threads: int | None = None,
        beam: int | None = None,
        npu_config: str | os.PathLike | None = None,
    ):
        if target not in TARGETS:
            raise ValueError(f"no target '{target}'; accepted: {', '.join(TARGETS)}")
        if precision not in FILES:
            raise ValueError(f"no precision '{precision}'; accepted: {', '.join(FILES)}")
        if threads is not None and threads not in range(1, MAX_THREADS + 1):
            raise ValueError(f"{threads} threads; accepted: at least 1, at most {MAX_THREADS}")
        config = TokenizerConfig.load(folder)
        super().__init__(Path(folder), config, beam=beam, max_patches=MAX_PATCHES[precision])
        self.precision = precision
        if precision == "float":
            config.check_file(folder, "rendernet.safetensors")  # holds the weights of the float graph
        path = config.check_file(folder, FILES[precision])
        self.render, used, self.fallback = open_network(path, target=target, threads=threads, npu_config=npu_config)
        self.running_on = f"{used} ({self.fallback})" if self.fallback else used


def open_network(
    path: Path, *, target: str, threads: int | None = None, npu_config: str | os.PathLike | None = None
) -> tuple[Render, str, str]:
    """(RenderNet, what it runs on, why not on the target). Raises ValueError for an NPU without its config file."""
    has_openvino = importlib.util.find_spec("openvino") is not None
    if target == "openvino" or (target == "auto" and has_openvino):
        if has_openvino:
            return _open_openvino(path, threads)
        network, used, _ = _open_onnxruntime(path, "cpu", threads, None)
        return network, used, "openvino is not installed: pip install openvino"
    if target == "npu" and npu_config is None:
        raise ValueError("the npu target needs VitisAI's config file; give --npu-config FILE, or npu_config in Python")
    return _open_onnxruntime(path, target, threads, npu_config)


def _open_openvino(path: Path, threads: int | None) -> tuple[Render, str, str]:
    # Stop openvino from sending telemetry on import: an entry of None makes the import of the module fail.
    cast(dict[str, ModuleType | None], sys.modules).setdefault("openvino_telemetry", None)
    import openvino

    core = openvino.Core()
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is None and available_cpus() < (os.cpu_count() or 1):
        threads = available_cpus()
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    idle: list[openvino.InferRequest] = []  # each serves one thread at a time

    def network(tokens: np.ndarray) -> np.ndarray:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            return request.infer({"tokens": tokens}, share_outputs=False)[compiled.output(0)]
        finally:
            idle.append(request)

    used = f"openvino {openvino.__version__.split('-')[0]} on {core.get_property('CPU', 'FULL_DEVICE_NAME')}"
    return network, used, ""


def _open_onnxruntime(
    path: Path, target: str, threads: int | None, npu_config: str | os.PathLike | None
) -> tuple[Render, str, str]:
    onnxruntime = load_onnxruntime()
    available = onnxruntime.get_available_providers()
    if target == "auto":
        target = next((name for name in ("cuda", "directml") if PROVIDERS[name] in available), "cpu")
    fallback, provider = "", PROVIDERS[target]
    if provider not in available:
        fallback = f"the installed onnxruntime has no {provider} for {target}"
        provider = PROVIDERS["cpu"]
    settings = {"config_file": os.fspath(npu_config)} if provider == PROVIDERS["npu"] and npu_config else {}
    providers = list(dict.fromkeys([provider, PROVIDERS["cpu"]]))
    session = onnxruntime.InferenceSession(
        path, session_options(threads), providers=providers, provider_options=[settings, {}][: len(providers)]
    )
    used = session.get_providers()[0]
    if used != provider:
        fallback = f"{provider} could not start"

    def render(tokens: np.ndarray) -> np.ndarray:
        return session.run(None, {"tokens": tokens})[0]

    return render, f"onnxruntime {onnxruntime.__version__} {used}", fallback


def session_options(threads: int | None) -> Any:
    """Options of an onnxruntime session.

    threads: None for as many as the container allows. If that is less than the machine has, waiting threads don't spin,
    since spinning would use up the quota.
    """
    options = load_onnxruntime().SessionOptions()
    options.log_severity_level = 3
    cpus = available_cpus()
    if cpus < (os.cpu_count() or 1):
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        threads = threads or cpus
    options.intra_op_num_threads = threads or 0
    return options


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime with telemetry disabled."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
