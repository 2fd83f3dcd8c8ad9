"""The address of a result: it restores the fields of the Sample tab."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from urllib.parse import urlencode

from prior.protocol import LevelSettings, Settings
from prior.sampler import DEFAULTS
from space.generation.request import ANY, DEFAULT_COUNT, FIRST_SEED, MAX_PICTURES, MAX_SEED, GenerationRequest

LEVELS = ("color", "shape", "texture")
# The settings in the order of the fields on the page, with the names that `/sample` gives them.
SETTINGS = (*(f"{level}_{setting.name}" for level in LEVELS for setting in fields(LevelSettings)), "guidance")


def setting_values(settings: Settings) -> tuple[float, ...]:
    """The values of `SETTINGS`."""
    levels = (value for level in settings.levels for value in astuple(level))
    return (*levels, settings.guidance)


def result_address(request: GenerationRequest, model: str) -> str:
    """The query of the page that restores a request; settings are named where they differ from the model's own."""
    fields = {"tab": "sample", "kind": request.kind, "count": request.count, "seed": request.seed, "model": model}
    values = zip(SETTINGS, setting_values(request.settings), setting_values(DEFAULTS[model]), strict=True)
    return "?" + urlencode({**fields, **{name: value for name, value, default in values if value != default}})


def restored_fields(
    query: Mapping[str, str], classes: Sequence[str]
) -> tuple[str, int, int, str, tuple[float, ...]] | None:
    """A query -> (kind, count, seed, model, values of `SETTINGS`); None if it is not of the Sample tab.

    What the query does not name, or names wrongly, has its usual value.
    """
    if query.get("tab") != "sample":
        return None
    model = query["model"] if query.get("model") in DEFAULTS else next(iter(DEFAULTS))
    kind = {folded(name): name for name in classes}.get(folded(query.get("kind", "")), ANY)
    count = number(query, "count", DEFAULT_COUNT, 1, MAX_PICTURES)
    seed = number(query, "seed", FIRST_SEED, 0, MAX_SEED)
    defaults = setting_values(DEFAULTS[model])
    values = tuple(number(query, *pair) for pair in zip(SETTINGS, defaults, strict=True))
    try:
        levels = (values[start : start + 4] for start in (0, 4, 8))
        Settings(tuple(LevelSettings(t, int(k), p, m) for t, k, p, m in levels), values[12])
    except ValueError:
        values = defaults
    return kind, int(count), int(seed), model, values


def folded(name: str) -> str:
    """A class name, in which case, spaces, hyphens and underscores make no difference."""
    return " ".join(re.split(r"[\s_-]+", name.casefold()))


def number(query: Mapping[str, str], name: str, default: float, least: float = 0, largest: float = MAX_SEED) -> float:
    """A number of the query, or the default."""
    try:
        value = float(query[name])
    except (KeyError, ValueError):
        return default
    return value if least <= value <= largest else default
