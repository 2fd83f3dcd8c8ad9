"""The Look inside tab as a program sees it: photos sent to `python app.py`, pictures and numbers that come back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from cst import CST
from cst.metrics import usage
from space.models import Models
from space.tabs.inside import codebook_sheet
from space.tabs.inside.analysis import encode_square, predict
from space.uploads import read_photo

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "space" / "examples" / "blossom.webp"
LOOK = ("square", "color", "shape", "texture", "all", "table", "numbers")
LEVELS = ("color", "shape", "texture")


@pytest.fixture(scope="module")
def client(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(
        page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("results")), analytics_enabled=False
    )
    yield client
    client.close()


def look(client: Client, photo: Path | None = PHOTO, kind: str = "Any kind", model: str = "gpt") -> dict[str, Any]:
    sent = None if photo is None else handle_file(photo)
    return dict(zip(LOOK, client.predict(sent, kind, model, api_name="/look"), strict=True))


def patch(client: Client, column: int, row: int, photo: Path | None = PHOTO) -> tuple[dict[str, Any], str, str]:
    sent = None if photo is None else handle_file(photo)
    return client.predict(sent, "Any kind", "gpt", column, row, api_name="/patch")


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_look_maps_the_bits_and_a_patch_tells_those_of_its_place(client: Client):
    found = look(client)
    assert all(pixels(found[name]).shape == (512, 512, 3) for name in LOOK[:5])
    models = Models()
    sampler = models.sampler("gpt")
    mine = predict(encode_square(models.cst("int8"), sampler, read_photo(str(PHOTO), 2048)), sampler, None)
    numbers = found["numbers"]
    bits = -mine.scores.log_prob / np.log(2)
    with_coarser = bits - mine.scores.shared / np.log(2)
    assert list(numbers["expected_bits"].values()) == pytest.approx(with_coarser.mean((1, 2)).tolist(), rel=1e-3)
    assert (numbers["model"], numbers["grid"]) == ("GPT", [3, 32, 32])
    assert f"{sum(numbers['expected_bits'].values()):.1f}" in found["table"]
    assert sum(numbers["expected_bits"].values()) < sum(numbers["static_bits"].values()) < 33
    said, card, expected = patch(client, 3, 14)
    for index, name in enumerate(LEVELS):
        level = said["levels"][name]
        assert level["code"] == mine.tokens[index, 13, 2] and level["one_in"] > 1
        assert level["bits"] == pytest.approx(bits[index, 13, 2], abs=1e-3)
        assert [each["code"] for each in level["likeliest"]] == mine.scores.codes[index, 13, 2].tolist()
        assert f"{level['code']:,} of {level['of']:,}" in card
    assert "Column 3, row 14" in card and "What GPT predicted" in expected


def test_another_model_and_a_kind_expect_otherwise(client: Client):
    free, told = look(client, model="pixelcnn"), look(client, kind="sunFLOWER", model="pixelcnn")
    assert free["numbers"]["model"] == "PixelCNN" and told["numbers"]["kind"] == "Sunflower"
    assert free["numbers"]["expected_bits"] != told["numbers"]["expected_bits"]
    assert free["numbers"]["bytes"] == told["numbers"]["bytes"]


def test_the_atlas_lights_up_the_photos_codes(client: Client):
    *sheets, _, _, _, numbers = client.predict(handle_file(PHOTO), api_name="/atlas")
    cst = CST.from_pretrained()
    counts = codebook_sheet.count_codes(cst, read_photo(str(PHOTO), codebook_sheet.MAX_PHOTO_SIZE))
    for level, (path, name) in enumerate(zip(sheets, LEVELS, strict=True)):
        sheet = codebook_sheet.draw_sheet(cst.tokenizer.codebooks, level, counts[level])
        assert np.array_equal(pixels(path), np.asarray(sheet))
        said = numbers["levels"][name]
        assert said["used"] == np.count_nonzero(counts[level])
        assert said["perplexity"] == pytest.approx(usage(counts[level])[1], abs=0.01)


def test_without_a_photo_the_atlas_is_bright_and_a_look_is_empty(client: Client):
    *sheets, _, _, _, numbers = client.predict(None, api_name="/atlas")
    assert all(set(np.unique(pixels(path)[..., 3])) == {0, 255} for path in sheets)
    assert numbers["photo"] is False
    assert all(look(client, None)[name] is None for name in ("square", "color", "numbers"))


def test_a_wrong_value_is_answered_in_words(client: Client, tmp_path: Path):
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    sent = handle_file(tmp_path / "text.png")
    for call, words in (
        (lambda: patch(client, 33, 1), "the column 33; accepted: a whole number from 1 to 32"),
        (lambda: patch(client, 1, 0), "the row 0; accepted"),
        (lambda: patch(client, 1, 1, None), "no photo"),
        (lambda: look(client, kind="sunflowr"), "did you mean Sunflower"),
        (lambda: look(client, model="gan"), "choices"),
        (lambda: look(client, tmp_path / "text.png"), "'text.png' is not a picture"),
        (lambda: client.predict(sent, api_name="/atlas"), "'text.png' is not a picture"),
    ):
        with pytest.raises(AppError, match=words) as caught:
            call()
        assert str(tmp_path) not in str(caught.value)


def test_the_api_names_and_describes_every_action(client: Client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, parameters, results in (
        ("/look", ["photo", "kind", "model"], len(LOOK)),
        ("/patch", ["photo", "kind", "model", "column", "row"], 3),
        ("/atlas", ["photo"], 7),
    ):
        assert [value["parameter_name"] for value in endpoints[name]["parameters"]] == parameters
        assert len(endpoints[name]["returns"]) == results


def test_without_a_prior_the_tab_does_the_rest_and_says_why(artifact: Path):
    code = f"""
import gradio as gr
from space.tabs.inside.tab import InsideTab
from space.models import Models
models = Models({str(artifact)!r})
with gr.Blocks() as page, gr.Tabs(), gr.Tab("Look inside") as tab:
    inside = InsideTab(models, tab)
config = page.get_config_file()
print(any("There is no model here to predict" in str(part["props"].get("value")) for part in config["components"]))
look = next(function.fn for function in page.fns.values() if function.api_name == "look")
update = look({str(PHOTO)!r}, "Any kind", None)
maps = [update[map] for map in inside.maps]
print(update[inside.square].size == (512, 512), maps == [None] * 4)
print(update[inside.numbers]["expected_bits"], "Fixed length" in update[inside.table])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "True", "True", "None", "True"], done.stderr
