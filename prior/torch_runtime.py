"""The priors on torch: for training, export and GPUs. The app runs on `prior/onnx_runtime.py` instead."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from cst.artifact import replacing
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.torch_runtime import load_weights
from prior.config import CELLS, CODEBOOKS, LAYOUT, LEVEL_OF, PARTS, GPTConfig, PriorConfig
from prior.decode_state import KVCache, RowCache
from prior.models.gpt import GPT
from prior.models.pixelcnn import PixelCNN
from prior.onnx_runtime import MapOrder
from prior.sampling import check


def build(config: PriorConfig) -> GPT | PixelCNN:
    """The untrained network that a configuration describes."""
    if isinstance(config.model, GPTConfig):
        return GPT(config.model, config.vocabulary, config.patch, config.grid, len(config.classes))
    return PixelCNN(config.model, config.vocabulary, config.grid, len(config.classes))


def networks(net: GPT | PixelCNN) -> list[nn.Module]:
    """The networks whose weights are saved, in the order of `PriorConfig.weights`."""
    return list(net.parts.values()) if isinstance(net, GPT) else [net]


def save_weights(net: nn.Module, path: Path) -> None:
    """Write the weights in float16."""
    tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
    with replacing(path) as part:
        save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}, part)


def save_prior(net: GPT | PixelCNN, config: PriorConfig, out: Path) -> None:
    """Write the weights in float16, and `config.json`."""
    for network, name in zip(networks(net), config.weights, strict=True):
        save_weights(network, out / name)
    if isinstance(net, GPT):
        tables = [table.cpu().numpy() for table in net.codebooks]
        Codebooks(*tables, patch=config.patch).save(out / CODEBOOKS)
    finish(config, out)


def finish(config: PriorConfig, folder: Path) -> None:
    """Write `config.json` with the checksums of the weights, once all of them are there."""
    names = (*config.weights, CODEBOOKS) if isinstance(config.model, GPTConfig) else config.weights
    if all((folder / name).exists() for name in names):
        dataclasses.replace(config, files={}).with_files(folder, *names).save(folder)


def load_prior(folder: str | os.PathLike, *, device: torch.device | str = "cpu") -> tuple[GPT | PixelCNN, PriorConfig]:
    """The float32 network of a folder, ready to predict, and its configuration. Strict; raises ValueError."""
    config = PriorConfig.load(folder)
    net = build(config)
    for network, name in zip(networks(net), config.weights, strict=True):
        load_weights(network, config.check_file(folder, name))
    if isinstance(net, GPT):
        books = Codebooks.load(config.check_file(folder, CODEBOOKS), patch=config.patch)
        for buffer, table in zip(net.codebooks, books.tables, strict=True):
            buffer.copy_(torch.from_numpy(table))
    return net.to(device).eval(), config


class TorchPrior:
    """A network on torch; the `Prior` protocol on numpy arrays."""

    def __init__(self, net: GPT | PixelCNN, config: PriorConfig):
        self.net, self.config = net, config
        self.classes, self.levels, self.grid = config.classes, config.vocabulary, config.grid
        self.device = next(net.parameters()).device
        books = [book.cpu().numpy() for book in net.codebooks] if isinstance(net, GPT) else []
        order = MapOrder(config.model, config.grid, Codebooks(*books, patch=config.patch) if books else None)
        self.prepare, self.decoding_order = order.prepare, order.decoding_order
        self.sketch_grid, self.guided = order.sketch_grid, order.guided

    @classmethod
    def load(cls, folder: str | os.PathLike, *, device: torch.device | str = "cpu") -> "TorchPrior":
        """The prior of a folder. Raises ValueError if it is damaged or something else."""
        return cls(*load_prior(folder, device=device))

    @torch.no_grad()
    def log_prob(self, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32, all at once; see `prior.sampling.log_prob`."""
        check(self, tokens, np.ones(tokens.shape, bool), label)
        classes = self._tensor(label)
        if isinstance(self.net, PixelCNN):
            return torch.stack(self.net(self._tensor(tokens), classes), 1).reshape(tokens.shape).cpu().numpy()
        maps, _ = self.prepare(tokens, np.ones(tokens.shape, bool), None)
        codes = {name: self._tensor(array) for name, array in maps.items()}
        scores = torch.zeros(tokens.shape, device=self.device)
        for part in PARTS:
            names = LAYOUT if part == "layout" else (part,)
            values = self.net(part, codes, classes).split([codes[name][0].numel() for name in names], 1)
            for name, value in zip(names, values, strict=True):
                cell = CELLS.get(name, 1)  # its value is shared by the patches that it covers
                shared = value.view(codes[name].shape) / cell**2
                scores[:, LEVEL_OF[name]] += shared.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
        return scores.cpu().numpy()

    def new_state(self) -> KVCache | RowCache:
        """See `Prior.new_state`."""
        if isinstance(self.net, GPT):
            return KVCache(self.net.config, [level.size for level in self.levels], step=self._step)
        return RowCache(hidden=self._hidden, head=self._head)

    def _tensors(self, arrays: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.tensor(array, device=self.device) for array in arrays]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.int64)).to(self.device)

    @torch.no_grad()
    def _step(self, part: str, neighbors: list[np.ndarray], *arrays: Any) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self.net, GPT)
        *single, keys, values = arrays
        place, coordinates, label, past, absent = self._tensors(single)
        scores, present = self.net.parts[part].step(
            self._tensors(neighbors),
            place,
            coordinates,
            label,
            past,
            absent,
            self._tensors(keys),
            self._tensors(values),
        )
        return scores.cpu().numpy(), present.cpu().numpy()

    @torch.no_grad()
    def _hidden(self, tokens: np.ndarray, position: int, label: np.ndarray) -> torch.Tensor:
        assert isinstance(self.net, PixelCNN)
        row, column = divmod(position, tokens.shape[3])
        return self.net.hidden_states(self._tensor(tokens[:, :, : row + 1]), self._tensor(label))[:, row, column]

    @torch.no_grad()
    def _head(self, level: int, hidden: torch.Tensor, codes: np.ndarray) -> np.ndarray:
        assert isinstance(self.net, PixelCNN)
        return self.net.logits(hidden, self._tensor(codes), level).log_softmax(-1).cpu().numpy()
