"""The packaged priors as what a file is coded under: the chance of every code, as whole numbers.

model = load("gpt", fingerprint)
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from prior.config import KINDS, PRETRAINED, GPTConfig, PriorConfig
from prior.exact import VERSION, weights
from prior.exact_gpt import ExactLevelGPT
from prior.exact_pixelcnn import ExactPixelCNN, ExactRows
from prior.protocol import Writing
from prior.writing import GPTWriting, PixelCNNWriting, plan_by_level, plan_by_patch

WEIGHTS = "model.safetensors"
TOTAL = 2**24  # of the weights of a code's alternatives: float32 holds every whole number up to here
MOST = 32  # windows evaluated together
Walk = Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]


def load(kind: str, fingerprint: str) -> "PriorModel":
    """The packaged prior of a kind, "gpt" or "pixelcnn", for the codes of the tokenizer of this fingerprint.

    Raises ValueError for another kind or tokenizer, or if a file is damaged.
    """
    if kind not in KINDS:
        raise ValueError(f"no prior '{kind}'; accepted: {', '.join(KINDS)}")
    return PriorModel(PRETRAINED / kind, fingerprint=fingerprint)


class PriorModel:
    """A prior's folder in exact arithmetic: the chances of a grid of codes, one after another.

    name: its kind. fingerprint: 16 hexadecimal digits of its weights and sizes and of the arithmetic; codes can only be
    decoded under the very same.
    """

    def __init__(self, folder: str | os.PathLike, *, fingerprint: str):
        """fingerprint: of the tokenizer. Raises ValueError for a folder that is damaged or paired with another."""
        self.config = PriorConfig.load(folder)
        self.config.check_tokenizer(fingerprint)
        path = self.config.check_file(folder, WEIGHTS)
        model, levels, grid = self.config.model, self.config.vocabulary, self.config.grid
        self.name = self.config.kind
        said = f"{self.config.files[WEIGHTS]} {VERSION} {model} {levels} {grid} {len(self.config.classes)}"
        self.fingerprint = hashlib.sha256(said.encode()).hexdigest()[:16]
        named = named_weights(path)
        if isinstance(model, GPTConfig):
            self.stacks = [
                ExactLevelGPT(
                    lambda name, index=index: named(f"stacks.{index}.{name}"), model, levels[: index + 1], grid
                )
                for index in range(len(levels))
            ]
        else:
            self.net = ExactPixelCNN(named, model, levels)

    def walk(self, tokens: np.ndarray) -> Walk:
        """(L, h, w) int32 -> (level, rows (n,), columns (n,), weights (n, V)) of n codes at a time, every code once.

        Weights are float32 and whole: at least 1, together at most 2**24, and in proportion to the chance of each
        code. They depend only on what was yielded before; `tokens` must be right there by the time it goes on, so
        that decoding fills them in as it goes.

        The grid is cut from the top left into windows as large as the prior's pictures, which know nothing of each
        other and are written side by side; one that reaches past the edge is a narrower picture. Raises ValueError,
        at the first step, for another number of levels.
        """
        if tokens.ndim != 3 or len(tokens) != len(self.config.levels):
            raise ValueError(f"tokens are {tokens.shape}; accepted: ({len(self.config.levels)}, h, w)")
        for corners in windows(tokens.shape[1:], self.config.grid):
            yield from self._walk(tokens, corners)

    def _walk(self, tokens: np.ndarray, corners: np.ndarray) -> Walk:
        """The codes of some windows of the grid, side by side; corners: (B, 2) int, the top left ones."""
        h, w = self.config.grid
        places = corners[:, :, None, None] + np.indices((h, w))  # (B, 2, h, w)
        inside = (places < np.reshape(tokens.shape[1:], (2, 1, 1))).all(1)  # (B, h, w)
        shape = (len(corners), len(tokens), h, w)
        plan, writing, beyond = self._start(inside, shape)
        known = np.empty(shape, np.int32)
        known[:] = np.reshape(beyond, (-1, 1, 1))
        label = np.full(len(corners), len(self.config.classes))
        for level, position in plan:
            scores = writing.predict(level, position, known, label)
            row, column = divmod(position, w)
            here = inside[:, row, column]
            if here.any():
                rows, columns = places[here, :, row, column].T
                yield level, rows, columns, weights(scores[here], TOTAL)
                known[here, level, row, column] = tokens[level, rows, columns]

    def _start(self, inside: np.ndarray, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], Writing, list[int]]:
        """The plan of some windows, what writes them, and what each level's codes are beyond the edge."""
        model, levels = self.config.model, self.config.vocabulary
        nothing = np.broadcast_to(~inside[:, None], shape)  # True where there is nothing to write
        if isinstance(model, GPTConfig):
            absent = None if inside.all() else ~inside.reshape(len(inside), -1)

            def step(level: int, *given: Any) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
                return self.stacks[level].step(*given, absent=absent)

            writing = GPTWriting(model, levels, zeros=np.zeros, step=step)
            return plan_by_level(nothing), writing, [level.size for level in levels]
        writing = PixelCNNWriting(look=ExactRows(self.net, inside), head=self.net.head)
        return plan_by_patch(nothing), writing, [0] * len(levels)


def windows(grid: tuple[int, int], window: tuple[int, int]) -> Iterator[np.ndarray]:
    """The top left corners (B, 2) of windows that cover a grid, at most `MOST` at a time."""
    corners = np.stack(np.meshgrid(*(np.arange(0, *sides) for sides in zip(grid, window, strict=True)), indexing="ij"))
    corners = corners.reshape(2, -1).T
    for start in range(0, len(corners), MOST):
        yield corners[start : start + MOST]


def named_weights(path: Path) -> Callable[[str], np.ndarray]:
    """Read the weights of a file by name, as float64, which holds float16 and float32 exactly."""
    stored = load_file(path)

    def named(name: str) -> np.ndarray:
        if name not in stored:
            raise ValueError(f"'{path}' has no weights {name}; copy the folder again")
        return stored[name].astype(np.float64)

    return named
