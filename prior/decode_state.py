"""What each kind of prior remembers between one token and the next, and the order in which it writes them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prior.config import CELLS, CONTEXTS, LAYOUT, LEVEL_OF, GPTConfig
from prior.models.context_window import Window

Maps = dict[str, np.ndarray]  # name -> (B, h, w)
Order = list[tuple[str, np.ndarray]]  # a map, and the positions on it that are written at once
# (part, near, place, coordinates, label, past, absent, keys, values) -> scores (n, V), present; see `Detail.step`
GPTStep = Callable[..., tuple[np.ndarray, np.ndarray]]


def order_by_map(fixed: Maps, reach: int) -> Order:
    """The GPT's order: map by map, each up to its last unknown token; a map that is wholly known costs nothing.

    The coarse layout is written token by token. A token of a finer map needs only those within `reach` rows above it
    and columns beside it, so that all tokens of a diagonal are written at once.
    """
    order = []
    for name, known in fixed.items():
        h, w = known.shape[1:]
        unknown = ~known.all(0)  # (h, w)
        if not unknown.any():
            continue
        rows, columns = np.divmod(np.arange(h * w), w)
        turn = np.arange(h * w) if name in LAYOUT else columns + (reach + 1) * rows
        order += [(name, np.flatnonzero(turn == now)) for now in range(turn[unknown.ravel()].max() + 1)]
    return [(name, positions) for name, positions in order if len(positions)]


def order_by_patch(fixed: Maps) -> Order:
    """The PixelCNN's order: patch by patch, and only what is unknown."""
    names = list(fixed)
    unknown = np.stack([~known.all(0).ravel() for known in fixed.values()], 1)  # (N, L)
    return [(names[level], np.array([position])) for position, level in np.argwhere(unknown)]


class GPTState:
    """The keys and values of the map being written (a KV cache, laid out as a grid); see `DecodeState`."""

    def __init__(self, config: GPTConfig, sizes: Sequence[int], *, step: GPTStep):
        """sizes: codes of each level. step: runs a part's network at n places."""
        self.config, self.sizes, self._step = config, sizes, step
        self.own, self.context = Window(config.window, causal=True), Window(config.context, causal=False)
        self._part, self._places = "", (0,)
        self._keys: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def predict(self, name: str, positions: np.ndarray, maps: Maps, label: np.ndarray) -> np.ndarray:
        """See `DecodeState.predict`; the groups of a map come one after another, as in `order_by_map`."""
        batch, h, w = maps[name].shape
        part = "layout" if name in LAYOUT else name
        if part != self._part:
            length = sum(maps[other][0].size for other in LAYOUT) if part == "layout" else 0
            self._begin(part, batch, (length,) if length else (h + self.own.reach, w + 2 * self.own.reach))
        rows, columns = np.divmod(positions, w)
        contexts = CONTEXTS.get(name, ((LAYOUT[0], 2),))  # of the layout: the coarser map
        near = [self.own.at(maps[name], rows, columns, self.sizes[LEVEL_OF[name]])]
        for other, factor in contexts:
            outside = self.sizes[LEVEL_OF[other]]
            if name == other:  # the coarsest map of all
                near.append(np.full((batch, len(positions), len(self.context)), outside))
            else:
                near.append(self.context.at(maps[other], rows // factor, columns // factor, outside))
        reach, size = self.own.reach, self._places[-1]
        if part == "layout":
            place = positions + (maps[LAYOUT[0]][0].size if name == LAYOUT[1] else 0)  # one at a time
            past = np.arange(max(1, place[0]))[None]
            absent, kept = past >= place[0], place
            coordinates = (np.stack([rows, columns], 1) + 0.5) * (CELLS[name] / CELLS[LAYOUT[1]])
        else:
            place, coordinates = rows % 4 * 4 + columns % 4, np.stack([rows, columns], 1)
            down, across = (offsets[None] for offsets in np.array(self.own.offsets).T)
            there, beside = rows[:, None] + down, columns[:, None] + across  # (n, places)
            absent = (there < 0) | (beside < 0) | (beside >= w)
            past, kept = (there + reach) * size + beside + reach, (rows + reach) * size + columns + reach
        first = np.arange(batch)[:, None] * math.prod(self._places)  # of each picture, in the cache
        kept = (first + kept).ravel()
        scores, present = self._step(
            part,
            [codes.reshape(-1, codes.shape[-1]).astype(np.int64) for codes in near],
            np.tile(place, batch),
            np.tile(coordinates, (batch, 1)).astype(np.float32),
            np.repeat(label, len(positions)).astype(np.int64),
            (first[..., None] + past).reshape(-1, past.shape[1]),
            np.tile(absent, (batch, 1)),
            self._keys,
            self._values,
        )
        for caches, new in ((self._keys, present[0]), (self._values, present[1])):
            for cache, layer in zip(caches, new, strict=True):
                cache[:, kept] = layer
        return scores.reshape(batch, len(positions), -1)

    def _begin(self, part: str, batch: int, places: tuple[int, ...]) -> None:
        config = self.config
        shape = (config.heads, batch * math.prod(places), config.width // config.heads)
        self._part, self._places = part, places
        self._keys, self._values = (
            [np.zeros(shape, np.float32) for _ in range(config.layers_of(part))] for _ in range(2)
        )


class PixelCNNState:
    """What the network saw before the patch being written; see `DecodeState`.

    look: (tokens, position, label) -> (B, D), what the patches before `position` say. head: (level, hidden, codes
    (B, L)) -> (B, V) log-probabilities.
    """

    def __init__(self, *, look: Callable[..., Any], head: Callable[..., np.ndarray]):
        self._look, self._head = look, head
        self._at, self._hidden = -1, None

    def predict(self, name: str, positions: np.ndarray, maps: Maps, label: np.ndarray) -> np.ndarray:
        """See `DecodeState.predict`."""
        (position,) = positions
        tokens = np.stack(list(maps.values()), 1)
        if position != self._at:
            self._at, self._hidden = position, self._look(tokens, position, label)
        row, column = divmod(position, tokens.shape[3])
        codes = tokens[:, :, row, column].astype(np.int64)
        return self._head(list(maps).index(name), self._hidden[: len(tokens)], codes)[:, None]
