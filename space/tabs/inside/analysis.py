"""One photo as the models see it: its middle square, the codes, what is painted from them, and what was expected."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cst import CST
from cst.images import middle, to_float, to_image
from cst.tokenizer.code_statistics import Statistics
from prior.sampler import Sampler
from prior.sampling import TokenScores, score_tokens
from space.generation.request import ANY
from space.models import NAMES

SIDE = 256  # pixels of the square where no prior says its own
LIKELIEST = 5


@dataclass(frozen=True)
class Look:
    """A square photo taken apart. square, painted: (H, W, 3) uint8. tokens: (L, h, w) int32.

    expected: what a prior thought of every token before it saw it, of this one picture; None without a prior.
    model: the prior's name; kind: of flower, as it was told.
    """

    square: np.ndarray
    painted: np.ndarray
    tokens: np.ndarray
    expected: TokenScores | None = None
    model: str | None = None
    kind: str = ANY

    def place(self, column: float | None, row: float | None) -> tuple[int, int]:
        """Column and row as a person counts them, from 1 -> indices. Raises ValueError for others."""
        _, h, w = self.tokens.shape
        for value, most, name in ((column, w, "column"), (row, h, "row")):
            if value is None or value != int(value) or not 1 <= value <= most:
                raise ValueError(f"the {name} {value}; accepted: a whole number from 1 to {most}")
        return int(column) - 1, int(row) - 1


def take_apart(cst: CST, sampler: Sampler | None, photo: Image.Image) -> Look:
    """The middle square of a photo at the size of the prior's pictures, its codes as the prior sees them, painted."""
    tokenizer = cst.tokenizer
    square = middle(photo, sampler.size[0] if sampler else SIDE // tokenizer.patch * tokenizer.patch)
    tokens = sampler.encode(photo) if sampler else tokenizer.encode(to_float(square)[None])[0]
    painted = to_image(tokenizer.decode(tokens[None])[0])
    return Look(np.asarray(square), np.asarray(painted), tokens)


def expect(look: Look, sampler: Sampler, kind: str | None) -> Look:
    """Ask a prior about every token of a picture, one pass. Raises ValueError for a kind it doesn't know."""
    name = None if kind in (None, ANY) else sampler.classes[sampler.label(kind)]
    most = min(LIKELIEST, *(level.size for level in sampler.prior.levels))
    found = score_tokens(sampler.prior, look.tokens[None], np.array([sampler.label(name)]), top=most)
    only = TokenScores(found.log_prob[0], found.codes[0], found.p[0])
    return replace(look, expected=only, model=NAMES[sampler.prior.config.kind], kind=name or ANY)


def statistics_of(cst: CST) -> Statistics | None:
    """How often each code occurs in photos; None where it was never counted for this tokenizer."""
    try:
        return cst.tokenizer.statistics()
    except ValueError:
        return None
