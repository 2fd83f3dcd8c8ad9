"""The theme of the page: neutral grays, one accent color, and the visitor's system fonts."""

from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, sizes
from gradio.themes.utils.fonts import Font

STATIC = Path(__file__).parent / "static"
SCRIPTS = [STATIC / f"{name}.js" for name in ("keyboard", "address", "earlier", "photos")]
ICON = STATIC / "icon.svg"
CSS = [STATIC / f"{name}.css" for name in ("page", "remix", "inside", "story")]

# A plain `Font` is a name in the style sheet; Gradio's default would load a file, or ask a font service.
SANS = [Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")]
MONO = [Font(name) for name in ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")]


def script() -> str:
    """One JavaScript function that runs all scripts."""
    calls = "".join(f"({path.read_text(encoding='utf-8').strip()})();\n" for path in SCRIPTS)
    return f"() => {{\n{calls}}}"


def theme() -> gr.themes.Base:
    """Teal on neutral gray, light and dark."""
    base = gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.neutral,
        neutral_hue=colors.neutral,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill="#fafafa",
        body_background_fill_dark="#121212",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="#1b1b1b",
        background_fill_secondary="#f4f4f4",
        background_fill_secondary_dark="#1b1b1b",
        block_background_fill="white",
        block_background_fill_dark="#1b1b1b",
        block_border_color="#e4e4e4",
        block_border_color_dark="#2c2c2c",
        border_color_primary="#e4e4e4",
        border_color_primary_dark="#2c2c2c",
        block_shadow="none",
        block_label_background_fill="white",
        block_label_background_fill_dark="#1b1b1b",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_title_text_weight="500",
        block_title_text_color="*neutral_900",
        block_title_text_color_dark="*neutral_100",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#242424",
        button_secondary_background_fill_hover="#f1f1f1",
        button_secondary_background_fill_hover_dark="#2f2f2f",
        button_secondary_border_color="#d9d9d9",
        button_secondary_border_color_dark="#3a3a3a",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_border_width="1px",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
        color_accent="*primary_700",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*primary_950",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_label_background_fill="#f4f4f4",
        checkbox_label_background_fill_hover="#ebebeb",
        checkbox_border_color_selected="*primary_700",
        checkbox_border_color_selected_dark="*primary_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
    )
