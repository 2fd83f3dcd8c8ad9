"""From a wish to new pictures: what a tab that draws shows, one stage after another; no Gradio here."""

import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cst.tokenizer.protocol import bits_per_patch
from prior.config import CELLS, LEVEL_OF
from prior.contact_sheet import contact_sheet
from prior.protocol import Step
from prior.sampler import Sampler
from space.generation.gallery import Tile, clear, draft_address, grid
from space.generation.numbers import SampleNumbers, fixed_bits, mean_bits, table
from space.generation.request import ANY, Wish
from space.models import NAMES
from space.widgets.html import data_url

LAST = "painted"  # the stage after all levels
EVERY = 1 / 8  # seconds between two previews
ROW = 4  # pictures of the sheet


@dataclass(frozen=True)
class Drawn:
    """What one run has to show so far, in the order of the page's outputs."""

    live: str | None = None  # HTML: the pictures and how far they are
    pictures: list[tuple[str, str]] | None = None  # (PNG file, caption)
    sheet: str | None = None  # a PNG file of them all
    archive: str | None = None  # a .zip of pictures, sheet and codes
    numbers: dict[str, Any] | None = None
    table: str | None = None

    def outputs(self) -> tuple:
        return astuple(self)


def draw(sampler: Sampler, wish: Wish, folder: Path, stopped: Callable[[], bool]) -> Iterator[Drawn]:
    """Write the codes, paint the pictures and count the bits; previews in between, a few a second.

    stopped: asked after every code; True ends the writing there, and what is written is painted and counted. The files
    go to `folder`. Raises ValueError, before anything is yielded, for a kind the sampler doesn't know, or what is given
    and doesn't fit.
    """
    name = None if wish.kind == ANY else sampler.classes[sampler.label(wish.kind)]
    given = wish.given
    steps = sampler.sample(
        name, count=wish.count, seed=wish.seed, settings=wish.settings,
        known=given.known, mask=given.mask, sketch=given.sketch, color_bias=given.color_bias,
    )  # fmt: skip
    beside = [Tile(data_url(picture, "WEBP"), caption, caption) for caption, picture in given.pictures]
    step, seconds, shown = None, 0.0, 0.0
    while True:
        start = time.perf_counter()
        new = next(steps, None)
        seconds += time.perf_counter() - start
        if new is None:
            break
        step = new
        if stopped():
            break
        if step.done == 1 or time.perf_counter() - shown >= EVERY:
            yield Drawn(live=preview(sampler, step, wish, beside))
            shown = time.perf_counter()
    steps.close()  # else one that was stopped would keep its GPU until the pictures are painted
    yield Drawn(live=preview(sampler, step, wish, beside, painting=True))
    start = time.perf_counter()
    pictures = sampler.decode(step)
    paint_ms = 1000 * (time.perf_counter() - start)
    if step.done < step.total:
        pictures = [clear(picture, there) for picture, there in zip(pictures, step.colors >= 0, strict=True)]
    levels, there = sampler.prior.levels, already(sampler, wish)
    numbers = SampleNumbers(
        kind=name or ANY,
        model=NAMES[sampler.prior.config.kind],
        seed=wish.seed,
        size=sampler.size,
        grid=(len(levels), *sampler.prior.grid),
        settings=wish.settings,
        best_of=step.best_of,
        bits_per_code=mean_bits(step, levels, there),
        fixed_bits_per_code=fixed_bits(levels),
        bits=tuple(round(float(bits), 1) for bits in step.bits.sum(1)),
        fixed_bits=float(sum(bits_per_patch([level]) * (~there[i]).sum() for i, level in enumerate(levels))),
        codes=int((step.known & ~there).sum()),
        write_seconds=round(seconds, 2),
        paint_ms=round(paint_ms, 1),
        stopped=step.done < step.total,
        given=tuple(level.name for i, level in enumerate(levels) if there[i].all()),
    )
    yield keep(sampler, wish, step, pictures, numbers, beside, folder)


