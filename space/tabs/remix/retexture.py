"""Remix, Retexture: a photo's colors, in shapes and textures by the model."""

from collections.abc import Callable, Iterator
from typing import Literal

import gradio as gr

from prior.sampler import Sampler
from space.generation.conditioning import for_textures
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
from space.tabs.remix.recolor import LONGEST
from space.uploads import read_photo
from space.widgets.photo_picker import photo_picker

WELCOME = """<p>The color codes of your photo are kept, and GPT draws what goes with them: new textures alone, which
changes little, or new shapes too, which gives another flower of the same colors.</p>"""


def build(models: Models, running: Running) -> Easel:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_picker("retexture-photo", height=220)
            anew = gr.Radio(
                ["shapes and textures", "textures"], value="shapes and textures", label="Draw anew",
                elem_classes="choice",
            )  # fmt: skip
            kind = choose_kind(models.sampler("gpt").classes, elem_id="retexture-kind")
            press = gr.Button("Draw anew", variant="primary")
            count, seed, new_seed = choose_count(prefix="retexture-")
        easel = build_easel(who("yours", "yours or GPT", "GPT") + WELCOME, prefix="retexture-")
    connect(
        easel, models, handler(models, running), [photo, anew, kind, count, seed], press=press, count=count, seed=seed,
        name="retexture",
    )  # fmt: skip
    new_seed.click(any_seed, None, seed, **QUIET)
    return easel


def handler(models: Models, running: Running) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def retexture(
        photo: str | None,
        anew: Literal["shapes and textures", "textures"],
        kind: str,
        count: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple]:
        """Draw new textures, or new shapes and textures, for a photo whose other codes are kept.

        photo: any picture file, of which the middle square is taken, 256 pixels a side. anew: what is drawn, "shapes
        and textures" or "textures". kind: a kind of flower in any case, or "Any kind". count: pictures, 1 to 8. seed: 0
        to 2147483647. Returns what `/sample` returns; `/stop_remix` ends it early.
        """

        def ask() -> tuple[Sampler, Wish]:
            if photo is None:
                raise ValueError("there is no photo; press one, or bring your own")
            sampler = models.sampler("gpt")
            given = for_textures(sampler, read_photo(photo, LONGEST), anew)
            return sampler, Wish(
                kind or ANY, whole(count, "count"), whole(seed, "seed"), sampler.defaults, how="retextured", given=given
            )

        yield from show(running, request.session_hash, ask)

    return retexture
