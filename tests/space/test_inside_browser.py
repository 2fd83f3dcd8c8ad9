"""The Look inside tab in a real browser: a photo is pressed, then patches of it, then tiles of the codebooks."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

PATIENCE = 180_000  # ms: other work may be running on the machine


@pytest.fixture
def open_tab(visit: Callable[..., Page]) -> Callable[..., Page]:
    """`open_tab(width, theme)`: the page at this tab, with all sheets drawn."""

    def open_page(width: int = 1280, theme: str = "light") -> Page:
        page = visit(1280, theme)  # the tabs that don't fit on a phone lie in a menu
        page.get_by_role("tab", name="Look inside").click()
        page.set_viewport_size({"width": width, "height": 844})
        expect(page.locator(".sheet img")).to_have_count(3, timeout=PATIENCE)
        return page

    return open_page


def press_photo(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    expect(page.locator("#surprise-numbers table")).to_be_attached(timeout=PATIENCE)
    expect(page.locator("#surprise .crisp img")).to_have_count(4)
    expect(page.locator("#expected .expected")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".usage").nth(2)).to_contain_text("your photo", timeout=PATIENCE)


def press_at(page: Page, selector: str, x: float, y: float) -> None:
    """Press a picture at shares of its width and height."""
    picture = page.locator(selector).first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * x, "y": box["height"] * y})


def test_a_pressed_patch_is_taken_apart(open_tab: Callable[..., Page]):
    page = open_tab()
    expect(page.locator("#what-is-inside")).to_be_visible()
    press_photo(page, "blossom")
    expect(page.locator("#what-is-inside")).to_be_hidden()
    words = page.locator("#card .words")
    expect(words).to_contain_text("Column 16, row 16")
    first = page.locator("#expected").inner_text()
    press_at(page, "#patches img", 10.5 / 32, 2.5 / 32)
    expect(words).to_contain_text("Column 11, row 3")
    expect(page.get_by_label("column")).to_have_value("11")
    expect(page.locator("#card .sum img")).to_have_count(6)
    assert page.locator("#expected").inner_text() != first
    press_at(page, "#surprise .crisp img", 0.5 / 32, 31.5 / 32)
    expect(words).to_contain_text("Column 1, row 32")
    row = page.get_by_label("row")
    row.fill("33")
    expect(page.locator("#card")).to_contain_text("accepted: a whole number from 1 to 32")
    row.fill("5")
    expect(words).to_contain_text("Column 1, row 5")


def test_the_mark_lies_on_the_pressed_patch(open_tab: Callable[..., Page]):
    page = open_tab()
    press_photo(page, "cat")
    press_at(page, "#patches img", 4.5 / 32, 12.5 / 32)
    expect(page.locator("#card .words")).to_contain_text("Column 5, row 13")
    mark = page.locator("#patches").evaluate("""element => {
        const style = getComputedStyle(element, "::after"), width = element.clientWidth;
        return [style.left, style.top, style.width].map(length => 32 * parseFloat(length) / width);
    }""")
    assert mark == pytest.approx([4, 12, 1], abs=0.05)


def test_a_pressed_tile_and_a_typed_number_tell_a_code(open_tab: Callable[..., Page]):
    page = open_tab()
    told, number = page.locator(".one-tile").first, page.get_by_role("spinbutton", name="color code")
    expect(told).to_contain_text("color 0, 1 in")
    number.fill("512")
    expect(told).to_contain_text("accepted: 0 to 511")
    number.fill("31")
    expect(told).to_contain_text("color 31, 1 in")
    press_at(page, "#sheet-shape img", 20.5 / 64, 10.5 / 32)
    expect(page.get_by_role("spinbutton", name="shape code")).not_to_have_value("0")
    page.wait_for_timeout(1000)
    sheet = page.locator("#sheet-shape .image-frame").evaluate("""frame => {
        const mark = getComputedStyle(frame, "::after"), box = frame.getBoundingClientRect();
        return [parseFloat(mark.left) / box.width, parseFloat(mark.top) / box.height];
    }""")
    assert sheet == pytest.approx([20 / 64, 10 / 32], abs=1e-3)  # the pressed tile is marked
    press_at(page, ".sheet img", 0.5 / 64, 0.5 / 8)
    expect(number).not_to_have_value("31")
    expect(told).to_contain_text(f"color {number.input_value()}, 1 in")
    white = told.locator("img").evaluate("""async image => {
        await image.decode();
        const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return Math.min(...context.getImageData(0, 0, 1, 1).data);
    }""")
    assert white > 230  # the lightest of the grays lies first
