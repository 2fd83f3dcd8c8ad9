"""The page: title, tabs, footer."""

import os
import shutil
import signal

import gradio as gr
from gradio.route_utils import delete_files_created_by_app

from space import theme
from space.generation.panel import RunningVisits
from space.models import Models
from space.picture_files import write_pictures_once
from space.request_guard import guard
from space.tabs.how_it_works import tab as how_it_works
from space.tabs.inside.tab import InsideTab
from space.tabs.reconstruct.tab import ReconstructTab
from space.tabs.remix import tab as remix
from space.tabs.sample.tab import SampleTab
from space.tabs.sketch import tab as sketch
from space.widgets.photo_picker import SharedPhoto

MAX_UPLOAD = "20mb"
KEEP_SECONDS = 3600  # uploads and results are kept this long, so that a visitor can still download them
MAX_SESSIONS = 64  # browser tabs for which Gradio keeps a copy of the page's layout, 0.7 MB each; its default is 10,000

DESCRIPTION = (
    "Take a photo apart into color, shape and texture codes, render it from them, and let a model draw new pictures."
)
HEADER = """
<h1>Color, shape, texture</h1>
<p>A photo becomes three codes for every 8&nbsp;×&nbsp;8 patch of pixels,
and a network renders the photo from only those codes;
a model trained on the codes of flowers draws new pictures.</p>
"""
HEAD = f'<meta name="description" content="{DESCRIPTION}">'
FOOTER = """
<p>Everything is computed on the machine that serves this page, and nothing is sent elsewhere.
Photos and the pictures made from them are deleted within {minutes} minutes, and when the page is shut down.
Nothing else is stored, and visits are not counted.</p>
"""


def build(models: Models, *, keep: int = KEEP_SECONDS) -> gr.Blocks:
    """The whole page, ready for `serve`. keep: seconds after which uploads and results are deleted, at least 6."""
    write_pictures_once()
    check_every = keep // 6
    with gr.Blocks(
        title="CST: color, shape, texture", analytics_enabled=False, delete_cache=(check_every, keep - check_every)
    ) as page:
        running, shared = RunningVisits(), SharedPhoto()
        if models.kinds:  # for programs; the page's own Stop buttons do the same
            gr.Button(visible=False).click(running.stop, None, None, api_name="stop", queue=False)
        restore = gr.Button("Restore the fields of the address", elem_id="restore")  # clicked by address.js
        gr.HTML(HEADER, elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Reconstruct", id="reconstruct") as tab:
                photo = ReconstructTab(models, shared).photo
                shared.follow(photo)
                shared.bring(photo, tab.select)
            with gr.Tab("Sketch", id="sketch"):
                sketch.build(models, running)
            with gr.Tab("Sample", id="sample"):
                SampleTab(models, running, restore)
            with gr.Tab("Remix", id="remix") as tab:
                for photo in remix.build(models, running):
                    shared.follow(photo)
                    shared.bring(photo, tab.select)
            with gr.Tab("Look inside", id="inside") as tab:
                inside = InsideTab(models, tab)
                shared.follow(inside.photo)
                shared.bring(inside.photo, tab.select)
            with gr.Tab("How it works", id="story") as tab:
                how_it_works.build(models, tab, shared)
        shared.connect()
        gr.HTML(FOOTER.format(minutes=max(1, keep // 60)), elem_id="footer")
    return guard(page).queue(max_size=64)


def serve(page: gr.Blocks, *, host: str, port: int, share: bool, mcp: bool = False, uploads: str | None = None) -> None:
    """Serve the page until the process is interrupted or terminated.

    mcp: also offer its actions as tools for agents. uploads: a folder that is deleted at the end. Raises OSError if
    the port can't be opened.
    """
    bypass_proxy(host)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl+C: visitors' files are deleted first
    _, local, public = page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        share=share,
        theme=theme.theme(),
        css_paths=theme.CSS,
        js=theme.script(),
        head=HEAD,
        favicon_path=theme.ICON,
        footer_links=["api"],
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        mcp_server=mcp or None,  # None: the environment variable of the host decides
        run_history=False,  # otherwise visitors' browsers keep every photo and picture
        enable_monitoring=False,
        state_session_capacity=MAX_SESSIONS,
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"The page is at {public or local} (Ctrl+C stops it)", flush=True)
    page.block_thread()
    end(page, uploads)


def bypass_proxy(host: str) -> None:
    """Exempt this machine from the proxies of the environment: Gradio calls its own page when it starts."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", "127.0.0.1", "::1", host]))


def end(page: gr.Blocks, uploads: str | None) -> None:
    """Delete visitors' files and exit. (Gradio would first wait until all browser tabs are closed.)"""
    delete_files_created_by_app(page, age=None)
    if uploads is not None:
        shutil.rmtree(uploads, ignore_errors=True)
    os._exit(0)
