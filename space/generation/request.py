"""What a visitor asks for, on every tab that draws; no Gradio here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

from prior.protocol import LevelSettings, Settings
from space.generation.conditioning import Given

ANY = "Any kind"
MOST = 8  # pictures at once
MOST_SEED = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to be drawn. kind: a name the sampler knows, or `ANY`. how: it is made from what is given."""

    kind: str
    count: int
    seed: int
    settings: Settings
    how: str = "drawn"
    given: Given = field(default_factory=Given)

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 1 <= self.count <= MOST:
            raise ValueError(f"{self.count} pictures; accepted: 1 to {MOST}")
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"the seed {self.seed}; accepted: 0 to {MOST_SEED}")

    def title(self, kind: str, model: str) -> str:
        """What was done, in words, of a kind by its own name."""
        if self.how == "drawn" or kind != ANY:
            return f"{kind}, {self.how} by {model}"
        return f"{self.how.capitalize()} by {model}"

    @property
    def stem(self) -> str:
        """What its files are called."""
        words = self.kind if self.how == "drawn" else f"{self.how} {self.kind}"
        return f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}-{self.seed}"


def complete(
    liked: Settings, given: Sequence[Sequence[float | None]], guidance: float | None, best_of: float | None
) -> Settings:
    """What was given, by level in the order of `LevelSettings`; None takes what the model likes."""
    levels = [
        LevelSettings(*(own if value is None else value for value, own in zip(values, astuple(level), strict=True)))
        for values, level in zip(given, liked.levels, strict=True)
    ]
    candidates = liked.candidates if best_of is None else int(best_of)
    return Settings(tuple(levels), liked.guidance if guidance is None else guidance, candidates)


def whole(value: float | None, name: str) -> int:
    """An integer, where a field may also be empty. Raises ValueError."""
    if value is None:
        raise ValueError(f"the {name} is missing; give a whole number")
    return int(value)


def flat(settings: Settings) -> tuple[float, ...]:
    """In the order of the fields."""
    return (*(value for level in settings.levels for value in astuple(level)), settings.guidance, settings.candidates)


def followed_by(liked: Mapping[str, Settings], model: str, values: tuple) -> tuple:
    """What the fields become when `model` is chosen: what it likes, unless the visitor has changed them.

    liked: by model. values: of the fields, in the order of `flat`.
    """
    untouched = values in {flat(settings) for settings in liked.values()}
    return flat(liked[model]) if untouched else values
