"""Export RenderNet to ONNX, in float and in 8 bits calibrated on photos, and report the loss of quality.

python -m cst export --tokenizer runs/tokenizer --images photos/
"""

import argparse
import json
import logging
import struct
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cst.artifact import replacing
from cst.images import pad_to_multiple, to_float
from cst.metrics import psnr
from cst.photos import Photos, find_photos, split
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.rendernet import RenderNet
from cst.tokenizer.torch_runtime import TorchTokenizer

OPSET = 20
FLOAT, INT8, GRAPH = "rendernet.onnx", "rendernet.int8.onnx", "rendernet.float.onnx"


def to_onnx(net: RenderNet) -> onnx.ModelProto:
    """The network as an ONNX graph: tokens (B, 3, h, w) int32 -> picture (B, 3, H, W) float32, all sizes dynamic.

    The exporter's optimizer folds BatchNorm into the convolutions.
    """
    example = torch.zeros(2, 3, 8, 12, dtype=torch.int32)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            net.to("cpu", memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["tokens"],
            output_names=["picture"],
            dynamic_shapes={"tokens": {0: "B", 2: "h", 3: "w"}},
        )
    assert program is not None
    model = program.model_proto
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    strip_source_info(model)
    return model


def strip_source_info(model: onnx.ModelProto) -> None:
    """Remove the references to source files of the exporting machine."""
    for holder in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del holder.metadata_props[:]
        holder.doc_string = ""


