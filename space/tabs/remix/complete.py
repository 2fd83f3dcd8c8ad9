"""Remix, Complete: remove a part of a photo, and let the model redraw it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import gradio as gr

from cst.images import center_crop
from space.events import QUIET, Update, errors_as_messages
from space.generation.conditioning import AREAS, area, with_hole
from space.generation.panel import Panel, RunningVisits, choose_count, choose_kind, level_sources
from space.generation.request import GenerationRequest
from space.models import Models
from space.uploads import read_photo
from space.widgets.canvas import build_canvas, canvas_value
from space.widgets.painting import CANVAS_SIZE, Painting, read_cells
from space.widgets.photo_picker import FLOWER_PHOTOS, photo_picker

BRUSHED = "what I brush"
MAX_PHOTO_SIZE = 4 * CANVAS_SIZE
BRUSH = gr.Brush(default_size=40, colors=["#14b8a6"], color_mode="fixed")
GUIDANCE = 1.0  # above, the redrawn part grows more vivid than the photo around it
INTRODUCTION = """<p>Choose a photo and a part of it, or brush over something. GPT draws new codes for the patches
there, in all three levels, and keeps every other code as it is.</p>
<p>Codes are drawn from left to right and from top to bottom: a new patch depends most on the kept patches above it and
to its left. So replacing the bottom half works best, and the top half starts as if there were no photo.</p>
<p>The whole picture is rendered from its codes, so the kept part looks as it does on the Reconstruct tab.</p>"""


def build(models: Models, running: RunningVisits) -> gr.Image:
    """Lay out the tab inside the current `gr.Blocks` and connect it -> its photo."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("complete-photo", height=180, photos=FLOWER_PHOTOS)
            with gr.Column(visible=False) as editor:
                gr.HTML('<h2 class="label">Brush over what to redraw, or choose a part</h2>')
                canvas = build_canvas("complete-canvas", brush=BRUSH)
                part = gr.Radio([BRUSHED, *AREAS], value="bottom half", label="Redraw", elem_classes="choice")
            kind = choose_kind(models.sampler("gpt").classes, elem_id="complete-kind")
            button = gr.Button("Complete the photo", variant="primary")
            count, seed, keep_seed = choose_count(prefix="complete-")
        gap = "GPT in the gap"
        panel = Panel(running, level_sources(gap, gap, gap) + INTRODUCTION, prefix="complete-")

    def put_on_canvas(photo: str | None) -> Update:
        """Show the middle square of a chosen photo on the canvas, and choose a part to begin with."""
        with errors_as_messages():
            square = None if photo is None else center_crop(read_photo(photo, MAX_PHOTO_SIZE, quiet=True), CANVAS_SIZE)
        return {
            canvas: canvas_value(background=square),
            editor: gr.update(visible=photo is not None),
            part: "bottom half",
        }

    def complete(
        photo: str | None,
        canvas: Painting,
        part: Literal["what I brush", "top half", "bottom half", "left half", "right half", "middle"],
        kind: str,
        count: int,
        seed: int,
        visitor: gr.Request,
    ) -> Iterator[Update]:
        """Redraw a part of a photo in all three levels, keeping the codes of the rest.

        photo: any picture file; its middle square is used, 256 pixels a side. canvas: if part is "what I brush", its
        layers are square picture files, transparent where the photo is kept; otherwise it may be empty. part: the
        patches to redraw. kind: a kind of flower in any case, or "Any kind". count: pictures, 1 to 8. seed: 0 to
        2147483647. Returns what `/sample` returns; `/stop` ends it early.
        """
        with errors_as_messages():
            sampler = models.sampler("gpt")
            grid, picture = sampler.prior.grid, read_photo(photo, MAX_PHOTO_SIZE)
            hole = read_cells(canvas.layers, grid).painted if part == BRUSHED else area(part, grid)
            request = GenerationRequest.from_fields(
                kind, count, seed, replace(sampler.defaults, guidance=GUIDANCE), verb="completed",
                conditioning=with_hole(sampler, picture, hole),
            )  # fmt: skip
            yield from panel.generate(sampler, request, visitor)

    panel.connect(
        complete, [photo, canvas, part, kind, count, seed], button=button, seed=seed,
        keep_seed=keep_seed, api_name="complete",
    )  # fmt: skip
    photo.change(put_on_canvas, photo, [canvas, editor, part], **QUIET)
    canvas.input(choose_brushed, [canvas, part], part, **QUIET)
    return photo


def choose_brushed(canvas: Painting, part: str) -> str:
    """Switch to "what I brush" after the first stroke. (`input` also fires when the background changes.)"""
    return BRUSHED if read_cells(canvas.layers, (CANVAS_SIZE // 8, CANVAS_SIZE // 8)).painted.any() else part
