"""The Reconstruct tab: encode a photo as color, shape and texture codes, and render it from them."""

import tempfile
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.blocks import Block

from cst.images import fit_within, load_image
from cst.learned.config import packaged
from space.events import MODEL_QUEUE, QUIET, Update, errors_as_messages, scroll_to
from space.models import Models
from space.tabs.reconstruct import compare, reconstruction
from space.tabs.reconstruct.difference_map import FULL_SCALE, legend
from space.tabs.reconstruct.reconstruction import OpenedFile, ReconstructionView
from space.uploads import read_photo
from space.widgets.intro import explain
from space.widgets.photo_picker import (
    EXAMPLE_PHOTOS,
    EXAMPLES,
    SharedPhoto,
    file_in_snippet,
    photo_picker,
    uploaded_file,
)
from space.widgets.picture import captioned_picture

STEPS = (
    ("Color", "One of {} colors for every patch of 8 × 8 pixels: its mean."),
    ("Shape", "One of {} patterns for what the color leaves over."),
    ("Texture", "One of {} finer patterns for what both leave over."),
    ("Rendered", "A network trained on many photos renders the picture from only these three codes."),
)
STOP_INTERVAL = 0.3  # seconds between unchanged updates, at which Gradio can stop; each takes a few ms per picture
KEEP_OPENED_SECONDS = 3600


