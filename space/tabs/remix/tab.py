"""The Remix tab: complete and recolor a photo."""

import gradio as gr

from space.generation.panel import RunningVisits
from space.models import NO_PRIOR, Models
from space.tabs.remix import complete, recolor

PARTS = {"Complete": complete, "Recolor": recolor}


def build(models: Models, running: RunningVisits) -> list[gr.Image]:
    """Lay out the tab inside the current `gr.Blocks` and connect it -> its photos.

    Without GPT it only explains why.
    """
    if "gpt" not in models.kinds:
        gr.HTML(f"<p>{NO_PRIOR}</p>")
        return []
    gr.HTML("<p>The model has seen only flowers, so this works best on photos of flowers.</p>")
    with gr.Tabs(elem_id="parts"):
        photos = []
        for name, part in PARTS.items():
            with gr.Tab(name, id=name.lower()):
                photos.append(part.build(models, running))
    return photos
