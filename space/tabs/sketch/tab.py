"""The Sketch tab: a visitor paints rough colors, and the model draws shapes and textures."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import gradio as gr
from PIL import Image

from space.events import MODEL_QUEUE, QUIET, Update, clicked_value, errors_as_messages
from space.generation.conditioning import color_picture, of_sketch
from space.generation.panel import Panel, RunningVisits, choose_count, choose_kind, level_sources
from space.generation.request import ANY, GenerationRequest
from space.models import NO_PRIOR, Models
from space.uploads import read_photo
from space.widgets.canvas import build_canvas, canvas_value
from space.widgets.painting import CANVAS_SIZE, Painting, flatten, read_cells
from space.widgets.photo_picker import EXAMPLES, file_in_snippet, uploaded_file

SKETCHES = {  # name: (file, kind of flower)
    "sunflower": ("sunflower.png", "Sunflower"),
    "rose": ("rose.png", "Rose"),
    "daisy": ("daisy.png", "Oxeye Daisy"),
    "poppy": ("poppy.png", "Californian Poppy"),
    "iris": ("iris.png", "Bearded Iris"),
    "water lily": ("water-lily.png", "Water Lily"),
}
PALETTE = {
    "yellow": "#f2c431",
    "orange": "#ef7a1f",
    "red": "#d23a2c",
    "pink": "#e58aa5",
    "purple": "#7a4fc0",
    "sky": "#5b8fd0",
    "white": "#f4f2ee",
    "leaf": "#6f9a45",
    "shade": "#24481f",
    "earth": "#5a3315",
}
BRUSH_RADIUS = 26  # pixels of the canvas: a little more than a patch
GUIDANCE = 1.5  # above, a kind of flower overrules the painting
INTRODUCTION = """<p>Paint rough shapes in a few colors. They become 16 × 16 color codes, and GPT draws the finer
colors, shapes and textures that go with them in photos of flowers.</p>
<p>Loosely, it may also choose other colors near yours, and every picture comes out a little different. Exactly, it
keeps the code nearest to each color you painted. Where nothing is painted (the checkered canvas) it chooses colors
freely; it draws from the top left to the bottom right, so these colors depend on what is painted above and to the
left.</p>"""


def build(models: Models, running: RunningVisits) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; without GPT it only explains why."""
    if "gpt" not in models.kinds:
        gr.HTML(f"<p>{NO_PRIOR}</p>")
        return
    kinds = models.sampler("gpt").classes
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.HTML('<h2 class="label">Choose a sketch</h2>')
            with gr.Row(elem_classes="examples"):
                examples = [
                    gr.Button(name, icon=EXAMPLES / "sketches" / file, elem_classes="example")
                    for name, (file, _) in SKETCHES.items()
                ]
            gr.HTML('<h2 class="label">Or paint your own</h2>')
            canvas = build_canvas(
                "sketch-canvas", brush=gr.Brush(default_size=BRUSH_RADIUS, colors=list(PALETTE.values()))
            )
            gr.HTML('<h2 class="label">Fill what is empty with one color</h2>')
            with gr.Row(elem_id="fill"):
                fills = {color: gr.Button(name, size="sm", elem_id=f"fill-{name}") for name, color in PALETTE.items()}
            gr.HTML(f"<style>{''.join(f'#fill-{n} {{ background: {c}; }}' for n, c in PALETTE.items())}</style>")
            button = gr.Button("Draw from the sketch", variant="primary")
            kind = choose_kind(kinds, elem_id="sketch-kind")
            closely = gr.Radio(
                ["loosely", "exactly"], value="loosely", label="How close to your colors", elem_classes="choice"
            )
            count, seed, keep_seed = choose_count(prefix="sketch-")
            colors = gr.UploadButton("Start from the colors of a photo", size="sm", elem_id="colors-of")
            colors.preprocess = uploaded_file  # type: ignore[method-assign]
            colors.example_payload = partial(file_in_snippet, "photo.jpg")  # type: ignore[method-assign]
        panel = Panel(running, level_sources("yours", "GPT", "GPT") + INTRODUCTION, prefix="sketch-")

    def choose_sketch(event: gr.EventData, visitor: gr.Request) -> Update:
        """Put the clicked sketch on the canvas, choose its kind, and end what this visitor's last click began."""
        running.stop(visitor)
        file, flower = SKETCHES[clicked_value(event)]
        return {canvas: canvas_value(layer=str(EXAMPLES / "sketches" / file)), kind: flower if flower in kinds else ANY}

    def colors_of_photo(photo: str) -> dict[str, Any]:
        """Put the colors of a photo on the canvas, to be painted over.

        photo: any picture file; its middle square is used. Returns the canvas: its layer has a square of one color per
        patch.
        """
        with errors_as_messages():
            sampler = models.sampler("gpt")
            codes = sampler.encode(read_photo(photo, CANVAS_SIZE))[0]
        picture = color_picture(sampler.tokenizer.codebooks, codes).resize((CANVAS_SIZE, CANVAS_SIZE))
        return canvas_value(layer=picture)

    def sketch(
        canvas: Painting, kind: str, closely: Literal["loosely", "exactly"], count: int, seed: int, visitor: gr.Request
    ) -> Iterator[Update]:
        """Draw new pictures with the colors of a sketch; the model draws shapes and textures.

        canvas: square picture files, transparent where nothing is painted: the composite, or the background and the
        layers over it. kind: a kind of flower in any case, or "Any kind". closely: "loosely" also takes colors near the
        painted ones, "exactly" the nearest codes. Where nothing is painted the model chooses freely. count: pictures,
        1 to 8. seed: 0 to 2147483647. Returns what `/sample` returns; `/stop` ends it early.
        """
        with errors_as_messages():
            sampler = models.sampler("gpt")
            cells = read_cells(canvas.stack, sampler.prior.sketch_grid)
            request = GenerationRequest.from_fields(
                kind, count, seed, replace(sampler.defaults, guidance=GUIDANCE), verb="drawn from a sketch",
                conditioning=of_sketch(sampler, cells, closely),
            )  # fmt: skip
            yield from panel.generate(sampler, request, visitor)

    panel.connect(
        sketch, [canvas, kind, closely, count, seed], button=button, seed=seed, keep_seed=keep_seed,
        api_name="sketch", examples=examples, choose=choose_sketch, chosen=[canvas, kind],
    )  # fmt: skip
    canvas.clear(canvas_value, None, canvas, **QUIET)
    for color, fill in fills.items():
        fill.click(partial(fill_empty, color=color), canvas, canvas, **QUIET)
    colors.upload(colors_of_photo, colors, canvas, api_name="colors_of_photo", **MODEL_QUEUE)


def fill_empty(canvas: Painting, *, color: str) -> dict[str, Any]:
    """The canvas with one color wherever nothing is painted."""
    with errors_as_messages():
        painted = flatten(canvas.stack)
    filled = Image.new("RGBA", painted.size, color)
    filled.alpha_composite(painted)
    return canvas_value(layer=filled)
