"""The part of the page in which new pictures appear, on every tab that generates."""

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from prior.sampler import Sampler
from space.events import MODEL_QUEUE, QUIET, Update, scroll_to
from space.generation.generate import GenerationView, generate
from space.generation.request import ANY, DEFAULT_COUNT, FIRST_SEED, MAX_PICTURES, MAX_SEED, GenerationRequest


class RunningVisits:
    """The visitors for whom pictures are being drawn; each can stop their own run."""

    def __init__(self) -> None:
        self._stops: dict[str | None, threading.Event] = {}

    def __contains__(self, session: str | None) -> bool:
        return session in self._stops

    def begin(self, session: str | None) -> threading.Event:
        self._stops[session] = threading.Event()
        return self._stops[session]

    def stop(self, visitor: gr.Request) -> None:
        """End this visitor's run early: `/sample` and its like then return what was drawn so far."""
        if visitor.session_hash in self._stops:
            self._stops[visitor.session_hash].set()

    def end(self, session: str | None, stop: threading.Event) -> None:
        if self._stops.get(session) is stop:  # an abandoned run may end after the next one has begun
            del self._stops[session]


class Panel:
    """The right-hand column of a tab: an introduction, then new pictures as they grow, Stop, downloads and a table.

    running: shared by all panels, so that `/stop` and every Stop button end the visitor's run. introduction: HTML.
    prefix: of the ids of the panel's parts.
    """

    def __init__(self, running: RunningVisits, introduction: str, *, prefix: str = ""):
        self.running, self.elem_id = running, f"{prefix}drawn"
        with gr.Column(scale=3, min_width=300, elem_id=self.elem_id, elem_classes="result"):
            with gr.Row(visible=False, elem_classes="under") as self.queue_row:
                words = '<p class="words" role="status">Waiting for the model</p>'
                self.waiting = gr.HTML(words, elem_classes=["live", "waiting"])
                self.leave_button = gr.Button("Leave the queue", size="sm")
            with gr.Column() as self.introduction:
                gr.HTML(introduction, elem_id=f"{prefix}what-it-writes", elem_classes="welcome")
            with gr.Column(visible=False) as self.stage:
                with gr.Row(elem_classes="under"):
                    with gr.Row(visible=False) as self.stop_row:
                        self.stop_button = gr.Button("Stop", size="sm")
                    with gr.Row(visible=False, elem_classes="done") as self.done_row:
                        self.again_button = gr.Button("Draw again", size="sm")
                        self.sheet = gr.DownloadButton("Download one sheet (.png)", size="sm")
                        self.archive = gr.DownloadButton("Download pictures and codes (.zip)", size="sm")
                gr.HTML(elem_classes=["viewer", "numbers", "drawn"])  # an earlier result; filled by earlier.js
                self.live = gr.HTML(label="grid", elem_id=f"{prefix}live", elem_classes="live")
                self.table = gr.HTML(label="table", elem_id=f"{prefix}drawn-numbers", elem_classes=["numbers", "drawn"])
                gr.HTML(elem_classes="earlier")
            self.pictures = gr.Gallery(label="pictures", format="png", visible=False)
            self.numbers = gr.JSON(label="numbers", visible=False)

    @property
    def outputs(self) -> list[Block]:
        """The keys of every update; the API returns the first six, in this order."""
        api = [self.live, self.pictures, self.sheet, self.archive, self.numbers, self.table]
        return [*api, self.introduction, self.stage, self.queue_row, self.stop_row, self.done_row]

    def show(self, view: GenerationView) -> Update:
        """An update of all outputs."""
        is_running = view.numbers is None
        return {
            self.live: view.live,
            self.pictures: view.pictures,
            self.sheet: view.sheet,
            self.archive: view.archive,
            self.numbers: view.numbers,
            self.table: view.table,
            self.introduction: gr.update(visible=False),
            self.stage: gr.update(visible=True),
            self.queue_row: gr.update(visible=False),
            self.stop_row: gr.update(visible=is_running),
            self.done_row: gr.update(visible=not is_running),
        }

    def show_queue(self, waiting: bool) -> Update:
        """What is seen between a click and the first code: also the last result, which stays if a request fails."""
        return {
            self.queue_row: gr.update(visible=waiting),
            self.stop_row: gr.update(visible=False),
            self.done_row: gr.update(visible=not waiting),
        }

    def generate(self, sampler: Sampler, request: GenerationRequest, visitor: gr.Request) -> Iterator[Update]:
        """Draw new pictures until they are done, or until this visitor clicks Stop."""
        stop = self.running.begin(visitor.session_hash)
        try:
            with tempfile.TemporaryDirectory() as folder:  # Gradio copies each file before it asks for the next update
                for view in generate(sampler, request, Path(folder), stop.is_set):
                    yield self.show(view)
        finally:
            self.running.end(visitor.session_hash, stop)

    def connect(
        self,
        handler: Callable[..., Iterator[Update]],
        inputs: Sequence[Block],
        *,
        button: gr.Button,
        seed: gr.Number,
        keep_seed: gr.Checkbox,
        api_name: str,
        examples: Sequence[gr.Button] = (),
        choose: Callable[..., Update] | None = None,
        chosen: Sequence[Block] = (),
    ) -> None:
        """Call `handler` when the button is clicked, or "Draw again", or an example; and as an API endpoint.

        A click on an example first calls `choose`, which fills in the fields `chosen`. Every click takes a new seed,
        unless `keep_seed` is checked. A call by a program takes the seed it gives.
        """
        clicks = [each.click for each in (button, self.again_button, *examples)]
        shown: dict[str, Any] = {
            "show_progress": "minimal",
            "show_progress_on": [self.waiting, self.live],
            **MODEL_QUEUE,
        }
        private: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "always_last", **shown}
        # Without the queue: the model may still be busy with another visitor.
        rows: list[Block] = [self.queue_row, self.stop_row, self.done_row]
        gr.on(clicks, lambda: self.show_queue(True), None, rows, **QUIET)
        gr.Button(visible=False).click(handler, inputs, self.outputs, api_name=api_name, **shown)
        filled_in = None
        begun = [gr.on([button.click, self.again_button.click], next_seed, [seed, keep_seed], seed, **QUIET)]
        if examples:
            filled_in = gr.on([each.click for each in examples], choose, None, chosen, **QUIET)
            begun += [filled_in, filled_in.then(next_seed, [seed, keep_seed], seed, **QUIET)]
        runs = [each.then(handler, inputs, self.outputs, **private) for each in begun if each is not filled_in]
        for event in (*begun, *runs):
            event.failure(lambda: self.show_queue(False), None, rows, **QUIET)
        self.stop_button.click(self.running.stop, None, None, **QUIET)
        self.leave_button.click(lambda: self.show_queue(False), None, rows, cancels=runs, **QUIET)
        gr.on(clicks, None, js=scroll_to(self.elem_id), api_visibility="private")


