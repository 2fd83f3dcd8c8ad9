"""The measurements of new pictures, and their table."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cst.tokenizer.protocol import Level, bits_per_patch
from prior.protocol import Settings, Step
from space.widgets.html import table, table_row


@dataclass(frozen=True)
class SampleNumbers:
    """Everything in the table, and what is needed to make the same pictures again.

    bits_per_code: by level, the mean over all codes that were drawn, None where there are none. fixed_bits_per_code:
    bits of a code of that level at a fixed length. given: the levels that were given and not drawn. bits: of each
    picture so far. fixed_bits: of the drawn part of one picture, at a fixed length. codes: drawn, in all pictures
    together. stopped: before all were drawn.
    """

    kind: str
    model: str
    seed: int
    size: tuple[int, int]
    grid: tuple[int, int, int]
    settings: Settings
    bits_per_code: dict[str, float | None]
    fixed_bits_per_code: dict[str, float]
    bits: tuple[float, ...]
    fixed_bits: float
    codes: int
    write_seconds: float
    paint_ms: float
    stopped: bool
    given: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mean_bits(step: Step, levels: Sequence[Level], given: np.ndarray | None = None) -> dict[str, float | None]:
    """Bits per drawn code, by level; None where none is drawn. given: (L, h, w) bool, codes that were not drawn.

    Of a prior that draws a picture of half the size first, only of complete levels: the bits of both are added.
    """
    drawn = (step.known if given is None else step.known & ~given).sum((0, 2, 3))  # (L,)
    counted = (drawn > 0) & (step.known.all((0, 2, 3)) | (step.half is None))
    return {
        level.name: round(float(step.bits[:, index].sum() / drawn[index]), 3) if counted[index] else None
        for index, level in enumerate(levels)
    }


def fixed_bits(levels: Sequence[Level]) -> dict[str, float]:
    return {level.name: bits_per_patch([level]) for level in levels}


def sample_table(numbers: SampleNumbers) -> str:
    """The numbers as an HTML table, with one explained row per quantity."""
    levels = list(numbers.bits_per_code)
    drawn = [name for name in levels if name not in numbers.given]
    fixed = numbers.fixed_bits_per_code
    bits = {name: numbers.bits_per_code[name] for name in drawn}
    known = [value for value in bits.values() if value is not None]
    total = f"{sum(known):.1f}" if len(known) == len(drawn) else "–"
    per_level = {name: "–" if value is None else f"{value:.1f}" for name, value in bits.items()}
    blank = [""] * len(levels)
    several = len(numbers.bits) > 1
    mean = f"mean of {len(numbers.bits)}; " if several else ""
    so_far = "; so far" if numbers.stopped else ""
    rate = numbers.codes / max(numbers.write_seconds, 1e-9)
    rows = [
        table_row("Bits per patch", "to store what was drawn, if the reader has the model",
                  [per_level.get(name, "given") for name in levels] + [total]),
        table_row("Fixed length", "bits per patch without the model, as for a photo",
                  [f"{fixed[name]:g}" if name in drawn else "" for name in levels]
                  + [f"{sum(fixed[name] for name in drawn):g}"]),
        table_row("Bytes per picture", f"{mean}{numbers.fixed_bits / 8:,.0f} at the fixed length{so_far}",
                  [*blank, f"{np.mean(numbers.bits) / 8:,.0f}"]),
        table_row("Sampling, s", f"{numbers.codes:,} codes of {'all pictures' if several else 'the picture'}",
                  [*blank, f"{numbers.write_seconds:.1f}"]),
        table_row("Codes per second", "during sampling", [*blank, f"{rate:,.0f}"]),
        table_row("Rendering, ms", "by the network that also renders photos", [*blank, f"{numbers.paint_ms:,.0f}"]),
        table_row("Seed", f"gives the same pictures with the same settings ({html.escape(numbers.kind)}, "
                  f"{numbers.model})", [*blank, str(numbers.seed)]),
    ]  # fmt: skip
    return table((*levels, "all"), rows)
