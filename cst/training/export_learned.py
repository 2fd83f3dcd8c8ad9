"""Export a learned tokenizer to ONNX, with weights stored in 8 bits, and report what that costs.

python -m cst export-learned --tokenizer runs/rq-vae --images photos/
"""

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from cst.artifact import replacing
from cst.images import to_float
from cst.learned.model import LearnedNet
from cst.learned.onnx_runtime import DECODER, ENCODER, OnnxLearnedTokenizer
from cst.learned.tokenizer import LearnedTokenizer
from cst.learned.torch_runtime import load_net, to_tokenizer
from cst.metrics import psnr
from cst.photos import Photos, find_photos, split
from cst.training.export_rendernet import OPSET, strip_source_info

SMALL = 4096  # values: smaller tensors stay in float32


class EncoderGraph(nn.Module):
    """Pictures to codes."""

    def __init__(self, net: LearnedNet):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.encode(images).int()


class DecoderGraph(nn.Module):
    """Codes to pictures."""

    def __init__(self, net: LearnedNet):
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net.decode(tokens.long())


def to_onnx(graph: nn.Module, name: str, example: Tensor, output: str, factor: int) -> onnx.ModelProto:
    """A graph of one input and one output, with any sizes. factor: of which the sides of the input are multiples."""
    h, w = torch.export.Dim("h", min=1), torch.export.Dim("w", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[name],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("B", min=1), 2: factor * h, 3: factor * w},),
        )
    assert program is not None
    strip_source_info(program.model_proto)
    return program.model_proto


def store_in_8_bits(model: onnx.ModelProto, codebook: np.ndarray) -> None:
    """Store large tensors in int8 with a scale per first index (matrices: per column), dequantized when loaded.

    The codebook stays in float32, in any form that the exporter gave it: it decides which code is nearest.
    """
    nodes = []
    for item in model.graph.initializer:
        values = numpy_helper.to_array(item)
        if values.dtype != np.float32 or values.size < SMALL or values.ndim < 2:
            continue
        if values.shape in (codebook.shape, codebook.T.shape):
            continue
        axis = 1 if values.ndim == 2 else 0
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.abs(values).max(others).clip(1e-12) / 127  # (size of the axis,)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        stored = np.round(values / scale.reshape(shape)).astype(np.int8)
        name = item.name
        item.CopyFrom(numpy_helper.from_array(stored, f"{name}_int8"))
        model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=axis))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def export(folder: Path) -> None:
    """Write both graphs of a folder made by `python -m cst train-learned`."""
    net, config = load_net(folder)
    factor, levels = config.model.factor, len(config.model.levels)
    graphs = {
        ENCODER: to_onnx(EncoderGraph(net), "images", torch.zeros(2, 3, 2 * factor, 3 * factor), "tokens", factor),
        DECODER: to_onnx(DecoderGraph(net), "tokens", torch.zeros(2, levels, 2, 3, dtype=torch.int32), "picture", 1),
    }
    for name, model in graphs.items():
        store_in_8_bits(model, net.quantizer.table.detach().numpy())
        with replacing(folder / name) as part:
            onnx.save(model, part)
    config.with_files(folder, ENCODER, DECODER).save(folder)


def mean_psnr(tokenizer: LearnedTokenizer, photos: Photos, limit: int) -> float:
    """Over the first `limit` readable photos, in dB."""
    values = []
    for _, photo in zip(range(limit), photos, strict=False):
        original = to_float(Image.fromarray(photo))
        values.append(psnr(tokenizer.round_trip(original)[1], original))
    return float(np.mean(values))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst export-learned", description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder made by python -m cst train-learned")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--validate", type=int, default=48, help="number of held-out photos for the report")
    flags = parser.parse_args(arguments)
    export(flags.tokenizer)
    net, config = load_net(flags.tokenizer)
    _, held_out = split(find_photos(flags.images))
    exact, stored = (
        mean_psnr(tokenizer, Photos(held_out, shortest=256), flags.validate)
        for tokenizer in (to_tokenizer(net, config), OnnxLearnedTokenizer(flags.tokenizer))
    )
    size = sum((flags.tokenizer / name).stat().st_size for name in (ENCODER, DECODER)) / 1e6
    print(f"torch {exact:.3f} dB; ONNX, 8-bit weights {stored:.3f} dB, {exact - stored:.3f} less; {size:.1f} MB")
