"""The Reconstruct tab: a photo is taken apart into color, shape and texture, and painted back."""

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from cst.images import fit_within, load_image
from cst.tokenizer.protocol import Level, bits_per_patch
from space.models import MODEL_QUEUE, Models
from space.tabs.reconstruct import reconstruction as stages
from space.tabs.reconstruct.difference_map import FULL_SCALE, legend
from space.uploads import read_photo
from space.widgets.intro import explain
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES, photo_picker, uploaded_file
from space.widgets.picture import cell

STEPS = (
    ("Color", "One of {} colors for every patch of 8 × 8 pixels: its mean."),
    ("Shape", "One of {} patterns for what the color leaves out."),
    ("Texture", "One of {} finer patterns for what both leave out."),
    ("Rendered", "A network that has seen many photos paints the picture from these three codes alone."),
)
PAUSE = 0.3  # seconds between two looks at whether to stop; every look takes a few milliseconds a picture

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
            photo, file, detail, quality = build_inputs()
        with gr.Column(scale=3, min_width=300, elem_id="result", elem_classes="result"):
            with gr.Column() as welcome:
                begin = gr.HTML(welcome_text(models), elem_id="welcome", elem_classes="welcome")
            with gr.Column(visible=False) as stage:
                comparison = gr.ImageSlider(
                    label="photo, rendered", show_label=False, format="png", interactive=False, elem_id="comparison"
                )
                with gr.Column() as of_photo:
                    gr.HTML('<div class="sides"><span>photo</span><span>rendered</span></div>')
                with gr.Column(visible=False) as of_codes:
                    gr.HTML('<div class="sides"><span>the codes by themselves</span><span>rendered</span></div>')
                with gr.Row(elem_classes="under"):
                    with gr.Row(visible=False) as running:
                        stop = gr.Button("Stop", size="sm")
                    with gr.Row(visible=False) as done:
                        codes = gr.DownloadButton("Download the codes (.npz)", size="sm")
                    with gr.Row(visible=False) as packed:
                        cst = gr.DownloadButton("Download .cst", size="sm")
    with gr.Column(visible=False) as results:
        pictures, losses, table = build_results(levels)
    numbers = gr.JSON(label="numbers", visible=False)
    opened = gr.State(time_to_live=3600)  # the .cst file that is shown, so that it can be painted again
    columns = [welcome, stage, of_photo, of_codes, running, done, packed, results, losses]
    outputs = [comparison, *pictures, codes, cst, numbers, table, opened, *columns]

    run = gr.on(
        [photo.change, detail.release, quality.change],
        handler(models),
        [photo, detail, quality, opened],
        outputs,
        api_name="reconstruct",
        trigger_mode="always_last",
        show_progress_on=comparison,
        **MODEL_QUEUE,
    )
    photo.change(None, photo, None, js=SHOW_RESULT, api_visibility="private")
    run.failure(lambda: layout(None), None, outputs, api_visibility="private", queue=False)
    given = file.upload(
        opener(models), [file, quality], outputs, api_name="open", show_progress_on=[comparison, begin], **MODEL_QUEUE
    )
    # What was opened takes the place of the photo: so the same photo can be pressed again.
    given.success(lambda: None, None, photo, api_visibility="private", queue=False, show_progress="hidden")
    given.success(None, file, None, js=SHOW_RESULT, api_visibility="private")
    stop.click(
        lambda: gr.Row(visible=False), None, running, cancels=[run, given], api_visibility="private", queue=False
    )
    return photo


def build_inputs() -> tuple[gr.Image, gr.UploadButton, gr.Slider, gr.Radio]:
    """Example photos, the uploads and the settings: (photo, .cst file, detail, quality)."""
    photo = photo_picker("photo")
    # Any type: phones offer no file of an ending they don't know, and the answer to others is in words.
    file = gr.UploadButton("Open a .cst file", size="sm", elem_id="open")
    file.preprocess = uploaded_file
    with gr.Accordion("More", open=False, elem_id="more"):
        detail = gr.Slider(
            128, 2048, 512, step=64, label="Detail", info="Longest side in pixels; a photo is never enlarged."
        )
        quality = gr.Radio(
            [("8 bits: fast", "int8"), ("float: exact", "float")], value="int8", label="Painting",
            info="Arithmetic of the network that paints.",
        )  # fmt: skip
    return photo, file, detail, quality


