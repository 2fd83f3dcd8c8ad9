"""The page in headless Chromium."""

import io
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Page, expect

EXAMPLES = Path(__file__).parents[2] / "space" / "examples"


PATIENCE = 60_000  # ms: other work may be running on the machine


def is_local(url: str, page_url: str) -> bool:
    return urlsplit(url).scheme in ("data", "blob") or urlsplit(url).netloc == urlsplit(page_url).netloc


def wait_for_result(page: Page, other_than: str | None = None) -> str:
    """The address of the rendered picture, once it and all numbers are there."""
    rendered = page.locator("#comparison img").nth(1)
    expect(page.locator("#numbers table")).to_be_attached(timeout=PATIENCE)
    if other_than is not None:
        expect(rendered).not_to_have_attribute("src", other_than, timeout=PATIENCE)
    return rendered.get_attribute("src")


def fetch(page: Page, address: str) -> Image.Image:
    return Image.open(io.BytesIO(page.request.get(address).body()))


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)
