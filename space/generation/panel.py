"""Where new pictures appear, on every tab that draws: as they grow, with Stop, downloads and numbers."""

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from prior.sampler import Sampler
from space.generation.gallery import blank
from space.generation.generate import LAST, Drawn, draw
from space.generation.request import ANY, MOST, MOST_SEED, Wish
from space.models import MODEL_QUEUE, Models

SEED = 1
QUIET = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}

# On a phone the pictures lie below the fold.
SHOW_PICTURES = """() => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (innerWidth <= 640)
        document.getElementById("%s").scrollIntoView({behavior: calm ? "auto" : "smooth"});
}"""


class Running:
    """Which visitors' pictures are being drawn, so that each can stop their own."""

    def __init__(self):
        self._asked: dict[str | None, threading.Event] = {}

    def __contains__(self, session: str | None) -> bool:
        return session in self._asked

    def begin(self, session: str | None) -> threading.Event:
        self._asked[session] = threading.Event()
        return self._asked[session]

    def stop(self, session: str | None) -> None:
        if session in self._asked:
            self._asked[session].set()

    def end(self, session: str | None, asked: threading.Event) -> None:
        if self._asked.get(session) is asked:  # one that was left may end after the next has begun
            del self._asked[session]


@dataclass(frozen=True)
class Easel:
    """The parts that show a run. outputs: in the order of `layout`. column: the id of the column it stands in."""

    leave: gr.Button
    stop: gr.Button
    others: gr.Button
    outputs: list[Component | gr.Column | gr.Row]
    column: str


def build_easel(welcome: str, *, prefix: str = "") -> Easel:
    """Lay out the right-hand column of a tab; `welcome` is the HTML that it shows before anything is drawn.

    prefix: of the ids of its parts.
    """
    with gr.Column(scale=3, min_width=300, elem_id=f"{prefix}drawn", elem_classes="result"):
        with gr.Column() as before:
            gr.HTML(welcome, elem_id=f"{prefix}what-it-writes", elem_classes="welcome")
        with gr.Column(visible=False) as stage:
            live = gr.HTML(label="grid", elem_id=f"{prefix}live", elem_classes="live")
            with gr.Row(elem_classes="under"):
                with gr.Row(visible=False) as queued:
                    leave = gr.Button("Leave the queue", size="sm")
                with gr.Row(visible=False) as writing:
                    stop = gr.Button("Stop", size="sm")
                with gr.Row(visible=False) as done:
                    others = gr.Button("Draw others", size="sm")
                    sheet = gr.DownloadButton("Download one sheet (.png)", size="sm")
                    archive = gr.DownloadButton("Download pictures and codes (.zip)", size="sm")
            table = gr.HTML(label="table", elem_id=f"{prefix}drawn-numbers", elem_classes=["numbers", "drawn"])
        pictures = gr.Gallery(label="pictures", format="png", visible=False)
        numbers = gr.JSON(label="numbers", visible=False)
    outputs = [live, pictures, sheet, archive, numbers, table, before, stage, queued, writing, done]
    return Easel(leave, stop, others, outputs, f"{prefix}drawn")


def who(color: str, shape: str, texture: str) -> str:
    """HTML that says who gives each level: "yours", "GPT", or other words."""
    levels = {"color": color, "shape": shape, "texture": texture}
    chips = (f'<span data-by="{by}">{name} <b>{by}</b></span>' for name, by in levels.items())
    return f'<p class="who">{"".join(chips)}</p>'


def choose_kind(kinds: Sequence[str], *, elem_id: str, label: str = "Kind of flower") -> gr.Dropdown:
    """A list of the kinds of flower."""
    kind = gr.Dropdown([ANY, *kinds], value=ANY, label=label, elem_id=elem_id)
    # Gradio's own refuses another spelling, and lists all names where `Sampler` knows the nearest.
    kind.preprocess = str
    return kind


