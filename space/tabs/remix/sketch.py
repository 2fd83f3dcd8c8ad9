"""Remix, Sketch: rough colors by a visitor, shapes and textures by the model."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import gradio as gr

from prior.sampler import Sampler
from space.generation.conditioning import flat, of_sketch
from space.generation.panel import (
    QUIET,
    Easel,
    Running,
    any_seed,
    build_easel,
    choose_count,
    choose_kind,
    connect,
    show,
    who,
)
from space.generation.request import ANY, Wish, whole
from space.models import MODEL_QUEUE, Models
from space.uploads import read_photo
from space.widgets.canvas import build_canvas
from space.widgets.painting import SIDE, Painting, read_cells
from space.widgets.photo_picker import EXAMPLES, uploaded_file

SKETCHES = {  # name: (file, kind of flower)
    "sunflower": ("sunflower.png", "Sunflower"),
    "rose": ("rose.png", "Rose"),
    "daisy": ("daisy.png", "Oxeye Daisy"),
    "poppy": ("poppy.png", "Californian Poppy"),
    "iris": ("iris.png", "Bearded Iris"),
    "water lily": ("water-lily.png", "Water Lily"),
}
EMPTY = EXAMPLES / "sketches" / "empty.png"  # a clear canvas
PALETTE = [
    "#f2c431",  # yellow
    "#ef7a1f",  # orange
    "#d23a2c",  # red
    "#e58aa5",  # pink
    "#7a4fc0",  # purple
    "#5b8fd0",  # sky
    "#f4f2ee",  # white
    "#6f9a45",  # leaf
    "#24481f",  # shade
    "#5a3315",  # earth
]
BRUSH = 26  # radius, pixels of the canvas: a little more than a patch
GUIDANCE = 1.5  # above, a kind of flower overrules what is painted
WELCOME = """<p>Paint rough shapes in a few colors. They become 16 × 16 color codes, and GPT writes the shapes and
textures that it has seen with such colors in photos of flowers.</p>
<p>Loosely, it may also choose other colors near yours, and every picture comes out a little different. Exactly, it
keeps the nearest code of what you painted. Where nothing is painted (the checkered canvas) it chooses colors freely;
it writes from the top left to the bottom right, so there it sees what is painted above and to the left.</p>"""


def build(models: Models, running: Running) -> Easel:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    kinds = models.sampler("gpt").classes
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.HTML('<h2 class="label">Press a sketch</h2>')
            with gr.Row(elem_classes="examples"):
                examples = [
                    gr.Button(name, icon=EXAMPLES / "sketches" / file, elem_classes="example")
                    for name, (file, _) in SKETCHES.items()
                ]
            gr.HTML('<h2 class="label">Or paint your own</h2>')
            canvas = build_canvas(
                "sketch-canvas", brush=gr.Brush(default_size=BRUSH, colors=PALETTE), background=str(EMPTY)
            )
            colors = gr.UploadButton("Start from the colors of a photo", size="sm", elem_id="colors-of")
            colors.preprocess = uploaded_file
            kind = choose_kind(kinds, elem_id="sketch-kind")
            closely = gr.Radio(
                [("loosely", "loosely"), ("exactly", "exactly")], value="loosely", label="How closely to your colors",
                elem_classes="choice",
            )  # fmt: skip
            press = gr.Button("Draw from the sketch", variant="primary")
            count, seed, new_seed = choose_count(prefix="sketch-")
        easel = build_easel(who("yours", "GPT", "GPT") + WELCOME, prefix="sketch-")
    connect(
        easel, models, handler(models, running), [canvas, kind, closely, count, seed], press=press, count=count,
        seed=seed, name="sketch", examples=examples, pick=pick(kinds, running), picked=[canvas, kind],
    )  # fmt: skip
    new_seed.click(any_seed, None, seed, **QUIET)
    canvas.clear(lambda: painted(None), None, canvas, **QUIET)
    colors.upload(colors_of(models), colors, canvas, api_name="colors_of_photo", **MODEL_QUEUE)
    return easel


def painted(layer: Any) -> dict[str, Any]:
    """A value of the canvas: one layer of strokes, a picture or its file; None clears it."""
    return {"background": str(EMPTY), "layers": [] if layer is None else [layer], "composite": None}


def pick(kinds: tuple[str, ...], running: Running) -> Callable[..., tuple]:
    """A press on a sketch: it lies on the canvas, its kind is chosen, and what the last press began is ended."""

    def picked(event: gr.EventData, request: gr.Request) -> tuple:
        running.stop(request.session_hash)
        file, kind = SKETCHES[event.target.value]
        return painted(str(EXAMPLES / "sketches" / file)), kind if kind in kinds else ANY

    return picked


def colors_of(models: Models) -> Callable[[str], dict]:
    """The function behind the upload."""

    def colors_of_photo(photo: str) -> dict:
        """Put the colors of a photo on the canvas, to be painted over.

        photo: any picture file, of which the middle square is taken. Returns the canvas: its layer is a square of one
        color for every patch.
        """
        try:
            if photo is None:
                raise ValueError("there is no photo; give a picture file")
            sampler = models.sampler("gpt")
            codes = sampler.encode(read_photo(photo, SIDE))[0]
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return painted(flat(sampler.tokenizer.codebooks, codes).resize((SIDE, SIDE)))

    return colors_of_photo


def handler(models: Models, running: Running) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def sketch(
        canvas: Painting, kind: str, closely: Literal["loosely", "exactly"], count: int, seed: int, request: gr.Request
    ) -> Iterator[tuple]:
        """Draw new pictures whose colors are those of a sketch; the model writes shapes and textures.

        canvas: square picture files, clear where nothing is painted: the composite, or the background and the layers
        over it. kind: a kind of flower in any case, or "Any kind". closely: "loosely" also takes colors near the
        painted ones, "exactly" the nearest codes. Where nothing is painted the model chooses freely. count: pictures,
        1 to 8. seed: 0 to 2147483647. Returns what `/sample` returns; `/stop_remix` ends it early.
        """

        def ask() -> tuple[Sampler, Wish]:
            sampler = models.sampler("gpt")
            cells = read_cells(canvas.whole, sampler.prior.sketch_grid)
            settings = replace(sampler.defaults, guidance=GUIDANCE)
            return sampler, Wish(
                kind or ANY, whole(count, "count"), whole(seed, "seed"), settings,
                how="drawn from a sketch", given=of_sketch(sampler, cells, closely),
            )  # fmt: skip

        yield from show(running, request.session_hash, ask)

    return sketch
