"""Every tab in a real browser, used as a visitor would, at two widths and in two themes; screenshots are kept."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.accessibility import too_small, too_wide, unlabeled, unreachable, violations
from support.browser import EXAMPLES, upload, wait_for_result

from space.docs.screenshots import CROPS, FOLDER, README_PICTURES, SETTLED, TIMEOUT_MS, VIEWS, save, walk

ROOT = Path(__file__).parents[2]
BACKGROUNDS = {"light": "rgb(250, 250, 250)", "dark": "rgb(18, 18, 18)"}
MAX_STOPS = 80
LEFT_SHARE = """percent => {
    const picture = document.querySelectorAll("#comparison img")[1];
    return Math.abs(parseFloat(getComputedStyle(picture).clipPath.split(" ")[3]) - percent) < 0.5;
}"""


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_tab_shows_its_result_to_everyone(visit: Callable[..., Page], width: int, theme: str):
    page = visit(width, theme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS[theme]
    findings, used = [], []
    for name in walk(page):
        save(page, ROOT / FOLDER, f"{name}-{width}-{theme}")
        unfold(page)
        page.wait_for_function(SETTLED)
        found = violations(page) + too_wide(page) + too_small(page)
        found += unlabeled(page) + unreachable(page)
        findings += [f"{name}: {line}" for line in found]
        used.append(name)
    assert findings == []
    assert used == list(VIEWS)


def unfold(page: Page) -> None:
    """Open what is folded away."""
    for fold in page.locator(".label-wrap:not(.open)").locator("visible=true").all():
        fold.click()
    for summary in page.locator("details:not([open]) > summary").locator("visible=true").all():
        summary.click()


def test_the_checks_find_what_is_wrong(browser: Browser):
    page = browser.new_page(viewport={"width": 390, "height": 600})
    page.set_content("""<html lang="en"><title>wrong</title><main><h1>Wrong</h1>
        <button></button><p style="color: #bbb; background: #fff">pale</p><input aria-label="hidden">
        <div style="width: 500px">wide</div><div role="slider" aria-label="share" aria-valuenow="1">not reached</div>
        <div style="width: 50px"><table><tr><td>averyveryverylongword</td></tr></table></div>
        <a href="#" style="outline: none">not shown</a></main>""")
    rules = {line.split()[0] for line in violations(page)}
    assert rules == {"button-name", "color-contrast"}
    assert [line.split(":")[0] for line in unlabeled(page)] == ["no visible label"]
    assert len(too_wide(page)) == 2
    assert [line.split("<")[1][:6] for line in too_small(page)] == ["button", "input "]
    assert [line.split("<")[1][:3] for line in unreachable(page)] == ["a h", "div"]


# By keyboard alone ----------------------------------------------------------------------------------------------------


def reach(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab until the control whose name begins like this has the focus."""
    for _ in range(MAX_STOPS):
        page.keyboard.press(key)
        label = page.evaluate("(document.activeElement.ariaLabel ?? document.activeElement.innerText).trim()")
        if label.startswith(name):
            return
    pytest.fail(f"{key} never comes to '{name}'")


def test_a_photo_is_taken_apart_by_keyboard_alone(visit: Callable[..., Page]):
    page = visit()
    reach(page, "coffee")
    page.keyboard.press("Enter")
    first = wait_for_result(page)
    line = page.locator("#comparison [role=slider]")
    reach(page, "share of the left picture, percent")
    for key, percent in (("ArrowLeft", 45), ("ArrowUp", 50), ("End", 100), ("ArrowRight", 100), ("Home", 0)):
        page.keyboard.press(key)
        expect(line).to_have_attribute("aria-valuenow", str(percent))
        page.wait_for_function(LEFT_SHARE, arg=percent)
    expect(line).to_be_focused()
    box = line.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 40, steps=4)
    page.mouse.up()
    expect(line).not_to_have_attribute("aria-valuenow", "0")
    page.locator("#open").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    reach(page, "range slider for Detail")
    page.keyboard.press("Home")
    wait_for_result(page, other_than=first)
    expect(page.locator("#numbers")).to_contain_text("16 × 11 patches")


def test_pictures_are_drawn_by_keyboard_alone(visit: Callable[..., Page]):
    page = visit()
    reach(page, "Sample")
    page.keyboard.press("Enter")
    reach(page, "Or choose one of ")
    page.keyboard.press("Control+a")
    page.keyboard.type("wild pans")
    expect(page.get_by_role("option")).to_have_count(1, timeout=TIMEOUT_MS)
    page.keyboard.press("Enter")
    expect(page.locator("#kind input")).to_have_value("Wild Pansy")
    reach(page, "range slider for Pictures")
    page.keyboard.press("Home")
    reach(page, "Draw new pictures", "Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator("#drawn-numbers table")).to_be_attached(timeout=TIMEOUT_MS)
    expect(page.locator("#live .words")).to_contain_text("Wild Pansy, drawn by GPT")
    expect(page.locator("#live .tiles img")).to_have_count(1)


# What is too large ----------------------------------------------------------------------------------------------------


def test_a_photo_that_is_too_large_is_refused_in_words_and_the_next_one_works(
    browser: Browser, page_url: str, tmp_path: Path
):
    photo = tmp_path / "large.jpg"
    photo.write_bytes((EXAMPLES / "coffee.jpg").read_bytes())
    os.truncate(photo, 60 << 20)
    page = browser.new_page()  # not by `visit`: Gradio asks for the progress of an upload that it did not begin
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(page_url)
    page.locator("#photo").wait_for()
    upload(page, photo)
    expect(page.get_by_text("exceed the maximum allowed size of 20").first).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.get_by_text("large.jpg").first).to_be_visible()
    expect(page.locator("#welcome")).to_be_visible()
    upload(page, EXAMPLES / "coffee.jpg")
    wait_for_result(page)
    page.close()


# The README's ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CROPS)
def test_the_pictures_in_the_readme_are_small_screenshots(name: str):
    path = README_PICTURES / f"{name}.webp"
    assert f"space/pictures/{name}.webp" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert path.stat().st_size < 250_000
