"""The How it works tab: the three residuals of a photo, step by step."""

from html import escape

import gradio as gr
import numpy as np
from PIL import Image

from cst import CST
from cst.images import to_image
from cst.tokenizer.protocol import bits_per_patch
from space.events import MODEL_QUEUE, Update, errors_as_messages
from space.models import Models
from space.tabs.how_it_works.residuals import GAIN, Residuals, compute_residuals
from space.uploads import read_photo
from space.widgets.html import data_url
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES, SharedPhoto, hidden_photo

MAX_PHOTO_SIZE = 400  # pixels per side: enough to see the patches
ZOOM = 12  # screen pixels per pixel of the enlarged patch

PAPERS = (
    ("Neural Discrete Representation Learning", "https://arxiv.org/abs/1711.00937",
     "van den Oord et al., 2017. Pictures as a grid of codes, and a model that predicts the codes (VQ-VAE)."),
    ("Learning Feature Representations with K-means", "https://doi.org/10.1007/978-3-642-35289-8_30",
     "Coates and Ng, 2012. What plain K-means on small patches achieves."),
    ("Autoregressive Image Generation using Residual Quantization", "https://arxiv.org/abs/2203.01941",
     "Lee et al., 2022. Several codes per place, each for what the previous ones left over (RQ-Transformer)."),
    ("Conditional Image Generation with PixelCNN Decoders", "https://arxiv.org/abs/1606.05328",
     "van den Oord et al., 2016. The older of the two models that draw codes here."),
    ("Language Models are Unsupervised Multitask Learners", "https://cdn.openai.com/better-language-models/"
     "language_models_are_unsupervised_multitask_learners.pdf",
     "Radford et al., 2019. GPT-2: one token after another; here the tokens are colors, shapes and textures."),
    ("Taming Transformers for High-Resolution Image Synthesis", "https://arxiv.org/abs/2012.09841",
     "Esser et al., 2021. A transformer that predicts the codes of pictures."),
    ("Deep Residual Learning for Image Recognition", "https://arxiv.org/abs/1512.03385",
     "He et al., 2015. The blocks of the rendering network."),
)  # fmt: skip


def build(models: Models, tab: gr.Tab, shared: SharedPhoto) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    photo = hidden_photo()
    page = gr.HTML(label="explanation", elem_id="story", min_height=400)
    numbers = gr.JSON(label="numbers", visible=False)

    def explain(photo: str | None) -> Update:
        """Explain with a photo how it becomes three codes per patch, and a picture again.

        photo: any picture file; None takes an example. Returns the illustrated page as HTML; and its numbers: the
        photo's size, and how much is left over after color, shape and texture, in levels of 255, root mean square.
        """
        cst = models.cst("int8")
        with errors_as_messages():
            picture = read_photo(photo or str(EXAMPLES / EXAMPLE_PHOTOS["cat"]), MAX_PHOTO_SIZE)
        residuals = compute_residuals(cst, picture)
        left = [round(residuals.rms_left(level), 2) for level in range(3)]
        html = explanation(cst, residuals, is_visitors=photo is not None)
        return {page: html, numbers: {"size": residuals.size, "left": left}}

    shared.bring(photo, tab.select).then(
        explain, photo, [page, numbers], api_name="explain", show_progress="minimal", **MODEL_QUEUE
    )


