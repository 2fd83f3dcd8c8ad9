"""How it works: the residuals are those of the photo, and the page tells them in the right order."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from support.photos import make_photo

from cst import CST
from cst.images import to_float
from space.tabs.how_it_works.residuals import GAIN, Residuals, compute_residuals
from space.tabs.how_it_works.tab import PAPERS, explanation


@pytest.fixture(scope="module")
def cst(artifact: Path) -> CST:
    return CST.from_pretrained(artifact, target="cpu", threads=1)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return make_photo(3, 61, 45)  # not whole patches


@pytest.fixture(scope="module")
def apart(cst: CST, photo: Image.Image) -> Residuals:
    return compute_residuals(cst, photo)


def test_the_parts_and_what_is_dropped_are_the_photo_again(apart, photo):
    whole = sum(apart.parts) + apart.left[2]
    assert np.allclose(whole[:, :45, :61], to_float(photo), atol=1e-5)
    assert apart.left[0].shape == apart.photo.shape == (3, 48, 64)


def test_every_code_leaves_less_over(apart):
    left = [apart.rms_left(level) for level in (-1, 0, 1, 2)]
    assert left == sorted(left, reverse=True) and left[2] > 0


def test_the_sum_of_the_parts_is_the_picture_that_the_codes_draw(apart, cst, photo):
    drawn = cst.centroid_picture(cst.encode(photo))
    assert np.abs(np.asarray(apart.picture(sum(apart.parts)), int) - np.asarray(drawn, int)).max() <= 1
    assert apart.rendered.size == drawn.size == photo.size


def test_nothing_is_mid_gray_and_contrasts_are_stronger(apart):
    nothing = np.asarray(apart.around_gray(np.zeros_like(apart.photo)))
    assert set(nothing.ravel()) <= {127, 128}
    some = np.asarray(apart.around_gray(np.full_like(apart.photo, 0.1)))
    assert abs(int(some[0, 0, 0]) - 255 * (0.5 + GAIN * 0.1)) <= 1


def test_the_patch_shown_close_up_is_one_that_the_codes_say_well(apart):
    row, column = apart.telling_patch(8)
    place = (slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
    assert np.square(apart.parts[1][place]).sum() > np.square(apart.left[2][place]).sum()


def test_the_page_tells_color_shape_texture_and_painting_in_this_order(apart, cst):
    page = explanation(cst, apart, is_visitors=True)
    chapters = re.findall(r"<h2><i>(\d)</i>(\w+)", page)
    assert chapters == [("1", "Color"), ("2", "Shape"), ("3", "Texture"), ("4", "Rendering")]
    assert "your photo" in page and "16 colors" in page and "64 finer patterns" in page
    row, column = apart.telling_patch(8)
    for code in apart.codes[:, row, column]:
        assert f"code {code:,}" in page
    for _, link, _ in PAPERS:
        assert f'href="{link}"' in page
    assert len(re.findall('<img src="data:image/', page)) == 16 == len(re.findall('alt="[^"]+"', page))
    assert "an example" in explanation(cst, apart, is_visitors=False)


# Through the page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(page_url: str) -> Iterator[Client]:
    client = Client(page_url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def test_a_program_gets_the_explanation_of_its_photo(client, tmp_path):
    make_photo(1, 70, 50).save(tmp_path / "photo.png")
    page, numbers = client.predict(handle_file(tmp_path / "photo.png"), api_name="/explain")
    assert "your photo" in page and numbers["size"] == [70, 50]
    assert numbers["left"] == sorted(numbers["left"], reverse=True)


def test_without_a_photo_an_example_is_explained(client):
    page, numbers = client.predict(None, api_name="/explain")
    assert "an example" in page and max(numbers["size"]) == 400


def test_what_is_no_photo_is_answered_and_the_next_one_explained(client, tmp_path):
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(AppError, match=r"'text.png'"):
        client.predict(handle_file(tmp_path / "text.png"), api_name="/explain")
    assert client.predict(None, api_name="/explain")[1]["left"]
