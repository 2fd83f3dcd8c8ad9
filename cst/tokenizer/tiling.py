"""Cut a large grid of patches into overlapping tiles, so that it is rendered in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Tile:
    """A part of a grid. input: what the network gets. output: the part of it that the border does not affect."""

    input: Box
    output: Box

    @property
    def crop(self) -> Box:
        """`output` relative to the corner of `input`."""
        rows, columns = (
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(self.output, self.input, strict=True)
        )
        return rows, columns


def tile_grid(h: int, w: int, *, max_patches: int, margin: int) -> Iterator[Tile]:
    """Cover a grid of (h, w) patches: each patch is in one tile's output, with `margin` patches of input around it.

    All tiles have the same size, so that the network runs on a single shape: at most `max_patches` patches, or a square
    of four margins if that is more, because smaller tiles are mostly margin. Of all such tilings, this is the one with
    the least overlap.
    """

    def cost(tiling: tuple[int, int]) -> int:
        rows, columns = tiling
        return rows * extent(h, rows, margin) * columns * extent(w, columns, margin)

    rows, columns = min(tilings(h, w, max(max_patches, (4 * margin) ** 2), margin), key=cost)
    for row_input, row_output in cut(h, rows, margin):
        for column_input, column_output in cut(w, columns, margin):
            yield Tile((row_input, column_input), (row_output, column_output))


def tilings(h: int, w: int, max_patches: int, margin: int) -> Iterator[tuple[int, int]]:
    """The numbers of (rows, columns) of tiles that keep each tile within `max_patches`."""
    for rows in range(1, max(1, h - 2 * margin) + 1):
        width = max_patches // extent(h, rows, margin)  # of the widest tile
        if w <= width:
            yield rows, 1
        elif width > 2 * margin:
            yield rows, -(-(w - 2 * margin) // (width - 2 * margin))


def extent(length: int, count: int, margin: int) -> int:
    """The length of each of `count` equal spans that cover `length` and overlap by two margins."""
    return -(-(length + 2 * margin * (count - 1)) // count)


def cut(length: int, count: int, margin: int) -> Iterator[Box]:
    """Cut 0 to `length` into `count` equal spans that overlap by at least two margins: yields (input, output)."""
    size = extent(length, count, margin)
    starts = [(length - size) * i // max(1, count - 1) for i in range(count)]
    edges = [0, *(start + margin for start in starts[1:]), length]
    for start, first, last in zip(starts, edges[:-1], edges[1:], strict=True):
        yield slice(start, start + size), slice(first, last)
