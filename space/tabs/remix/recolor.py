"""Remix, Recolor: keep a photo's shapes and textures, and draw its colors."""

from collections.abc import Iterator
from dataclasses import replace

import gradio as gr

from space.events import Update, errors_as_messages
from space.generation.conditioning import for_colors
from space.generation.panel import Panel, RunningVisits, choose_count, choose_kind, level_sources
from space.generation.request import GenerationRequest
from space.models import Models
from space.uploads import read_photo
from space.widgets.photo_picker import FLOWER_PHOTOS, photo_picker

MAX_PHOTO_SIZE = 2048  # pixels per side, before its middle square is shrunk to a small one
GUIDANCE = 1.5  # above, the leaves too take the color of the flower
INTRODUCTION = """<p>Your photo keeps its shape and texture codes, and GPT draws new colors with the same lightness: it
chooses the hues. Choose a kind of flower to recolor the photo as if it were one.</p>
<p>GPT sees the shapes of your photo only at half its size, so a new color may cross an edge. Some of the pictures turn
out better than others.</p>"""


def build(models: Models, running: RunningVisits) -> gr.Image:
    """Lay out the tab inside the current `gr.Blocks` and connect it -> its photo."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("recolor-photo", height=220, photos=FLOWER_PHOTOS)
            kind = choose_kind(models.sampler("gpt").classes, label="As if it were", elem_id="recolor-kind")
            far = gr.Slider(
                0, 1, 0.5, step=0.05, label="How far", info="From its own colors: 0 stays near them, 1 is free.",
            )  # fmt: skip
            button = gr.Button("Draw new colors", variant="primary")
            count, seed, keep_seed = choose_count(prefix="recolor-")
        panel = Panel(running, level_sources("GPT", "yours", "yours") + INTRODUCTION, prefix="recolor-")

    def recolor(
        photo: str | None, kind: str, far: float, count: int, seed: int, visitor: gr.Request
    ) -> Iterator[Update]:
        """Draw new colors for a photo, keeping its shape and texture codes and roughly its lightness.

        photo: any picture file; its middle square is used, 256 pixels a side. kind: a kind of flower in any case, or
        "Any kind". far: 0 stays near the photo's own colors, 1 leaves hue and chroma free. count: pictures, 1 to 8.
        seed: 0 to 2147483647. Returns what `/sample` returns; `/stop` ends it early.
        """
        with errors_as_messages():
            sampler = models.sampler("gpt")
            request = GenerationRequest.from_fields(
                kind, count, seed, replace(sampler.defaults, guidance=GUIDANCE), verb="recolored",
                conditioning=for_colors(sampler, read_photo(photo, MAX_PHOTO_SIZE), far),
            )  # fmt: skip
            yield from panel.generate(sampler, request, visitor)

    panel.connect(
        recolor, [photo, kind, far, count, seed], button=button, seed=seed, keep_seed=keep_seed,
        api_name="recolor",
    )  # fmt: skip
    return photo
