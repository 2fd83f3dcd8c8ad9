"""What the page says about new pictures in numbers, and the table it says it in."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cst.tokenizer.protocol import Level, bits_per_patch
from prior.protocol import Settings, Step
from space.widgets.html import row


@dataclass(frozen=True)
class SampleNumbers:
    """Everything in the table, and what gives the same pictures again.

    bits_per_code: by level, the mean over all codes that were written, None where there are none; fixed_bits_per_code:
    what a code of that level takes at a fixed length. given: the levels of which nothing is written. bits: of each
    picture so far. fixed_bits: of what is to be written of one picture, at the fixed length. best_of: candidates that
    the coarse colors of each picture were chosen from. codes: written, all pictures together. stopped: before all was
    written.
    """

    kind: str
    model: str
    seed: int
    size: tuple[int, int]
    grid: tuple[int, int, int]
    settings: Settings
    best_of: int
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
    """Bits a code by level, over what is written; None where nothing is. given: (L, h, w) bool, of what was there."""
    written = (step.known if given is None else step.known & ~given).sum((0, 2, 3))  # (L,)
    return {
        level.name: round(float(step.bits[:, index].sum() / written[index]), 3) if written[index] else None
        for index, level in enumerate(levels)
    }


def fixed_bits(levels: Sequence[Level]) -> dict[str, float]:
    return {level.name: bits_per_patch([level]) for level in levels}


def table(numbers: SampleNumbers) -> str:
    """The numbers as an HTML table: one row a measure, each explained where it stands."""
    names = list(numbers.bits_per_code)
    drawn = [name for name in names if name not in numbers.given]
    mine, fixed = numbers.bits_per_code, numbers.fixed_bits_per_code
    whole = "–" if None in map(mine.get, drawn) else f"{sum(map(mine.get, drawn)):.1f}"
    said = {name: "–" if mine[name] is None else f"{mine[name]:.1f}" for name in names}
    blank = [""] * len(names)
    small, many = [bits / 8 for bits in numbers.bits], len(numbers.bits) > 1
    mean = f"mean of {len(small)}; " if many else ""
    so_far = "; so far" if numbers.stopped else ""
    rate = numbers.codes / max(numbers.write_seconds, 1e-9)
    rows = [
        row("Bits a patch", "to store what was written, for one who has the model",
            ["given" if name in numbers.given else said[name] for name in names] + [whole]),
        row("Fixed length", "bits a patch without the model, as for a photo",
            ["" if name in numbers.given else f"{fixed[name]:g}" for name in names]
            + [f"{sum(map(fixed.get, drawn)):g}"]),
        row("Bytes a picture", f"{mean}{numbers.fixed_bits / 8:,.0f} at the fixed length{so_far}",
            [*blank, f"{np.mean(small):,.0f}"]),
        row("Writing, s", f"{numbers.codes:,} codes of {'all pictures' if many else 'the picture'}",
            [*blank, f"{numbers.write_seconds:.1f}"]),
        row("Codes a second", "while writing", [*blank, f"{rate:,.0f}"]),
        row("Painting, ms", "by the network that also paints photos", [*blank, f"{numbers.paint_ms:,.0f}"]),
        row("Seed", f"with the same settings it gives these again ({html.escape(numbers.kind)}, {numbers.model})",
            [*blank, str(numbers.seed)]),
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in (*numbers.bits_per_code, "all"))
    return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
