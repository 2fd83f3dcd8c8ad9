"""The Look inside tab: what a patch became, what the model expected, and all codes there are."""

import html
from collections.abc import Callable
from typing import Any, Literal

import gradio as gr

from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.protocol import bits_per_patch
from space.generation.request import ANY
from space.models import MODEL_QUEUE, NAMES, Models
from space.tabs.inside import bit_maps as surprise
from space.tabs.inside import codebook_section as sheets
from space.tabs.inside import patch_card as patch
from space.tabs.inside.analysis import Look, expect, statistics_of, take_apart
from space.tabs.reconstruct import reconstruction as stages
from space.uploads import read_photo
from space.widgets.photo_picker import photo_picker

FORGOTTEN = '<p class="note">Your photo is no longer remembered here: press it or upload it once more.</p>'
SEEN = 2048  # pixels: more of a photo isn't looked at before its middle is taken
WELCOME = """<ul>
<li><div><b>A patch</b><span>Press any of the {} patches: the three numbers that it became, what each of them draws,
and what a model expected there instead.</span></div></li>
<li><div><b>What surprised the model</b><span>Maps of the places that it could not foretell, and what that costs in
bits.</span></div></li>
<li><div><b>The codebooks</b><span>Every color, shape and texture there is, below; those of your photo light
up.</span></div></li></ul>"""
READING = """A model that has read codes of many flowers foretells each code of this photo from those before it.
Bright is what it did not expect and what takes the most bits; the scale ends where a code would cost as much without
the model. Press a patch to see what it expected instead."""

# On a phone the result lies below the fold.
SHOW_RESULT = """(photo) => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (photo && innerWidth <= 640)
        document.getElementById("inside-result").scrollIntoView({behavior: calm ? "auto" : "smooth"});
}"""


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
    cst = models.cst("int8")
    codebooks, statistics = cst.tokenizer.codebooks, statistics_of(cst)
    with gr.Row(elem_id="inside") as bench:
        with gr.Column(scale=2, min_width=300):
            photo, kind, model = build_inputs(models)
        with gr.Column(scale=3, min_width=300, elem_id="inside-result", elem_classes="result"):
            with gr.Column() as welcome:
                h, w = models.sampler(models.kinds[0]).prior.grid if models.kinds else (32, 32)
                steps = gr.HTML(WELCOME.format(h * w), elem_id="what-is-inside", elem_classes="welcome")
            with gr.Column(visible=False) as stage:
                square, column, row, card, expected = build_patch()
    with gr.Column(visible=False, elem_id="surprise") as measured:
        beside, pictures, table = build_surprise(models)
    numbers, patch_numbers = (gr.JSON(label="numbers", visible=False) for _ in range(2))
    looked = gr.State()

    quiet = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
    shown = [square, *pictures, table, numbers, looked, welcome, stage, measured]
    look, inputs = look_handler(models, statistics), [photo, kind, model]
    settings = {"trigger_mode": "always_last", "show_progress_on": [steps, card], **MODEL_QUEUE}
    run = photo.change(look, inputs, shown, api_name="look", **settings)
    again = gr.on([kind.change, model.input], look, inputs, shown, api_visibility="private", **settings)
    photo.change(None, photo, None, js=SHOW_RESULT, api_visibility="private")
    choose = chooser(codebooks, statistics)
    for each in (run, again):
        each.failure(lambda: layout(None, models, statistics), None, shown, **quiet)
        each.then(choose, [looked, column, row], [card, expected], **quiet)
        each.then(lambda look: look and surprise.enlarged(look), looked, beside, **quiet)
    for number in (column, row):
        number.input(choose, [looked, column, row], [card, expected], trigger_mode="always_last", **quiet)
    for picture in (square, beside, *pictures):
        picture.select(press, looked, [column, row], **quiet).then(
            choose, [looked, column, row], [card, expected], **quiet
        )
    gr.Button(visible=False).click(
        patch_handler(models, statistics), [photo, kind, model, column, row], [patch_numbers, card, expected],
        api_name="patch", **MODEL_QUEUE,
    )  # fmt: skip
    sheets.build(models, statistics, photo, run, bench.parent)


