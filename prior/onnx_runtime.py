"""The priors on onnxruntime and numpy, for the app and the command line. Never imports torch."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.onnx_runtime import load_onnxruntime, session_options
from cst.tokenizer.protocol import Level
from prior.coarse_maps import coarse_maps, half_size_maps
from prior.config import CELLS, COARSE, CODEBOOKS, FULL, LAYOUT, PARTS, GPTConfig, PixelCNNConfig, PriorConfig
from prior.decode_state import KVCache, Order, RowCache, order_by_map, order_by_patch
from prior.sampling import Maps

Session = Any  # onnxruntime.InferenceSession


def gpt_graph(part: str) -> str:
    """File name of the graph that writes tokens of a part of the GPT."""
    return f"{part}.onnx"


def head_graph(level: str) -> str:
    """File name of the graph of a level's head."""
    return f"head-{level}.onnx"


class MapOrder:
    """The maps of a prior, and the order in which they are written.

    codebooks: the tokenizer's, which define the coarser maps; of a GPT only.
    """

    def __init__(self, model: GPTConfig | PixelCNNConfig, grid: tuple[int, int], codebooks: Codebooks | None):
        self.model, self.codebooks = model, codebooks
        is_gpt = isinstance(model, GPTConfig)
        cell = CELLS[COARSE[-1]] if is_gpt else 1
        self.sketch_grid = (grid[0] // cell, grid[1] // cell)
        self.guided: tuple[str, ...] = LAYOUT if is_gpt else ("color",)

    def prepare(self, known: np.ndarray, mask: np.ndarray, sketch: np.ndarray | None) -> tuple[Maps, Maps]:
        """See `Prior.prepare`."""
        maps = dict(zip(FULL, np.where(mask, known, 0).astype(np.int32).swapaxes(0, 1), strict=True))
        fixed = dict(zip(FULL, mask.copy().swapaxes(0, 1), strict=True))
        if self.codebooks is not None:
            coarse, coarse_fixed = coarse_maps(maps["color"], fixed["color"], self.codebooks.color, sketch)
            half, half_fixed = half_size_maps(known, mask, self.codebooks)
            color = COARSE[-1]  # of whole patches it is known exactly; where only colors are known, their mean is taken
            from_patches = half_fixed[color] & (True if sketch is None else sketch < 0)
            half[color] = np.where(from_patches, half[color], coarse[color])
            half_fixed[color] = coarse_fixed[color]
            return {**coarse, **half, **maps}, {**coarse_fixed, **half_fixed, **fixed}
        if sketch is not None:
            free = (sketch >= 0) & ~fixed["color"]
            maps["color"] = np.where(free, sketch, maps["color"]).astype(np.int32)
            fixed["color"] = fixed["color"] | free
        return maps, fixed

    def decoding_order(self, fixed: Maps) -> Order:
        """See `Prior.decoding_order`."""
        return (
            order_by_map(fixed, self.model.window // 2) if isinstance(self.model, GPTConfig) else order_by_patch(fixed)
        )


class OnnxPrior:
    """A prior's folder on onnxruntime; the `Prior` protocol. Safe to call from several threads.

    threads: None leaves the choice to the library. fingerprint: of the tokenizer it is to be paired with, checked.
    Raises ValueError for a folder that is damaged, not exported, or paired with another tokenizer.
    """

    def __init__(self, folder: str | os.PathLike, *, threads: int | None = None, fingerprint: str | None = None):
        if threads is not None and threads < 1:
            raise ValueError(f"{threads} threads; accepted: at least 1")
        self.folder, self.config = Path(folder), PriorConfig.load(folder)
        if fingerprint is not None:
            self.config.check_tokenizer(fingerprint)
        self.levels: tuple[Level, ...] = self.config.vocabulary
        self.grid, self.classes = self.config.grid, self.config.classes
        for name in self.config.weights:  # the graphs read them
            self.config.check_file(folder, name)
        model, codebooks = self.config.model, None
        names = [level.name for level in self.levels]
        if isinstance(model, GPTConfig):
            codebooks = Codebooks.load(self.config.check_file(folder, CODEBOOKS), patch=self.config.patch)
            self.sessions = [self._open(gpt_graph(part), threads) for part in PARTS]
        elif not model.gated:
            raise ValueError(f"'{folder}' is a simple PixelCNN, which only samples on torch; give another prior")
        else:
            self.sessions = [self._open(name, threads) for name in ("rows.onnx", "place.onnx", *map(head_graph, names))]
        order = MapOrder(model, self.grid, codebooks)
        self.prepare, self.decoding_order = order.prepare, order.decoding_order
        self.sketch_grid, self.guided = order.sketch_grid, order.guided

    def _open(self, name: str, threads: int | None) -> Session:
        if name not in self.config.files:
            raise ValueError(
                f"'{self.folder}' has no {name}; make it with python -m prior export --prior {self.folder}"
            )
        path = self.config.check_file(self.folder, name)
        return load_onnxruntime().InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])

    def new_state(self) -> KVCache | RowCache:
        """See `Prior.new_state`."""
        model = self.config.model
        if isinstance(model, GPTConfig):
            return KVCache(model, [level.size for level in self.levels], step=self._step)
        return RowCache(hidden=RowByRow(self.sessions[0], self.sessions[1], model), head=self._head)

    def _step(self, part: str, neighbors: list[np.ndarray], *arrays: Any) -> tuple[np.ndarray, np.ndarray]:
        *single, keys, values = arrays
        feeds = dict(zip(("place", "coordinates", "label", "past", "absent"), single, strict=True))
        for name, many in (("neighbors", neighbors), ("keys", keys), ("values", values)):
            feeds |= {f"{name}_{index}": array for index, array in enumerate(many)}
        scores, present = self.sessions[PARTS.index(part)].run(None, feeds)
        return scores, present

    def _head(self, level: int, hidden: np.ndarray, codes: np.ndarray) -> np.ndarray:
        head = self.sessions[2 + level]
        feeds = {"hidden": hidden, "codes": codes}
        return head.run(None, {item.name: feeds[item.name] for item in head.get_inputs()})[0]


class RowByRow:
    """The PixelCNN's features of one patch after another; those of the rows above are computed once per row."""

    def __init__(self, rows: Session, place: Session, config: PixelCNNConfig):
        self._rows, self._place, self._names = rows, place, [f"vertical_features_{i}" for i in range(config.blocks + 1)]
        self._row, self._count = -1, 0
        self._features: dict[str, np.ndarray] = {}

    def __call__(self, tokens: np.ndarray, position: int, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int32, raster position, (B,) int64 -> (B, D) float32."""
        row, column = divmod(position, tokens.shape[3])
        tokens = tokens[:, :, : row + 1].astype(np.int64)
        if row != self._row or len(tokens) > self._count:
            outputs = self._rows.run(self._names, {"tokens": tokens, "label": label})
            self._row, self._count = row, len(tokens)
            self._features = dict(zip(self._names, outputs, strict=True))
        vertical_features = {name: down[: len(tokens)] for name, down in self._features.items()}
        place = {"row": np.array(row), "column": np.array(column), "label": label}
        return self._place.run(None, {"tokens": tokens[:, :, row:], **place, **vertical_features})[0]
