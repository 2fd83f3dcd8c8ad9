"""The How it works tab: the three residuals of a photo, step by step, in plain words."""

from collections.abc import Callable
from html import escape

import gradio as gr
import numpy as np
from PIL import Image

from cst import CST
from cst.images import to_image
from cst.tokenizer.protocol import bits_per_patch
from space.models import MODEL_QUEUE, Models
from space.tabs.how_it_works.residuals import GAIN, Residuals, take_apart
from space.uploads import read_photo
from space.widgets.html import data_url
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES

LONGEST = 400  # pixels: enough to see the patches
ZOOM = 12  # screen pixels a pixel of the one patch

PAPERS = (
    ("Neural Discrete Representation Learning", "https://arxiv.org/abs/1711.00937",
     "van den Oord et al., 2017. Pictures as a grid of codes, and a model that writes the codes (VQ-VAE)."),
    ("Learning Feature Representations with K-means", "https://doi.org/10.1007/978-3-642-35289-8_30",
     "Coates and Ng, 2012. How far plain K-means on small patches goes."),
    ("Autoregressive Image Generation using Residual Quantization", "https://arxiv.org/abs/2203.01941",
     "Lee et al., 2022. Several codes a place, each for what the ones before left over (RQ-Transformer)."),
    ("Conditional Image Generation with PixelCNN Decoders", "https://arxiv.org/abs/1606.05328",
     "van den Oord et al., 2016. The older of the two models that write codes here."),
    ("Language Models are Unsupervised Multitask Learners", "https://cdn.openai.com/better-language-models/"
     "language_models_are_unsupervised_multitask_learners.pdf",
     "Radford et al., 2019. GPT-2: one token after another; here the tokens are colors, shapes and textures."),
    ("Taming Transformers for High-Resolution Image Synthesis", "https://arxiv.org/abs/2012.09841",
     "Esser et al., 2021. A transformer that writes the codes of pictures."),
    ("Deep Residual Learning for Image Recognition", "https://arxiv.org/abs/1512.03385",
     "He et al., 2015. The kind of blocks that the painting network is built of."),
)  # fmt: skip


def build(models: Models, tab: gr.Tab, photo: gr.Image) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; `photo` is the one chosen to be reconstructed."""
    page = gr.HTML(label="explanation", elem_id="story", min_height=400)
    numbers = gr.JSON(label="numbers", visible=False)
    tab.select(handler(models), photo, [page, numbers], api_name="explain", show_progress="minimal", **MODEL_QUEUE)


def handler(models: Models) -> Callable[[str | None], tuple[str, dict]]:
    """The function behind the tab."""

    def explain(photo: str | None) -> tuple[str, dict]:
        """Explain on a photo how it becomes three codes a patch, and a picture again.

        photo: any picture file; None takes an example. Returns the illustrated page as HTML; and its numbers: the
        photo's size, and how much is left over after color, shape and texture, in levels of 255, root mean square.
        """
        cst = models.cst("int8")
        try:
            picture = read_photo(photo or str(EXAMPLES / EXAMPLE_PHOTOS["cat"]), LONGEST)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        apart = take_apart(cst, picture)
        left = [round(apart.mean_left(level), 2) for level in range(3)]
        return tell(cst, apart, own=photo is not None), {"size": apart.size, "left": left}

    return explain


def tell(cst: CST, apart: Residuals, *, own: bool) -> str:
    """The whole page as HTML. own: whether the photo is the visitor's."""
    color, shape, texture = (f"{level.size:,}" for level in cst.tokenizer.levels)
    bits = [f"{bits_per_patch([level]):g}" for level in cst.tokenizer.levels]
    every = f"{bits_per_patch(cst.tokenizer.levels):g}"
    side = cst.tokenizer.patch
    pixels, patches = 24 * side**2, apart.codes[0].size
    first, second, third = (f"{apart.mean_left(level):.1f}" for level in range(3))
    said = f"{first} of 255 levels are left on average"
    whose = "your photo" if own else "an example; choose a photo of your own on the first tab and come back"
    around = f"Mid gray is nothing; contrasts are drawn {GAIN:g} times as strong."
    return "".join((
        f"<p class='lead'>A photo is cut into patches of {side} × {side} pixels, and each patch becomes three whole "
        f"numbers: {every} bits instead of {pixels:,}. No network is needed for that, only three lists of examples "
        f"to choose from. Here it is done with {whose}.</p>",
        chapter(1, "Color", f"The mean color of a patch is replaced by the nearest of {color} colors: {bits[0]} bits. "
            "Take that color away from the photo, and what is left over is the <b>first residual</b>: how the pixels "
            f"of a patch differ from their mean. {around}",
            figure(apart.picture(apart.photo), "photo"),
            figure(apart.picture(apart.parts[0]), "color", minus=True),
            figure(apart.around_gray(apart.left[0]), "first residual", said, equals=True)),
        chapter(2, "Shape", f"For the first residual of a patch, the nearest of {shape} patterns is chosen: {bits[1]} "
            "bits. Most are edges and slopes in some direction. Taken away in turn, they leave the <b>second "
            "residual</b>.",
            figure(apart.around_gray(apart.left[0]), "first residual"),
            figure(apart.around_gray(apart.parts[1]), "shape", minus=True),
            figure(apart.around_gray(apart.left[1]), "second residual", f"{second} levels are left", equals=True)),
        chapter(3, "Texture", f"The same once more with {texture} finer patterns: {bits[2]} bits. What is left after "
            "that, the <b>third residual</b>, is dropped: it is what the codes cannot say.",
            figure(apart.around_gray(apart.left[1]), "second residual"),
            figure(apart.around_gray(apart.parts[2]), "texture", minus=True),
            figure(apart.around_gray(apart.left[2]), "dropped", f"{third} levels", equals=True)),
        one_patch(cst, apart),
        "<section><h2>Where the lists come from</h2><p>From photographs. Millions of patches were sorted into groups "
        "by K-means: every patch joins the group whose mean is nearest, every mean moves to the middle of its group, "
        f"again and again. The {color} colors are such means; the {shape} patterns are means of first residuals; the "
        f"{texture} finer ones of second residuals. The tab Look inside shows them all.</p></section>",
        chapter(4, "Painting", "Adding the three up again gives the picture on the left, with seams between patches. "
            "RenderNet, a network of convolutions, sees the codes of a neighborhood together and paints across the "
            "seams. It learned that from photographs and their codes; it never sees the photo itself.",
            figure(apart.picture(sum(apart.parts)), "color + shape + texture"),
            figure(apart.rendered, "rendered", f"from {3 * patches:,} codes")),
        "<section><h2>Writing new pictures</h2><p>Once pictures are sequences of codes, a model can learn which code "
        "follows which, as language models do with words. The GPT here writes all colors of a picture, then all "
        "shapes, then all textures; every code is drawn by chance from the probabilities that it gives, in view of "
        "all codes before. RenderNet then paints what was written. The same probabilities say how surprising a photo "
        "is, and make its file smaller: what is likely needs few bits (Shannon, 1948).</p></section>",
        "<section><h2>Papers</h2><ul class='papers'>",
        *(f'<li><a href="{link}" target="_blank" rel="noopener">{escape(title)}</a> {escape(said)}</li>'
          for title, link, said in PAPERS),
        "</ul></section>",
    ))  # fmt: skip


