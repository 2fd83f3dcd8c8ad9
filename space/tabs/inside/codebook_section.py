"""The codebooks on the Look inside tab: a sheet of all codes a level, on which those of the chosen photo light up."""

from collections.abc import Callable

import gradio as gr
import numpy as np
from gradio.events import Dependency

from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from space.models import MODEL_QUEUE, Models
from space.tabs.inside import codebook_sheet as atlas
from space.uploads import read_photo

CODEBOOKS = """Every code there is, with those alike beside each other. A photo may use any of them; after you
choose one, only the codes it uses stay bright. Press a tile to learn more about it, or type the number of a code."""


def build(models: Models, statistics: Statistics | None, photo: gr.Image, run: Dependency, tab: gr.Tab) -> None:
    """Lay out the section, and connect it: it follows `run`, which reads the photo, and is first drawn with the tab."""
    sheets, words, codes, told = build_sheets(models.cst("int8").tokenizer.codebooks, statistics)
    numbers, counted = gr.JSON(label="numbers", visible=False), gr.State()
    quiet = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
    lit = [*sheets, *words, numbers, counted]
    lighted = run.success(
        handler(models, statistics), photo, lit, api_name="atlas", show_progress_on=words[0], **MODEL_QUEUE
    )
    run.failure(lambda: drawn(models, statistics, None), None, lit, **quiet)
    tab.select(lambda counts: drawn(models, statistics, counts), counted, lit, **quiet)
    for level, (picture, code, line) in enumerate(zip(sheets, codes, told, strict=True)):
        tell = teller(models, statistics, level)
        picture.select(presser(models, level), None, code, **quiet).then(tell, [counted, code], line, **quiet)
        code.input(tell, [counted, code], line, trigger_mode="always_last", **quiet)
        lighted.then(tell, [counted, code], line, **quiet)


def build_sheets(
    codebooks: Codebooks, statistics: Statistics | None
) -> tuple[list[gr.Image], list[gr.HTML], list[gr.Number], list[gr.HTML]]:
    """(a sheet a level, its numbers in words, the code that is chosen on it, what is said of that)."""
    gr.HTML("<h2>The codebooks</h2>")
    gr.HTML(f"<p>{CODEBOOKS}</p>", elem_classes="lead")
    sheets, words, codes, told = [], [], [], []
    for index, level in enumerate(codebooks.levels):
        words.append(gr.HTML(label=f"{level.name} usage"))
        picture = gr.Image(
            label=level.name, show_label=False, format="png", interactive=False, buttons=["download", "fullscreen"],
            alt_text=f"all {level.size} {level.name} codes", elem_classes=["picture", "sheet"],
        )  # fmt: skip
        sheets.append(picture)
        with gr.Row(elem_classes="one-code"):
            codes.append(gr.Number(0, label=f"{level.name} code", precision=0, min_width=200, scale=0))
            told.append(gr.HTML(atlas.tell(codebooks, index, 0, statistics, None)))
    return sheets, words, codes, told


def handler(models: Models, statistics: Statistics | None) -> Callable[..., tuple]:
    """The function behind the sheets of a new photo."""

    def atlas_of_photo(
        photo: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> tuple:
        """Draw all color, shape and texture codes as sheets, those that a photo uses bright and all others dim.

        photo: any picture file, looked at with at most 512 pixels a side; without one all codes are bright, and the
        numbers are those of training photos where these were counted. Returns the three sheets, PNG; the use of each
        codebook in words and as a histogram, HTML; and the numbers: for each level its size, the patches counted, the
        codes used and their perplexity.
        """
        if photo is None:
            return drawn(models, statistics, None)
        try:
            picture = read_photo(photo, atlas.LONGEST)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        progress(0.1, "Finding all codes of the photo")
        return drawn(models, statistics, atlas.count(models.cst("int8"), picture))

    return atlas_of_photo


def drawn(models: Models, statistics: Statistics | None, counts: tuple[np.ndarray, ...] | None) -> tuple:
    """Values of the atlas: sheets, words, numbers, and the counts themselves, to be remembered."""
    codebooks = models.cst("int8").tokenizer.codebooks
    sheets = [atlas.sheet(codebooks, i, None if counts is None else counts[i]) for i in range(len(codebooks.levels))]
    known, whose = counts, "your photo"
    if counts is None:
        known, whose = (statistics.counts if statistics else None), "photos at large"
    words, numbers = [], {}
    for index, level in enumerate(codebooks.levels):
        if known is None:
            words.append(f'<div class="usage"><p><b>{level.name}</b> {level.size:,} codes.</p></div>')
            continue
        usage = atlas.measure(level.name, known[index])
        words.append(atlas.describe(usage, known[index], whose))
        numbers[level.name] = usage.to_json()
    return *sheets, *words, {"photo": counts is not None, "levels": numbers}, counts


def presser(models: Models, level: int) -> Callable[[gr.SelectData], int | None]:
    """The function behind a press on a sheet."""
    codebooks = models.cst("int8").tokenizer.codebooks

    def pressed(event: gr.SelectData) -> int | None:
        return atlas.code_at(codebooks, level, *event.index)

    return pressed


def teller(models: Models, statistics: Statistics | None, level: int) -> Callable[..., str]:
    """The function behind the number of a code."""
    codebooks = models.cst("int8").tokenizer.codebooks
    size = codebooks.levels[level].size

    def told(counts: tuple[np.ndarray, ...] | None, code: int | None) -> str:
        if code is None:
            return ""
        if not 0 <= code < size:  # while a number is being typed: no alarm
            return f'<div class="told"><span>the code {code}; accepted: 0 to {size - 1:,}</span></div>'
        return atlas.tell(codebooks, level, code, statistics, None if counts is None else counts[level])

    return told
