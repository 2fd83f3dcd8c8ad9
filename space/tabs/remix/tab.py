"""The Remix tab: sketch with colors, complete, recolor, retexture, and mix two photos."""

import gradio as gr

from space.generation.panel import RunningVisits
from space.models import Models
from space.tabs.remix import complete, mix, recolor, retexture, sketch

PARTS = {"Sketch": sketch, "Complete": complete, "Recolor": recolor, "Retexture": retexture}


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; without GPT, only mixing works."""
    if "gpt" not in models.kinds:
        gr.HTML("<p>Only mixing works here. The other parts need GPT, which this page does not have.</p>")
    panels, running = [], RunningVisits()
    with gr.Tabs(elem_id="parts"):
        for name, part in PARTS.items() if "gpt" in models.kinds else ():
            with gr.Tab(name, id=name.lower()):
                panels.append(part.build(models, running))
        with gr.Tab("Mix", id="mix") as tab:
            mix.build(models, tab)
    if panels:
        clicks = [panel.stop_button.click for panel in panels]
        gr.on(clicks, running.stop, None, None, api_name="stop_remix", queue=False, show_progress="hidden")
