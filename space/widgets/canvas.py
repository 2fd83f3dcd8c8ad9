"""A square canvas to paint on with the mouse or a finger, and what it sends."""

import gradio as gr
from gradio.components.image_editor import EditorData

from space.widgets.painting import SIDE, Painting


def build_canvas(elem_id: str, *, brush: gr.Brush, background: str) -> gr.ImageEditor:
    """A canvas of one layer, whose value is a `Painting`; `background` is the file below the strokes."""
    canvas = gr.ImageEditor(
        {"background": background, "layers": [], "composite": None}, label="canvas", show_label=False,
        type="filepath", format="png", sources=(), transforms=(), layers=False, buttons=[], brush=brush,
        eraser=gr.Eraser(default_size=brush.default_size), canvas_size=(SIDE, SIDE), fixed_canvas=True,
        height=420, elem_id=elem_id, elem_classes="canvas",
    )  # fmt: skip
    canvas.preprocess = uploaded_painting  # Gradio's own opens the files with Pillow, and an unreadable one ends there
    return canvas


def uploaded_painting(payload: EditorData | None) -> Painting:
    """The paths of the files as they came, so that `read_photo` alone decides what is a picture."""
    if payload is None:
        return Painting()
    files = [payload.background, payload.composite, *payload.layers]
    if any(file is not None and file.path is None for file in files):
        raise gr.Error("Send the background, the layers and the composite as files.", print_exception=False)
    background, composite = (file.path if file else None for file in files[:2])
    return Painting(background, tuple(layer.path for layer in payload.layers), composite)
