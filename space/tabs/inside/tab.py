"""The Look inside tab: what a patch became, what the model predicted, and all codes."""

import html
from typing import Any, Literal

import gradio as gr
from gradio.blocks import Block

from cst.tokenizer.protocol import bits_per_patch
from space.events import MODEL_QUEUE, QUIET, Update, errors_as_messages, scroll_to
from space.generation.panel import choose_kind
from space.models import NAMES, Models
from space.tabs.inside.analysis import Analysis, encode_square, predict, statistics_of
from space.tabs.inside.bit_maps import (
    MIN_MAP_SIZE,
    bit_maps,
    bit_table,
    cell_size,
    enlarged_square,
    map_scale,
    measure_bits,
)
from space.tabs.inside.codebook_section import CodebookSection
from space.tabs.inside.patch_card import patch_card, patch_numbers, predictions
from space.uploads import read_photo
from space.widgets.photo_picker import photo_picker

FORGOTTEN = '<p class="note">Your photo is no longer stored here: choose or upload it again.</p>'
MAX_PHOTO_SIZE = 2048  # pixels per side, before the middle is taken
DEFAULT_GRID = (32, 32)  # without a prior
INTRODUCTION = """<ul>
<li><div><b>A patch</b><span>Click any of the {} patches: the three numbers that it became, what each of them draws,
and what a model predicted there instead.</span></div></li>
<li><div><b>What surprised the model</b><span>Maps of the places that it could not predict, and what that costs in
bits.</span></div></li>
<li><div><b>The codebooks</b><span>Every color, shape and texture code, below; those of your photo light
up.</span></div></li></ul>"""
ABOUT_MAPS = """A model trained on the codes of many flowers predicts each code of this photo from those before it.
Bright is what it did not predict and what takes the most bits; the scale ends where a code would cost as much without
the model. Click a patch to see the model's predictions there."""


