"""What every prior looks like, whichever network it is and whichever library it runs on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cst.protocol import Level


@dataclass(frozen=True)
class LevelSettings:
    """How one level's tokens are drawn.

    temperature: above 0; below 1 makes likely codes likelier, and 1 draws from the model as it is. top_k: only that
    many most likely codes, 0 for all. top_p: the fewest codes whose probability together reaches this, in (0, 1]
    (Holtzman et al., 2020). min_p: only codes at least this share as likely as the likeliest, in [0, 1).
    Applied in this order, temperature first.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.temperature <= 10:
            raise ValueError(f"a temperature of {self.temperature}; accepted: above 0 and at most 10")
        if self.top_k < 0:
            raise ValueError(f"top-k {self.top_k}; accepted: 0 (all codes) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top-p {self.top_p}; accepted: above 0 and at most 1 (all codes)")
        if not 0 <= self.min_p < 1:
            raise ValueError(f"min-p {self.min_p}; accepted: from 0 (all codes) to below 1")


@dataclass(frozen=True)
class Settings:
    """How a picture is drawn: each level's own settings, coarse to fine, and the guidance scale.

    guidance: of the first level, where the class shows most. 1 is the class-conditional model itself; above, what the
    class makes likelier counts for more (classifier-free guidance, Ho and Salimans, 2022); 0 ignores the class. The
    finer levels are drawn by the class-conditional model as it is: guided, they lose their grain.
    """

    levels: tuple[LevelSettings, ...] = (LevelSettings(), LevelSettings(), LevelSettings())
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 <= self.guidance <= 10:
            raise ValueError(f"a guidance of {self.guidance}; accepted: from 0 to 10")


@dataclass(frozen=True)
class Step:
    """A moment of sampling.

    tokens: (B, L, h, w) int32, of which `known` (bool, same shape) are final so far. done of total: tokens of a
    picture decided, for progress. level: the index of the level just written. bits: (B, L) float64, the information
    in what was drawn so far, in bits, by the model itself (temperature 1, no guidance, nothing cut off).
    """

    tokens: np.ndarray
    known: np.ndarray
    done: int
    total: int
    level: int
    bits: np.ndarray


class Prior(Protocol):
    """A model of p(tokens | class): exact likelihood, and sampling.

    A class is an index into `classes`, or `len(classes)` for none.
    """

    levels: tuple[Level, ...]
    grid: tuple[int, int]
    classes: tuple[str, ...]

    def log_prob(self, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32: the natural log of p of every token, exact."""
        ...

    def sample(
        self,
        known: np.ndarray,
        mask: np.ndarray,
        label: np.ndarray,
        settings: Settings,
        seed: int,
        *,
        lean: np.ndarray | None = None,
    ) -> Iterator[Step]:
        """Write new tokens where `mask` is False, one after another, and keep those of `known` where it is True.

        known: (B, L, h, w) int. mask: the same shape, bool. label: (B,) int. The same seed gives the same pictures.
        lean: (h, w, V) float, added to the log-probabilities of the first level's codes before they are drawn: a wish
        for some colors at a place (a product of experts: Hinton, 2002, "Training Products of Experts").
        Stop by leaving the iteration; the last step holds all there is.
        """
        ...


class Writer(Protocol):
    """What a runtime gives to `prior.sample`: one token's distribution at a time, in the model's own order."""

    levels: tuple[Level, ...]
    grid: tuple[int, int]
    classes: tuple[str, ...]

    def plan(self, mask: np.ndarray) -> Sequence[tuple[int, int]]:
        """(B, L, h, w) bool of what is known -> the (level, position) pairs to predict, in order."""
        ...

    def start(self) -> "Writing":
        """Begin some pictures."""
        ...


class Writing(Protocol):
    """Pictures in the making: what a `Writer` remembers of them."""

    def predict(self, level: int, position: int, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """The natural-log distribution of one token, from all that come before it in the plan.

        level: index. position: in raster order. tokens: (B, L, h, w) int32, right up to there. label: (B,) int64.
        Returns (B, V) float32. A finer level may be asked for the first few of the pictures alone.
        """
        ...
