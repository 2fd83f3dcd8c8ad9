"""Exact nearest-neighbor search in a fixed set of points, as a matrix product."""

import numpy as np


class NearestNeighbors:
    """Exact nearest-neighbor search in a fixed set of points, by one matrix product per chunk of queries.

    `|x - c|^2 = |x|^2 + |c|^2 - 2 x.c`, so the nearest point has the largest `x.c - |c|^2 / 2`. It is no farther from x
    than the shortest point c_0, at most `|x| + |c_0|`, and hence no longer than `2 |x| + |c_0|`. Points and queries are
    sorted by length, so that short queries (flat patches, most of a photo) are only compared with short points. If
    float32 rounding leaves more than one candidate, float64 distances decide (the lowest index wins a true tie): every
    machine finds the same code.
    """

    def __init__(self, points: np.ndarray, *, chunk: int = 256):
        """points: (K, D) float32. chunk: queries compared at once, so that their scores fit in the CPU cache."""
        self.points = points
        self.chunk = chunk
        squares = np.einsum("kd,kd->k", points, points, dtype=np.float64)
        self._order = np.argsort(squares, kind="stable")
        self._lengths = np.sqrt(squares[self._order])
        self._rows = np.column_stack([points, -squares / 2]).astype(np.float32)[self._order]  # (K, D + 1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N,) int32."""
        codes = np.empty(len(x), np.int32)
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x))
        longest = (2 * lengths + self._lengths[0]) * (1 + 1e-4)  # room for rounding
        order = np.argsort(lengths)
        buffer = np.empty(min(self.chunk, len(x)) * len(self.points), np.float32)
        for start in range(0, len(x), self.chunk):
            part = order[start : start + self.chunk]
            count = max(1, int(np.searchsorted(self._lengths, longest[part[-1]], "right")))  # of candidates
            scores = buffer[: len(part) * count].reshape(len(part), count)
            codes[part] = self._search(x[part], lengths[part], scores)
        return codes

    def scores(self, x: np.ndarray, *, out: np.ndarray) -> np.ndarray:
        """(n, D) queries -> `out`, (n, k) float32: scores of the k shortest points; larger is nearer."""
        return np.matmul(np.column_stack([x, np.ones(len(x), np.float32)]), self._rows[: out.shape[1]].T, out=out)

    def _search(self, x: np.ndarray, lengths: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """(n, D) queries, their (n,) lengths, an (n, k) buffer for scores -> (n,) codes."""
        rows = np.arange(len(x))
        best = self.scores(x, out=scores).argmax(1)
        top = scores[rows, best]
        # The true nearest point is no farther from x than the best one found, so both lie within `reach` of the origin.
        # There the error of a float32 score is at most (D + 4) u (|x| |c| + |c|^2 / 2), with u = eps / 2 (Higham, 2002,
        # eq. 3.5). Scores that differ by less than twice that are undecided.
        reach = lengths + np.sqrt(np.maximum(lengths**2 - 2 * top, 0))
        slack = np.finfo(np.float32).eps * (x.shape[1] + 4) * reach * (lengths + reach / 2)
        scores[rows, best] = -np.inf
        unsure = np.flatnonzero(scores.max(1) >= top - slack)
        codes = self._order[best]
        if len(unsure):
            scores[rows, best] = top
            codes[unsure] = self._decide(x[unsure], scores[unsure] >= (top - slack)[unsure, None])
        return codes

    def _decide(self, x: np.ndarray, close: np.ndarray) -> np.ndarray:
        """(n, D) queries, (n, k) bool mask of the candidates -> (n,) codes of the nearest by float64 distance."""
        rows, columns = np.nonzero(close)
        codes = self._order[columns]
        nearest = np.empty(len(x), np.int64)
        distances = np.empty(len(rows))
        for start in range(0, len(rows), self.chunk):
            part = slice(start, start + self.chunk)
            gaps = x[rows[part]].astype(np.float64) - self.points[codes[part]]
            distances[part] = np.einsum("nd,nd->n", gaps, gaps)
        order = np.lexsort((codes, distances, rows))  # by row, then distance, then code
        first = np.unique(rows[order], return_index=True)[1]
        nearest[rows[order[first]]] = codes[order[first]]
        return nearest

    def shortlist(self, x: np.ndarray, count: int) -> np.ndarray:
        """(n, D) float32 -> (n, count) int: the `count` nearest codes, sorted by code; near ties are undecided."""
        scores = self.scores(x, out=np.empty((len(x), len(self.points)), np.float32))
        return np.sort(self._order[np.argpartition(scores, -count, axis=1)[:, -count:]], axis=1)
