"""The Remix tab: sketch with colors, complete, recolor, retexture, and mix two photos."""

from space.models import Models


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