def chapter(number: int, title: str, words: str, *figures: str) -> str:
    """A step: its words, and its pictures in a row."""
    return (
        f"<section><h2><i>{number}</i>{title}</h2><p>{words}</p>"
        f'<div class="sum" data-count="{len(figures)}">{"".join(figures)}</div></section>'
    )


def figure(picture: Image.Image, name: str, note: str = "", *, minus: bool = False, equals: bool = False) -> str:
    """A picture of a row; `minus` and `equals` are the sign before it."""
    sign = "minus" if minus else "equals" if equals else ""
    note = f" <span>{note}</span>" if note else ""
    return (
        f'<figure class="{sign}"><img src="{data_url(picture, "WEBP")}" alt="{name}">'
        f"<figcaption><b>{name}</b>{note}</figcaption></figure>"
    )


def one_patch(cst: CST, apart: Residuals) -> str:
    """The arithmetic of a single patch, enlarged."""
    side = cst.tokenizer.patch
    row, column = apart.telling_patch(side)
    place = (slice(None), slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))

    def enlarged(values: np.ndarray, name: str, sign: str = "", note: str = "") -> str:
        picture = to_image(values.clip(0, 1)).resize((side * ZOOM,) * 2, Image.Resampling.NEAREST)
        return (
            f'<figure class="{sign}"><img src="{data_url(picture)}" alt="{name} of the patch">'
            f"<figcaption><b>{name}</b> <span>{note}</span></figcaption></figure>"
        )

    codes = [f"code {code:,}" for code in apart.codes[:, row, column]]
    color, shape, texture = (part[place] for part in apart.parts)
    cells = (
        enlarged(color, "color", "", codes[0]),
        enlarged(0.5 + GAIN * shape, "shape", "plus", codes[1]),
        enlarged(0.5 + GAIN * texture, "texture", "plus", codes[2]),
        enlarged(color + shape + texture, "sum", "equals", "what the codes say"),
        enlarged(apart.photo[place], "photo", "beside", "what it was"),
    )
    words = (
        f"Row {row + 1}, column {column + 1} of this photo, where shape and texture do the most and leave little over."
    )
    return f"<section><h2>One patch, close up</h2><p>{words}</p><div class='sum small'>{''.join(cells)}</div></section>"
