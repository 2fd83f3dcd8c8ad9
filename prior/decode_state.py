"""The decode state of each kind of prior, and the order in which it writes tokens."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prior.config import CELLS, CONTEXTS, LAYOUT, LEVEL_OF, GPTConfig
from prior.models.context_window import Window

Maps = dict[str, np.ndarray]  # name -> (B, h, w)
Order = list[tuple[str, np.ndarray]]  # a map, and the positions on it that are written at once
# (part, neighbors, place, coordinates, label, past, absent, keys, values) -> scores (n, V), present; see `Detail.step`
GPTStep = Callable[..., tuple[np.ndarray, np.ndarray]]


def order_by_map(fixed: Maps, reach: int) -> Order:
    """The GPT's order: map by map, each up to its last unknown token. A map that is known completely is skipped.

    The layout is written token by token; its first map to the end, since every token of the second attends to all of
    it. A token of a finer map depends on at most `reach` rows above and columns to
    its sides, so all tokens of a diagonal are written at once.
    """
    order = []
    for name, known in fixed.items():
        h, w = known.shape[1:]
        unknown = ~known.all(0)  # (h, w)
        if not unknown.any():
            continue
        rows, columns = np.divmod(np.arange(h * w), w)
        turn = np.arange(h * w) if name in LAYOUT else columns + (reach + 1) * rows
        last = turn.max() if name == LAYOUT[0] else turn[unknown.ravel()].max()
        order += [(name, np.flatnonzero(turn == now)) for now in range(last + 1)]
    return [(name, positions) for name, positions in order if len(positions)]


def order_by_patch(fixed: Maps) -> Order:
    """The PixelCNN's order: patch by patch, unknown tokens only."""
    names = list(fixed)
    unknown = np.stack([~known.all(0).ravel() for known in fixed.values()], 1)  # (N, L)
    return [(names[level], np.array([position])) for position, level in np.argwhere(unknown)]


class KVCache:
    """A KV cache of the map being written, laid out as a grid; see `DecodeState`."""

    def __init__(self, config: GPTConfig, sizes: Sequence[int], *, step: GPTStep):
        """sizes: vocabulary of each level. step: runs the network of a part at n places."""
        self.config, self.sizes, self._step = config, sizes, step
        self.own, self.context = Window(config.window, causal=True), Window(config.context, causal=False)
        self._part = ""
        self._places: tuple[int, ...] = (0,)
        self._keys: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def predict(self, name: str, positions: np.ndarray, maps: Maps, label: np.ndarray) -> np.ndarray:
        """See `DecodeState.predict`. The groups of a map come in the order of `order_by_map`."""
        batch, h, w = maps[name].shape
        part = "layout" if name in LAYOUT else name
        if part != self._part:
            length = sum(maps[other][0].size for other in LAYOUT) if part == "layout" else 0
            self._begin(part, batch, (length,) if length else (h + self.own.reach, w + 2 * self.own.reach))
        rows, columns = np.divmod(positions, w)
        contexts = CONTEXTS.get(name, ((LAYOUT[0], 2),))  # of the layout: the coarser map
        neighbors = [self.own.at(maps[name], rows, columns, self.sizes[LEVEL_OF[name]])]
        for other, factor in contexts:
            outside = self.sizes[LEVEL_OF[other]]
            if name == other:  # the coarsest map of all
                neighbors.append(np.full((batch, len(positions), len(self.context)), outside))
            else:
                neighbors.append(self.context.at(maps[other], rows // factor, columns // factor, outside))
        reach, size = self.own.reach, self._places[-1]
        if part == "layout":
            place = positions + (maps[LAYOUT[0]][0].size if name == LAYOUT[1] else 0)  # one at a time
            past = np.arange(max(1, place[0]))[None]
            absent, own = past >= place[0], place
            coordinates = (np.stack([rows, columns], 1) + 0.5) * (CELLS[name] / CELLS[LAYOUT[1]])
        else:
            place, coordinates = rows % 4 * 4 + columns % 4, np.stack([rows, columns], 1)
            down, across = (offsets[None] for offsets in np.array(self.own.offsets).T)
            above, aside = rows[:, None] + down, columns[:, None] + across  # (n, places)
            absent = (above < 0) | (aside < 0) | (aside >= w)
            past, own = (above + reach) * size + aside + reach, (rows + reach) * size + columns + reach
        first = np.arange(batch)[:, None] * math.prod(self._places)  # of each picture, in the cache
        own = (first + own).ravel()
        scores, present = self._step(
            part,
            [codes.reshape(-1, codes.shape[-1]).astype(np.int64) for codes in neighbors],
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
                cache[:, own] = layer
        return scores.reshape(batch, len(positions), -1)

    def _begin(self, part: str, batch: int, places: tuple[int, ...]) -> None:
        config = self.config
        heads = config.heads_of(part)
        shape = (heads, batch * math.prod(places), config.width // heads)
        self._part, self._places = part, places
        self._keys, self._values = (
            [np.zeros(shape, np.float32) for _ in range(config.layers_of(part))] for _ in range(2)
        )


class RowCache:
    """The features of the patch being written, computed once for its three tokens; see `DecodeState`.

    hidden: (tokens, position, label) -> (B, D), features of the patches before `position`. head: (level, hidden, codes
    (B, L)) -> (B, V) log-probabilities.
    """

    def __init__(self, *, hidden: Callable[..., Any], head: Callable[..., np.ndarray]):
        self._compute, self._head = hidden, head
        self._at, self._hidden = -1, np.empty(0)

    def predict(self, name: str, positions: np.ndarray, maps: Maps, label: np.ndarray) -> np.ndarray:
        """See `DecodeState.predict`."""
        (position,) = positions
        tokens = np.stack(list(maps.values()), 1)
        if position != self._at:
            self._at, self._hidden = position, self._compute(tokens, position, label)
        row, column = divmod(position, tokens.shape[3])
        codes = tokens[:, :, row, column].astype(np.int64)
        return self._head(list(maps).index(name), self._hidden[: len(tokens)], codes)[:, None]
