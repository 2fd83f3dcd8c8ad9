"""The codebooks on the Look inside tab: one sheet of all codes per level; those of the chosen photo are bright."""

from collections.abc import Callable

import gradio as gr
import numpy as np
from gradio.blocks import Block
from gradio.events import Dependency

from cst.tokenizer.code_statistics import Statistics
from space.events import MODEL_QUEUE, QUIET, Update, errors_as_messages
from space.models import Models
from space.tabs.inside import codebook_sheet
from space.uploads import read_photo

ABOUT = """All codes of the three codebooks. Colors are arranged by hue, and from light to dark; shapes and textures by
the direction of their lines, and from coarse to fine. A photo may use any of them; once you choose one, only the codes
it uses stay bright. Click a tile to learn more about it, or type the number of a code."""

Counts = tuple[np.ndarray, ...]  # (V,) per level


class CodebookSection:
    """Lays out the section and connects it.

    photo: the one to count the codes of, after `run` has read it. tab: draws the sheets when it is opened.
    """

    def __init__(self, models: Models, statistics: Statistics | None, photo: gr.Image, run: Dependency, tab: gr.Tab):
        self.cst, self.statistics = models.cst("int8"), statistics
        self.codebooks = self.cst.tokenizer.codebooks
        self.sheets: list[gr.Image] = []
        self.usages: list[gr.HTML] = []
        self.codes: list[gr.Number] = []
        self.descriptions: list[gr.HTML] = []
        gr.HTML("<h2>The codebooks</h2>")
        gr.HTML(f"<p>{ABOUT}</p>", elem_classes="lead")
        for level in range(len(self.codebooks.levels)):
            self.build_level(level)
        self.numbers, self.counts = gr.JSON(label="numbers", visible=False), gr.State()
        self.connect(photo, run, tab)

    def build_level(self, level: int) -> None:
        """One level: its usage in words, its sheet, the number of the chosen code and its description."""
        name, size = self.codebooks.levels[level].name, self.codebooks.levels[level].size
        self.usages.append(gr.HTML(label=f"{name} usage"))
        self.sheets.append(
            gr.Image(
                label=name, show_label=False, format="png", interactive=False, buttons=["download", "fullscreen"],
                alt_text=f"all {size} {name} codes", elem_id=f"sheet-{name}", elem_classes=["picture", "sheet"],
            )
        )  # fmt: skip
        with gr.Row(elem_classes="one-code"):
            self.codes.append(gr.Number(0, label=f"{name} code", precision=0, min_width=200, scale=0))
            self.descriptions.append(gr.HTML(self.describe(level)(None, 0)))

    @property
    def outputs(self) -> list[Block]:
        """The keys of every update; the API returns all but the last, in this order."""
        return [*self.sheets, *self.usages, self.numbers, self.counts]

    def connect(self, photo: gr.Image, run: Dependency, tab: gr.Tab) -> None:
        counted = run.success(
            self.atlas, photo, self.outputs, api_name="atlas", show_progress_on=self.usages[0], **MODEL_QUEUE
        )
        run.failure(lambda: self.show(None), None, self.outputs, **QUIET)
        tab.select(self.show, self.counts, self.outputs, **QUIET)
        for level, (sheet, code) in enumerate(zip(self.sheets, self.codes, strict=True)):
            described = (self.describe(level), [self.counts, code], self.descriptions[level])
            sheet.select(self.find_clicked(level), None, code, **QUIET).then(*described, **QUIET)
            code.input(*described, trigger_mode="always_last", **QUIET)
            counted.then(*described, **QUIET)

    def atlas(
        self,
        photo: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> Update:
        """Draw all color, shape and texture codes as sheets; those that a photo uses are bright and all others dim.

        photo: any picture file, read with at most 512 pixels a side; without one all codes are bright, and the numbers
        are those of training photos, if these were counted. Returns the three sheets, PNG; the usage of each codebook
        in words and as a histogram, HTML; and the numbers: for each level its size, the patches counted, the codes used
        and their perplexity.
        """
        if photo is None:
            return self.show(None)
        with errors_as_messages():
            picture = read_photo(photo, codebook_sheet.MAX_PHOTO_SIZE)
        progress(0.1, "Finding all codes of the photo")
        return self.show(codebook_sheet.count_codes(self.cst, picture))

    def show(self, counts: Counts | None) -> Update:
        """An update of all outputs; counts: of a photo's codes, None without a photo."""
        update: Update = {self.counts: counts}
        known, source = (counts, "your photo") if counts else (None, "photos in general")
        if counts is None and self.statistics is not None:
            known = self.statistics.counts
        numbers = {}
        for index, level in enumerate(self.codebooks.levels):
            bright = None if counts is None else counts[index]
            update[self.sheets[index]] = codebook_sheet.draw_sheet(self.codebooks, index, bright)
            if known is None:
                text = f'<div class="usage"><p><b>{level.name}</b> {level.size:,} codes.</p></div>'
            else:
                usage = codebook_sheet.measure_usage(level.name, known[index])
                text = codebook_sheet.usage_html(usage, known[index], source)
                numbers[level.name] = usage.to_json()
            update[self.usages[index]] = text
        update[self.numbers] = {"photo": counts is not None, "levels": numbers}
        return update

    def find_clicked(self, level: int) -> Callable[[gr.SelectData], int | None]:
        """A handler of clicks on a level's sheet."""

        def find(event: gr.SelectData) -> int | None:
            return codebook_sheet.code_at(self.codebooks, level, *event.index)

        return find

    def describe(self, level: int) -> Callable[[Counts | None, int | None], str]:
        """A handler of the number of a level's code."""
        size = self.codebooks.levels[level].size

        def describe(counts: Counts | None, code: int | None) -> str:
            if code is None:
                return ""
            if not 0 <= code < size:  # perhaps not typed to the end: no error message
                return f'<div class="one-tile"><span>the code {code}; accepted: 0 to {size - 1:,}</span></div>'
            level_counts = None if counts is None else counts[level]
            return codebook_sheet.describe_code(self.codebooks, level, code, self.statistics, level_counts)

        return describe