def choose_count(*, prefix: str = "") -> tuple[gr.Slider, gr.Number, gr.Button]:
    """(how many pictures, the seed, the button for a new one). prefix: of their ids."""
    with gr.Row(elem_id=f"{prefix}how-many", elem_classes="how-many", equal_height=True):
        count = gr.Slider(1, MOST, 4, step=1, label="Pictures", min_width=120)
        with gr.Column(min_width=120, elem_id=f"{prefix}seed", elem_classes="seed"):
            seed = gr.Number(SEED, label="Seed", precision=0)
            new_seed = gr.Button("New seed", size="sm", elem_id=f"{prefix}new-seed", elem_classes="new-seed")
    return count, seed, new_seed


def connect(
    easel: Easel,
    models: Models,
    handler: Callable[..., Iterator[tuple]],
    inputs: list[Component],
    *,
    press: gr.Button,
    count: gr.Slider,
    seed: gr.Number,
    name: str,
    examples: Sequence[gr.Button] = (),
    pick: Callable[..., Any] | None = None,
    picked: Sequence[Component] = (),
) -> None:
    """Let the buttons of a tab draw. name: of the action.

    examples: more buttons, of which a press first lets `pick` set the components `picked`, and then draws too.
    """
    buttons = (press, easel.others, *examples)
    told = {"show_progress": "minimal", "show_progress_on": easel.outputs[0], **MODEL_QUEUE}  # the place in the queue
    again = {"api_visibility": "private", "trigger_mode": "always_last", **told}
    # At once, while the model may still be busy with another visitor's wish.
    gr.on([button.click for button in buttons], waiting(models), count, easel.outputs, **QUIET)
    runs = [
        press.click(handler, inputs, easel.outputs, api_name=name, **told),
        easel.others.click(any_seed, None, seed, **QUIET).then(handler, inputs, easel.outputs, **again),
    ]
    if examples:
        chosen = gr.on([button.click for button in examples], pick, None, list(picked), **QUIET)
        runs.append(chosen.then(handler, inputs, easel.outputs, **again))
    for run in runs:
        run.failure(lambda: layout(None), None, easel.outputs, **QUIET)
    easel.leave.click(lambda: layout(None), None, easel.outputs, cancels=runs, **QUIET)
    gr.on([button.click for button in buttons], None, js=SHOW_PICTURES % easel.column, api_visibility="private")


def show(running: Running, session: str | None, ask: Callable[[], tuple[Sampler, Wish]]) -> Iterator[tuple]:
    """Draw what is asked for -> values of an easel's outputs, again and again. What is wrong is said in words."""
    stop = running.begin(session)
    try:
        sampler, wish = ask()
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies what is yielded before it asks for more
            for drawn in draw(sampler, wish, Path(folder), stop.is_set):
                yield layout(drawn)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None
    finally:
        running.end(session, stop)


def waiting(models: Models) -> Callable[[int], tuple]:
    """What is seen between a press and the first code."""
    names = [level.name for level in models.cst("int8").tokenizer.levels]
    return lambda count: layout(Drawn(live=blank(count, "Waiting for the model", [*names, LAST])), waiting=True)


def any_seed() -> int:
    """A seed by chance, 0 to 2147483647."""
    return secrets.randbelow(MOST_SEED + 1)


def layout(drawn: Drawn | None, *, waiting: bool = False) -> tuple:
    """Values of all outputs, and which parts of the tab are seen; values, never `gr.skip()`: see `reconstruct`."""
    begun = drawn is not None
    writing = begun and drawn.numbers is None
    return (
        *(drawn or Drawn()).outputs(),
        gr.Column(visible=not begun),  # welcome
        gr.Column(visible=begun),  # stage
        gr.Row(visible=waiting),  # Leave the queue
        gr.Row(visible=writing and not waiting),  # Stop
        gr.Row(visible=begun and not writing),  # downloads
    )


def stopper(running: Running) -> Callable[..., None]:
    """The function behind Stop."""

    def stop(request: gr.Request) -> None:
        """End the drawing that this visitor has begun: `/sample` then returns what there is, painted and counted."""
        running.stop(request.session_hash)

    return stop
