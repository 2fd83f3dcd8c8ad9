"""The settings of sampling on the Sample tab, in the order of `space.generation.address.SETTINGS`."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from prior.protocol import LevelSettings, Settings
from space.events import Update
from space.generation.address import setting_values
from space.models import Models

ABOUT = """<p><b>How freely each layer is drawn.</b> Temperature: below 1 favors likely codes. Top-k: only the k most
likely codes, 0 for all. Top-p: only the most likely codes that together reach this probability. Min-p: only codes with
at least this fraction of the highest probability. An empty field takes the model's own value.</p>"""


def build_settings(models: Models) -> list[Component]:
    """Four fields per level, coarse to fine, then guidance, with the first model's defaults."""
    sampler = models.sampler(models.kinds[0])
    gr.HTML(ABOUT, elem_classes="about")
    fields: list[Component] = []
    for level, default in zip(sampler.prior.levels, sampler.defaults.levels, strict=True):
        gr.HTML(f"<h3>{level.name}</h3>")
        with gr.Row(elem_classes="level"):
            fields += [
                gr.Number(default.temperature, label="temperature", step=0.05, min_width=60),
                gr.Number(default.top_k, label="top-k", precision=0, min_width=60),
                gr.Number(default.top_p, label="top-p", step=0.01, min_width=60),
                gr.Number(default.min_p, label="min-p", step=0.01, min_width=60),
            ]
    guidance = gr.Number(
        sampler.defaults.guidance, label="Guidance", step=0.1,
        info="How much the kind counts: 1 as learned; more is more typical and less varied; 0 ignores it.",
    )  # fmt: skip
    return [*fields, guidance]


def fill_in(defaults: Settings, values: Sequence[float | None]) -> Settings:
    """The values of the fields -> settings; an empty field takes the default."""
    filled: list[Any] = [
        default if value is None else value for value, default in zip(values, setting_values(defaults), strict=True)
    ]
    *of_levels, guidance = filled
    levels = (of_levels[start : start + 4] for start in range(0, len(of_levels), 4))
    return Settings(tuple(LevelSettings(*level) for level in levels), guidance)


def follow_model(models: Models, fields: Sequence[Component]) -> Callable[..., Update]:
    """A handler of the model and the fields: an untouched form takes the defaults of the newly chosen model."""

    def follow(model: str, *values: float | None) -> Update:
        defaults = {kind: setting_values(models.sampler(kind).defaults) for kind in models.kinds}
        return dict(zip(fields, chosen_values(defaults, model, values), strict=True))

    return follow


def chosen_values(
    defaults: dict[str, tuple[float, ...]], model: str, values: tuple[float | None, ...]
) -> tuple[float | None, ...]:
    """The model's default values if the fields hold the defaults of any model, else the fields as they are."""
    return defaults[model] if values in defaults.values() else values
