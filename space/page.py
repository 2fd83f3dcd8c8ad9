"""The page: title, tabs, footer. One module a tab."""

import gradio as gr

from space import inside, reconstruct, remix, sample, story, theme
from space.models import Models

LARGEST_UPLOAD = "20mb"
KEEP_SECONDS = 3600  # uploads and results live this long, so that a visitor can still download them

HEADER = """
<h1>Color, shape, texture</h1>
<p>A photo becomes three codes for every 8 × 8 patch of pixels,
and a network paints it back from those codes alone;
a model that has learned the codes of flowers writes new pictures.</p>
"""
FOOTER = """
<p>Photos and new pictures are made on the machine that serves this page and deleted after about an hour.</p>
"""


def build(models: Models) -> gr.Blocks:
    """The whole page, ready for `serve`."""
    with gr.Blocks(
        title="CST: color, shape, texture", analytics_enabled=False, delete_cache=(KEEP_SECONDS // 6, KEEP_SECONDS)
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
        gr.HTML(FOOTER, elem_id="footer")
    return page.queue(max_size=64)


def serve(page: gr.Blocks, *, host: str, port: int, share: bool, mcp: bool = False) -> None:
    """Serve the page until interrupted, with `mcp` its actions as tools for agents too.

    Raises OSError if the port can't be opened.
    """
    _, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=theme.theme(),
        css_paths=theme.CSS,
        favicon_path=theme.ICON,
        footer_links=["api"],
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        mcp_server=mcp or None,  # None: as the host's variable says
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"The page is at {public or local} (Ctrl+C stops it)", flush=True)
    page.block_thread()
