"""Export a prior to ONNX step graphs that share one float16 copy of the weights, and report the difference to torch.

python -m prior export --prior runs/gpt
"""

import argparse
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from cst.artifact import replacing
from cst.training.export_rendernet import OPSET, strip_source_info, tensor_offsets
from prior.config import PriorConfig, weights_file
from prior.models.context_window import Window
from prior.models.gpt import GPT, Detail, Layout
from prior.models.pixelcnn import GatedTrunk, PixelCNN
from prior.onnx_runtime import OnnxPrior, gpt_graph, head_graph
from prior.sampling import log_prob
from prior.torch_runtime import TorchPrior, load_prior

B, P, M = (torch.export.Dim(name, min=1) for name in "BPM")
Graph = tuple[nn.Module, dict[str, Any], list[str], dict[str, Any]]  # module, inputs, outputs, which sizes vary


class StepGraph(nn.Module):
    """`Layout.step` or `Detail.step` as a module."""

    def __init__(self, part: Layout | Detail):
        super().__init__()
        self.part = part

    def forward(
        self,
        neighbors: list,
        place: Tensor,
        coordinates: Tensor,
        label: Tensor,
        past: Tensor,
        absent: Tensor,
        keys: list,
        values: list,
    ) -> tuple[Tensor, Tensor]:
        return self.part.step(neighbors, place, coordinates, label, past, absent, keys, values)


class RowsGraph(nn.Module):
    """The PixelCNN's features of the rows above the last one: the costly part, run once per row."""

    def __init__(self, net: PixelCNN):
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        assert isinstance(self.net.trunk, GatedTrunk)
        vertical_features = self.net.trunk.forward_vertical(self.net.embed(tokens), label)
        return tuple(down[:, :, -1:] for down in vertical_features)


class PlaceGraph(nn.Module):
    """The features of all patches before one, given those of the rows above: (B, D)."""

    def __init__(self, net: PixelCNN):
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, row: Tensor, column: Tensor, label: Tensor, vertical_features: list) -> Tensor:
        assert isinstance(self.net.trunk, GatedTrunk)
        along = self.net.trunk.forward_horizontal(self.net.embed(tokens, row), vertical_features, label)
        return along[:, :, 0].index_select(2, column[None])[:, :, 0]


class HeadGraph(nn.Module):
    """The log-probabilities of one level's token of a patch: (B, V)."""

    def __init__(self, net: PixelCNN, level: int):
        super().__init__()
        self.net, self.level = net, level

    def forward(self, hidden: Tensor, codes: Tensor) -> Tensor:
        return self.net.logits(hidden, codes, self.level).log_softmax(-1)


