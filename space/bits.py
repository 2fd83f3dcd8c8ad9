"""What the page says about new pictures in numbers, and the table it says it in."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cst.protocol import Level, bits_per_patch
from prior.protocol import Settings, Step
from space.numbers import row


@dataclass(frozen=True)
class SampleNumbers:
    """Everything in the table, and what gives the same pictures again.

    bits_per_code: by level, the mean over all codes that were written, None where there are none; fixed_bits_per_code:
    what a code of that level takes at a fixed length. bits: of each picture so far. codes: written, all pictures
    together. stopped: before all was written.
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
    fixed_bits: float  # of one whole picture
    codes: int
    write_seconds: float
    paint_ms: float
    stopped: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mean_bits(step: Step, levels: Sequence[Level]) -> dict[str, float | None]:
    """Bits a code by level, over what is written; None where nothing is."""
    written = step.known.sum((0, 2, 3))  # (L,)
    return {
        level.name: round(float(step.bits[:, index].sum() / written[index]), 3) if written[index] else None
        for index, level in enumerate(levels)
    }


def fixed_bits(levels: Sequence[Level]) -> dict[str, float]:
    return {level.name: bits_per_patch([level]) for level in levels}


def table(numbers: SampleNumbers) -> str:
    """The numbers as an HTML table: one row a measure, each explained where it stands."""
    mine, fixed = list(numbers.bits_per_code.values()), list(numbers.fixed_bits_per_code.values())
    whole = "–" if None in mine else f"{sum(mine):.1f}"
    blank = [""] * len(mine)
    small, many = [bits / 8 for bits in numbers.bits], len(numbers.bits) > 1
    mean = f"mean of {len(small)}; " if many else ""
    so_far = "; so far" if numbers.stopped else ""
    rate = numbers.codes / max(numbers.write_seconds, 1e-9)
    rows = [
        row("Bits a patch", "to store what was written, for one who has the model",
            ["–" if bits is None else f"{bits:.1f}" for bits in mine] + [whole]),
        row("Fixed length", "bits a patch without the model, as for a photo",
            [f"{bits:g}" for bits in fixed] + [f"{sum(fixed):g}"]),
        row("Bytes a picture", f"{mean}{numbers.fixed_bits / 8:,.0f} at the fixed length{so_far}",
            [*blank, f"{np.mean(small):,.0f}"]),
        row("Writing, s", f"{numbers.codes:,} codes of {'all pictures' if many else 'the picture'}",
            [*blank, f"{numbers.write_seconds:.1f}"]),
        row("Codes a second", "while writing", [*blank, f"{rate:,.0f}"]),
        row("Painting, ms", "by the network that also paints photos", [*blank, f"{numbers.paint_ms:,.0f}"]),
        row("Seed", f"with the same settings it gives these again ({html.escape(numbers.kind)}, {numbers.model})",
            [*blank, str(numbers.seed)]),
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in ("", *numbers.bits_per_code, "all"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