def build_inputs(models: Models) -> tuple[gr.Image, gr.Dropdown, gr.Radio]:
    """The photo, and the model that looks at it: (photo, kind of flower, model)."""
    photo = photo_picker("inside-photo", title="Press a photo to look inside", height=240)
    kinds = models.sampler(models.kinds[0]).classes if models.kinds else ()
    about = " ".join(f"{NAMES[kind]} is not here: {why}." for kind, why in models.refusals.items())
    if not models.kinds:
        gr.HTML(f'<p class="note">No model here can say what it expected. {html.escape(about)}</p>')
    model = gr.Radio(
        [(NAMES[kind], kind) for kind in models.kinds], value=models.kinds[0] if models.kinds else None,
        label="Model that reads the photo", info=about or None, visible=bool(models.kinds), elem_id="reader",
    )  # fmt: skip
    kind = gr.Dropdown(
        [ANY, *kinds], value=ANY, label="What it is told", info="The kind of flower, if it is one.",
        visible=bool(models.kinds), elem_id="told-kind",
    )  # fmt: skip
    kind.preprocess = str  # Gradio's own refuses another spelling, where `Sampler` knows the nearest
    return photo, kind, model


def build_patch() -> tuple[gr.Image, gr.Number, gr.Number, gr.HTML, gr.HTML]:
    """(photo as patches, column, row, the patch taken apart, what was expected there)."""
    with gr.Row(elem_classes="one-patch"):
        with gr.Column(min_width=260, elem_classes="where"):
            square = picture_of_patches("the middle of the photo; press a patch", elem_id="patches")
            with gr.Row(elem_classes="place"):
                column = gr.Number(16, label="column", precision=0, min_width=60)
                row = gr.Number(16, label="row", precision=0, min_width=60)
        with gr.Column(min_width=260):
            card = gr.HTML(label="card", elem_id="card")
    return square, column, row, card, gr.HTML(label="expected", elem_id="expected")


def picture_of_patches(alt: str, elem_id: str | None = None) -> gr.Image:
    return gr.Image(
        label="square", show_label=False, format="png", interactive=False, buttons=[], elem_id=elem_id,
        elem_classes="picture", alt_text=alt,
    )  # fmt: skip


def build_surprise(models: Models) -> tuple[gr.Image, list[gr.Image], gr.HTML]:
    """(the photo, a map a level and one of all together, the table)."""
    levels = models.cst("int8").tokenizer.levels
    gr.HTML(f"<h2>{'What surprised the model' if models.kinds else 'What the codes cost'}</h2>")
    with gr.Column(visible=bool(models.kinds)):
        gr.HTML(f"<p>{READING}</p>", elem_classes="lead")
        with gr.Row(elem_classes=["ladder", "five"]):
            with gr.Column(min_width=120):
                beside = picture_of_patches("the photo again; press a patch")
                gr.HTML("<p><b>photo</b></p>", elem_classes="caption")
            pictures = [cell(level.name, bits_per_patch([level])) for level in levels]
            pictures.append(cell("all three", bits_per_patch(levels)))
    return beside, pictures, gr.HTML(label="table", elem_id="surprise-numbers", elem_classes="numbers")


def cell(name: str, top: float) -> gr.Image:
    """One map, its name and its scale."""
    with gr.Column(min_width=120):
        picture = gr.Image(
            label=name, show_label=False, format="png", interactive=False, buttons=["download"],
            alt_text=f"bits that {name} took in each patch", elem_classes=["picture", "crisp"],
        )  # fmt: skip
        gr.HTML(f"{surprise.scale(top)}<p><b>{name}</b></p>", elem_classes="caption")
    return picture