class ReconstructTab:
    """Lays out the tab inside the current `gr.Blocks` and connects it. photo: the one that the visitor chose."""

    def __init__(self, models: Models, shared: SharedPhoto):
        self.models, self.shared = models, shared
        with gr.Row(elem_id="bench"):
            with gr.Column(scale=2, min_width=300):
                self.build_inputs()
            with gr.Column(scale=3, min_width=300, elem_id="result", elem_classes="result"):
                self.build_result()
        with gr.Column(visible=False) as self.details:
            self.build_details()
        self.numbers = gr.JSON(label="numbers", visible=False)
        self.opened = gr.State(time_to_live=KEEP_OPENED_SECONDS)  # the shown .cst file, to render it again
        self.connect()

    def build_inputs(self) -> None:
        """Example photos, the uploads and the settings."""
        self.photo = photo_picker("photo")
        # Any type: phones don't offer files with an unknown extension, and other files get a clear message.
        self.file = gr.UploadButton("Open a .cst file", size="sm", elem_id="open")
        self.file.preprocess = uploaded_file  # type: ignore[method-assign]
        self.file.example_payload = partial(file_in_snippet, "photo.cst")  # type: ignore[method-assign]
        with gr.Accordion("More", open=False, elem_id="more"):
            self.detail = gr.Slider(
                128, 2048, 512, step=64, label="Detail", info="Longest side in pixels; a photo is never enlarged."
            )
            self.quality = gr.Radio(
                [("8 bits: fast", "int8"), ("float: exact", "float")], value="int8", label="Rendering",
                info="Arithmetic of the network that renders.",
            )  # fmt: skip

    def build_result(self) -> None:
        """The introduction, which makes way for the comparison and the downloads."""
        with gr.Column() as self.introduction:
            self.steps = gr.HTML(introduction(self.models), elem_id="welcome", elem_classes="welcome")
        with gr.Column(visible=False) as self.stage:
            self.comparison = gr.ImageSlider(
                label="photo, rendered", show_label=False, format="png", interactive=False, elem_id="comparison"
            )
            with gr.Column() as self.photo_sides:
                gr.HTML('<div class="sides"><span>photo</span><span>rendered</span></div>')
            with gr.Column(visible=False) as self.opened_sides:
                gr.HTML('<div class="sides"><span>the codes by themselves</span><span>rendered</span></div>')
            with gr.Row(elem_classes="under"):
                with gr.Row(visible=False) as self.stop_row:
                    self.stop_button = gr.Button("Stop", size="sm")
                with gr.Row(visible=False) as self.codes_row:
                    self.codes = gr.DownloadButton("Download the codes (.npz)", size="sm")
                with gr.Row(visible=False) as self.cst_row:
                    self.cst = gr.DownloadButton("Download the codes (.cst)", size="sm")

    def build_details(self) -> None:
        """The layers, the comparison with other formats, and the table."""
        levels = self.models.cst("int8").tokenizer.levels
        color, shape, texture = (f"{level.size:,}" for level in levels)
        gr.HTML("<h2>Layer by layer</h2>")
        with gr.Row(elem_classes="ladder"):
            self.color = captioned_picture("color", f"one of {color} for each patch", crisp=True)
            self.shape = captioned_picture("+ shape", f"one of {shape}")
            self.texture = captioned_picture("+ texture", f"one of {texture}")
            self.rendered = captioned_picture("rendered", "by the network, from these codes")
        with gr.Column() as self.losses:
            gr.HTML("<h2>What is lost, and what JPEG and WebP keep in the same bytes</h2>")
            with gr.Row(elem_classes="ladder three"):
                scale = f"error of each pixel, in levels of 255: dark is none, bright is {FULL_SCALE} or more"
                self.difference = captioned_picture("difference", scale, legend())
                self.jpeg = captioned_picture("JPEG", "at the same number of bytes")
                self.webp = captioned_picture("WebP", "at the same number of bytes")
        self.table = gr.HTML(label="table", elem_id="numbers", elem_classes="numbers")
        with gr.Accordion("Compare with learned tokenizers", open=False, visible=False) as self.compare_fold:
            self.compared = gr.HTML(label="comparison", elem_id="compared")
        self.compared_numbers = gr.JSON(label="measurements", visible=False)

    @property
    def outputs(self) -> list[Block]:
        """The keys of every update; the API returns the first twelve, in this order."""
        layers = [self.color, self.shape, self.texture, self.rendered]
        losses = [self.difference, self.jpeg, self.webp]
        api = [self.comparison, *layers, *losses, self.codes, self.cst, self.numbers, self.table]
        sides = [self.introduction, self.stage, self.photo_sides, self.opened_sides]
        rows = [self.stop_row, self.codes_row, self.cst_row]
        return [*api, self.opened, *sides, *rows, self.details, self.losses, self.compare_fold]

    def connect(self) -> None:
        run = gr.on(
            [self.photo.change, self.detail.release, self.quality.change],
            self.reconstruct,
            [self.photo, self.detail, self.quality, self.opened],
            self.outputs,
            api_name="reconstruct",
            trigger_mode="always_last",
            show_progress_on=self.comparison,
            **MODEL_QUEUE,
        )
        self.photo.change(None, self.photo, None, js=scroll_to("result"), api_visibility="private")
        self.photo.change(lambda: (None, None), None, [self.compared, self.compared_numbers], **QUIET)
        run.failure(lambda: self.show(None), None, self.outputs, api_visibility="private", queue=False)
        upload = self.file.upload(
            self.open, [self.file, self.quality], self.outputs, api_name="open",
            show_progress_on=[self.comparison, self.steps], **MODEL_QUEUE,
        )  # fmt: skip
        # The opened file takes the place of the photo, so that the same photo can be chosen again.
        # Both at once: a photo that is only emptied is filled in again if the tab is opened at the next moment.
        upload.success(lambda: (None, None), None, [self.photo, self.shared.latest], **QUIET)
        upload.success(None, self.file, None, js=scroll_to("result"), api_visibility="private")
        self.compare_fold.expand(
            self.compare, [self.photo, self.detail], [self.compared, self.compared_numbers], api_name="compare",
            show_progress_on=self.compared, trigger_mode="always_last", **MODEL_QUEUE,
        )  # fmt: skip
        self.stop_button.click(
            lambda: gr.update(visible=False), None, self.stop_row, cancels=[run, upload], api_visibility="private",
            queue=False,
        )  # fmt: skip

    def reconstruct(
        self,
        photo: str | None,
        detail: float,
        quality: Literal["int8", "float"],
        opened: OpenedFile | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[Update]:
        """Encode a photo as color, shape and texture codes, and render it from them.

        photo: any picture file. detail: longest side in pixels, 128 to 2048; smaller photos are not enlarged.
        quality: arithmetic of the rendering network, "int8" or "float". Returns (photo, rendered); the pictures from
        color, from color and shape, from all three codes, and by RenderNet; the difference map; JPEG and WebP at the
        same number of bytes, all PNG; the codes as .npz and, entropy-coded, as .cst; the numbers; and their table.
        Without a photo, all are empty, or those of the .cst file that was opened last.
        """
        with errors_as_messages(), tempfile.TemporaryDirectory() as folder:
            cst = self.models.cst(quality)
            if photo is not None:
                picture = read_photo(photo, int(detail))
                yield from self.show_steps(
                    reconstruction.reconstruct(cst, picture, Path(folder), progress, name=Path(photo).stem)
                )
            elif opened is not None:
                views = reconstruction.render_opened(cst, opened, Path(folder), progress)
                yield from self.show_steps(views, opened, of_photo=False)
            else:
                yield self.show(None)

    def open(
        self,
        file: str | None,
        quality: Literal["int8", "float"],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[Update]:
        """Render a .cst file.

        file: downloaded here, or made with `python -m cst compress`. quality: arithmetic of the rendering network,
        "int8" or "float". Returns what `/reconstruct` does, except what needs the photo: (all three codes, rendered);
        the pictures from color, from color and shape, from all three codes, and by RenderNet; nothing, three times;
        the codes as .npz; nothing; the numbers; and their table.
        """
        if file is None:
            raise gr.Error("No file; send a .cst file.", print_exception=False)
        with errors_as_messages(), tempfile.TemporaryDirectory() as folder:
            cst = self.models.cst(quality)
            opened = yield from self.show_steps(reconstruction.open_cst(cst, file, progress), of_photo=False)
            views = reconstruction.render_opened(cst, opened, Path(folder), progress)
            yield from self.show_steps(views, opened, of_photo=False)

    def compare(
        self,
        photo: str | None,
        detail: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Iterator[Update]:
        """Encode and decode a photo with CST and with every learned tokenizer.

        photo: any picture file. detail: longest side in pixels, 128 to 2048, here at most 512; smaller photos are not
        enlarged. Returns the pictures and numbers as HTML, and the numbers.
        """
        with errors_as_messages():
            picture = read_photo(photo, min(int(detail), compare.MAX_SIZE), quiet=True)
            count = 1 + len(packaged())
            progress(0, "Comparing")
            for rows in compare.compare(self.models, picture):
                progress(len(rows) / count, "Comparing")
                yield {self.compared: compare.comparison_html(rows), self.compared_numbers: compare.to_json(rows)}

    def show_steps(
        self,
        views: Generator[ReconstructionView, None, Any],
        opened: OpenedFile | None = None,
        *,
        of_photo: bool = True,
    ) -> Generator[Update, None, Any]:
        """An update for every view that is new or comes a while after the last; returns what `views` returns.

        If a ValueError comes first, the page stays as it was; if it comes later, nothing is left half shown.
        """
        shown, since = None, 0.0
        while True:
            try:
                view = next(views)
            except StopIteration as end:
                return end.value
            except ValueError:
                if shown is not None:
                    yield self.show(None)
                raise
            if view != shown or time.monotonic() - since > STOP_INTERVAL:
                yield self.show(view, opened, of_photo=of_photo)
                shown, since = view, time.monotonic()

    def show(
        self, view: ReconstructionView | None, opened: OpenedFile | None = None, *, of_photo: bool = True
    ) -> Update:
        """An update of all outputs; None goes back to the introduction.

        of_photo: or else of a .cst file, which is `opened` once it is read.
        """
        is_running = view is not None and view.numbers is None
        is_done = view is not None and not is_running
        content = view or ReconstructionView()
        return {
            self.comparison: content.comparison,
            self.color: content.color,
            self.shape: content.shape,
            self.texture: content.texture,
            self.rendered: content.rendered,
            self.difference: content.difference,
            self.jpeg: content.jpeg,
            self.webp: content.webp,
            self.codes: content.codes,
            self.cst: content.cst,
            self.numbers: content.numbers,
            self.table: content.table,
            self.opened: opened,
            self.introduction: gr.update(visible=view is None),
            self.stage: gr.update(visible=view is not None),
            self.photo_sides: gr.update(visible=of_photo),
            self.opened_sides: gr.update(visible=not of_photo),
            self.stop_row: gr.update(visible=is_running),
            self.codes_row: gr.update(visible=is_done and content.cst is None),
            self.cst_row: gr.update(visible=is_done and content.cst is not None),
            self.details: gr.update(visible=view is not None),
            self.losses: gr.update(visible=of_photo),
            self.compare_fold: gr.update(visible=is_done and of_photo and bool(packaged()), open=False),
        }


def introduction(models: Models) -> str:
    """The three codes in words, and what they draw of one small photo."""
    cst = models.cst("int8")
    sizes = [f"{level.size:,}" for level in cst.tokenizer.levels]
    steps = [(name, text.format(size)) for (name, text), size in zip(STEPS, [*sizes, ""], strict=True)]
    return explain(cst, fit_within(load_image(EXAMPLES / EXAMPLE_PHOTOS["cat"]), 144), steps)
