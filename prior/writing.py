"""Pictures in the making: what each kind of prior remembers between one token and the next."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cst.protocol import Level
from prior.config import GPTConfig
from prior.window import Window

Arrays = Sequence[Any]  # numpy arrays or torch tensors
# (level, near, position, label, keys, values) -> (B, V) log-probabilities, new keys, new values; see `LevelGPT.step`
GPTStep = Callable[[int, list[np.ndarray], int, np.ndarray, Arrays, Arrays], tuple[np.ndarray, Arrays, Arrays]]
LEAST_ROOM = 64


def plan_by_level(mask: np.ndarray) -> list[tuple[int, int]]:
    """The GPT's order: each level up to its last unknown token; a level that is wholly known costs nothing."""
    plan = []
    for level in range(mask.shape[1]):
        unknown = np.flatnonzero(~mask[:, level].all(0).ravel())
        plan += [(level, position) for position in range(unknown[-1] + 1 if len(unknown) else 0)]
    return plan


def plan_by_patch(mask: np.ndarray) -> list[tuple[int, int]]:
    """The PixelCNN's order: patch by patch, and only what is unknown."""
    unknown = ~mask.all(0).reshape(mask.shape[1], -1)  # (L, N)
    return [(int(level), int(position)) for position, level in np.argwhere(unknown.T)]


class GPTWriting:
    """The keys and values of the level being written, updated in place; see `Writing`.

    zeros: makes an array of a shape where `step` wants it. step: runs a level's network at one position.
    """

    def __init__(
        self, config: GPTConfig, levels: Sequence[Level], *, zeros: Callable[[tuple[int, ...]], Any], step: GPTStep
    ):
        self.config, self.levels, self._zeros, self._step = config, levels, zeros, step
        self.context, self.window = Window(config.context, causal=False), Window(config.window, causal=True)
        self.level, self.next = -1, 0

    def predict(self, level: int, position: int, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """See `Writing.predict`; positions of a level come one after another from 0."""
        if level != self.level:
            self.level, self.next, self.room = level, 0, 0
            self.keys, self.values = [], []
        assert position == self.next, f"position {position} after {self.next - 1}"
        if position >= self.room:
            self._grow(len(tokens), max(LEAST_ROOM, 2 * self.room))
        windows = [self.context] * level + [self.window]
        near = [window.at(tokens[:, i], position, self.levels[i].size) for i, window in enumerate(windows)]
        scores, keys, values = self._step(level, near, position, label, self.keys, self.values)
        for kept, new in zip(self.keys, keys, strict=True):
            kept[..., position] = new
        for kept, new in zip(self.values, values, strict=True):
            kept[:, :, position] = new
        self.next += 1
        return scores

    def _grow(self, batch: int, room: int) -> None:
        """Make room for more positions; done a few times a level, so that short pasts are cheap to read."""
        heads, size = self.config.heads, self.config.width // self.config.heads
        layers = range(self.config.layers[self.level])
        keys = [self._zeros((batch, heads, size, room)) for _ in layers]
        values = [self._zeros((batch, heads, room, size)) for _ in layers]
        for new, old in zip(keys, self.keys, strict=False):
            new[..., : self.room] = old
        for new, old in zip(values, self.values, strict=False):
            new[:, :, : self.room] = old
        self.keys, self.values, self.room = keys, values, room


class PixelCNNWriting:
    """What the network saw before the patch being written; see `Writing`.

    look: (tokens, position, label) -> (B, D), what the patches before `position` say. head: (level, hidden, codes
    (B, L)) -> (B, V) log-probabilities.
    """

    def __init__(self, *, look: Callable[..., Any], head: Callable[..., np.ndarray]):
        self._look, self._head = look, head
        self._at, self._hidden = -1, None

    def predict(self, level: int, position: int, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """See `Writing.predict`."""
        if position != self._at:
            self._at, self._hidden = position, self._look(tokens, position, label)
        row, column = divmod(position, tokens.shape[3])
        return self._head(level, self._hidden[: len(tokens)], tokens[:, :, row, column].astype(np.int64))