def build_results(levels: Sequence[Level]) -> tuple[list[gr.Image], gr.Column, gr.HTML]:
    """The ladder, the comparison row and the table: (pictures in the order of `stages.Shown`, row, table)."""
    color, shape, texture = (f"{bits_per_patch([level]):g} bits" for level in levels)
    gr.HTML("<h2>Layer by layer</h2>")
    with gr.Row(elem_classes="ladder"):
        pictures = [
            cell("color", f"{color} a patch", crisp=True),
            cell("+ shape", f"{shape} more"),
            cell("+ texture", f"{texture} more"),
            cell("rendered", f"painted from all {bits_per_patch(levels):g} bits"),
        ]
    with gr.Column() as losses:
        gr.HTML("<h2>What is lost, and what JPEG and WebP keep in the same bytes</h2>")
        with gr.Row(elem_classes="ladder three"):
            scale = f"how far each pixel is off, in levels of 255: dark is none, bright is {FULL_SCALE} or more"
            pictures.append(cell("difference", scale, legend()))
            pictures.append(cell("JPEG", "at the same number of bytes"))
            pictures.append(cell("WebP", "at the same number of bytes"))
    return pictures, losses, gr.HTML(label="table", elem_id="numbers", elem_classes="numbers")


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
        opened: stages.Opened | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[tuple]:
        """Take a photo apart into color, shape and texture codes, and paint it back.

        photo: any picture file. detail: longest side in pixels, 128 to 2048; smaller photos are not enlarged.
        quality: arithmetic of the painting network, "int8" or "float". Returns (photo, rendered), the pictures from
        color, color and shape, all three codes, and RenderNet, the difference map, JPEG and WebP at the same number
        of bytes, all PNG; the codes as .npz and, entropy-coded, as .cst; the numbers; and their table. Without a
        photo all are empty, or of the .cst file opened last.
        """
        try:
            cst = models.cst(quality)
            picture = None if photo is None else read_photo(photo, int(detail))
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        if picture is None and opened is None:
            yield layout(None)
            return
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies what is yielded before it asks for more
            if picture is None:
                yield from lay_out(stages.repaint(cst, opened, Path(folder), progress), opened, of_photo=False)
            else:
                yield from lay_out(stages.reconstruct(cst, picture, Path(folder), progress))

    return reconstruct


def opener(models: Models) -> Callable[..., Iterator[tuple]]:
    """The function behind the upload of a .cst file."""

    def open_cst(
        file: str | None,
        quality: Literal["int8", "float"],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[tuple]:
        """Paint the picture that is kept in a .cst file.

        file: as downloaded here, or made with `python -m cst compress`. quality: arithmetic of the painting network,
        "int8" or "float". Returns what `/reconstruct` does, without all that needs the photo: (all three codes,
        rendered), the pictures from color, color and shape, all three codes, and RenderNet, three times nothing; the
        codes as .npz; nothing; the numbers; and their table.
        """
        if file is None:
            raise gr.Error("No file; send a .cst file.", print_exception=False)
        try:
            cst = models.cst(quality)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        opened = yield from lay_out(stages.open_cst(cst, file, progress), of_photo=False)
        with tempfile.TemporaryDirectory() as folder:
            yield from lay_out(stages.repaint(cst, opened, Path(folder), progress), opened, of_photo=False)

    return open_cst


def lay_out(
    steps: Iterator[stages.Shown], opened: stages.Opened | None = None, *, of_photo: bool = True
) -> Generator[tuple, None, Any]:
    """The `layout` of every step that shows more than the last, or comes a while after it; returns what they return.

    A mistake is told in words. What was there before stays if nothing was shown yet, and nothing is left half shown.
    """
    before, since = None, 0.0
    while True:
        try:
            shown = next(steps)
        except StopIteration as end:
            return end.value
        except ValueError as error:
            if before is not None:
                yield layout(None)
            raise gr.Error(str(error), print_exception=False) from None
        if shown != before or time.monotonic() - since > PAUSE:
            yield layout(shown, opened, of_photo=of_photo)
            before, since = shown, time.monotonic()


def layout(shown: stages.Shown | None, opened: stages.Opened | None = None, *, of_photo: bool = True) -> tuple:
    """Values of all outputs, and which parts of the page are seen: the welcome, or what there is to show so far.

    of_photo: or else of a .cst file, which is `opened` once it is read.

    Values, never `gr.skip()`: that makes Gradio forget the component's files, so that `delete_cache` keeps them.
    """
    begun = shown is not None
    running = begun and shown.numbers is None
    return (
        *(shown or stages.Shown()).outputs(),
        opened,
        gr.Column(visible=not begun),  # welcome
        gr.Column(visible=begun),  # stage
        gr.Column(visible=of_photo),  # photo, rendered
        gr.Column(visible=not of_photo),  # the codes by themselves, rendered
        gr.Row(visible=running),  # Stop
        gr.Row(visible=begun and not running),  # download
        gr.Row(visible=begun and not running and shown.cst is not None),  # download .cst
        gr.Column(visible=begun),  # results
        gr.Column(visible=of_photo),  # what is lost
    )