def look_handler(models: Models, statistics: Statistics | None) -> Callable[..., tuple]:
    """The function behind a new photo, kind or model."""

    def look(
        photo: str | None,
        kind: str,
        model: Literal["gpt", "pixelcnn"],
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> tuple:
        """Find what a model expected of the middle square of a photo, patch by patch.

        photo: any picture file. kind: of flower, a name in any case, or "Any kind". model: "gpt" or "pixelcnn".
        Returns the square as the model reads it, enlarged, PNG; maps of the bits that each patch's color, shape,
        texture and all three took by the model, PNG; a table of bits and bytes as HTML; and its numbers. Without a
        photo all are empty.
        """
        return layout(looking(models, photo, kind, model, progress), models, statistics)

    return look


def looking(models: Models, photo: str | None, kind: str, model: str | None, tell: stages.Tell) -> Look | None:
    """A photo taken apart and read by a model, if there is one; None without a photo. Raises `gr.Error`."""
    if photo is None:
        return None
    try:
        picture = read_photo(photo, SEEN)
        sampler = models.sampler(model) if model in models.kinds else None
        tell(0.05, "Finding the codes of every patch")
        look = take_apart(models.cst("int8"), sampler, picture)
        if sampler is None:
            return look
        tell(0.2, f"{NAMES[model]} reads them")
        return expect(look, sampler, kind)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None


def layout(look: Look | None, models: Models, statistics: Statistics | None) -> tuple:
    """Values of all outputs, and which parts of the tab are seen; values, never `gr.skip()`: see `reconstruct`."""
    levels = models.cst("int8").tokenizer.levels
    maps = [None] * (len(levels) + 1) if look is None or look.expected is None else surprise.maps(look, levels)
    numbers = None if look is None else surprise.measure(look, levels, statistics)
    return (
        None if look is None else surprise.enlarged(look),
        *maps,
        None if numbers is None else surprise.table(numbers),
        None if numbers is None else numbers.to_json(),
        look,
        gr.Column(visible=look is None),  # welcome
        gr.Column(visible=look is not None),  # stage
        gr.Column(visible=look is not None),  # what surprised the model
    )


def chooser(codebooks: Any, statistics: Statistics | None) -> Callable[..., tuple[str, str]]:
    """The function behind a press on a patch: only what is known already is drawn."""

    def choose(look: Look | None, column: float | None, row: float | None) -> tuple[str, str]:
        if look is None:
            return FORGOTTEN, ""
        try:
            place = look.place(column, row)
        except ValueError as error:  # while a number is being typed: no alarm
            return f'<p class="note">{html.escape(str(error))}</p>', ""
        expected = "" if look.expected is None else patch.expectations(look, *place, codebooks)
        return patch.card(look, *place, statistics, codebooks), expected

    return choose


def press(look: Look | None, event: gr.SelectData) -> tuple[int, int]:
    """Where on a picture of patches was pressed: (column, row) from 1."""
    x, y = event.index
    cell = surprise.cell_side(look.tokens.shape[2] if look else surprise.MAP_SIDE)
    return int(x) // cell + 1, int(y) // cell + 1


def patch_handler(models: Models, statistics: Statistics | None) -> Callable[..., tuple]:
    """The function behind `/patch`."""
    codebooks = models.cst("int8").tokenizer.codebooks

    def patch_of_photo(
        photo: str | None,
        kind: str,
        model: Literal["gpt", "pixelcnn"],
        column: int,
        row: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> tuple[dict[str, Any], str, str]:
        """Tell what one patch of the middle square of a photo became, and what a model expected there instead.

        photo, kind, model: as for `/look`. column, row: of the patch, from 1. Returns, by level, the code, of how many
        patches of training photos one has it, its probability, bits and rank by the model, and the likeliest codes
        with theirs; then the patch taken apart and what was expected, as HTML.
        """
        look = looking(models, photo, kind, model, progress)
        if look is None:
            raise gr.Error("There is no photo; give one.", print_exception=False)
        try:
            place = look.place(column, row)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        card, expected = chooser(codebooks, statistics)(look, column, row)
        return patch.numbers(look, *place, statistics, codebooks), card, expected

    return patch_of_photo
