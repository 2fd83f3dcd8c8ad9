"""Remix, Mix: the color, shape and texture codes of two photos, each level from either."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from cst import Tokens
from space.events import MODEL_QUEUE, QUIET, Update, errors_as_messages
from space.models import Models
from space.uploads import read_photo
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES, photo_picker
from space.widgets.picture import captioned_picture

MAX_MIX_SIZE = 512  # pixels per side
FIRST_PHOTOS = ("blossom", "cat")
FIRST_SOURCES = ("A", "B", "B")
INTRODUCTION = """<p>Both photos become codes, each level of the mix is taken from one of them, and the network renders
the result. No model draws anything here. Photo B is cropped and resized to cover photo A.</p>"""


def build(models: Models, tab: gr.Tab) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    cst = models.cst("int8")
    with gr.Row():
        with gr.Column(scale=2, min_width=300, elem_classes="pair"):
            photo_a = photo_picker("mix-a", title="Photo A", height=160)
            photo_b = photo_picker("mix-b", title="Photo B", height=160)
        with gr.Column(scale=3, min_width=300, elem_id="mix-result", elem_classes="result"):
            gr.HTML(INTRODUCTION, elem_classes="welcome")
            with gr.Row(elem_classes="levels"):
                sources = [
                    gr.Radio(["A", "B"], value=source, label=level.name.capitalize(), min_width=90,
                             elem_classes="choice")
                    for level, source in zip(cst.tokenizer.levels, FIRST_SOURCES, strict=True)
                ]  # fmt: skip
            mixed_picture = captioned_picture("mix", "rendered from the chosen codes")
            with gr.Row(elem_classes="under"):
                codes = gr.DownloadButton("Download its codes (.npz)", size="sm")
            with gr.Row(elem_classes="ladder pair"):
                cropped_a, cropped_b = captioned_picture("A", "as cropped"), captioned_picture("B", "as cropped")

    def mix(
        a: str | None, b: str | None, color: Literal["A", "B"], shape: Literal["A", "B"], texture: Literal["A", "B"]
    ) -> Iterator[Update]:
        """Mix the codes of two photos, each level from one of them, and render the result.

        a, b: any picture files; A is shrunk to at most 512 pixels a side, and B cropped and resized to cover it. color,
        shape, texture: the photo from which the level is taken. Returns the mix, photo A and photo B as they were
        cropped, all PNG, and the codes of the mix (.npz). Unless there are two photos, all are empty.
        """
        if a is None or b is None:
            yield {mixed_picture: None, cropped_a: None, cropped_b: None, codes: None}
            return
        with errors_as_messages(), tempfile.TemporaryDirectory() as folder:
            first = read_photo(a, MAX_MIX_SIZE)
            second = ImageOps.fit(read_photo(b, 4 * MAX_MIX_SIZE), first.size, Image.Resampling.LANCZOS)
            mixed = mix_tokens(cst.encode(first), cst.encode(second), (color, shape, texture))
            file = str(Path(folder) / "codes.npz")
            mixed.save(file)
            yield {mixed_picture: cst.decode(mixed), cropped_a: first, cropped_b: second, codes: file}

    def fill_in(a: str | None, b: str | None) -> Update:
        """Choose two example photos when the tab is opened for the first time."""
        example_a, example_b = (str(EXAMPLES / EXAMPLE_PHOTOS[name]) for name in FIRST_PHOTOS)
        return {photo_a: a or example_a, photo_b: b or example_b}

    gr.on(
        [photo_a.change, photo_b.change, *(source.change for source in sources)], mix, [photo_a, photo_b, *sources],
        [mixed_picture, cropped_a, cropped_b, codes], api_name="mix", trigger_mode="always_last",
        show_progress_on=mixed_picture, **MODEL_QUEUE,
    )  # fmt: skip
    tab.select(fill_in, [photo_a, photo_b], [photo_a, photo_b], **QUIET)


def mix_tokens(a: Tokens, b: Tokens, sources: Sequence[str]) -> Tokens:
    """Each level from "A" or "B". Raises ValueError for another name, or photos whose tokens don't match."""
    if set(sources) - {"A", "B"}:
        raise ValueError(f"levels from {', '.join(sources)}; accepted: A or B, for each level")
    if (a.codes.shape, a.fingerprint) != (b.codes.shape, b.fingerprint):
        raise ValueError(f"tokens of {a.codes.shape} and {b.codes.shape}; accepted: two of one size and tokenizer")
    codes = np.stack([{"A": a, "B": b}[source].codes[level] for level, source in enumerate(sources)])
    return Tokens(codes, a.size, a.fingerprint)
