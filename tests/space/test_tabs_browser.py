"""All tabs in a real browser: within reach on any screen, and How it works with the visitor's own photo."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.accessibility import violations
from support.browser import upload, wait_for_result

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
    wait_for_result(page)
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator("#story .lead")).to_contain_text("your photo", timeout=PATIENCE)
    expect(page.locator("#story .sum figure")).to_have_count(16)


def test_a_photo_is_there_on_every_tab(visit: Callable[..., Page]):
    page = visit(1280, "light")
    upload(page, PHOTO)
    wait_for_result(page)
    page.get_by_role("tab", name="Remix").click()
    expect(page.locator("#complete-photo img")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Look inside").click()
    expect(page.locator("#inside-photo img")).to_be_visible(timeout=PATIENCE)


HAND_OVER = """([kind, selector, file]) => {
    const bytes = Uint8Array.from(atob(file), (each) => each.charCodeAt(0)), transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "photo.webp", { type: "image/webp" }));
    const options = { bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer };
    const event = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
    document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.mark.parametrize(("event", "where"), [("paste", "body"), ("drop", "#result")])
def test_a_photo_is_taken_wherever_it_is_pasted_or_dropped(visit: Callable[..., Page], event: str, where: str):
    page = visit(1280, "light")
    upload(page, PHOTO.with_name("coffee.jpg"))
    before = wait_for_result(page)
    page.evaluate(HAND_OVER, [event, where, base64.b64encode(PHOTO.read_bytes()).decode()])
    wait_for_result(page, before)


def test_a_cst_file_that_was_opened_stays_when_the_tab_is_opened_again(visit: Callable[..., Page], tmp_path: Path):
    page = visit(1280, "light")
    upload(page, PHOTO)
    wait_for_result(page)
    with page.expect_download() as download:
        page.get_by_text("Download the codes (.cst)").click()
    download.value.save_as(tmp_path / "mine.cst")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a .cst file").click()
    chooser.value.set_files(tmp_path / "mine.cst")
    expect(page.locator("#photo img")).to_have_count(0, timeout=PATIENCE)
    page.get_by_role("tab", name="Sketch").click()
    page.get_by_role("tab", name="Reconstruct").click()
    page.wait_for_timeout(1500)
    expect(page.locator("#photo img")).to_have_count(0)


def test_tabs_have_addresses_and_back_works(visit: Callable[..., Page], page_url: str):
    page = visit(1280, "light")
    page.get_by_role("tab", name="Sketch").click()
    page.get_by_role("tab", name="Look inside").click()
    expect(page).to_have_url(re.compile(r"tab=look-inside"))
    expect(page.locator(".sheet img")).to_have_count(3, timeout=PATIENCE)  # no request is cut off below
    page.go_back()
    expect(page.get_by_role("tab", name="Sketch")).to_have_attribute("aria-selected", "true")
    page.goto(f"{page_url}/?tab=sample&kind=rose&seed=7&guidance=3")
    expect(page.get_by_role("tab", name="Sample")).to_have_attribute("aria-selected", "true", timeout=PATIENCE)
    expect(page.locator("#kind input")).to_have_value("Rose", timeout=PATIENCE)
    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.locator("#keep-seed input")).to_be_checked()
