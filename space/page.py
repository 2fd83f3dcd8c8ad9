"""The page: title, tabs, footer. One module a tab."""

import os
import signal

import gradio as gr
from gradio.route_utils import delete_files_created_by_app

from space import theme
from space.models import Models
from space.request_guard import guard
from space.tabs.how_it_works import tab as story
from space.tabs.inside import tab as inside
from space.tabs.reconstruct import tab as reconstruct
from space.tabs.remix import tab as remix
from space.tabs.sample import tab as sample

LARGEST_UPLOAD = "20mb"
KEEP_SECONDS = 3600  # uploads and results live this long, so that a visitor can still download them
MOST_SESSIONS = 64  # tabs that Gradio keeps a copy of the page's layout for, 0.7 MB each; it would keep 10,000

HEADER = """
<h1>Color, shape, texture</h1>
<p>A photo becomes three codes for every 8&nbsp;×&nbsp;8 patch of pixels,
and a network paints it back from those codes alone;
a model that has learned the codes of flowers writes new pictures.</p>
"""
FOOTER = """
<p>Everything is computed on the machine that serves this page, and nothing is passed on.
Photos and the pictures made from them are deleted within {minutes} minutes, and when the page is shut down.
Nothing else is stored, and visits are not counted.</p>
"""


def build(models: Models, *, keep: int = KEEP_SECONDS) -> gr.Blocks:
    """The whole page, ready for `serve`. keep: seconds after which uploads and results are deleted, at least 6."""
    often = keep // 6
    with gr.Blocks(
        title="CST: color, shape, texture", analytics_enabled=False, delete_cache=(often, keep - often)
    ) as page:
        gr.HTML(HEADER, elem_id="header")
        with gr.Tabs():
            with gr.Tab("Reconstruct", id="reconstruct"):
                photo = reconstruct.build(models)
            with gr.Tab("Sample", id="sample"):
                sample.build(models)
            with gr.Tab("Remix", id="remix"):
                remix.build(models)
            with gr.Tab("Look inside", id="inside"):
                inside.build(models)
            with gr.Tab("How it works", id="story") as tab:
                story.build(models, tab, photo)
        gr.HTML(FOOTER.format(minutes=max(1, keep // 60)), elem_id="footer")
    return guard(page).queue(max_size=64)


def serve(page: gr.Blocks, *, host: str, port: int, share: bool, mcp: bool = False) -> None:
    """Serve the page until interrupted or told to end, with `mcp` its actions as tools for agents too.

    Raises OSError if the port can't be opened.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl+C: visitors' files are deleted before the end
    _, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=theme.theme(),
        css_paths=theme.CSS,
        js=theme.KEYBOARD.read_text(),
        favicon_path=theme.ICON,
        footer_links=["api"],
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        mcp_server=mcp or None,  # None: as the host's variable says
        run_history=False,  # else visitors' browsers keep every photo and picture
        enable_monitoring=False,
        state_session_capacity=MOST_SESSIONS,
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"The page is at {public or local} (Ctrl+C stops it)", flush=True)
    page.block_thread()
    end(page)


def end(page: gr.Blocks) -> None:
    """Delete what visitors sent and got, and end the process: Gradio would first wait until all tabs are closed."""
    delete_files_created_by_app(page, age=None)
    os._exit(0)
