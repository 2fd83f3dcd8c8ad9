"""The priors on onnxruntime and numpy: what the app and the command line sample with. Never imports torch."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cst.runtime import load_onnxruntime
from prior.config import GPTConfig, PixelCNNConfig, PriorConfig
from prior.protocol import Settings, Step
from prior.sample import log_prob, sample
from prior.writing import GPTWriting, PixelCNNWriting, plan_by_level, plan_by_patch

Session = Any  # onnxruntime.InferenceSession


def gpt_graph(level: str) -> str:
    """File name of the graph that writes one token of a level."""
    return f"{level}.onnx"


def head_graph(level: str) -> str:
    """File name of the graph of a level's head."""
    return f"head-{level}.onnx"


class OnnxPrior:
    """A prior's folder on onnxruntime; the `Prior` and `Writer` protocols. Safe to call from several threads.

    threads: None leaves the choice to the library. fingerprint: of the tokenizer it is to be paired with, checked.
    Raises ValueError for a folder that is damaged, not exported, or paired with another tokenizer.
    """

    def __init__(self, folder: str | os.PathLike, *, threads: int | None = None, fingerprint: str | None = None):
        if threads is not None and threads < 1:
            raise ValueError(f"{threads} threads; accepted: at least 1")
        self.folder, self.config = Path(folder), PriorConfig.load(folder)
        if fingerprint is not None:
            self.config.check_tokenizer(fingerprint)
        self.levels, self.grid, self.classes = self.config.vocabulary, self.config.grid, self.config.classes
        self.config.check_file(folder, "model.safetensors")  # holds the weights of the graphs
        names = [level.name for level in self.levels]
        if isinstance(self.config.model, PixelCNNConfig) and not self.config.model.gated:
            raise ValueError(f"'{folder}' is a simple PixelCNN, which samples on torch alone; take a gated one here")
        if isinstance(self.config.model, GPTConfig):
            self.sessions = [self._open(gpt_graph(name), threads) for name in names]
        else:
            self.sessions = [self._open(name, threads) for name in ("rows.onnx", "place.onnx", *map(head_graph, names))]

    def _open(self, name: str, threads: int | None) -> Session:
        if name not in self.config.files:
            raise ValueError(
                f"'{self.folder}' has no {name}; make it with python -m prior.export --prior {self.folder}"
            )
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        path = self.config.check_file(self.folder, name)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def log_prob(self, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32, token by token; see `Prior.log_prob`."""
        return log_prob(self, tokens, label)

    def sample(
        self,
        known: np.ndarray,
        mask: np.ndarray,
        label: np.ndarray,
        settings: Settings,
        seed: int,
        *,
        lean: np.ndarray | None = None,
    ) -> Iterator[Step]:
        """See `Prior.sample`."""
        return sample(self, known, mask, label, settings, seed, lean=lean)

    def plan(self, mask: np.ndarray) -> Sequence[tuple[int, int]]:
        """See `Writer.plan`."""
        return plan_by_level(mask) if isinstance(self.config.model, GPTConfig) else plan_by_patch(mask)

    def start(self) -> GPTWriting | PixelCNNWriting:
        """See `Writer.start`."""
        model = self.config.model
        if isinstance(model, GPTConfig):
            zeros = lambda shape: np.zeros(shape, np.float32)  # noqa: E731
            return GPTWriting(model, self.levels, zeros=zeros, step=self._step)
        return PixelCNNWriting(look=RowByRow(*self.sessions[:2], model), head=self._head)

    def _step(
        self,
        level: int,
        near: list[np.ndarray],
        position: int,
        label: np.ndarray,
        keys: list[np.ndarray],
        values: list[np.ndarray],
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        feeds = {"position": np.array(position), "label": label}
        for name, arrays in (("near", near), ("keys", keys), ("values", values)):
            feeds |= {f"{name}_{index}": array for index, array in enumerate(arrays)}
        scores, *new = self.sessions[level].run(None, feeds)
        return scores, new[: len(keys)], new[len(keys) :]

    def _head(self, level: int, hidden: np.ndarray, codes: np.ndarray) -> np.ndarray:
        head = self.sessions[2 + level]
        given = {"hidden": hidden, "codes": codes}
        return head.run(None, {item.name: given[item.name] for item in head.get_inputs()})[0]


class RowByRow:
    """What the patches before one say, by the PixelCNN; what the rows above say is found once a row."""

    def __init__(self, rows: Session, place: Session, config: PixelCNNConfig):
        self._rows, self._place, self._names = rows, place, [f"downs_{i}" for i in range(config.blocks + 1)]
        self._row, self._count, self._downs = -1, 0, {}

    def __call__(self, tokens: np.ndarray, position: int, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int32, raster position, (B,) int64 -> (B, D) float32."""
        row, column = divmod(position, tokens.shape[3])
        tokens = tokens[:, :, : row + 1].astype(np.int64)
        if row != self._row or len(tokens) > self._count:
            found = self._rows.run(self._names, {"tokens": tokens, "label": label})
            self._row, self._count, self._downs = row, len(tokens), dict(zip(self._names, found, strict=True))
        downs = {name: down[: len(tokens)] for name, down in self._downs.items()}
        place = {"row": np.array(row), "column": np.array(column), "label": label}
        return self._place.run(None, {"tokens": tokens[:, :, row:], **place, **downs})[0]