def already(sampler: Sampler, wish: Wish) -> np.ndarray:
    """(L, h, w) bool: where a code is given."""
    shape = (len(sampler.prior.levels), *sampler.prior.grid)
    return np.zeros(shape, bool) if wish.given.mask is None else wish.given.mask


def preview(sampler: Sampler, step: Step, wish: Wish, beside: Sequence[Tile], *, painting: bool = False) -> str:
    """The pictures of a step without any network, and the stage in words."""
    names = [level.name for level in sampler.prior.levels]
    if painting:
        words = "Painting"
    elif sampler.prior.config.kind == "gpt":  # map by map
        words = f"Writing {step.name}s" if step.name in names[1:] else f"Writing colors, {layer_name(step, step.name)}"
    else:
        words = f"Writing patch by patch: {', '.join(names)}"
    tiles = [
        Tile(draft_address(draft, there, known), alt(wish, number))
        for number, (draft, there, known) in enumerate(
            zip(sampler.preview(step), step.colors >= 0, step.known, strict=True), 1
        )
    ]
    return grid(tiles, words, [*layers(step), (LAST, 0)], crisp=not step.known[:, 1:].any(), given=beside)


def layers(step: Step) -> list[tuple[str, float]]:
    """(name of a map, share of it that is written), in order."""
    return [(layer_name(step, name), share) for name, share in step.written.items()]


def layer_name(step: Step, name: str) -> str:
    """A map as the page calls it: color maps by their size, where there are several."""
    if LEVEL_OF[name] or len(step.written) == 3:
        return name
    rows, columns = (side // CELLS.get(name, 1) for side in step.colors.shape[1:])
    return f"{rows} × {columns}"


def alt(wish: Wish, number: int) -> str:
    return f"{wish.kind}, picture {number} of {wish.count}"


def keep(
    sampler: Sampler,
    wish: Wish,
    step: Step,
    pictures: Sequence[Image.Image],
    numbers: SampleNumbers,
    beside: Sequence[Tile],
    folder: Path,
) -> Drawn:
    """Write all files to `folder` -> everything there is to show."""
    there = already(sampler, wish)
    patches = (~there).any(0).sum()  # of which something is written
    paths, tiles = [], []
    for number, (picture, tokens, bits) in enumerate(zip(pictures, sampler.tokens(step), numbers.bits, strict=True), 1):
        path = folder / f"{wish.stem}-{number}.png"
        picture.save(path)
        if not numbers.stopped:  # a file of tokens is of a whole picture
            tokens.save(path.with_suffix(".npz"))
        paths.append(path)
        address = data_url(picture)
        said = f"{bits / 8:,.0f} bytes so far" if numbers.stopped else f"{bits / patches:.1f} bits a patch"
        link = f'<a href="{address}" download="{path.name}">Save PNG</a>'
        tiles.append(Tile(address, alt(wish, number), f"<span>{said}</span>{link}"))
    rows = [("", pictures[start : start + ROW]) for start in range(0, len(pictures), ROW)]
    sheet = folder / f"{wish.stem}-sheet.png"
    contact_sheet(rows, side=sampler.size[1], caption=f"{numbers.kind}, seed {wish.seed}, {numbers.model}").save(sheet)
    archive = folder / f"{wish.stem}.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.glob(f"{wish.stem}-*.*")):
            file.write(path, path.name)
    words = wish.title(numbers.kind, numbers.model)
    if step.best_of > 1:
        words += f"; colors: the best of {step.best_of}"
    if numbers.stopped:
        share = numbers.codes / (wish.count * (~there).sum())
        words = f"Stopped after {share:.0%} of the codes: this is what there is"
    return Drawn(
        live=grid(tiles, words, [*layers(step), (LAST, 1)], crisp=not step.known[:, 1:].any(), given=beside),
        pictures=[(str(path), tile.alt) for path, tile in zip(paths, tiles, strict=True)],
        sheet=str(sheet),
        archive=str(archive),
        numbers=numbers.to_json(),
        table=table(numbers),
    )
