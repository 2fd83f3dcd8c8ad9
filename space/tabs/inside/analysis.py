"""A photo as the models process it: its middle square, the codes, the rendered picture, and a prior's predictions."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cst import CST
from cst.images import center_crop, to_float, to_image
from cst.tokenizer.code_statistics import Statistics
from prior.sampler import Sampler
from prior.sampling import TokenScores, score_tokens
from space.generation.request import ANY
from space.models import NAMES

SQUARE_SIZE = 256  # pixels per side without a prior, which has its own size
TOP_CODES = 5


@dataclass(frozen=True)
class Analysis:
    """An encoded square photo. square, rendered: (H, W, 3) uint8. tokens: (L, h, w) int32.

    scores: a prior's prediction of every token from those before it; None without a prior. model: the prior's name.
    kind: the kind of flower that it was given.
    """

    square: np.ndarray
    rendered: np.ndarray
    tokens: np.ndarray
    scores: TokenScores | None = None
    model: str | None = None
    kind: str = ANY

    def place(self, column: float | None, row: float | None) -> tuple[int, int]:
        """Column and row, counted from 1 -> indices. Raises ValueError outside the picture."""
        _, h, w = self.tokens.shape
        return index_of(column, w, "column"), index_of(row, h, "row")


def index_of(value: float | None, count: int, name: str) -> int:
    """A number from 1 to `count` -> an index. Raises ValueError for any other value."""
    if value is None or value != int(value) or not 1 <= value <= count:
        raise ValueError(f"the {name} {value}; accepted: a whole number from 1 to {count}")
    return int(value) - 1


def encode_square(cst: CST, sampler: Sampler | None, photo: Image.Image) -> Analysis:
    """The middle square of a photo at the size of the prior's pictures, its codes, and what they render."""
    tokenizer = cst.tokenizer
    square = center_crop(photo, sampler.size[0] if sampler else SQUARE_SIZE // tokenizer.patch * tokenizer.patch)
    tokens = sampler.encode(photo) if sampler else tokenizer.encode(to_float(square)[None])[0]
    rendered = to_image(tokenizer.decode(tokens[None])[0])
    return Analysis(np.asarray(square), np.asarray(rendered), tokens)


def predict(analysis: Analysis, sampler: Sampler, kind: str | None) -> Analysis:
    """Score every token with a prior, in one pass. Raises ValueError for a kind that it doesn't know."""
    name = None if kind in (None, ANY) else sampler.classes[sampler.label(kind)]
    top = min(TOP_CODES, *(level.size for level in sampler.prior.levels))
    scores = score_tokens(sampler.prior, analysis.tokens[None], np.array([sampler.label(name)]), top=top)
    first = TokenScores(scores.log_prob[0], scores.shared[0], scores.codes[0], scores.p[0])
    return replace(analysis, scores=first, model=NAMES[sampler.prior.config.kind], kind=name or ANY)


def statistics_of(cst: CST) -> Statistics | None:
    """How often each code occurs in photos; None if that was never counted for this tokenizer."""
    try:
        return cst.tokenizer.statistics()
    except ValueError:
        return None
