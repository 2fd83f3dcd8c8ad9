"""The Look inside tab: what a patch became, what the model expected, and all codes there are."""

from space.models import Models


def build(models: Models) -> None:
    """Lay out the tab inside the current `gr.Blocks` and connect it."""
