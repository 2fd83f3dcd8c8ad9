"""The Remix tab: sketch with colors, complete, recolor, retexture, and mix two photos."""

import html

import gradio as gr

from space.generation.panel import Running, stopper
from space.models import Models
from space.tabs.remix import complete, mix, recolor, retexture, sketch

PARTS = {"Sketch": sketch, "Complete": complete, "Recolor": recolor, "Retexture": retexture}


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; what needs GPT says why where it is not there."""
    if "gpt" not in models.kinds:
        why = html.escape(models.refusals["gpt"])
        gr.HTML(f"<p>Only mixing works here: the other parts need GPT, and it is not here. {why}.</p>")
    easels, running = [], Running()
    with gr.Tabs(elem_id="parts"):
        for name, part in PARTS.items() if "gpt" in models.kinds else ():
            with gr.Tab(name, id=name.lower()):
                easels.append(part.build(models, running))
        with gr.Tab("Mix", id="mix") as tab:
            mix.build(models, tab)
    if easels:
        stops = [easel.stop.click for easel in easels]
        gr.on(stops, stopper(running), None, None, api_name="stop_remix", queue=False, show_progress="hidden")
