"""A visitor's request for new pictures, on every tab that generates; no Gradio here."""

import math
import re
from dataclasses import dataclass, field

from prior.protocol import Settings
from space.generation.conditioning import Conditioning

ANY = "Any kind"
MAX_PICTURES = 8
MAX_SEED = 2**31 - 1
DEFAULT_COUNT, FIRST_SEED = 4, 1


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """kind: a class of the sampler in any spelling it accepts, or `ANY`. verb: how the pictures are made."""

    kind: str
    count: int
    seed: int
    settings: Settings
    verb: str = "drawn"
    conditioning: Conditioning = field(default_factory=Conditioning)

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 1 <= self.count <= MAX_PICTURES:
            raise ValueError(f"{self.count} pictures; accepted: 1 to {MAX_PICTURES}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"the seed {self.seed}; accepted: 0 to {MAX_SEED}")

    @classmethod
    def from_fields(
        cls,
        kind: str | None,
        count: float | None,
        seed: float | None,
        settings: Settings,
        *,
        verb: str = "drawn",
        conditioning: Conditioning | None = None,
    ) -> "GenerationRequest":
        """A request as the fields of the page hold it. Raises ValueError for an empty or a wrong field."""
        whole_count, whole_seed = whole_number(count, "count"), whole_number(seed, "seed")
        return cls(kind or ANY, whole_count, whole_seed, settings, verb, conditioning or Conditioning())

    def title(self, kind: str, model: str) -> str:
        """The caption of the results. kind: the sampler's own name of it."""
        if self.verb == "drawn" or kind != ANY:
            return f"{kind}, {self.verb} by {model}"
        return f"{self.verb.capitalize()} by {model}"

    @property
    def stem(self) -> str:
        """The first part of the names of its files."""
        words = self.kind if self.verb == "drawn" else f"{self.verb} {self.kind}"
        return f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}-{self.seed}"


def whole_number(value: float | None, name: str) -> int:
    """The integer in a field. Raises ValueError for an empty field, or a value that is not finite."""
    if value is None or not math.isfinite(value):
        raise ValueError(f"the {name} is missing; give a whole number")
    return int(value)
