"""How a visitor chooses a photo, on every tab that takes one: press an example, or bring one's own."""

from functools import partial
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE_PHOTOS = {
    "cat": "chelsea.jpg",
    "blossom": "blossom.webp",
    "coffee": "coffee.jpg",
    "canal": "canal.webp",
    "astronaut": "astronaut.jpg",
    "boat": "boat.webp",
}


def photo_picker(elem_id: str, *, title: str = "Press a photo", height: int = 300) -> gr.Image:
    """Example photos as buttons, and the upload, whose value is the path of the chosen file or None."""
    gr.set_static_paths(EXAMPLES)  # served where they lie: copies would be deleted with the visitors' photos
    gr.HTML(f'<h2 class="label">{title}</h2>')
    with gr.Row(elem_classes="examples"):
        examples = {
            gr.Button(name, icon=EXAMPLES / file, elem_classes="example"): str(EXAMPLES / file)
            for name, file in EXAMPLE_PHOTOS.items()
        }
    gr.HTML('<h2 class="label">Or bring your own</h2>')
    photo = gr.Image(
        label="photo", show_label=False, type="filepath", image_mode=None, height=height, buttons=["fullscreen"],
        sources=["upload", "webcam", "clipboard"], elem_id=elem_id, elem_classes="photo", alt_text="the chosen photo",
        placeholder="Drop a photo here, or press to choose one",
    )  # fmt: skip
    photo.preprocess = uploaded_file  # Gradio's own opens the file with Pillow, and an unreadable one ends there
    for button, file in examples.items():
        button.click(partial(str, file), None, photo, api_visibility="private", queue=False, show_progress="hidden")
    return photo


def uploaded_file(payload: ImageData | None) -> str | None:
    """The path of an upload as it came, so that `load_image` alone decides what is a picture."""
    if payload is not None and payload.path is None:
        raise gr.Error("Send the photo as a file.", print_exception=False)
    return None if payload is None else payload.path
