"""Reject values that the page's own controls never send, with a message and before anything is opened."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from gradio.data_classes import GradioModel, GradioRootModel
from gradio.processing_utils import check_all_files_in_cache
from gradio_client.utils import is_file_obj, is_http_url_like, traverse

MAX_NUMBER = 10**15  # integers up to this one are exact in JSON
MAX_QUOTED = 40  # characters of a wrong value


def guard(page: gr.Blocks) -> gr.Blocks:
    """Wrap the `preprocess` of every component: numbers must be numbers, files must be uploads. Returns the page.

    Without this, Gradio does not check the path of a file whose description has no "meta", downloads any URL that is
    sent for a file, and rejects a number of another type without a message.
    """
    for block in page.blocks.values():
        if isinstance(block, gr.Number | gr.Slider):
            block.preprocess = checked_number(block)  # type: ignore[method-assign, assignment]
        elif isinstance(block, gr.components.Component):
            move = without_urls(block.async_move_resource_to_block_cache)
            block.preprocess = checked_files(block.preprocess)  # type: ignore[method-assign, assignment]
            block.async_move_resource_to_block_cache = move  # type: ignore[method-assign, assignment]
    return page


def checked_number(block: gr.Number | gr.Slider) -> Callable[[Any], Any]:
    """Its `preprocess`, only for finite numbers; an empty `gr.Number` stays None."""
    preprocess_number, may_be_empty = block.preprocess, isinstance(block, gr.Number)

    def preprocess(value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (value is None and may_be_empty) and not (number and abs(value) < MAX_NUMBER and math.isfinite(value)):
            quoted = repr(value) if isinstance(value, float | str | None) else type(value).__name__
            raise gr.Error(
                f"{block.label}: {quoted[:MAX_QUOTED]} is not accepted; give a number of up to 15 digits",
                print_exception=False,
            )
        return preprocess_number(value)

    return preprocess


def checked_files(preprocess_files: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The `preprocess`, only for files that are uploads or the page's own examples."""

    def preprocess(payload: Any) -> Any:
        files: Any = payload.model_dump() if isinstance(payload, GradioModel | GradioRootModel) else payload
        try:
            traverse(files, reject_url, is_file_obj)
            check_all_files_in_cache(files)
        except (gr.Error, ValueError):  # ValueError: not a path, for example with a zero byte
            raise gr.Error("Send the file as an upload; paths and URLs are not opened", print_exception=False) from None
        return preprocess_files(payload)

    return preprocess


def reject_url(file: dict) -> None:
    """Raise gr.Error for a URL: Gradio's own check accepts those."""
    if is_http_url_like(str(file.get("path", ""))):
        raise gr.Error("a URL")


def without_urls(move_to_cache: Callable[..., Awaitable[str | None]]) -> Callable[..., Awaitable[str | None]]:
    """The component's function that copies a file to the cache, only for uploads."""

    async def move(path: Any) -> str | None:
        if is_http_url_like(str(path)):
            raise gr.Error("Send the file as an upload; paths and URLs are not opened", print_exception=False)
        return await move_to_cache(path)

    return move
