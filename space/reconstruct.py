"""The Reconstruct tab: a photo is taken apart into color, shape and texture, and painted back."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import gradio as gr

from cst.images import fit_within, load_image
from cst.protocol import Level, bits_per_patch
from space import stages
from space.difference import FULL_SCALE, legend
from space.models import MODEL_QUEUE, Models
from space.picker import EXAMPLE_PHOTOS, EXAMPLES, photo_picker
from space.welcome import explain

STEPS = (
    ("Color", "One of {} colors for every patch of 8 × 8 pixels: its mean."),
    ("Shape", "One of {} patterns for what the color leaves out."),
    ("Texture", "One of {} finer patterns for what both leave out."),
    ("Rendered", "A network that has seen many photos paints the picture from these three codes alone."),
)

# On a phone the result lies below the fold.
SHOW_RESULT = """(photo) => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (photo && innerWidth <= 640)
        document.getElementById("result").scrollIntoView({behavior: calm ? "auto" : "smooth"});
}"""


def build(models: Models) -> gr.Image:
    """Lay out the tab inside the current `gr.Blocks` and connect it; returns the photo that the visitor chooses."""
    levels = models.cst("int8").tokenizer.levels
    with gr.Row(elem_id="bench"):
        with gr.Column(scale=2, min_width=300):
            photo, detail, quality = build_inputs()
        with gr.Column(scale=3, min_width=300, elem_id="result", elem_classes="result"):
            with gr.Column() as welcome:
                gr.HTML(welcome_text(models), elem_id="welcome", elem_classes="welcome")
            with gr.Column(visible=False) as stage:
                comparison = gr.ImageSlider(
                    label="photo, rendered", show_label=False, format="png", interactive=False, elem_id="comparison"
                )
                gr.HTML('<div class="sides"><span>photo</span><span>rendered</span></div>')
                with gr.Row(elem_classes="under"):
                    with gr.Row(visible=False) as running:
                        stop = gr.Button("Stop", size="sm")
                    with gr.Row(visible=False) as done:
                        codes = gr.DownloadButton("Download the codes (.npz)", size="sm")
    with gr.Column(visible=False) as results:
        pictures, table = build_results(levels)
    numbers = gr.JSON(label="numbers", visible=False)
    outputs = [comparison, *pictures, codes, numbers, table, welcome, stage, running, done, results]

    run = gr.on(
        [photo.change, detail.release, quality.change],
        handler(models),
        [photo, detail, quality],
        outputs,
        api_name="reconstruct",
        trigger_mode="always_last",
        show_progress_on=comparison,
        **MODEL_QUEUE,
    )
    photo.change(None, photo, None, js=SHOW_RESULT, api_visibility="private")
    run.failure(lambda: layout(None), None, outputs, api_visibility="private", queue=False)
    stop.click(lambda: gr.Row(visible=False), None, running, cancels=[run], api_visibility="private", queue=False)
    return photo


def build_inputs() -> tuple[gr.Image, gr.Slider, gr.Radio]:
    """Example photos, the upload and the settings: (photo, detail, quality)."""
    photo = photo_picker("photo")
    with gr.Accordion("More", open=False, elem_id="more"):
        detail = gr.Slider(
            128, 2048, 512, step=64, label="Detail", info="Longest side in pixels; a photo is never enlarged."
        )
        quality = gr.Radio(
            [("8 bits: fast", "int8"), ("float: exact", "float")], value="int8", label="Painting",
            info="Arithmetic of the network that paints.",
        )  # fmt: skip
    return photo, detail, quality


def build_results(levels: Sequence[Level]) -> tuple[list[gr.Image], gr.HTML]:
    """The ladder, the comparison row and the table: (pictures in the order of `stages.Shown`, table)."""
    color, shape, texture = (f"{bits_per_patch([level]):g} bits" for level in levels)
    gr.HTML("<h2>Layer by layer</h2>")
    with gr.Row(elem_classes="ladder"):
        pictures = [
            cell("color", f"{color} a patch", crisp=True),
            cell("+ shape", f"{shape} more"),
            cell("+ texture", f"{texture} more"),
            cell("rendered", f"painted from all {bits_per_patch(levels):g} bits"),
        ]
    gr.HTML("<h2>What is lost, and what JPEG and WebP keep in the same bytes</h2>")
    with gr.Row(elem_classes="ladder three"):
        scale = f"how far each pixel is off, in levels of 255: dark is none, bright is {FULL_SCALE} or more"
        pictures.append(cell("difference", scale, legend()))
        pictures.append(cell("JPEG", "at the same number of bytes"))
        pictures.append(cell("WebP", "at the same number of bytes"))
    return pictures, gr.HTML(label="table", elem_id="numbers", elem_classes="numbers")


def cell(name: str, meaning: str, below: str = "", *, crisp: bool = False) -> gr.Image:
    """One picture of a row, its name and what it is."""
    with gr.Column(min_width=140):
        picture = gr.Image(
            label=name.removeprefix("+ "), show_label=False, format="png", interactive=False,
            buttons=["download", "fullscreen"], alt_text=name,
            elem_classes=["picture", "crisp"] if crisp else ["picture"],
        )  # fmt: skip
        gr.HTML(f"{below}<p><b>{name}</b> {meaning}</p>", elem_classes="caption")
    return picture


def welcome_text(models: Models) -> str:
    """What the three codes are, beside what they draw of one small photo."""
    cst = models.cst("int8")
    sizes = [f"{level.size:,}" for level in cst.tokenizer.levels]
    steps = [(name, text.format(size)) for (name, text), size in zip(STEPS, [*sizes, ""], strict=True)]
    return explain(cst, fit_within(load_image(EXAMPLES / EXAMPLE_PHOTOS["cat"]), 144), steps)


def handler(models: Models) -> Callable[..., Iterator[tuple]]:
    """The function behind the tab."""

    def reconstruct(
        photo: str | None,
        detail: float,
        quality: Literal["int8", "float"],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[tuple]:
        """Take a photo apart into color, shape and texture codes, and paint it back.

        photo: any picture file. detail: longest side in pixels, 128 to 2048; smaller photos are not enlarged.
        quality: arithmetic of the painting network, "int8" or "float". Returns (photo, rendered), the pictures from
        color, color and shape, all three codes, and RenderNet, the difference map, JPEG and WebP at the same number
        of bytes, all PNG; the codes as .npz; and the numbers. Without a photo all are empty.
        """
        if photo is None:
            yield layout(None)
            return
        try:
            picture = stages.read_photo(photo, int(detail))
            cst = models.cst(quality)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies what is yielded before it asks for more
            for shown in stages.reconstruct(cst, picture, Path(folder), progress):
                yield layout(shown)

    return reconstruct


def layout(shown: stages.Shown | None) -> tuple:
    """Values of all outputs, and which parts of the page are seen: the welcome, or what there is to show so far.

    Values, never `gr.skip()`: that makes Gradio forget the component's files, so that `delete_cache` keeps them.
    """
    begun = shown is not None
    running = begun and shown.numbers is None
    return (
        *(shown or stages.Shown()).outputs(),
        gr.Column(visible=not begun),  # welcome
        gr.Column(visible=begun),  # stage
        gr.Row(visible=running),  # Stop
        gr.Row(visible=begun and not running),  # download
        gr.Column(visible=begun),  # results
    )
