"""The interface of every prior, whichever network and library is behind it, and the settings of sampling."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cst.tokenizer.protocol import Level


@dataclass(frozen=True)
class LevelSettings:
    """How one level's tokens are drawn.

    temperature: above 0; below 1 makes likely codes likelier, and 1 draws from the model as it is. top_k: only that
    many most likely codes, 0 for all. top_p: the smallest set of codes whose probabilities sum to this, in (0, 1]
    (Holtzman et al., 2020). min_p: only codes at least this fraction as likely as the most likely one, in [0, 1).
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
    """How a picture is drawn: the settings of each level, coarse to fine, and the guidance scale.

    levels: of a GPT, the color level's are for the coarse colors, and the finest colors are drawn with the shapes'.
    guidance: classifier-free guidance (Ho and Salimans, 2022) of the coarsest maps, where the class shows most. 1 is
    the class-conditional model, above 1 strengthens the class, 0 ignores it. Finer maps are drawn without guidance:
    guided, they lose their grain.
    """

    levels: tuple[LevelSettings, ...] = (LevelSettings(), LevelSettings(), LevelSettings())
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 <= self.guidance <= 10:
            raise ValueError(f"a guidance of {self.guidance}; accepted: from 0 to 10")


@dataclass(frozen=True, eq=False)
class SampleRequest:
    """New tokens to write where `mask` is False; those of `known` are kept where it is True.

    known: (B, L, h, w) int. mask: the same shape, bool. label: (B,) int, indices of classes, or the number of classes
    for none. Where only a color is to be drawn, its code in `known` is a guess of its lightness: see `half_size_maps`.
    The same seed gives the same pictures. sketch: (*sketch_grid) int, color codes that are kept, -1 where
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
    """The state of a sampling after a few more tokens.

    tokens: (B, L, h, w) int32, final where `known` (bool, same shape). half, half_known: the same of the picture at
    half its size, (B, L, h / 2, w / 2), by a prior that draws it; else None. colors: (B, h, w) int32, the color code of
    each patch so far: its own, else that of the finest coarse cell over it, else -1. done, total: decided tokens of a
    picture, for progress. name: of the map just written. written: per map, in order, the final share of what was
    unknown. bits: (B, L) float64, the information in the drawn tokens, in bits, under the model itself (temperature 1,
    no guidance, no cut-off).
    """

    tokens: np.ndarray
    known: np.ndarray
    half: np.ndarray | None
    half_known: np.ndarray | None
    colors: np.ndarray
    done: int
    total: int
    name: str
    written: dict[str, float]
    bits: np.ndarray

    def half_size(self) -> "Step":
        """The tokens and colors of the picture at half its size; the progress and bits stay those of the whole step.

        Raises ValueError if the prior draws none.
        """
        if self.half is None or self.half_known is None:
            raise ValueError("this prior draws no picture of half the size; accepted: a GPT")
        colors = np.where(self.half_known[:, 0], self.half[:, 0], self.colors[:, ::2, ::2])
        return dataclasses.replace(
            self, tokens=self.half, known=self.half_known, half=None, half_known=None, colors=colors
        )


class Prior(Protocol):
    """A model of p(tokens | class), as `prior.sampling` uses it: the distributions of a few tokens at a time.

    A class is an index into `classes`, or `len(classes)` for none. sketch_grid: (rows, columns) of the color map that
    a sketch or a color bias covers. guided: the maps that guidance acts on.
    """

    levels: tuple[Level, ...]
    grid: tuple[int, int]
    sketch_grid: tuple[int, int]
    classes: tuple[str, ...]
    guided: tuple[str, ...]

    def prepare(self, known: np.ndarray, mask: np.ndarray, sketch: np.ndarray | None) -> tuple[dict, dict]:
        """The maps in decoding order, name -> (B, h, w) int32, and which of their tokens are known, bool."""
        ...

    def decoding_order(self, fixed: dict[str, np.ndarray]) -> Sequence[tuple[str, np.ndarray]]:
        """The known tokens of every map, bool -> (map, positions to predict together), in order."""
        ...

    def new_state(self) -> "DecodeState":
        """A state in which nothing is predicted yet."""
        ...


class DecodeState(Protocol):
    """The decode state of a batch: what a `Prior` remembers between tokens, such as a KV cache."""

    def predict(self, name: str, positions: np.ndarray, maps: dict[str, np.ndarray], label: np.ndarray) -> np.ndarray:
        """The log-distributions of some tokens, given all tokens before them in the decoding order.

        positions: (n,) raster positions on the map `name`. maps: correct up to there. label: (B,) int64. Returns
        (B, n, V) float32, natural log. A later map may be asked for fewer pictures.
        """
        ...
