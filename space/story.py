"""The How it works tab: the three residuals of a photo, step by step, in plain words."""

import gradio as gr

from space.models import Models


def build(models: Models, tab: gr.Tab, photo: gr.Image) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it; `photo` is the one chosen to be reconstructed."""
