"""Remix, Retexture: keep a photo's colors, and draw its shapes and textures."""

from collections.abc import Iterator
from typing import Literal

import gradio as gr

from space.events import Update, errors_as_messages
from space.generation.conditioning import for_textures
from space.generation.panel import Panel, RunningVisits, choose_count, choose_kind, level_sources
from space.generation.request import GenerationRequest
from space.models import Models
from space.tabs.remix.recolor import MAX_PHOTO_SIZE
from space.uploads import read_photo
from space.widgets.photo_picker import photo_picker

INTRODUCTION = """<p>Your photo keeps its color codes, and GPT draws what goes with them: only new textures, which
changes little, or also new shapes, which gives another flower of the same colors.</p>"""


def build(models: Models, running: RunningVisits) -> Panel:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("retexture-photo", height=220)
            anew = gr.Radio(
                ["shapes and textures", "textures"], value="shapes and textures", label="Redraw",
                elem_classes="choice",
            )  # fmt: skip
            kind = choose_kind(models.sampler("gpt").classes, elem_id="retexture-kind")
            button = gr.Button("Redraw the photo", variant="primary")
            count, seed = choose_count(prefix="retexture-")
        sources = level_sources("yours", "yours or GPT", "GPT")
        panel = Panel(models, running, sources + INTRODUCTION, prefix="retexture-")

    def retexture(
        photo: str | None,
        anew: Literal["shapes and textures", "textures"],
        kind: str,
        count: int,
        seed: int,
        visitor: gr.Request,
    ) -> Iterator[Update]:
        """Draw new textures, or new shapes and textures, for a photo, keeping its other codes.

        photo: any picture file; its middle square is used, 256 pixels a side. anew: what is redrawn, "shapes and
        textures" or "textures". kind: a kind of flower in any case, or "Any kind". count: pictures, 1 to 8. seed: 0 to
        2147483647. Returns what `/sample` returns; `/stop_remix` ends it early.
        """
        with errors_as_messages():
            sampler = models.sampler("gpt")
            request = GenerationRequest.from_fields(
                kind, count, seed, sampler.defaults, verb="retextured",
                conditioning=for_textures(sampler, read_photo(photo, MAX_PHOTO_SIZE), anew),
            )  # fmt: skip
            yield from panel.generate(sampler, request, visitor)

    panel.connect(
        retexture, [photo, anew, kind, count, seed], button=button, count=count, seed=seed, api_name="retexture"
    )
    return panel
