"""From a request to new pictures: what to show at every stage; no Gradio here."""

import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cst import CST
from cst.tokenizer.protocol import bits_per_patch
from prior.config import CELLS, FULL, LEVEL_OF
from prior.contact_sheet import contact_sheet
from prior.protocol import Step
from prior.sampler import Sampler
from space.generation.address import result_address
from space.generation.gallery import Tile, draft_url, gallery, with_transparency
from space.generation.numbers import SampleNumbers, fixed_bits, mean_bits, sample_table
from space.generation.request import ANY, GenerationRequest
from space.models import NAMES
from space.widgets.html import data_url

LAST_STAGE = "rendered"  # after all levels
NO_BREAK = "\N{NO-BREAK SPACE}"
PREVIEW_INTERVAL = 1 / 8  # seconds
SHEET_COLUMNS = 4


@dataclass(frozen=True)
class GenerationView:
    """What there is to show of a run so far."""

    live: str | None = None  # HTML: the pictures and the progress of each layer
    pictures: list[tuple[str, str]] | None = None  # (PNG file, caption)
    sheet: str | None = None  # a PNG file of all pictures
    archive: str | None = None  # a .zip of pictures, sheet and codes
    numbers: dict[str, Any] | None = None
    table: str | None = None


def generate(
    sampler: Sampler, request: GenerationRequest, folder: Path, stopped: Callable[[], bool]
) -> Iterator[GenerationView]:
    """Sample the codes, render the pictures and count the bits; yields a few previews per second, then the result.

    stopped: called after every step; True ends the sampling, and what was drawn is rendered and counted. The files are
    written to `folder`. Raises ValueError, before the first yield, for a kind that the sampler doesn't know, or for
    conditioning that doesn't fit it.
    """
    name = None if request.kind == ANY else sampler.classes[sampler.label(request.kind)]
    condition = request.conditioning
    steps = sampler.sample(
        name, count=request.count, seed=request.seed, settings=request.settings,
        known=condition.known, mask=condition.mask, sketch=condition.sketch, color_bias=condition.color_bias,
    )  # fmt: skip
    conditions = [Tile(data_url(picture, "WEBP"), caption, caption) for caption, picture in condition.pictures]
    write_seconds, last_preview = 0.0, 0.0
    while True:
        start = time.perf_counter()
        next_step = next(steps, None)
        write_seconds += time.perf_counter() - start
        if next_step is None:
            break
        step = next_step
        if stopped():
            break
        if step.done == 1 or time.perf_counter() - last_preview >= PREVIEW_INTERVAL:
            yield GenerationView(live=preview(sampler, step, request, conditions, status(sampler, step)))
            last_preview = time.perf_counter()
    steps.close()  # otherwise a stopped run would hold its GPU until the pictures are rendered
    yield GenerationView(live=preview(sampler, step, request, conditions, "Rendering"))
    start = time.perf_counter()
    pictures = sampler.decode(step)
    paint_ms = 1000 * (time.perf_counter() - start)
    if step.done < step.total:
        pictures = [with_transparency(*pair) for pair in zip(pictures, step.colors >= 0, strict=True)]
    numbers = count_bits(sampler, request, step, name, write_seconds, paint_ms)
    yield save(sampler, request, step, pictures, numbers, conditions, folder)


def given_codes(sampler: Sampler, request: GenerationRequest) -> np.ndarray:
    """(L, h, w) bool: the codes that are given and not drawn."""
    mask = request.conditioning.mask
    return np.zeros((len(sampler.prior.levels), *sampler.prior.grid), bool) if mask is None else mask


def count_bits(
    sampler: Sampler, request: GenerationRequest, step: Step, name: str | None, write_seconds: float, paint_ms: float
) -> SampleNumbers:
    """The numbers of a run that ended with this step. name: the class."""
    levels, given = sampler.prior.levels, given_codes(sampler, request)
    return SampleNumbers(
        kind=name or ANY,
        model=NAMES[sampler.prior.config.kind],
        seed=request.seed,
        size=sampler.size,
        grid=(len(levels), *sampler.prior.grid),
        settings=request.settings,
        bits_per_code=mean_bits(step, levels, given),
        fixed_bits_per_code=fixed_bits(levels),
        bits=tuple(round(float(bits), 1) for bits in step.bits.sum(1)),
        fixed_bits=float(sum(bits_per_patch([level]) * (~given[i]).sum() for i, level in enumerate(levels))),
        codes=int((step.known & ~given).sum()),
        write_seconds=round(write_seconds, 2),
        paint_ms=round(paint_ms, 1),
        stopped=step.done < step.total,
        given=tuple(level.name for i, level in enumerate(levels) if given[i].all()),
    )


