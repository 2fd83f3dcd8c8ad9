"""How a visitor chooses a photo: click an example, or upload one."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from space.events import QUIET

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE_PHOTOS = {
    "cat": "chelsea.jpg",
    "blossom": "blossom.webp",
    "coffee": "coffee.jpg",
    "canal": "canal.webp",
    "astronaut": "astronaut.jpg",
    "boat": "boat.webp",
}
FLOWER_PHOTOS = {"blossom": "blossom.webp", "dahlia": "dahlia.webp"}


def photo_picker(
    elem_id: str, *, title: str = "Choose a photo", height: int = 300, photos: Mapping[str, str] = EXAMPLE_PHOTOS
) -> gr.Image:
    """Buttons with example photos, and an upload, whose value is the path of the chosen file or None.

    photos: the examples, files by name.
    """
    gr.set_static_paths(EXAMPLES)  # served from this folder: copies would be deleted with the visitors' photos
    gr.HTML(f'<h2 class="label">{title}</h2>')
    with gr.Row(elem_classes="examples"):
        examples = {
            gr.Button(name, icon=EXAMPLES / file, elem_classes="example"): str(EXAMPLES / file)
            for name, file in photos.items()
        }
    gr.HTML('<h2 class="label">Or upload your own</h2>')
    photo = gr.Image(
        label="photo", show_label=False, type="filepath", image_mode=None, height=height, buttons=["fullscreen"],
        sources=["upload", "webcam", "clipboard"], elem_id=elem_id, elem_classes="photo", alt_text="the chosen photo",
        placeholder="Drop a photo here, or click to choose one",
    )  # fmt: skip
    # Gradio's own `preprocess` opens the file with Pillow and fails without a message on an unreadable one.
    photo.preprocess = uploaded_file  # type: ignore[method-assign]
    photo.example_payload = partial(file_in_snippet, "photo.jpg")  # type: ignore[method-assign]
    for button, file in examples.items():
        button.click(partial(str, file), None, photo, **QUIET)
    return photo


def file_in_snippet(name: str) -> dict[str, Any]:
    """A file as the snippets of "Use via API" show it: `handle_file('photo.jpg')`."""
    return {"path": name, "url": name, "meta": {"_type": "gradio.FileData"}, "orig_name": name}


class SharedPhoto:
    """The photo that a visitor chose last on any tab, which is brought to every tab that is opened.

    A drawn picture, a pasted one, or one dropped anywhere on a tab is uploaded by photos.js. All of this runs in the
    browser: a handler that leaves a component as it is (`gr.skip()`) would make Gradio forget the component's own
    `preprocess`.
    """

    def __init__(self) -> None:
        self.latest = hidden_photo()
        self.upload = gr.UploadButton("Use this photo", visible="hidden", elem_id="use-photo")
        self.photos: list[gr.Image] = []

    def follow(self, photo: gr.Image) -> None:
        """Remember what is chosen there."""
        self.photos.append(photo)
        keep = "(photo) => photo"
        photo.change(None, photo, self.latest, js=keep, api_visibility="private")

    def bring(self, photo: gr.Image, opened: Callable[..., Any]) -> gr.events.Dependency:
        """Fill in `photo` on the event `opened`."""
        js = "(latest, own) => !latest || own?.path === latest.path ? own : latest"
        return opened(None, [self.latest, photo], photo, js=js, api_visibility="private")

    def connect(self) -> None:
        """Take what photos.js uploads: on the open tab, if it has a photo, and on those that are opened later."""
        js = """(file) => {
    const ids = %s, kept = window.cstPhotosHere ?? [];
    window.cstPhotosHere = [];
    file = Array.isArray(file) ? file[0] : file;
    const isOpen = (id) => !kept.includes(id) && document.getElementById(id)?.offsetParent;
    // An update without a value: setting a photo, even to what it is, would count as choosing it.
    return [file, ...ids.map((id) => isOpen(id) ? file : {__type__: "update"})];
}""" % [photo.elem_id for photo in self.photos]
        self.upload.upload(None, self.upload, [self.latest, *self.photos], js=js, api_visibility="private")


def hidden_photo() -> gr.Image:
    """An image that only programs and events see, whose value is like that of `photo_picker`."""
    photo = gr.Image(label="photo", type="filepath", image_mode=None, visible=False)
    photo.preprocess = uploaded_file  # type: ignore[method-assign]
    photo.example_payload = partial(file_in_snippet, "photo.jpg")  # type: ignore[method-assign]
    return photo


def uploaded_file(payload: Any) -> str | None:
    """The path of an upload; `read_photo` opens it and rejects a file that is not a picture."""
    if payload is not None and payload.path is None:
        raise gr.Error("Send the photo as a file.", print_exception=False)
    return None if payload is None else payload.path