def gpt_graphs(net: GPT) -> Iterator[tuple[str, Graph]]:
    """(file name, graph) of each part."""
    config, n = net.config, 2
    for name, part in net.parts.items():
        contexts = len(part.stem.contexts) if isinstance(part, Detail) else 1
        windows = [part.stems[0].own_window if isinstance(part, Layout) else part.stem.own_window]
        windows += [Window(config.context, causal=False)] * contexts
        places = len(windows[0]) if isinstance(part, Detail) else 8
        heads = config.heads_of(name)
        cache = (heads, 50, config.width // heads)
        inputs = {
            "neighbors": [torch.zeros(n, len(window), dtype=torch.int64) for window in windows],
            "place": torch.arange(n),
            "coordinates": torch.zeros(n, 2),
            "label": torch.zeros(n, dtype=torch.int64),
            "past": torch.zeros(n, places, dtype=torch.int64),
            "absent": torch.zeros(n, places, dtype=torch.bool),
            "keys": [torch.zeros(cache) for _ in part.blocks],
            "values": [torch.zeros(cache) for _ in part.blocks],
        }
        along = {0: B} if isinstance(part, Detail) else {0: B, 1: P}
        varying = {"neighbors": [{0: B} for _ in windows], "place": {0: B}, "coordinates": {0: B}, "label": {0: B}}
        varying |= {
            "past": along,
            "absent": along,
            "keys": [{1: M} for _ in part.blocks],
            "values": [{1: M} for _ in part.blocks],
        }
        yield gpt_graph(name), (StepGraph(part), inputs, ["scores", "present"], varying)


def pixelcnn_graphs(net: PixelCNN) -> Iterator[tuple[str, Graph]]:
    """(file name, graph): the rows above, a place, and one head per level. Raises ValueError for the simple variant."""
    if not isinstance(net.trunk, GatedTrunk):
        raise ValueError("only the gated PixelCNN has a step graph; the simple variant samples on torch")
    width, columns, levels = net.config.width, net.grid[1], len(net.levels)
    tokens, label = torch.zeros(2, levels, 3, columns, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    height = torch.export.Dim("h", min=1)
    blocks = range(len(net.trunk.blocks))
    names = [f"vertical_features_{i}" for i in blocks]
    yield (
        "rows.onnx",
        (RowsGraph(net), {"tokens": tokens, "label": label}, names, {"tokens": {0: B, 2: height}, "label": {0: B}}),
    )
    vertical_features = [torch.zeros(2, 2 * width, 1, columns) for _ in blocks]
    inputs = {"tokens": tokens[:, :, :1], "row": torch.tensor(1), "column": torch.tensor(2), "label": label}
    varying = {
        "tokens": {0: B},
        "row": None,
        "column": None,
        "label": {0: B},
        "vertical_features": [{0: B} for _ in vertical_features],
    }
    yield "place.onnx", (PlaceGraph(net), {**inputs, "vertical_features": vertical_features}, ["hidden"], varying)
    for index, level in enumerate(net.levels):
        inputs = {"hidden": torch.zeros(2, width), "codes": torch.zeros(2, levels, dtype=torch.int64)}
        yield head_graph(level.name), (HeadGraph(net, index), inputs, ["scores"], {name: {0: B} for name in inputs})


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """One ONNX graph, its weights still inside and under their own names."""
    module, inputs, outputs, varying = graph
    names = []
    for name, value in inputs.items():
        names += [f"{name}_{i}" for i in range(len(value))] if isinstance(value, list) else [name]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            optimize=False,  # it would rename what it folds; onnxruntime folds the same when it loads
            opset_version=OPSET,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=tuple(varying.values()),
        )
    assert program is not None
    model = program.model_proto
    strip_source_info(model)
    return model


def share_weights(model: onnx.ModelProto, path: Path) -> None:
    """Make a graph read its weights from a safetensors file beside it: float16, cast up when the graph is loaded."""
    stored = tensor_offsets(path)
    casts = []
    for item in model.graph.initializer:
        name = item.name.split(".", 1)[-1]  # without the wrapper's
        if name not in stored:
            assert len(item.raw_data) < 100_000, item.name
            continue
        shape, start, length = stored[name]
        assert list(item.dims) == shape, name
        casts.append(helper.make_node("Cast", [f"{item.name}_half"], [item.name], to=TensorProto.FLOAT))
        item.CopyFrom(TensorProto(name=f"{item.name}_half", data_type=TensorProto.FLOAT16, dims=shape))
        item.data_location = TensorProto.EXTERNAL
        for key, value in {"location": path.name, "offset": start, "length": length}.items():
            item.external_data.add(key=key, value=str(value))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def quantize_products(model: onnx.ModelProto) -> None:
    """Compute the products with weight matrices in 8 bits, several times faster.

    Activations are quantized at run time with one scale per product (ONNX DynamicQuantizeLinear). Weights are quantized
    when the graph is loaded, with one scale per output: the file holds float16, and onnxruntime folds the rest.
    """
    producer = {output: node for node in model.graph.node for output in node.output}
    weights = {item.name.removesuffix("_half"): item.dims[0] for item in model.graph.initializer if len(item.dims) == 2}
    nodes, quantized = [], set()
    for node in model.graph.node:
        name = weight_of(node, producer)
        if name is None or name not in weights:
            nodes.append(node)
            continue
        if name not in quantized:
            nodes += quantize_weight(name)
            quantized.add(name)
        x, out = node.input[0], node.output[0]
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [x], [f"{out}_q", f"{out}_scale", f"{out}_zero"]),
            helper.make_node("MatMulInteger", [f"{out}_q", f"{name}_q", f"{out}_zero"], [f"{out}_whole"]),
            helper.make_node("Cast", [f"{out}_whole"], [f"{out}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}_scale", f"{name}_scale"], [f"{out}_scales"]),
            helper.make_node("Mul", [f"{out}_float", f"{out}_scales"], [out]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(127, np.float32), "q_largest"),
            numpy_helper.from_array(np.array([1]), "q_axes"),
            numpy_helper.from_array(np.array([-1]), "q_flat"),
        ]
    )