def status(sampler: Sampler, step: Step) -> str:
    """The stage of an unfinished run, in words."""
    levels = [level.name for level in sampler.prior.levels]
    if sampler.prior.config.kind != "gpt":
        return f"Writing patch by patch: {', '.join(levels)}"
    return f"Writing {FULL[LEVEL_OF[step.name]]}s, {cells(step, step.name)}"


def preview(sampler: Sampler, step: Step, request: GenerationRequest, conditions: Sequence[Tile], status: str) -> str:
    """The pictures of a step, drawn without a network."""
    crisp = has_only_colors(step)
    tiles = [
        Tile(draft_url(draft, visible, crisp=crisp), alt_text(request, number))
        for number, (draft, visible) in enumerate(zip(sampler.preview(step), step.colors >= 0, strict=True), 1)
    ]
    return gallery(tiles, status, [*progress(step), (LAST_STAGE, 0)], crisp=crisp, conditions=conditions)


def has_only_colors(step: Step) -> bool:
    return not (step.known[:, 1:].any() or (step.half_known is not None and step.half_known[:, 1:].any()))


def progress(step: Step) -> list[tuple[str, float]]:
    """(layer, fraction of it that is drawn), in order."""
    return [(layer_name(step, name), fraction) for name, fraction in step.written.items()]


def layer_name(step: Step, name: str) -> str:
    """A map's name on the page: where there are several of a level, each is named by its size too."""
    return (
        name if len(step.written) == len(FULL) else f"{FULL[LEVEL_OF[name]]} {cells(step, name).replace(' ', NO_BREAK)}"
    )


def cells(step: Step, name: str) -> str:
    """The size of a map, such as 16 × 16."""
    return " × ".join(str(side // CELLS.get(name, 1)) for side in step.colors.shape[1:])


def alt_text(request: GenerationRequest, number: int) -> str:
    return f"{request.kind}, picture {number} of {request.count}"


def save(
    sampler: Sampler,
    request: GenerationRequest,
    step: Step,
    pictures: Sequence[Image.Image],
    numbers: SampleNumbers,
    conditions: Sequence[Tile],
    folder: Path,
) -> GenerationView:
    """Write all files to `folder` -> the complete view."""
    cst, paths, tiles = CST(sampler.tokenizer), [], []
    for number, (picture, tokens) in enumerate(zip(pictures, sampler.tokens(step), strict=True), 1):
        path = folder / f"{request.stem}-{number}.png"
        picture.save(path)
        if not numbers.stopped:  # a file of tokens holds a whole picture
            tokens.save(path.with_suffix(".npz"))
            with suppress(ValueError):  # the tokenizer has no statistics of its codes
                path.with_suffix(".cst").write_bytes(cst.compress(tokens))
        paths.append(path)
        url = data_url(picture)
        link = f'<a href="{url}" download="{path.name}">Save PNG</a>'
        use = "" if numbers.stopped else '<button type="button" class="use">Use on the other tabs</button>'
        tiles.append(Tile(url, alt_text(request, number), link + use))
    rows = [("", pictures[start : start + SHEET_COLUMNS]) for start in range(0, len(pictures), SHEET_COLUMNS)]
    sheet = folder / f"{request.stem}-sheet.png"
    caption = f"{numbers.kind}, seed {request.seed}, {numbers.model}"
    contact_sheet(rows, side=sampler.size[1], caption=caption).save(sheet)
    archive = folder / f"{request.stem}.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.glob(f"{request.stem}-*.*")):
            file.write(path, path.name)
    status = request.title(numbers.kind, numbers.model)
    if numbers.stopped:
        status = f"Stopped after {step.done / step.total:.0%} of the codes"
    layers = [*progress(step), (LAST_STAGE, 1.0)]
    kept = result_address(request, sampler.prior.config.kind) if request.verb == "drawn" else ""
    return GenerationView(
        live=gallery(tiles, status, layers, crisp=has_only_colors(step), conditions=conditions, address=kept),
        pictures=[(str(path), tile.alt) for path, tile in zip(paths, tiles, strict=True)],
        sheet=str(sheet),
        archive=str(archive),
        numbers=numbers.to_json(),
        table=sample_table(numbers),
    )
