"""The Sample tab in a real browser: a kind is pressed, pictures grow, are stopped, and are taken home."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

PATIENCE = 180_000  # ms: other work may be running on the machine


@pytest.fixture
def open_tab(visit: Callable[..., Page]) -> Callable[..., Page]:
    """`open_tab(width, theme, count)`: the page at its second tab, ready to draw `count` pictures."""

    def open_page(width: int = 1280, theme: str = "light", count: int = 1) -> Page:
        page = visit(width, theme)
        page.get_by_role("tab", name="Sample").click()
        expect(page.locator("#what-it-writes")).to_be_visible(timeout=PATIENCE)
        number = page.get_by_label("number input for Pictures")
        number.fill(str(count))
        number.blur()
        return page

    return open_page


def press(page: Page, name: str) -> None:
    page.locator("#favorites").get_by_role("button", name=name).click()


def wait_until_done(page: Page) -> None:
    expect(page.locator("#drawn-numbers table")).to_be_attached(timeout=PATIENCE)


def test_a_press_on_a_kind_grows_a_picture_coarse_to_fine(open_tab: Callable[..., Page]):
    page = open_tab()
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => {
            const words = document.querySelector("#live .words"), image = document.querySelector("#live img");
            if (words && image) window.seen.push([words.innerText, getComputedStyle(image).imageRendering]);
        }).observe(document.getElementById("drawn"), {subtree: true, childList: true, attributes: true});
    }""")
    press(page, "Hibiscus")
    wait_until_done(page)
    expect(page.locator("#kind input")).to_have_value("Hibiscus")
    seen = page.evaluate("window.seen")
    told = list(dict.fromkeys(words for words, _ in seen))
    assert told[-1].startswith("Hibiscus, drawn by GPT")
    assert {"Writing colors, 32 × 32", "Writing shapes, 32 × 32", "Writing textures, 32 × 32"} <= set(told)
    only_colors = [f"Writing colors, {side} × {side}" for side in (4, 8, 16)]
    assert all(rendering == "pixelated" for words, rendering in seen if words in only_colors)
    assert seen[-1][1] != "pixelated"
    expect(page.locator("#live img")).to_have_count(1)
    expect(page.locator("#what-it-writes")).to_be_hidden()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_everything_can_be_downloaded_and_other_pictures_drawn(open_tab: Callable[..., Page]):
    page = open_tab(count=2)
    page.locator("#keep-seed input").check()
    page.get_by_role("button", name="Draw new pictures").click()
    wait_until_done(page)
    for button, name in (
        (page.get_by_role("link", name="Save PNG").nth(1), "any-kind-1-2.png"),
        (page.get_by_text("one sheet"), "any-kind-1-sheet.png"),
        (page.get_by_text("pictures and codes"), "any-kind-1.zip"),
    ):
        with page.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == name
        data = Path(download.value.path()).read_bytes()
        assert data.startswith(b"PK" if name.endswith(".zip") else b"\x89PNG")
    before = page.locator("#live img").first.get_attribute("src")
    page.locator("#keep-seed input").uncheck()
    page.get_by_label("number input for Pictures").fill("8")
    page.get_by_label("number input for Pictures").blur()
    page.get_by_role("button", name="Draw again").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live .words")).to_contain_text("Stopped", timeout=PATIENCE)
    assert page.get_by_label("Seed").input_value() != "1"
    assert page.locator("#live img").first.get_attribute("src") != before


def test_stop_keeps_what_there_is_and_another_kind_takes_over(open_tab: Callable[..., Page]):
    page = open_tab(count=8)
    press(page, "Rose")
    page.get_by_role("button", name="Stop").click()
    wait_until_done(page)
    expect(page.locator("#live .words")).to_contain_text("Stopped")
    expect(page.get_by_role("link", name="Save PNG")).to_have_count(8)
    press(page, "Rose")
    expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=PATIENCE)
    number = page.get_by_label("number input for Pictures")
    number.fill("1")
    number.blur()
    press(page, "Hibiscus")
    expect(page.locator("#live .words")).to_contain_text("Hibiscus, drawn by GPT", timeout=PATIENCE)
    expect(page.locator("#live img")).to_have_count(1)


