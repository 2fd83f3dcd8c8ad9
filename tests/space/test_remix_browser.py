"""The Sketch and Remix tabs in a real browser: paint with the mouse, press a sketch, complete, recolor."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

PATIENCE = 180_000  # ms: other work may be running on the machine


@pytest.fixture
def open_part(visit: Callable[..., Page]) -> Callable[..., Page]:
    """`open_part(name, width, theme)`: the page at Sketch or a part of Remix, ready to draw one picture."""

    def open_page(name: str, width: int = 1280, theme: str = "light") -> Page:
        page = visit(width, theme)
        if name != "Sketch":
            page.get_by_role("tab", name="Remix").click()
        page.get_by_role("tab", name=name, exact=True).click()
        number = page.get_by_label("number input for Pictures").locator("visible=true")
        number.fill("1")
        number.blur()
        return page

    return open_page


def stroke(page: Page, canvas: str, height: float) -> None:
    """A stroke of the mouse from left to right, at a share of the canvas's height."""
    box = page.locator(f"{canvas} canvas").first.bounding_box()
    y = box["y"] + height * box["height"]
    page.mouse.move(box["x"] + 0.35 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.65 * box["width"], y, steps=8)
    page.mouse.up()


def press_photo(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).first.click()


def wait_until_done(page: Page, part: str) -> None:
    expect(page.locator(f"#{part}-drawn-numbers table")).to_be_attached(timeout=PATIENCE)
    expect(page.locator(f"#{part}-live .tiles img")).to_have_count(1)


def test_painted_strokes_and_a_pressed_sketch_become_pictures(open_part: Callable[..., Page]):
    page = open_part("Sketch")
    page.get_by_role("button", name="Draw from the sketch").click()
    expect(page.get_by_text("nothing is painted yet")).to_be_visible(timeout=PATIENCE)
    page.locator("#sketch-canvas").scroll_into_view_if_needed()
    stroke(page, "#sketch-canvas", 0.4)
    stroke(page, "#sketch-canvas", 0.6)
    page.get_by_role("button", name="Draw from the sketch").click()
    wait_until_done(page, "sketch")
    expect(page.locator("#sketch-live .given img")).to_have_count(1)
    painted = page.locator("#sketch-live .tiles img").get_attribute("src")
    page.get_by_role("button", name="sunflower").click()
    status = page.locator("#sketch-live .words")
    expect(status).to_contain_text("Sunflower, drawn from a sketch by GPT", timeout=PATIENCE)
    expect(page.locator("#sketch-kind input")).to_have_value("Sunflower")
    assert page.locator("#sketch-live .tiles img").get_attribute("src") != painted


def test_what_is_empty_is_filled_with_one_color(open_part: Callable[..., Page]):
    page = open_part("Sketch")
    page.locator("#sketch-canvas").scroll_into_view_if_needed()
    stroke(page, "#sketch-canvas", 0.5)
    page.locator("#fill-leaf").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Draw from the sketch").click()
    wait_until_done(page, "sketch")
    address = page.locator("#sketch-live .given img").get_attribute("src")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as given:
        colors = np.asarray(given.convert("RGB"), int)
    leaf = np.abs(colors - (0x6F, 0x9A, 0x45)).max(2) < 40
    assert 0.6 < leaf.mean() < 1 and not leaf[len(leaf) // 2, leaf.shape[1] // 2]


def test_a_cleared_canvas_can_be_painted_again(open_part: Callable[..., Page]):
    page = open_part("Sketch")
    page.locator("#sketch-canvas").scroll_into_view_if_needed()
    stroke(page, "#sketch-canvas", 0.5)
    page.locator("#sketch-canvas").get_by_label("Clear canvas").click()
    page.wait_for_timeout(1500)
    stroke(page, "#sketch-canvas", 0.5)
    page.get_by_role("button", name="Draw from the sketch").click()
    wait_until_done(page, "sketch")


def test_the_bottom_half_and_then_what_is_brushed_is_drawn_anew(open_part: Callable[..., Page]):
    page = open_part("Complete")
    press_photo(page, "blossom")
    expect(page.locator("#complete-canvas canvas").first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Complete the photo").click()
    wait_until_done(page, "complete")
    expect(page.locator("#complete-drawn-numbers")).to_contain_text("1,536 codes")
    page.locator("#complete-canvas").scroll_into_view_if_needed()
    stroke(page, "#complete-canvas", 0.5)
    expect(page.get_by_label("what I brush")).to_be_checked(timeout=PATIENCE)
    page.get_by_role("button", name="Complete the photo").click()
    expect(page.locator("#complete-drawn-numbers")).not_to_contain_text("1,536 codes", timeout=PATIENCE)
    wait_until_done(page, "complete")


def test_a_photo_is_recolored(open_part: Callable[..., Page]):
    page = open_part("Recolor")
    press_photo(page, "dahlia")
    page.locator("#recolor-keep-seed input").check()
    page.get_by_role("button", name="Draw new colors").click()
    wait_until_done(page, "recolor")
    expect(page.locator("#recolor-drawn-numbers")).to_contain_text("1,024 codes")
    with page.expect_download() as download:
        page.locator("#recolor-drawn").get_by_text("pictures and codes").click()
    assert download.value.suggested_filename == "recolored-any-kind-1.zip"
