"""Remix, Recolor: a photo's shapes and textures, in colors by the model."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr

from prior.sampler import Sampler
from space.generation.conditioning import for_colors
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
from space.uploads import read_photo
from space.widgets.photo_picker import photo_picker

LONGEST = 2048  # of a photo that is read, pixels: its middle square is shrunk to a small one
GUIDANCE = 1.5  # above, the leaves too take the color of the flower
WELCOME = """<p>The shape and texture codes of your photo are kept, and GPT draws new colors as light as the old ones:
it chooses the hues. Choose a kind of flower to recolor the photo as if it were one.</p>
<p>GPT writes colors without looking at shapes, so that a new color may cross an edge; several pictures are drawn, of
which some are better than others.</p>"""


def build(models: Models, running: Running) -> Easel:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("recolor-photo", height=220)
            kind = choose_kind(models.sampler("gpt").classes, label="As if it were", elem_id="recolor-kind")
            far = gr.Slider(
                0, 1, 0.5, step=0.05, label="How far", info="From its own colors: 0 keeps near them, 1 is free.",
            )  # fmt: skip
            press = gr.Button("Draw new colors", variant="primary")
            count, seed, new_seed = choose_count(prefix="recolor-")
        easel = build_easel(who("GPT", "yours", "yours") + WELCOME, prefix="recolor-")
    connect(
        easel, models, handler(models, running), [photo, kind, far, count, seed], press=press, count=count, seed=seed,
        name="recolor",
    )  # fmt: skip
    new_seed.click(any_seed, None, seed, **QUIET)
    return easel


def handler(models: Models, running: Running) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def recolor(
        photo: str | None, kind: str, far: float, count: int, seed: int, request: gr.Request
    ) -> Iterator[tuple]:
        """Draw new colors for a photo whose shape and texture codes are kept, and whose lightness is nearly so.

        photo: any picture file, of which the middle square is taken, 256 pixels a side. kind: a kind of flower in any
        case, or "Any kind". far: 0 keeps near the photo's own colors, 1 leaves hue and chroma free. count: pictures,
        1 to 8. seed: 0 to 2147483647. Returns what `/sample` returns; `/stop_remix` ends it early.
        """

        def ask() -> tuple[Sampler, Wish]:
            if photo is None:
                raise ValueError("there is no photo; press one, or bring your own")
            sampler = models.sampler("gpt")
            given = for_colors(sampler, read_photo(photo, LONGEST), far)
            return sampler, Wish(
                kind or ANY, whole(count, "count"), whole(seed, "seed"), replace(sampler.defaults, guidance=GUIDANCE),
                how="recolored", given=given,
            )  # fmt: skip

        yield from show(running, request.session_hash, ask)

    return recolor