def weight_of(node: onnx.NodeProto, producer: dict[str, onnx.NodeProto]) -> str | None:
    """The (outputs, inputs) matrix that a node multiplies by, transposed; None for any other node."""
    if node.op_type == "Gemm" and len(node.input) == 2:
        return node.input[1]
    if node.op_type == "MatMul" and (source := producer.get(node.input[1])) and source.op_type == "Transpose":
        return source.input[0]
    return None


def quantize_weight(name: str) -> list[onnx.NodeProto]:
    """(N, K) float32 `name` -> (K, N) int8 `name`_q, and (N,) float32 `name`_scale."""
    make = helper.make_node
    return [
        make("Abs", [name], [f"{name}_abs"]),
        make("ReduceMax", [f"{name}_abs", "q_axes"], [f"{name}_max"], keepdims=1),
        make("Div", [f"{name}_max", "q_largest"], [f"{name}_step"]),
        make("Div", [name, f"{name}_step"], [f"{name}_steps"]),
        make("Round", [f"{name}_steps"], [f"{name}_round"]),
        make("Cast", [f"{name}_round"], [f"{name}_int8"], to=TensorProto.INT8),
        make("Transpose", [f"{name}_int8"], [f"{name}_q"], perm=[1, 0]),
        make("Reshape", [f"{name}_step", "q_flat"], [f"{name}_scale"]),
    ]


def export(folder: Path, *, precision: str = "int8") -> list[str]:
    """Write the graphs of a prior beside its weights, and their checksums to `config.json`; returns their names.

    precision: of a GPT's matrix products, "int8" or "float".
    """
    net, config = load_prior(folder)
    names = []
    for name, graph in gpt_graphs(net) if isinstance(net, GPT) else pixelcnn_graphs(net):
        model = to_onnx(graph)
        share_weights(model, folder / (weights_file(Path(name).stem) if isinstance(net, GPT) else config.weights[0]))
        if isinstance(net, GPT) and precision == "int8":
            quantize_products(model)
        with replacing(folder / name) as part:
            onnx.save(model, part)
        names.append(name)
    config.with_files(folder, *names).save(folder)
    return names


def parity(folder: Path, pictures: int = 2, seed: int = 0) -> str:
    """The largest difference in log-probability between onnxruntime and torch, on random tokens."""
    config = PriorConfig.load(folder)
    rng = np.random.default_rng(seed)
    tokens = np.stack([rng.integers(level.size, size=(pictures, *config.grid)) for level in config.vocabulary], 1)
    label = rng.integers(len(config.classes) + 1, size=pictures)
    ours, theirs = log_prob(OnnxPrior(folder), tokens, label), TorchPrior.load(folder).log_prob(tokens, label)
    return f"onnxruntime against torch: largest difference {np.abs(ours - theirs).max():.2g} in log-probability"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior export", description=__doc__.splitlines()[0])
    parser.add_argument("--prior", type=Path, required=True, help="folder made by python -m prior train")
    parser.add_argument("--precision", default="int8", choices=("int8", "float"), help="of a GPT (default int8)")
    flags = parser.parse_args(arguments)
    for name in export(flags.prior, precision=flags.precision):
        print(f"{flags.prior / name}: {(flags.prior / name).stat().st_size / 1e3:.0f} kB")
    print(parity(flags.prior))