class InsideTab:
    """Lays out the tab inside the current `gr.Blocks` and connects it."""

    def __init__(self, models: Models, tab: gr.Tab):
        self.models = models
        self.cst = models.cst("int8")
        self.codebooks, self.statistics = self.cst.tokenizer.codebooks, statistics_of(self.cst)
        with gr.Row(elem_id="inside"):
            with gr.Column(scale=2, min_width=300):
                self.build_inputs()
            with gr.Column(scale=3, min_width=300, elem_id="inside-result", elem_classes="result"):
                with gr.Column() as self.introduction:
                    h, w = models.sampler(models.kinds[0]).prior.grid if models.kinds else DEFAULT_GRID
                    self.steps = gr.HTML(INTRODUCTION.format(h * w), elem_id="what-is-inside", elem_classes="welcome")
                with gr.Column(visible=False) as self.stage:
                    self.build_patch()
        with gr.Column(visible=False, elem_id="surprise") as self.details:
            self.build_maps()
        self.numbers, self.patch_json = (gr.JSON(label="numbers", visible=False) for _ in range(2))
        self.analysis = gr.State()
        run = self.connect()
        CodebookSection(models, self.statistics, self.photo, run, tab)

    def build_inputs(self) -> None:
        """The photo, the model that predicts its codes, and the kind of flower that the model is given."""
        models = self.models
        self.photo = photo_picker("inside-photo", title="Choose a photo to look inside", height=240)
        about = " ".join(f"{NAMES[kind]} is not available here." for kind in models.refusals)
        if not models.kinds:
            gr.HTML(f'<p class="note">There is no model here to predict the codes. {html.escape(about)}</p>')
        with gr.Column(visible=bool(models.kinds)):
            self.model = gr.Radio(
                [(NAMES[kind], kind) for kind in models.kinds], value=models.kinds[0] if models.kinds else None,
                label="Model that reads the photo", info=about or None, elem_id="reader",
            )  # fmt: skip
            kinds = models.sampler(models.kinds[0]).classes if models.kinds else ()
            self.kind = choose_kind(kinds, elem_id="told-kind", label="Kind of flower, if it is one")

    def build_patch(self) -> None:
        """The photo as patches, the place of the chosen patch, its card, and the predictions."""
        with gr.Row(elem_classes="one-patch"):
            with gr.Column(min_width=260, elem_classes="where"):
                self.square = picture_of_patches("the middle of the photo; click a patch", elem_id="patches")
                with gr.Row(elem_classes="place"):
                    self.column = gr.Number(16, label="column", precision=0, min_width=60)
                    self.row = gr.Number(16, label="row", precision=0, min_width=60)
            with gr.Column(min_width=260):
                self.card = gr.HTML(label="card", elem_id="card")
        self.predictions = gr.HTML(label="expected", elem_id="expected")

    def build_maps(self) -> None:
        """The photo again, one map per level, one of their sum, and the table."""
        levels = self.codebooks.levels
        gr.HTML(f"<h2>{'What surprised the model' if self.models.kinds else 'What the codes cost'}</h2>")
        with gr.Column(visible=bool(self.models.kinds)):
            gr.HTML(f"<p>{ABOUT_MAPS}</p>", elem_classes="lead")
            with gr.Row(elem_classes=["ladder", "five"]):
                with gr.Column(min_width=120):
                    self.square_again = picture_of_patches("the photo again; click a patch")
                    gr.HTML("<p><b>photo</b></p>", elem_classes="caption")
                self.maps = [map_picture(level.name, bits_per_patch([level])) for level in levels]
                self.maps.append(map_picture("all three", bits_per_patch(levels)))
        self.table = gr.HTML(label="table", elem_id="surprise-numbers", elem_classes="numbers")

    @property
    def outputs(self) -> list[Block]:
        """The keys of every update; the API returns the first seven, in this order."""
        api = [self.square, *self.maps, self.table, self.numbers]
        return [*api, self.analysis, self.introduction, self.stage, self.details]

    def connect(self) -> gr.events.Dependency:
        """Returns the event of a new photo."""
        inputs, chosen = [self.photo, self.kind, self.model], [self.analysis, self.column, self.row]
        settings: dict[str, Any] = {
            "trigger_mode": "always_last", "show_progress_on": [self.steps, self.card], **MODEL_QUEUE
        }  # fmt: skip
        run = self.photo.change(self.look, inputs, self.outputs, api_name="look", **settings)
        again = gr.on(
            [self.kind.change, self.model.input], self.look, inputs, self.outputs, api_visibility="private", **settings
        )
        self.photo.change(None, self.photo, None, js=scroll_to("inside-result"), api_visibility="private")
        patch = (self.show_patch, chosen, [self.card, self.predictions])
        for event in (run, again):
            event.failure(lambda: self.show(None), None, self.outputs, **QUIET)
            event.then(*patch, **QUIET)
            event.then(enlarged_or_none, self.analysis, self.square_again, **QUIET)
        for number in (self.column, self.row):
            number.input(*patch, trigger_mode="always_last", **QUIET)
        for picture in (self.square, self.square_again, *self.maps):
            picture.select(self.find_clicked, self.analysis, [self.column, self.row], **QUIET).then(*patch, **QUIET)
        gr.Button(visible=False).click(
            self.patch, [*inputs, self.column, self.row], [self.patch_json, self.card, self.predictions],
            api_name="patch", **MODEL_QUEUE,
        )  # fmt: skip
        return run

    def look(
        self,
        photo: str | None,
        kind: str,
        model: Literal["gpt", "pixelcnn"],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Update:
        """Compute a model's predictions for the middle square of a photo, patch by patch.

        photo: any picture file. kind: of flower, a name in any case, or "Any kind". model: "gpt" or "pixelcnn".
        Returns the enlarged square, PNG; maps of the bits of each patch's color, shape, texture and all three under the
        model, PNG; a table of bits and bytes as HTML; and its numbers. Without a photo all are empty.
        """
        with errors_as_messages():
            return self.show(None if photo is None else self.analyze(photo, kind, model, progress))

    def patch(
        self,
        photo: str | None,
        kind: str,
        model: Literal["gpt", "pixelcnn"],
        column: int,
        row: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Update:
        """Describe one patch of the middle square of a photo, and what a model predicted there instead.

        photo, kind, model: as for `/look`. column, row: of the patch, from 1. Returns, by level, the code, in how many
        patches of training photos it occurs once, its probability, bits and rank under the model, and the likeliest
        codes with theirs; then the description and the predictions, as HTML.
        """
        with errors_as_messages():
            analysis = self.analyze(photo, kind, model, progress)
            place = analysis.place(column, row)
        numbers = patch_numbers(analysis, *place, self.statistics, self.codebooks)
        return {self.patch_json: numbers, **self.show_patch(analysis, column, row)}

    def analyze(self, photo: str | None, kind: str, model: str, progress: gr.Progress) -> Analysis:
        """Encode a photo, and score its codes with a model, if there is one. Raises ValueError without a photo."""
        picture = read_photo(photo, MAX_PHOTO_SIZE)
        sampler = self.models.sampler(model) if model in self.models.kinds else None
        progress(0.05, "Finding the codes of every patch")
        analysis = encode_square(self.cst, sampler, picture)
        if sampler is None:
            return analysis
        progress(0.2, f"{NAMES[model]} predicts them")
        return predict(analysis, sampler, kind)

    def show(self, analysis: Analysis | None) -> Update:
        """An update of all outputs; None goes back to the introduction."""
        has_photo = analysis is not None
        maps: list[Any] = [None] * len(self.maps)
        numbers = None
        if analysis is not None:
            numbers = measure_bits(analysis, self.codebooks.levels, self.statistics)
            if analysis.scores is not None:
                maps = bit_maps(analysis.scores, self.codebooks.levels)
        return {
            self.square: enlarged_or_none(analysis),
            **dict(zip(self.maps, maps, strict=True)),
            self.table: None if numbers is None else bit_table(numbers),
            self.numbers: None if numbers is None else numbers.to_json(),
            self.analysis: analysis,
            self.introduction: gr.update(visible=not has_photo),
            self.stage: gr.update(visible=has_photo),
            self.details: gr.update(visible=has_photo),
        }

    def show_patch(self, analysis: Analysis | None, column: float | None, row: float | None) -> Update:
        """The card and the predictions of a patch, from what is already computed."""
        if analysis is None:
            return {self.card: FORGOTTEN, self.predictions: ""}
        try:
            place = analysis.place(column, row)
        except ValueError as error:  # perhaps not typed to the end: no error message
            return {self.card: f'<p class="note">{html.escape(str(error))}</p>', self.predictions: ""}
        return {
            self.card: patch_card(analysis, *place, self.statistics, self.codebooks),
            self.predictions: "" if analysis.scores is None else predictions(analysis, *place, self.codebooks),
        }

    def find_clicked(self, analysis: Analysis | None, event: gr.SelectData) -> Update:
        """The place, from 1, of a click on a picture of patches."""
        x, y = event.index
        side = cell_size(analysis.tokens.shape[2] if analysis else MIN_MAP_SIZE)
        return {self.column: int(x) // side + 1, self.row: int(y) // side + 1}


def enlarged_or_none(analysis: Analysis | None) -> Any:
    return None if analysis is None else enlarged_square(analysis)


def picture_of_patches(alt: str, elem_id: str | None = None) -> gr.Image:
    return gr.Image(
        label="square", show_label=False, format="png", interactive=False, buttons=[], elem_id=elem_id,
        elem_classes="picture", alt_text=alt,
    )  # fmt: skip


def map_picture(name: str, top: float) -> gr.Image:
    """One map, its name and its scale up to `top` bits."""
    with gr.Column(min_width=120):
        picture = gr.Image(
            label=name, show_label=False, format="png", interactive=False, buttons=["download"],
            alt_text=f"bits that {name} took in each patch", elem_classes=["picture", "crisp"],
        )  # fmt: skip
        gr.HTML(f"{map_scale(top)}<p><b>{name}</b></p>", elem_classes="caption")
    return picture