def level_sources(color: str, shape: str, texture: str) -> str:
    """HTML that names the source of each level: "yours", "GPT", or other words."""
    sources = {"color": color, "shape": shape, "texture": texture}
    chips = (f'<span data-by="{source}">{name} <b>{source}</b></span>' for name, source in sources.items())
    return f'<p class="who">{"".join(chips)}</p>'


def choose_kind(kinds: Sequence[str], *, elem_id: str, label: str = "Kind of flower") -> gr.Dropdown:
    """A list of the kinds of flower."""
    kind = gr.Dropdown([ANY, *kinds], value=ANY, label=label, elem_id=elem_id)
    # Gradio's own `preprocess` accepts only exact names; `Sampler` ignores case and suggests the nearest names.
    kind.preprocess = str  # type: ignore[method-assign, assignment]
    return kind


def choose_count(*, prefix: str = "") -> tuple[gr.Slider, gr.Number, gr.Checkbox]:
    """(number of pictures, seed, whether to keep the seed). prefix: of the ids."""
    with gr.Row(elem_id=f"{prefix}how-many", elem_classes="how-many", equal_height=True):
        count = gr.Slider(1, MAX_PICTURES, DEFAULT_COUNT, step=1, label="Pictures", min_width=120)
        with gr.Column(min_width=120, elem_id=f"{prefix}seed", elem_classes="seed"):
            seed = gr.Number(FIRST_SEED, label="Seed", precision=0)
            keep = gr.Checkbox(False, label="Keep", elem_id=f"{prefix}keep-seed", elem_classes="keep-seed")
    return count, seed, keep


def next_seed(seed: float | None, keep: bool) -> int:
    """The seed of the next pictures: the same if it is kept, else a random one, 0 to 2147483647."""
    return secrets.randbelow(MAX_SEED + 1) if seed is None or not keep else int(seed)
