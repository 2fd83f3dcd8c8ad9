"""What the event handlers of all tabs share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.blocks import Block

# Every event that runs a model takes these, so that two visitors never compete for the same processor.
MODEL_QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
# For events that are not part of the API and take no time.
QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}

# What a handler returns. It must name every output: Gradio fills in `gr.skip()` for the others, forgets the files of
# these components, and `delete_cache` then never deletes them.
Update = dict[Block, Any]


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Show a ValueError to the visitor as a message, without a traceback in the log."""
    try:
        yield
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None


def clicked_value(event: gr.EventData) -> str:
    """The label of the button that was clicked."""
    return event.target.value  # type: ignore[union-attr]


def scroll_to(elem_id: str) -> str:
    """JavaScript that scrolls to a result on a phone, where it lies below the fold; not if an input is empty."""
    return f"""(...inputs) => {{
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (innerWidth <= 640 && inputs.every(Boolean))
        document.getElementById("{elem_id}").scrollIntoView({{behavior: calm ? "auto" : "smooth"}});
}}"""
