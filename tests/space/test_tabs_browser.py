"""All tabs in a real browser: within reach on any screen, and How it works with the visitor's own photo."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.accessibility import violations
from support.browser import upload

PATIENCE = 180_000  # ms: other work may be running on the machine
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
TABS = ("Reconstruct", "Sketch", "Sample", "Remix", "Look inside", "How it works")
PHOTO = Path(__file__).parents[2] / "space" / "examples" / "blossom.webp"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_tab_is_in_sight_and_opens(visit: Callable[..., Page], width: int, theme: str):
    page = visit(width, theme)
    for name in TABS:
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_be_in_viewport(timeout=PATIENCE)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert page.evaluate(OVERFLOW) <= 0
        assert violations(page) == []  # before anything was done; tests/test_every_page.py looks at the results
    expect(page.locator("#story section").first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate(OVERFLOW) <= 0


def test_how_it_works_is_told_with_the_visitor_s_photo(visit: Callable[..., Page]):
    page = visit(1280, "light")
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator("#story .lead")).to_contain_text("an example", timeout=PATIENCE)
    page.get_by_role("tab", name="Reconstruct").click()
    upload(page, PHOTO)
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator("#story .lead")).to_contain_text("your photo", timeout=PATIENCE)
    expect(page.locator("#story .sum figure")).to_have_count(16)
