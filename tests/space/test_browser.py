"""The page in a real browser: headless Chromium, at the widths of a laptop and of a phone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect
from support.browser import EXAMPLES, PATIENCE, fetch, upload, wait_for_result


def test_an_example_and_then_an_upload_each_change_the_picture(visit: Callable[..., Page]):
    page = visit()
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_role("button", name="cat").click()
    first = wait_for_result(page)
    expect(page.locator("#welcome")).to_be_hidden()
    assert fetch(page, first).size == (451, 300)
    page.get_by_label("Remove Image").click()
    expect(page.locator("#welcome")).to_be_visible(timeout=PATIENCE)
    upload(page, EXAMPLES / "blossom.webp")
    second = wait_for_result(page, other_than=first)
    assert fetch(page, second).format == "PNG"
    assert fetch(page, second).size == (288, 288)


def test_the_ladder_is_color_shape_texture_rendered_at_one_size(visit: Callable[..., Page]):
    page = visit()
    page.get_by_role("button", name="blossom").click()
    wait_for_result(page)
    ladder = page.locator(".ladder").first
    assert ladder.locator(".caption b").all_inner_texts() == ["color", "+ shape", "+ texture", "rendered"]
    expect(ladder.locator("img")).to_have_count(4)
    boxes = [image.bounding_box() for image in ladder.locator("img").all()]
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes)
    assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1
    assert ladder.locator("img").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_every_picture_and_the_codes_can_be_downloaded(visit: Callable[..., Page]):
    page = visit()
    page.get_by_role("button", name="blossom").click()
    wait_for_result(page)
    names = page.locator("#comparison a[download], .ladder a[download]").evaluate_all(
        "links => links.map(a => a.download)"
    )
    assert len(names) == 8
    assert all(name.endswith(".png") for name in names)
    with page.expect_download() as download:
        page.get_by_text("Download the codes (.cst)").click()
    assert download.value.suggested_filename == "blossom.cst"


def open_file(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a .cst file").click()
    chooser.value.set_files(file)


def test_a_cst_file_is_downloaded_opened_again_and_makes_way_for_the_same_photo(
    visit: Callable[..., Page], tmp_path: Path
):
    page = visit()
    page.get_by_role("button", name="blossom").click()
    photo = wait_for_result(page)
    with page.expect_download() as download:
        page.get_by_text("Download the codes (.cst)").click()
    assert download.value.suggested_filename == "blossom.cst"
    download.value.save_as(tmp_path / "mine.cst")

    open_file(page, tmp_path / "mine.cst")
    expect(page.get_by_text("the codes by themselves")).to_be_visible(timeout=PATIENCE)
    assert wait_for_result(page) == photo  # an address is made of what lies there
    left = page.locator("#comparison img").first.get_attribute("src")
    assert left == page.locator(".ladder img").nth(2).get_attribute("src")
    expect(page.get_by_text("What is lost")).to_be_hidden()
    expect(page.get_by_text("Download the codes (.cst)")).to_be_hidden()
    expect(page.get_by_text("Drop a photo here")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0

    page.get_by_role("button", name="blossom").click()
    expect(page.get_by_text("What is lost")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("the codes by themselves")).to_be_hidden()


def test_a_file_that_is_no_cst_file_shows_a_message_and_leaves_what_is_there(
    visit: Callable[..., Page], tmp_path: Path
):
    (tmp_path / "words.cst").write_text("words", encoding="utf-8")
    page = visit(390, "dark")
    page.get_by_role("button", name="blossom").click()
    before = wait_for_result(page)
    open_file(page, tmp_path / "words.cst")
    expect(page.get_by_text("'words.cst': not a .cst file")).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(1000)  # for whatever the failure sets off
    expect(page.locator("#comparison img").nth(1)).to_have_attribute("src", before)
    expect(page.locator("#comparison img").nth(1)).to_be_visible()
    expect(page.locator("#comparison .error")).to_be_hidden()


def test_a_bad_upload_shows_a_message_and_the_next_good_one_works(visit: Callable[..., Page], tmp_path: Path):
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    page = visit()
    upload(page, tmp_path / "text.png")
    expect(page.get_by_text("'text.png' is not a picture that can be read")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_label("Remove Image").click()
    upload(page, EXAMPLES / "blossom.webp")
    assert fetch(page, wait_for_result(page)).size == (288, 288)


def test_a_long_run_can_be_stopped(visit: Callable[..., Page], tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), dtype=np.uint8)  # the slowest there is to encode
    Image.fromarray(noise).save(tmp_path / "large.jpg")
    page = visit()
    page.get_by_text("More", exact=True).click()
    detail = page.get_by_label("number input for Detail")
    detail.fill("2048")
    detail.blur()
    upload(page, tmp_path / "large.jpg")
    page.get_by_role("button", name="Stop").click()  # it is there from the first strip on
    expect(page.locator("#welcome")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#numbers table")).to_have_count(0)