def halve_tables(model: onnx.ModelProto) -> None:
    """Store lookup tables (embeddings, centroids) in float16 and cast after the lookup, which halves their size."""
    tables = {item.name: item for item in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            continue
        table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table).astype(np.float16), table.name))
        output = node.output[0]
        node.output[0] = f"{output}_half"
        nodes.append(helper.make_node("Cast", [node.output[0]], [output], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def share_weights(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The float graph with its weights as external data in the artifact's safetensors files: one copy on disk.

    BatchNorm's scale stays in the graph, as a factor on each 3x3 kernel that is folded when the graph is loaded.
    """
    shared = onnx.ModelProto()
    shared.CopyFrom(model)
    halve_tables(shared)
    stored = {
        name: (file, *offsets)
        for file in ("rendernet.safetensors", "codebooks.safetensors")
        for name, offsets in tensor_offsets(folder / file).items()
    }
    aliases = {"centroids_1": "shape", "centroids_2": "texture"}
    norm = {name: read_tensor(folder, *stored[name]) for name in stored if ".norm." in name and "num" not in name}
    casts = []
    for item in shared.graph.initializer:
        name = aliases.get(item.name, item.name)
        if name not in stored:
            continue
        if item.data_type == TensorProto.FLOAT:  # a convolution: cast (and scale) it back
            source, target = f"{name}_half", item.name
            steps = [helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)]
            block = name.removesuffix("mix.weight").removesuffix("spread.weight")
            if block != name and (name.endswith("mix.weight") or f"{block}mix.weight" not in stored):  # before the norm
                scale = norm[f"{block}norm.weight"] / np.sqrt(norm[f"{block}norm.running_var"] + 1e-5)
                scale = numpy_helper.from_array(scale.reshape(-1, 1, 1, 1).astype(np.float32), f"{block}scale")
                shared.graph.initializer.append(scale)
                steps[0].output[0] = f"{name}_float"
                steps.append(helper.make_node("Mul", [f"{name}_float", scale.name], [target]))
            casts += steps
            item.name = source
        file, shape, start, length = stored[name]
        item.CopyFrom(TensorProto(name=item.name, data_type=TensorProto.FLOAT16, dims=shape))
        item.data_location = TensorProto.EXTERNAL
        for key, value in {"location": file, "offset": start, "length": length}.items():
            item.external_data.add(key=key, value=str(value))
    nodes = [*casts, *shared.graph.node]
    del shared.graph.node[:]
    shared.graph.node.extend(nodes)
    return shared


def tensor_offsets(path: Path) -> dict[str, tuple[list[int], int, int]]:
    """Name -> (shape, first byte, number of bytes) of each float16 tensor of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {
        name: (item["shape"], 8 + length + item["data_offsets"][0], item["data_offsets"][1] - item["data_offsets"][0])
        for name, item in header.items()
        if name != "__metadata__" and item["dtype"] == "F16"
    }


def read_tensor(folder: Path, file: str, shape: list[int], start: int, length: int) -> np.ndarray:
    values = np.fromfile(folder / file, np.float16, count=length // 2, offset=start)
    return values.reshape(shape).astype(np.float64)


class Calibration:
    """Tokens of photos, for onnxruntime's calibrator."""

    def __init__(self, tokens: list[np.ndarray]):
        self._rest = iter(tokens)

    def get_next(self) -> dict[str, np.ndarray] | None:
        tokens = next(self._rest, None)
        return None if tokens is None else {"tokens": tokens}


def quantize(path: Path, out: Path, tokens: list[np.ndarray]) -> None:
    """Static QDQ with uint8 activations and int8 weights per output channel; the picture itself stays in float."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    model = onnx.load(path)
    # Full precision up to the first hidden state, and from the head on.
    lookups = [node.name for node in model.graph.node if node.op_type in ("Gather", "Cast")]
    quantize_static(
        str(path),
        str(out),
        Calibration(tokens),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv", "Add", "Relu"],
        nodes_to_exclude=[*lookups, *picture_adds(model)],
    )
    quantized = onnx.load(out)
    halve_tables(quantized)
    onnx.save(quantized, out)


def picture_adds(model: onnx.ModelProto) -> list[str]:
    """The additions before the first and after the last convolution: sums of looked-up rows, and of the picture."""
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    last = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    return [node.name for i, node in enumerate(model.graph.node) if node.op_type == "Add" and not first < i < last]


def open_session(path: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def render(session: onnxruntime.InferenceSession, tokens: np.ndarray) -> np.ndarray:
    return np.clip(session.run(None, {"tokens": tokens})[0], 0, 1)


def encode_photos(tokenizer: TorchTokenizer, photos: Photos, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (original (3, H, W), tokens (1, 3, h, w)) of the first `limit` readable photos."""
    for _, photo in zip(range(limit), photos, strict=False):
        original = to_float(Image.fromarray(photo))
        yield original, tokenizer.encode(pad_to_multiple(original, tokenizer.patch)[None])


def parity(tokenizer: TorchTokenizer, folder: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Compare the exports with torch: differences, PSNR, sizes and times, on (original, tokens) pairs."""
    sessions = {name: open_session(folder / name) for name in (FLOAT, INT8, GRAPH)}
    values: dict[str, list[float]] = {key: [] for key in ("centroid", "torch", FLOAT, INT8, GRAPH, "between")}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    largest = {FLOAT: 0.0, GRAPH: 0.0}
    for original, tokens in pairs:
        _, height, width = original.shape
        pictures = {"torch": tokenizer.decode(tokens), "centroid": tokenizer.codebooks.centroid_picture(tokens)}
        for name, session in sessions.items():
            start = time.perf_counter()
            pictures[name] = render(session, tokens)
            times[name].append(time.perf_counter() - start)
        for name, picture in pictures.items():
            values[name].append(psnr(picture[0, :, :height, :width], original))
        values["between"].append(psnr(pictures[INT8], pictures[FLOAT]))
        for name in largest:
            largest[name] = max(largest[name], float(np.abs(pictures[name] - pictures["torch"]).max()))
    mean = {key: float(np.mean(value)) for key, value in values.items()}
    lines = [f"{'':<22} {'PSNR dB':>8} {'size MB':>8} {'ms/photo':>10}"]
    for key, label in (("centroid", "centroid picture"), ("torch", "torch float32")):
        lines.append(f"{label:<22} {mean[key]:>8.3f}")
    for name in sessions:
        size, spent = (folder / name).stat().st_size / 1e6, 1000 * float(np.median(times[name]))
        lines.append(f"{name:<22} {mean[name]:>8.3f} {size:>8.1f} {spent:>10.0f}")
    lines.append(f"float ONNX and torch: largest difference {largest[FLOAT]:.2g} ({GRAPH}: {largest[GRAPH]:.2g})")
    lines.append(
        f"int8 and float: PSNR of {mean['between']:.2f} dB to each other; int8 loses {mean[FLOAT] - mean[INT8]:.3f} dB"
    )
    lines.append(f"({len(pairs)} held-out photos, shortest side 256 pixels)")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst export", description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True, help="artifact made by python -m cst train")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--calibrate", type=int, default=100, help="number of training photos for calibration")
    parser.add_argument("--validate", type=int, default=48, help="number of held-out photos for the report")
    flags = parser.parse_args(arguments)
    folder: Path = flags.tokenizer
    tokenizer = TorchTokenizer(folder)
    training, held_out = split(find_photos(flags.images))
    stride = max(1, len(training) // flags.calibrate)
    calibration = Photos(training[::stride], shortest=256)

    model = to_onnx(tokenizer.net)
    with replacing(folder / FLOAT) as part:
        onnx.save(model, part)
    with replacing(folder / GRAPH) as part:
        onnx.save(share_weights(model, folder), part)
    tokens = [tokens for _, tokens in encode_photos(tokenizer, calibration, flags.calibrate)]
    with replacing(folder / INT8) as part:
        quantize(folder / FLOAT, part, tokens)
    TokenizerConfig.load(folder).with_files(folder, GRAPH, INT8).save(folder)
    print(parity(tokenizer, folder, list(encode_photos(tokenizer, Photos(held_out, shortest=256), flags.validate))))