def explanation(cst: CST, residuals: Residuals, *, is_visitors: bool) -> str:
    """The whole page as HTML. is_visitors: whether the photo is the visitor's."""
    color, shape, texture = (f"{level.size:,}" for level in cst.tokenizer.levels)
    bits = [f"{bits_per_patch([level]):g}" for level in cst.tokenizer.levels]
    total_bits = f"{bits_per_patch(cst.tokenizer.levels):g}"
    side = cst.tokenizer.patch
    pixel_bits, patches = 24 * side**2, residuals.codes[0].size
    first, second, third = (f"{residuals.rms_left(level):.1f}" for level in range(3))
    source = "your photo" if is_visitors else "an example; choose your own photo on another tab and come back"
    (color_part, shape_part, texture_part), left = residuals.parts, residuals.left
    return "".join((
        f"<p class='lead'>A photo is cut into patches of {side} × {side} pixels, and each patch becomes three whole "
        f"numbers: {total_bits} bits instead of {pixel_bits:,}. This needs no network, only three lists of examples to "
        f"choose from. It is shown here with {source}.</p>",
        chapter(1, "Color", f"The mean color of a patch is replaced by the nearest of {color} colors: {bits[0]} bits. "
            "Subtracting that color from the photo leaves the <b>first residual</b>: how the pixels of a patch differ "
            f"from their mean. Mid gray is zero; contrasts are drawn {GAIN:g} times as strong.",
            figure(residuals.picture(residuals.photo), "photo"),
            figure(residuals.picture(color_part), "color", sign="minus"),
            figure(residuals.around_gray(left[0]), "first residual", f"{first} of 255 levels are left on average",
                   sign="equals")),
        chapter(2, "Shape", f"For the first residual of a patch, the nearest of {shape} patterns is chosen: {bits[1]} "
            "bits. Most are edges and slopes in some direction. Subtracting them leaves the <b>second residual</b>.",
            figure(residuals.around_gray(left[0]), "first residual"),
            figure(residuals.around_gray(shape_part), "shape", sign="minus"),
            figure(residuals.around_gray(left[1]), "second residual", f"{second} levels are left", sign="equals")),
        chapter(3, "Texture", f"The same again with {texture} finer patterns: {bits[2]} bits. What is left, the "
            "<b>third residual</b>, is dropped: the codes cannot represent it.",
            figure(residuals.around_gray(left[1]), "second residual"),
            figure(residuals.around_gray(texture_part), "texture", sign="minus"),
            figure(residuals.around_gray(left[2]), "dropped", f"{third} levels", sign="equals")),
        one_patch(cst, residuals),
        "<section><h2>Where the lists come from</h2><p>From photographs. K-means sorts millions of patches into "
        "groups: every patch joins the group with the nearest mean, every mean moves to the middle of its group, again "
        f"and again. The {color} colors are such means; the {shape} patterns are means of first residuals; the "
        f"{texture} finer ones of second residuals. The Look inside tab shows them all.</p></section>",
        chapter(4, "Rendering", "Adding the three up again gives the picture on the left, with seams between patches. "
            "RenderNet, a convolutional network, reads the codes of a neighborhood together and smooths the seams. It "
            "learned that from photographs and their codes; it never sees the photo itself.",
            figure(residuals.picture(color_part + shape_part + texture_part), "color + shape + texture"),
            figure(residuals.rendered, "rendered", f"from {3 * patches:,} codes")),
        "<section><h2>Drawing new pictures</h2><p>Once pictures are sequences of codes, a model can learn which code "
        "follows which, as language models do with words. The GPT here draws a few large colors, then the codes of a "
        "picture of half the size, then those of the whole picture: colors, shapes, textures. Every code is sampled "
        "from the probabilities that the model predicts from the codes before it. RenderNet then renders the result. "
        "The same probabilities measure how surprising a photo is (Shannon, 1948).</p></section>",
        "<section><h2>Papers</h2><ul class='papers'>",
        *(f'<li><a href="{link}" target="_blank" rel="noopener">{escape(title)}</a> {escape(summary)}</li>'
          for title, link, summary in PAPERS),
        "</ul></section>",
    ))  # fmt: skip


def chapter(number: int, title: str, text: str, *figures: str) -> str:
    """A step: its text, and its pictures in a row."""
    return (
        f"<section><h2><i>{number}</i>{title}</h2><p>{text}</p>"
        f'<div class="sum" data-count="{len(figures)}">{"".join(figures)}</div></section>'
    )


def figure(picture: Image.Image, name: str, note: str = "", *, sign: str = "") -> str:
    """A picture in a row. sign: drawn before it, "minus" or "equals"."""
    note = f" <span>{note}</span>" if note else ""
    return (
        f'<figure class="{sign}"><img src="{data_url(picture, "WEBP")}" alt="{name}">'
        f"<figcaption><b>{name}</b>{note}</figcaption></figure>"
    )


def one_patch(cst: CST, residuals: Residuals) -> str:
    """The arithmetic of a single patch, enlarged."""
    side = cst.tokenizer.patch
    row, column = residuals.telling_patch(side)
    place = (slice(None), slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))

    def enlarged(values: np.ndarray, name: str, sign: str = "", note: str = "") -> str:
        picture = to_image(values.clip(0, 1)).resize((side * ZOOM,) * 2, Image.Resampling.NEAREST)
        return (
            f'<figure class="{sign}"><img src="{data_url(picture)}" alt="{name} of the patch">'
            f"<figcaption><b>{name}</b> <span>{note}</span></figcaption></figure>"
        )

    codes = [f"code {code:,}" for code in residuals.codes[:, row, column]]
    color, shape, texture = (part[place] for part in residuals.parts)
    cells = (
        enlarged(color, "color", "", codes[0]),
        enlarged(0.5 + GAIN * shape, "shape", "plus", codes[1]),
        enlarged(0.5 + GAIN * texture, "texture", "plus", codes[2]),
        enlarged(color + shape + texture, "sum", "equals", "from the codes"),
        enlarged(residuals.photo[place], "photo", "approximately", "the original"),
    )
    text = f"Row {row + 1}, column {column + 1} of this photo, where shape and texture contribute most."
    return f"<section><h2>One patch, close up</h2><p>{text}</p><div class='sum small'>{''.join(cells)}</div></section>"
