"""Remix, Complete: a part of a photo is taken away, and the model draws it anew."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import gradio as gr

from cst.images import middle
from prior.sampler import Sampler
from space.generation.conditioning import AREAS, area, with_hole
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
from space.models import Models
from space.tabs.remix.sketch import EMPTY
from space.uploads import read_photo
from space.widgets.canvas import build_canvas
from space.widgets.painting import SIDE, Painting, read_cells
from space.widgets.photo_picker import photo_picker

BRUSHED = "what I brush"
BRUSH = gr.Brush(default_size=40, colors=["#14b8a6"], color_mode="fixed")
GUIDANCE = 1.0  # above, what is drawn anew grows more vivid than the photo around it
WELCOME = """<p>Choose a photo and a part of it, or brush over something. GPT writes new codes for the patches there,
in all three levels, and keeps every other code as it is.</p>
<p>Colors are written from left to right and from top to bottom: a new patch sees the kept colors above it and to its
left, not those to its right or below. Shapes and textures see all colors. So replacing the bottom half works best,
and the top half starts as if there were no photo.</p>
<p>The whole picture is painted from its codes, so the kept part looks as it does on the Reconstruct tab.</p>"""


def build(models: Models, running: Running) -> Easel:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("complete-photo", height=180)
            with gr.Column(visible=False) as after:
                gr.HTML('<h2 class="label">Brush over what to draw anew, or choose a part</h2>')
                canvas = build_canvas("complete-canvas", brush=BRUSH, background=str(EMPTY))
                part = gr.Radio([BRUSHED, *AREAS], value="bottom half", label="Draw anew", elem_classes="choice")
            kind = choose_kind(models.sampler("gpt").classes, elem_id="complete-kind")
            press = gr.Button("Complete the photo", variant="primary")
            count, seed, new_seed = choose_count(prefix="complete-")
        easel = build_easel(who("GPT in the gap", "GPT in the gap", "GPT in the gap") + WELCOME, prefix="complete-")
    connect(
        easel, models, handler(models, running), [photo, canvas, part, kind, count, seed], press=press, count=count,
        seed=seed, name="complete",
    )  # fmt: skip
    new_seed.click(any_seed, None, seed, **QUIET)
    photo.change(square, photo, [canvas, after, part], **QUIET)
    canvas.input(follow, [canvas, part], part, **QUIET)
    return easel


def square(photo: str | None) -> tuple[dict[str, Any], gr.Column, str]:
    """A chosen photo -> its middle square on the canvas, which is seen, and a part to begin with."""
    try:
        below = str(EMPTY) if photo is None else middle(read_photo(photo, 4 * SIDE), SIDE)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None
    value = {"background": below, "layers": [], "composite": None}
    return value, gr.Column(visible=photo is not None), "bottom half"


def follow(canvas: Painting, part: str) -> str:
    """What is drawn anew once something is brushed: that; the canvas also tells when a photo is laid on it."""
    return BRUSHED if read_cells(canvas.layers, (SIDE // 8, SIDE // 8)).painted.any() else part


def handler(models: Models, running: Running) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def complete(
        photo: str | None,
        canvas: Painting,
        part: Literal["what I brush", "top half", "bottom half", "left half", "right half", "middle"],
        kind: str,
        count: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple]:
        """Draw a part of a photo anew in all three levels, and keep the codes of the rest.

        photo: any picture file, of which the middle square is taken, 256 pixels a side. canvas: where part is
        "what I brush", its layers are square picture files, clear where the photo is kept; else it may be empty. part:
        which patches are drawn anew. kind: a kind of flower in any case, or "Any kind". count: pictures, 1 to 8. seed:
        0 to 2147483647. Returns what `/sample` returns; `/stop_remix` ends it early.
        """

        def ask() -> tuple[Sampler, Wish]:
            if photo is None:
                raise ValueError("there is no photo; press one, or bring your own")
            sampler = models.sampler("gpt")
            grid = sampler.prior.grid
            picture = read_photo(photo, 4 * SIDE)
            hole = read_cells(canvas.layers, grid).painted if part == BRUSHED else area(part, grid)
            return sampler, Wish(
                kind or ANY, whole(count, "count"), whole(seed, "seed"), replace(sampler.defaults, guidance=GUIDANCE),
                how="completed", given=with_hole(sampler, picture, hole),
            )  # fmt: skip

        yield from show(running, request.session_hash, ask)

    return complete
