"""The Sample tab: a model writes new pictures of flowers, color, then shape, then texture, and they are painted."""

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import gradio as gr

from cst.images import fit_within, load_image
from prior.protocol import MAX_CANDIDATES
from prior.sampler import Sampler
from space.generation.panel import (
    QUIET,
    Running,
    any_seed,
    build_easel,
    choose_count,
    choose_kind,
    connect,
    show,
    stopper,
)
from space.generation.request import ANY, Wish, complete, followed_by, whole
from space.models import NAMES, Models
from space.widgets.intro import explain

PHOTO = Path(__file__).parents[2] / "examples" / "blossom.webp"
FAVORITES = ("Sunflower", "Rose", "Water Lily", "Passion Flower", "Moon Orchid", "Poinsettia", "Oxeye Daisy")
STEPS = (
    ("Color", "The model writes a tiny picture of 4 × 4 colors, then 8 × 8, 16 × 16 and {}, each in view of the last."),
    ("Shape", "Knowing all colors, it writes a shape for every patch."),
    ("Texture", "Knowing both, it writes the finer patterns."),
    ("Painted", "The network that paints photos paints the new picture from these codes alone."),
)
ABOUT = {
    "gpt": "GPT writes all colors of a picture, coarse to fine, then all shapes, then all textures.",
    "pixelcnn": "PixelCNN, the older kind, finishes one patch before the next.",
}
FREEDOM = """<p><b>How freely each layer is written.</b> Temperature: below 1 keeps to likely codes. Top-k: only that
many of the likeliest codes, 0 for all. Top-p: only the likeliest that make up this share. Min-p: only codes at least
this share as likely as the likeliest. An empty field takes the model's own value.</p>"""


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; without a model it only says why."""
    if not models.kinds:
        reasons = " ".join(f"{NAMES[kind]}: {html.escape(why)}." for kind, why in models.refusals.items())
        gr.HTML(f"<p>There is no model here that can write new pictures. {reasons}</p>", elem_id="refusal")
        return
    running = Running()
    with gr.Row(elem_id="easel"):
        with gr.Column(scale=2, min_width=300):
            favorites, kind, press, count, seed, new_seed, model, settings = build_inputs(models)
        easel = build_easel(welcome_text(models))
    connect(
        easel, models, handler(models, running), [kind, count, seed, model, *settings], press=press, count=count,
        seed=seed, name="sample", examples=favorites, pick=pick(running), picked=[kind],
    )  # fmt: skip
    easel.stop.click(stopper(running), None, None, api_name="stop", queue=False, show_progress="hidden")
    new_seed.click(any_seed, None, seed, api_name="new_seed", queue=False, show_progress="hidden")
    model.change(follow(models), [model, *settings], settings, **QUIET)


def build_inputs(models: Models) -> tuple:
    """(buttons of kinds, kind, button, count, seed, its button, model, settings)."""
    kinds = models.sampler(models.kinds[0]).classes
    gr.HTML('<h2 class="label">Press a kind of flower</h2>')
    with gr.Row(elem_id="favorites"):
        names = [*(name for name in FAVORITES if name in kinds), ANY]
        favorites = [gr.Button(name, size="sm") for name in (names if len(names) > 1 else [*kinds[:7], ANY])]
    kind = choose_kind(kinds, label=f"Or choose one of {len(kinds)}", elem_id="kind")
    press = gr.Button("Draw new pictures", variant="primary", elem_id="draw")
    count, seed, new_seed = choose_count()
    about = " ".join(ABOUT[kind] for kind in models.kinds)
    about += "".join(f" {NAMES[kind]} is not here: {why}." for kind, why in models.refusals.items())
    model = gr.Radio(
        [(NAMES[kind], kind) for kind in models.kinds], value=models.kinds[0], label="Model", info=about,
        elem_id="model",
    )  # fmt: skip
    with gr.Accordion("More", open=False, elem_id="freedom"):
        settings = build_settings(models)
    return favorites, kind, press, count, seed, new_seed, model, settings


def build_settings(models: Models) -> list[gr.Number | gr.Slider]:
    """Four numbers a level, coarse to fine, and the guidance, as the model likes them."""
    sampler = models.sampler(models.kinds[0])
    gr.HTML(FREEDOM, elem_classes="about")
    fields = []
    for level, liked in zip(sampler.prior.levels, sampler.defaults.levels, strict=True):
        gr.HTML(f"<h3>{level.name}</h3>")
        with gr.Row(elem_classes="level"):
            fields += [
                gr.Number(liked.temperature, label="temperature", step=0.05, min_width=60),
                gr.Number(liked.top_k, label="top-k", precision=0, min_width=60),
                gr.Number(liked.top_p, label="top-p", step=0.01, min_width=60),
                gr.Number(liked.min_p, label="min-p", step=0.01, min_width=60),
            ]
    guidance = gr.Number(
        sampler.defaults.guidance, label="Guidance", step=0.1,
        info="How much the kind counts: 1 as learned; more is more typical and less varied; 0 ignores it.",
    )  # fmt: skip
    best_of = gr.Number(
        sampler.defaults.candidates, label="Best of", precision=0, minimum=1, maximum=MAX_CANDIDATES,
        info="Color maps drawn for each picture, of which a small network keeps the one most like a photo's; 1 turns "
        "that off.",
    )  # fmt: skip
    return [*fields, guidance, best_of]


def welcome_text(models: Models) -> str:
    """How a picture is written, beside the layers of a photo."""
    sampler = models.sampler(models.kinds[0])
    h, w = sampler.prior.grid
    steps = [(name, text.format(f"{h} × {w}")) for name, text in STEPS]
    note = '<p class="note">Shown on a photo; new pictures grow in the same order.</p>'
    return explain(models.cst("int8"), fit_within(load_image(PHOTO), sampler.size[0]), steps) + note


def handler(models: Models, running: Running) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def sample(
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
        best_of: int | None,
        request: gr.Request,
    ) -> Iterator[tuple]:
        """Draw new pictures of a kind of flower with a model that writes color, shape and texture codes.

        kind: a name in any case, or "Any kind". count: pictures, 1 to 8. seed: 0 to 2147483647; the same seed and
        settings give the same pictures. model: "gpt" or "pixelcnn". For each of color, shape and texture: temperature,
        above 0 to 10; top_k, 0 for all codes; top_p, above 0 to 1; min_p, 0 to below 1. guidance: how much the kind
        counts, 0 to 10. best_of: color maps drawn for each picture, of which the best is kept, 1 to 16; 1 turns that
        off. None takes the model's own value. Returns the grid as HTML; the pictures, PNG; one sheet of
        them, PNG; a .zip of pictures, sheet and codes (.npz); the numbers; and their table. Before it is done it sends
        the grid as it grows, with the others empty; `/stop` ends it early, and what there is comes back.
        """
        given = (
            (color_temperature, color_top_k, color_top_p, color_min_p),
            (shape_temperature, shape_top_k, shape_top_p, shape_min_p),
            (texture_temperature, texture_top_k, texture_top_p, texture_min_p),
        )

        def ask() -> tuple[Sampler, Wish]:
            sampler = models.sampler(model)
            settings = complete(sampler.defaults, given, guidance, best_of)
            return sampler, Wish(kind or ANY, whole(count, "count"), whole(seed, "seed"), settings)

        yield from show(running, request.session_hash, ask)

    return sample


def follow(models: Models) -> Callable[..., tuple]:
    """What the settings become when another model is chosen."""

    def followed(model: str, *values: float | None) -> tuple:
        liked = {kind: models.sampler(kind).defaults for kind in models.kinds}
        return followed_by(liked, model, values)

    return followed


def pick(running: Running) -> Callable[..., str]:
    """A press on a kind: it becomes the choice, and what the visitor's last press began is ended."""

    def picked(event: gr.EventData, request: gr.Request) -> str:
        running.stop(request.session_hash)
        return event.target.value

    return picked
