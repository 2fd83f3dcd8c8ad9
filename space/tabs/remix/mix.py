"""Remix, Mix: the color, shape and texture codes of two photos, each level from either."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from cst import Tokens
from space.models import MODEL_QUEUE, Models
from space.uploads import read_photo
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES, photo_picker
from space.widgets.picture import cell

LONGEST = 512  # of a mix, pixels
PHOTOS = ("blossom", "cat")  # to begin with
AROUND = ("A", "B", "B")
ABOUT = """<p>Both photos become codes, every level of the mix is taken from one of them, and the network paints the
result. No model writes anything here. Photo B is cut and resized to cover photo A.</p>"""


def build(models: Models, tab: gr.Tab) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    names = [level.name for level in models.cst("int8").tokenizer.levels]
    with gr.Row():
        with gr.Column(scale=2, min_width=300, elem_classes="pair"):
            a = photo_picker("mix-a", title="Photo A", height=160)
            b = photo_picker("mix-b", title="Photo B", height=160)
        with gr.Column(scale=3, min_width=300, elem_id="mix-result", elem_classes="result"):
            gr.HTML(ABOUT, elem_classes="welcome")
            with gr.Row(elem_classes="levels"):
                sources = [
                    gr.Radio(["A", "B"], value=value, label=name.capitalize(), min_width=90, elem_classes="choice")
                    for name, value in zip(names, AROUND, strict=True)
                ]
            mixed = cell("mix", "painted from the chosen codes")
            with gr.Row(elem_classes="under"):
                codes = gr.DownloadButton("Download its codes (.npz)", size="sm")
            with gr.Row(elem_classes="ladder pair"):
                pictures = [cell("A", "as cut"), cell("B", "as cut")]
    gr.on(
        [a.change, b.change, *(source.change for source in sources)],
        handler(models), [a, b, *sources], [mixed, *pictures, codes], api_name="mix", trigger_mode="always_last",
        show_progress_on=mixed, **MODEL_QUEUE,
    )  # fmt: skip
    first = [str(EXAMPLES / EXAMPLE_PHOTOS[name]) for name in PHOTOS]
    tab.select(
        lambda *chosen: [old or new for old, new in zip(chosen, first, strict=True)], [a, b], [a, b],
        api_visibility="private", queue=False, show_progress="hidden",
    )  # fmt: skip


def mix_tokens(a: Tokens, b: Tokens, sources: Sequence[str]) -> Tokens:
    """Each level from "A" or "B". Raises ValueError for another name, or photos whose tokens don't match."""
    if set(sources) - {"A", "B"}:
        raise ValueError(f"levels from {', '.join(sources)}; accepted: A or B, for each level")
    if (a.codes.shape, a.fingerprint) != (b.codes.shape, b.fingerprint):
        raise ValueError(f"tokens of {a.codes.shape} and {b.codes.shape}; accepted: two of one size and tokenizer")
    codes = np.stack([{"A": a, "B": b}[source].codes[level] for level, source in enumerate(sources)])
    return Tokens(codes, a.size, a.fingerprint)


def handler(models: Models) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def encoded(path: str, size: tuple[int, int] | None) -> tuple[Image.Image, Tokens]:
        """A photo at most `LONGEST` pixels a side, or cut to cover `size`."""
        photo = read_photo(path, LONGEST if size is None else 4 * LONGEST)
        if size is not None:
            photo = ImageOps.fit(photo, size, Image.Resampling.LANCZOS)
        return photo, models.cst("int8").encode(photo)

    def mix(
        a: str | None, b: str | None, color: Literal["A", "B"], shape: Literal["A", "B"], texture: Literal["A", "B"]
    ) -> Iterator[tuple]:
        """Mix the codes of two photos, each level from one of them, and paint the result.

        a, b: any picture files; A is shrunk to at most 512 pixels a side, and B cut and resized to cover it. color,
        shape, texture: the photo that the level is taken from. Returns the mix, photo A and photo B as they were cut,
        all PNG, and the codes of the mix (.npz). Without both photos all are empty.
        """
        if a is None or b is None:
            yield None, None, None, None
            return
        try:
            photo, tokens = encoded(a, None)
            other, others = encoded(b, photo.size)
            mixed = mix_tokens(tokens, others, (color, shape, texture))
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies what is yielded before it asks for more
            mixed.save(Path(folder) / "codes.npz")
            yield models.cst("int8").decode(mixed), photo, other, str(Path(folder) / "codes.npz")

    return mix
