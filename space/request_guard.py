"""What programs may send to the page that its own controls never would: refused in words, before anything is opened."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from gradio.data_classes import GradioModel, GradioRootModel
from gradio.processing_utils import check_all_files_in_cache
from gradio_client.utils import is_file_obj, is_http_url_like, traverse

MOST = 10**15  # well below, all whole numbers are exact in JSON
SHOWN = 40  # characters of a wrong value


def guard(page: gr.Blocks) -> gr.Blocks:
    """Wrap the `preprocess` of every component: numbers must be numbers, files must be uploads. Returns the page.

    Gradio alone lets a file's path through unchecked where its description has no "meta", downloads any address that
    is given for a file, and answers a number of another type without a message.
    """
    for block in page.blocks.values():
        if isinstance(block, gr.Number | gr.Slider):
            block.preprocess = checked_number(block)
        elif isinstance(block, gr.components.Component):
            block.preprocess = checked_files(block.preprocess)
            block.async_move_resource_to_block_cache = without_addresses(block.async_move_resource_to_block_cache)
    return page


def checked_number(block: gr.Number | gr.Slider) -> Callable[[Any], Any]:
    """Its `preprocess`, for finite numbers alone; an empty `gr.Number` stays None."""
    own, may_be_empty = block.preprocess, isinstance(block, gr.Number)

    def preprocess(value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (value is None and may_be_empty) and not (number and abs(value) < MOST and math.isfinite(value)):
            said = repr(value) if isinstance(value, float | str | None) else type(value).__name__
            raise gr.Error(
                f"{block.label}: {said[:SHOWN]} is not accepted; give a number of up to 15 digits",
                print_exception=False,
            )
        return own(value)

    return preprocess


def checked_files(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The `preprocess`, for files alone that lie among the uploads or are the page's own examples."""

    def preprocess(payload: Any) -> Any:
        files = payload.model_dump() if isinstance(payload, GradioModel | GradioRootModel) else payload
        try:
            traverse(files, refuse_address, is_file_obj)
            check_all_files_in_cache(files)
        except (gr.Error, ValueError):  # ValueError: a path that is none, such as one with a zero byte
            raise gr.Error(
                "Send the file as an upload; paths and addresses are not opened", print_exception=False
            ) from None
        return own(payload)

    return preprocess


def refuse_address(file: dict) -> None:
    """Raise gr.Error for a file that is elsewhere: Gradio's check lets those pass."""
    if is_http_url_like(str(file.get("path", ""))):
        raise gr.Error("an address")


def without_addresses(own: Callable[..., Awaitable[str | None]]) -> Callable[..., Awaitable[str | None]]:
    """The component's way of taking a file in, for uploads alone."""

    async def move(path: Any) -> str | None:
        if is_http_url_like(str(path)):
            raise gr.Error("Send the file as an upload; paths and addresses are not opened", print_exception=False)
        return await own(path)

    return move
