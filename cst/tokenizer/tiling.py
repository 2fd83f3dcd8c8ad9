"""A large grid of patches as overlapping windows, so that it is painted a piece at a time, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Window:
    """A part of a grid. seen: what the network is given. kept: what of it comes out as if the network saw the whole."""

    seen: Box
    kept: Box

    @property
    def inner(self) -> Box:
        """`kept`, counted from the corner of `seen`."""
        sides = zip(self.kept, self.seen, strict=True)
        return tuple(slice(kept.start - seen.start, kept.stop - seen.start) for kept, seen in sides)


def windows(h: int, w: int, *, most: int, margin: int) -> Iterator[Window]:
    """Cover a grid of (h, w) patches: each is kept by one window, which sees up to `margin` more on every side of it.

    All windows are of one size, so that a network meets one shape: at most `most` patches, or a square of four margins
    where that is more, since of smaller ones little is kept. The grid is cut so that the fewest patches are seen twice.
    """

    def cost(way: tuple[int, int]) -> int:
        return way[0] * extent(h, way[0], margin) * way[1] * extent(w, way[1], margin)

    rows, columns = min(ways(h, w, max(most, (4 * margin) ** 2), margin), key=cost)
    for row in cut(h, rows, margin):
        for column in cut(w, columns, margin):
            yield Window((row[0], column[0]), (row[1], column[1]))


def ways(h: int, w: int, most: int, margin: int) -> Iterator[tuple[int, int]]:
    """Into how many (rows, columns) of windows of at most `most` patches a grid can be cut."""
    for rows in range(1, max(1, h - 2 * margin) + 1):
        room = most // extent(h, rows, margin)
        if w <= room:
            yield rows, 1
        elif room > 2 * margin:
            yield rows, -(-(w - 2 * margin) // (room - 2 * margin))


def extent(length: int, count: int, margin: int) -> int:
    """How long each of `count` equal spans is that cover `length` and overlap by two margins."""
    return -(-(length + 2 * margin * (count - 1)) // count)


def cut(length: int, count: int, margin: int) -> Iterator[Box]:
    """0 to `length` as `count` equal spans that overlap by two margins or more: (the span, what is kept of it)."""
    long = extent(length, count, margin)
    starts = [(length - long) * i // max(1, count - 1) for i in range(count)]
    edges = [0, *(start + margin for start in starts[1:]), length]
    for start, first, last in zip(starts, edges[:-1], edges[1:], strict=True):
        yield slice(start, start + long), slice(first, last)
