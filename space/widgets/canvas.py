"""A square canvas to paint on with the mouse or a finger, and the value it sends."""

from typing import Any

import gradio as gr
from gradio.components.image_editor import EditorData

from space.widgets.painting import CANVAS_SIZE, Painting
from space.widgets.photo_picker import EXAMPLES, file_in_snippet

EMPTY = EXAMPLES / "sketches" / "empty.png"  # a transparent canvas


def build_canvas(elem_id: str, *, brush: gr.Brush) -> gr.ImageEditor:
    """An empty canvas of one layer, whose value is a `Painting`."""
    empty: Any = canvas_value()
    canvas = gr.ImageEditor(
        empty, label="canvas", show_label=False,
        type="filepath", format="png", sources=(), transforms=(), layers=False, buttons=[], brush=brush,
        eraser=gr.Eraser(default_size=brush.default_size), canvas_size=(CANVAS_SIZE, CANVAS_SIZE), fixed_canvas=True,
        height=380, elem_id=elem_id, elem_classes="canvas",
    )  # fmt: skip
    # Gradio's own `preprocess` opens the files with Pillow and fails without a message on an unreadable one.
    canvas.preprocess = uploaded_painting  # type: ignore[method-assign, assignment]
    painting = file_in_snippet("sketch.png")
    canvas.example_payload = lambda: {"background": None, "layers": [], "composite": painting}  # type: ignore[method-assign]
    return canvas


def canvas_value(*, background: Any = None, layer: Any = None) -> dict[str, Any]:
    """A value of the canvas. background, layer: a picture or its file; without them the canvas is empty."""
    return {
        "background": str(EMPTY) if background is None else background,
        "layers": [] if layer is None else [layer],
        "composite": None,
    }


def uploaded_painting(payload: EditorData | None) -> Painting:
    """The paths of the uploaded files; `read_photo` opens them and rejects those that are not pictures."""
    if payload is None:
        return Painting()
    files = [payload.background, payload.composite, *payload.layers]
    if any(file is not None and file.path is None for file in files):
        raise gr.Error("Send the background, the layers and the composite as files.", print_exception=False)
    background, composite = (file.path if file else None for file in files[:2])
    return Painting(background, tuple(layer.path for layer in payload.layers if layer.path), composite)
