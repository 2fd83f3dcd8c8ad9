"""The Sample tab: a model draws new pictures of flowers as color, shape and texture codes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import gradio as gr

from cst.images import fit_within, load_image
from space.events import QUIET, Update, clicked_value, errors_as_messages
from space.generation.address import restored_fields, setting_values
from space.generation.panel import Panel, RunningVisits, choose_count, choose_kind
from space.generation.request import ANY, DEFAULT_COUNT, FIRST_SEED, GenerationRequest
from space.models import NAMES, NO_PRIOR, Models
from space.tabs.sample.settings import build_settings, fill_in, follow_model
from space.widgets.intro import explain

PHOTO = Path(__file__).parents[2] / "examples" / "blossom.webp"
FAVORITES = ("Rose", "Water Lily", "Hibiscus", "Common Dandelion", "Moon Orchid", "Oxeye Daisy", "Poinsettia")
STEPS = (
    ("Color", "The model draws 4 × 4 colors, then 8 × 8, then a picture of half the size, then {} colors."),
    ("Shape", "From these colors and the small picture, it draws a shape for every patch."),
    ("Texture", "From both, it draws the finer patterns."),
    ("Rendered", "The network that renders photos renders the new picture from its codes."),
)
ABOUT = {
    "gpt": "GPT draws coarse colors, then a picture of half the size, then the whole picture.",
    "pixelcnn": "PixelCNN, the older kind, finishes one patch before the next.",
}


class SampleTab:
    """Lays out the tab inside the current `gr.Blocks` and connects it; without a model it only explains why."""

    def __init__(self, models: Models, running: RunningVisits, restore: gr.Button):
        self.models, self.running = models, running
        if not models.kinds:
            gr.HTML(f"<p>{NO_PRIOR}</p>", elem_id="refusal")
            return
        with gr.Row(elem_id="easel"):
            with gr.Column(scale=2, min_width=300):
                favorites, button, count, seed, keep_seed, model, settings = self.build_fields()
            self.panel = Panel(self.running, introduction(models))
        self.panel.connect(
            self.sample, [self.kind, count, seed, model, *settings], button=button, seed=seed,
            keep_seed=keep_seed, api_name="sample", examples=favorites, choose=self.choose_favorite, chosen=[self.kind],
        )  # fmt: skip
        fields = [self.kind, count, seed, keep_seed, model, *settings]
        restore.click(self.restore, None, fields, **QUIET)
        model.input(follow_model(models, settings), [model, *settings], settings, **QUIET)

    def build_fields(self) -> tuple[list[gr.Button], gr.Button, gr.Slider, gr.Number, gr.Checkbox, gr.Radio, list]:
        """Lay out the left-hand column: (favorites, button, count, seed, keep seed, model, settings)."""
        kinds = self.models.sampler(self.models.kinds[0]).classes
        gr.HTML('<h2 class="label">Choose a kind of flower</h2>')
        with gr.Row(elem_id="favorites"):
            names = [name for name in FAVORITES if name in kinds] or kinds[:7]
            favorites = [gr.Button(name, size="sm") for name in (*names, ANY)]
        self.kind = choose_kind(kinds, label=f"Or choose one of {len(kinds)}", elem_id="kind")
        button = gr.Button("Draw new pictures", variant="primary", elem_id="draw")
        count, seed, keep_seed = choose_count()
        about = " ".join(ABOUT[kind] for kind in self.models.kinds)
        about += "".join(f" {NAMES[kind]} is not available here." for kind in self.models.refusals)
        model = gr.Radio(
            [(NAMES[kind], kind) for kind in self.models.kinds], value=self.models.kinds[0], label="Model", info=about,
            elem_id="model",
        )  # fmt: skip
        with gr.Accordion("More", open=False, elem_id="freedom"):
            settings = build_settings(self.models)
        return favorites, button, count, seed, keep_seed, model, settings

    def sample(
        self,
        kind: str,
        count: int,
        seed: int,
        model: Literal["gpt", "pixelcnn"],
        color_temperature: float | None,
        color_top_k: int | None,
        color_top_p: float | None,
        color_min_p: float | None,
        shape_temperature: float | None,
        shape_top_k: int | None,
        shape_top_p: float | None,
        shape_min_p: float | None,
        texture_temperature: float | None,
        texture_top_k: int | None,
        texture_top_p: float | None,
        texture_min_p: float | None,
        guidance: float | None,
        visitor: gr.Request,
    ) -> Iterator[Update]:
        """Draw new pictures of a kind of flower with a model of color, shape and texture codes.

        kind: a name in any case, or "Any kind". count: pictures, 1 to 8. seed: 0 to 2147483647; the same seed and
        settings give the same pictures. model: "gpt" or "pixelcnn". For each of color, shape and texture: temperature,
        above 0 to 10; top_k, 0 for all codes; top_p, above 0 to 1; min_p, 0 to below 1. guidance: how much the kind
        counts, 0 to 10. None takes the model's own value. Returns the grid as HTML; the pictures, PNG; one sheet of
        them, PNG; a .zip of pictures, sheet and codes (.npz, .cst); the numbers; and their table. Until then it sends
        the growing grid, with the others empty. `/stop` ends it early and returns what was drawn.
        """
        values = (
            *(color_temperature, color_top_k, color_top_p, color_min_p),
            *(shape_temperature, shape_top_k, shape_top_p, shape_min_p),
            *(texture_temperature, texture_top_k, texture_top_p, texture_min_p),
            guidance,
        )
        with errors_as_messages():
            sampler = self.models.sampler(model)
            request = GenerationRequest.from_fields(kind, count, seed, fill_in(sampler.defaults, values))
            yield from self.panel.generate(sampler, request, visitor)

    def restore(self, visitor: gr.Request) -> list:
        """The fields of the page's address: kind, count, seed, whether to keep it, model, and all settings.

        Every value is given: see `SharedPhoto` for why none is skipped.
        """
        restored = restored_fields(visitor.query_params, self.models.sampler(self.models.kinds[0]).classes)
        if restored is None or restored[3] not in self.models.kinds:
            model = self.models.kinds[0]
            defaults = setting_values(self.models.sampler(model).defaults)
            return [ANY, DEFAULT_COUNT, FIRST_SEED, False, model, *defaults]
        kind, count, seed, model, settings = restored
        return [kind, count, seed, True, model, *settings]

    def choose_favorite(self, event: gr.EventData, visitor: gr.Request) -> Update:
        """Choose the clicked kind, and end what this visitor's last click began."""
        self.running.stop(visitor)
        return {self.kind: clicked_value(event)}


def introduction(models: Models) -> str:
    """How a picture is drawn, with the layers of a photo."""
    sampler = models.sampler(models.kinds[0])
    h, w = sampler.prior.grid
    steps = [(name, text.format(f"{h} × {w}")) for name, text in STEPS]
    note = '<p class="note">Shown on a photo; new pictures grow in the same order.</p>'
    return explain(models.cst("int8"), fit_within(load_image(PHOTO), sampler.size[0]), steps) + note
