"""The tokenizer on onnxruntime and numpy: what the app, the command line and the Space run. Never imports torch."""

import importlib.util
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from cst.codebooks import Codebooks, check_beam
from cst.config import PRETRAINED, TokenizerConfig

FILES = {"int8": "rendernet.int8.onnx", "float": "rendernet.float.onnx"}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "npu": "VitisAIExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
MOST_THREADS = 1024
TARGETS = ("auto", "openvino", *PROVIDERS)
Network = Callable[[np.ndarray], np.ndarray]  # tokens (B, L, h, w) int32 -> picture (B, 3, H, W) float32


class OnnxTokenizer:
    """An artifact on onnxruntime (or OpenVINO); the `Tokenizer` protocol.

    target: where RenderNet runs, one of `TARGETS`. `auto` takes OpenVINO where it is installed, else a GPU, else the
    CPU. A target that is not available falls back to the CPU; `running_on` says what is used, and why.
    precision: "int8" or "float". threads: None leaves the choice to the library. npu_config: VitisAI's config file.
    The codebook search always runs in numpy. Safe to call from several threads.
    """

    tile = 96  # patches a side that are painted in one piece: a second's work, and a hundred MB, in float on two cores

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
        if threads is not None and threads not in range(1, MOST_THREADS + 1):
            raise ValueError(f"{threads} threads; accepted: at least 1, at most {MOST_THREADS}")
        self.folder, self.precision = Path(folder), precision
        self.config = TokenizerConfig.load(folder)
        self.codebooks = Codebooks.of_artifact(folder, self.config)
        self.levels, self.patch = self.codebooks.levels, self.config.patch
        self.beam = self.config.beam if beam is None else beam
        check_beam(self.beam)
        if precision == "float":
            self.config.check_file(folder, "rendernet.safetensors")  # holds the weights of the float graph
        path = self.config.check_file(folder, FILES[precision])
        self._network, self.running_on = open_network(path, target=target, threads=threads, npu_config=npu_config)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 in [0, 1], sides multiples of the patch -> (B, L, h, w) int32."""
        return self.codebooks.encode(images, beam=self.beam)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(B, L, h, w) integers -> (B, 3, H, W) float32 in [0, 1]. Raises ValueError for codes out of range."""
        *_, (picture, _) = self.paint(tokens)
        return picture

    def paint(self, tokens: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """As `decode`, tile by tile: yields after each the picture, 0 where nothing is painted yet, and the share done.

        Tiles keep memory flat and let a caller stop. Nothing is lost by them: each is painted with as many patches
        around it as its pixels depend on, one for every 3x3 convolution. A picture of at most `tile` patches a side is
        one.
        """
        self.codebooks.check_tokens(tokens)
        b, _, h, w = tokens.shape
        picture, side = np.zeros((b, 3, h * self.patch, w * self.patch), np.float32), self.patch
        parts = [(rows, columns) for rows in cut(h, self.tile) for columns in cut(w, self.tile)]
        for done, (rows, columns) in enumerate(parts, 1):
            margin = self.config.rendernet.blocks
            top, left = max(0, rows.start - margin), max(0, columns.start - margin)
            seen = tokens[:, :, top : rows.stop + margin, left : columns.stop + margin]
            painted = self._network(np.ascontiguousarray(seen, np.int32))
            within = painted[
                :, :, (rows.start - top) * side : (rows.stop - top) * side,
                (columns.start - left) * side : (columns.stop - left) * side,
            ]  # fmt: skip
            place = picture[:, :, rows.start * side : rows.stop * side, columns.start * side : columns.stop * side]
            np.clip(within, 0, 1, out=place)
            yield picture, done / len(parts)


def cut(length: int, most: int) -> list[slice]:
    """0 to `length` in the fewest parts of at most `most`, as equal as can be."""
    count = -(-length // most)
    edges = [length * i // count for i in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def open_network(
    path: Path, *, target: str, threads: int | None = None, npu_config: str | os.PathLike | None = None
) -> tuple[Network, str]:
    """(RenderNet ready to run, what it runs on). Raises ValueError if the NPU is asked for without its config file."""
    has_openvino = importlib.util.find_spec("openvino") is not None
    if target == "openvino" or (target == "auto" and has_openvino):
        if has_openvino:
            return _open_openvino(path, threads)
        network, running_on = _open_onnxruntime(path, "cpu", threads, None)
        return network, f"{running_on} (openvino is not installed: pip install openvino)"
    if target == "npu" and npu_config is None:
        raise ValueError("the npu target needs VitisAI's config file; give npu_config=vaip_config.json")
    return _open_onnxruntime(path, target, threads, npu_config)


def _open_openvino(path: Path, threads: int | None) -> tuple[Network, str]:
    # Else its next line asks another package to report to its maker that it was loaded, and on which machine.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    core = openvino.Core()
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    local = threading.local()  # an infer request serves one thread at a time

    def network(tokens: np.ndarray) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return local.request.infer({"tokens": tokens}, share_outputs=False)[compiled.output(0)]

    return network, f"openvino {openvino.__version__.split('-')[0]} on {core.get_property('CPU', 'FULL_DEVICE_NAME')}"


def _open_onnxruntime(
    path: Path, target: str, threads: int | None, npu_config: str | os.PathLike | None
) -> tuple[Network, str]:
    onnxruntime = load_onnxruntime()
    available = onnxruntime.get_available_providers()
    if target == "auto":
        target = next((name for name in ("cuda", "directml") if PROVIDERS[name] in available), "cpu")
    note, provider = "", PROVIDERS[target]
    if provider not in available:
        note = f" ({target} is not offered by the installed onnxruntime: no {provider})"
        provider = PROVIDERS["cpu"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    settings = {"config_file": os.fspath(npu_config)} if provider == PROVIDERS["npu"] else {}
    providers = list(dict.fromkeys([provider, PROVIDERS["cpu"]]))
    session = onnxruntime.InferenceSession(
        path, options, providers=providers, provider_options=[settings, {}][: len(providers)]
    )
    used = session.get_providers()[0]
    if used != provider:
        note = f" ({provider} could not start)"
    return lambda tokens: session.run(None, {"tokens": tokens})[
        0
    ], f"onnxruntime {onnxruntime.__version__} {used}{note}"


def load_onnxruntime() -> ModuleType:
    """onnxruntime, told before it is loaded to report nothing to its maker: loaded without a word, it does."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