def test_earlier_pictures_come_back_and_are_used_on_the_other_tabs(open_tab: Callable[..., Page]):
    page = open_tab()
    for kind in ("Rose", "Hibiscus"):
        press(page, kind)
        expect(page.locator("#live .words")).to_contain_text(f"{kind}, drawn by GPT", timeout=PATIENCE)
    strip, viewer = page.locator("#drawn .earlier button"), page.locator("#drawn .block.viewer")
    expect(strip).to_have_count(2)
    strip.nth(1).click()
    expect(viewer).to_contain_text("Rose, drawn by GPT")
    expect(viewer.locator("table")).to_be_attached()
    expect(page.get_by_role("button", name=re.compile("^Rose, drawn by GPT"))).to_have_count(1)
    expect(page.locator("#live")).to_be_hidden()
    drawn = viewer.locator(".tiles img").get_attribute("src")
    viewer.get_by_role("button", name="Use on the other tabs").click()
    for name, photo in (("Look inside", "#inside-photo"), ("Reconstruct", "#photo")):
        page.get_by_role("tab", name=name).click()
        shown = page.locator(f"{photo} img").first
        expect(shown).to_be_visible(timeout=PATIENCE)
        same = page.evaluate(
            """async ([one, other]) => {
                const [a, b] = await Promise.all([one, other].map(async (each) => await (await fetch(each)).bytes()));
                return a.length === b.length && a.every((byte, index) => byte === b[index]);
            }""",
            [drawn, shown.get_attribute("src")],
        )
        assert same
    page.get_by_role("tab", name="Sample").click()
    strip.nth(0).click()
    expect(page.locator("#live .words")).to_contain_text("Hibiscus, drawn by GPT")
    expect(viewer).to_be_hidden()


def fill(field: Locator, value: str) -> None:
    """Type into a field that was only just unfolded: while Gradio still draws it, it falls back to its first value."""
    for _ in range(20):
        field.fill(value)
        field.blur()
        field.page.wait_for_timeout(400)
        if field.input_value() == value:
            return
    raise AssertionError(f"the field shows '{field.input_value()}', not '{value}'")


def test_a_wrong_setting_shows_a_message_and_the_next_good_one_works(open_tab: Callable[..., Page]):
    page = open_tab()
    page.locator("#freedom").get_by_text("More", exact=True).click()
    field = page.get_by_label("temperature").first
    fill(field, "0")
    page.get_by_role("button", name="Draw new pictures").click()
    expect(page.get_by_text("a temperature of 0")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#what-it-writes")).to_be_visible(timeout=PATIENCE)
    fill(field, "")
    page.get_by_role("button", name="Draw new pictures").click()
    wait_until_done(page)
    drawn = page.locator("#live img").first.get_attribute("src")
    fill(field, "-1")
    page.get_by_role("button", name="Draw new pictures").click()
    expect(page.get_by_text("a temperature of -1")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Draw again")).to_be_visible()
    assert page.locator("#live img").first.get_attribute("src") == drawn


@pytest.mark.parametrize("width", [1280, 390])
def test_four_pictures_lie_two_by_two(open_tab: Callable[..., Page], width: int):
    page = open_tab(width, count=4)
    page.get_by_role("button", name="Draw new pictures").click()
    page.get_by_role("button", name="Stop").click()
    wait_until_done(page)
    corners = page.evaluate("""[...document.querySelectorAll("#live img")].map(image => {
        const box = image.getBoundingClientRect();
        return [Math.round(box.x), Math.round(box.y)];
    })""")
    assert len(corners) == 4 and [len(set(ends)) for ends in zip(*corners, strict=True)] == [2, 2]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_second_visitor_reads_the_place_in_the_queue_and_may_leave_it(open_tab: Callable[..., Page], width: int):
    first, second = open_tab(width, count=8), open_tab(width)
    press(first, "Hibiscus")
    expect(first.get_by_role("button", name="Stop")).to_be_visible(timeout=PATIENCE)
    press(second, "Rose")
    waiting = second.get_by_text("Waiting for the model")
    expect(waiting).to_be_in_viewport()
    expect(second.locator(".waiting .progress-text")).to_contain_text("queue: 1/1", timeout=PATIENCE)
    gap = second.evaluate("""() => {
        const [place, words] = [".progress-text", ".words"].map(name => document.querySelector(`.waiting ${name}`));
        return words.getBoundingClientRect().top - place.getBoundingClientRect().bottom;
    }""")
    assert gap >= -1  # one does not lie on the other
    second.get_by_role("button", name="Leave the queue").click()
    expect(waiting).to_be_hidden()
    expect(second.locator("#what-it-writes")).to_be_visible()
    first.get_by_role("button", name="Stop").click()
    wait_until_done(first)
