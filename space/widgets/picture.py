"""A picture with a caption."""

import gradio as gr


def captioned_picture(name: str, meaning: str, below: str = "", *, crisp: bool = False) -> gr.Image:
    """A picture in a row, with its name and what it is. below: HTML between picture and caption."""
    with gr.Column(min_width=140):
        picture = gr.Image(
            label=name.removeprefix("+ "), show_label=False, format="png", interactive=False,
            buttons=["download", "fullscreen"], alt_text=name,
            elem_classes=["picture", "crisp"] if crisp else ["picture"],
        )  # fmt: skip
        gr.HTML(f"{below}<p><b>{name}</b> {meaning}</p>", elem_classes="caption")
    return picture
