"""What every prior looks like, whichever network it is and whichever library it runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cst.tokenizer.protocol import Level

MAX_CANDIDATES = 16


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

    guidance: of the coarsest maps, where the class shows most. 1 is the class-conditional model itself; above, what
    the class makes likelier counts for more (classifier-free guidance, Ho and Salimans, 2022); 0 ignores the class.
    Finer maps are drawn by the class-conditional model as it is: guided, they lose their grain.
    candidates: how many coarse color maps are drawn for each picture, of which the prior's critic chooses one. Without
    a critic one is drawn.
    """

    levels: tuple[LevelSettings, ...] = (LevelSettings(), LevelSettings(), LevelSettings())
    guidance: float = 1.0
    candidates: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 <= self.guidance <= 10:
            raise ValueError(f"a guidance of {self.guidance}; accepted: from 0 to 10")
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            raise ValueError(f"best of {self.candidates}; accepted: 1 to {MAX_CANDIDATES}")


@dataclass(frozen=True, eq=False)
class SampleRequest:
    """New tokens to write where `mask` is False; those of `known` are kept where it is True.

    known: (B, L, h, w) int. mask: the same shape, bool. label: (B,) int, indices of classes, or the number of classes
    for none. The same seed gives the same pictures. sketch: (*sketch_grid) int, color codes that are kept, -1 where
    there is none. color_bias: (*sketch_grid, V) or (*grid, V) float, a logit bias of the color codes at a place (a
    product of experts: Hinton, 2002, "Training Products of Experts").
    """

    known: np.ndarray
    mask: np.ndarray
    label: np.ndarray
    settings: Settings
    seed: int
    sketch: np.ndarray | None = None
    color_bias: np.ndarray | None = None

    @classmethod
    def of_classes(cls, prior: "Prior", label: np.ndarray, settings: Settings, seed: int) -> "SampleRequest":
        """Whole pictures of (B,) classes, of which no token is known."""
        known = np.zeros((len(label), len(prior.levels), *prior.grid), np.int32)
        return cls(known, np.zeros(known.shape, bool), label, settings, seed)


@dataclass(frozen=True, eq=False)
class Step:
    """A moment of sampling.

    tokens: (B, L, h, w) int32, of which `known` (bool, same shape) are final so far. colors: (B, h, w) int32, the color
    code of each patch so far: its own, else that of the finest coarse cell over it, else -1. done of total: tokens of
    a picture decided, for progress. name: of the map just written. written: for every map in order, the share that is
    final of what was unknown. best_of: candidates that the coarse colors of each picture were chosen from, 1 before.
    bits: (B, L) float64, the information in what was drawn so far, in bits, by the model itself (temperature 1, no
    guidance, nothing cut off).
    """

    tokens: np.ndarray
    known: np.ndarray
    colors: np.ndarray
    done: int
    total: int
    name: str
    written: dict[str, float]
    best_of: int
    bits: np.ndarray


class Prior(Protocol):
    """A model of p(tokens | class), as `prior.sampling` uses it: the distributions of a few tokens at a time.

    A class is an index into `classes`, or `len(classes)` for none. sketch_grid: (rows, columns) of the color map that
    a sketch or a color bias covers. guided: the maps that guidance acts on. drafts: the maps of which several
    candidates may be drawn.
    """

    levels: tuple[Level, ...]
    grid: tuple[int, int]
    sketch_grid: tuple[int, int]
    classes: tuple[str, ...]
    guided: tuple[str, ...]
    drafts: tuple[str, ...]

    def prepare(self, known: np.ndarray, mask: np.ndarray, sketch: np.ndarray | None) -> tuple[dict, dict]:
        """The maps in order, as name -> (B, h, w) int32, and which of their tokens are known, bool."""
        ...

    def decoding_order(self, fixed: dict[str, np.ndarray]) -> Sequence[tuple[str, np.ndarray]]:
        """What is known of every map -> (map, positions) to predict together, in order."""
        ...

    def new_state(self) -> "DecodeState":
        """A state in which nothing is predicted yet."""
        ...

    def critic(self, maps: dict[str, np.ndarray]) -> np.ndarray | None:
        """(B,) how much the drafts look like those of photos, larger is better; None without a critic."""
        ...


class DecodeState(Protocol):
    """Pictures in the making: what a `Prior` remembers of them."""

    def predict(self, name: str, positions: np.ndarray, maps: dict[str, np.ndarray], label: np.ndarray) -> np.ndarray:
        """The natural-log distributions of some tokens, from all that come before them in the order.

        positions: (n,) in raster order, on the map `name`. maps: right up to there. label: (B,) int64. Returns
        (B, n, V) float32. A later map may be asked for fewer pictures.
        """
        ...
