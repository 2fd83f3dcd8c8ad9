"""The Sketch and Remix tabs as a program sees them: sketches and photos sent, new pictures that come back."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from support.bad_pictures import BAD, TOO_LARGE

from cst.images import load_image
from prior.sampler import Sampler
from space.generation.conditioning import area
from space.tabs.sketch.tab import SKETCHES

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "space" / "examples" / "blossom.webp"
OTHER = ROOT / "space" / "examples" / "chelsea.jpg"
SKETCH = ROOT / "space" / "examples" / "sketches" / "sunflower.png"
OUTPUTS = ("live", "pictures", "sheet", "archive", "numbers", "table")


@pytest.fixture(scope="module")
def client(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(
        page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("results")), analytics_enabled=False
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler.from_pretrained("gpt")


def canvas(composite: Path | None = None, *, background: Path | None = None, layers: tuple[Path, ...] = ()) -> dict:
    """What the page's canvas sends."""
    background, composite = (path and handle_file(path) for path in (background, composite))
    return {"background": background, "layers": [handle_file(layer) for layer in layers], "composite": composite}


def ask(client: Client, name: str, **wish: Any) -> dict[str, Any]:
    """One picture, unless more are wished for."""
    found = client.predict(**{"count": 1, "seed": 7, **wish}, api_name=f"/{name}")
    return dict(zip(OUTPUTS, found, strict=True))


def codes(result: dict[str, Any]) -> np.ndarray:
    """(L, h, w): of the first picture."""
    with zipfile.ZipFile(result["archive"]) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".npz"))
        with np.load(io.BytesIO(archive.read(name))) as file:
            return file["codes"]


# Drawing --------------------------------------------------------------------------------------------------------------


def test_an_exact_sketch_keeps_its_colors_and_is_painted(client: Client, sampler: Sampler):
    result = ask(client, "sketch", canvas=canvas(SKETCH), kind="sunflower", closely="exactly")
    assert result["numbers"]["given"] == [] and result["numbers"]["kind"] == "Sunflower"
    with Image.open(SKETCH) as sketch:
        wanted = np.asarray(sketch.convert("RGB").resize((16, 16), Image.Resampling.BOX)) / 255
    found = sampler.tokenizer.codebooks.color[codes(result)[0]].reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(found - wanted).mean() < 0.06  # four patches share a painted color
    assert 'alt="your colors, each the nearest code"' in result["live"]
    with Image.open(result["pictures"][0]["image"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))


def test_a_loose_sketch_and_its_layers_draw_the_same_as_its_composite(client: Client):
    whole = ask(client, "sketch", canvas=canvas(SKETCH))
    parts = ask(client, "sketch", canvas=canvas(background=SKETCH))
    layers = ask(client, "sketch", canvas=canvas(layers=(SKETCH,)))
    assert whole["numbers"]["given"] == [] and whole["numbers"]["codes"] == 3072
    assert np.array_equal(codes(whole), codes(parts)) and np.array_equal(codes(whole), codes(layers))


def test_the_colors_of_a_photo_become_a_sketch(client: Client, sampler: Sampler):
    found = client.predict(photo=handle_file(PHOTO), api_name="/colors_of_photo")
    layer = Path(found["layers"][0])
    with Image.open(layer) as sketch:
        colors = np.asarray(sketch.convert("RGB").resize((32, 32), Image.Resampling.NEAREST)) / 255
    wanted = sampler.tokenizer.codebooks.color[sampler.encode(load_image(PHOTO))[0]].clip(0, 1)
    assert np.abs(colors - wanted).max() < 0.01


def test_completing_keeps_the_codes_of_the_rest(client: Client, sampler: Sampler):
    result = ask(client, "complete", photo=handle_file(PHOTO), canvas=canvas(), part="bottom half")
    own, found, hole = sampler.encode(load_image(PHOTO)), codes(result), area("bottom half", (32, 32))
    assert np.array_equal(found[:, ~hole], own[:, ~hole]) and not np.array_equal(found[:, hole], own[:, hole])


def test_completing_draws_what_is_brushed(client: Client, sampler: Sampler, tmp_path: Path):
    strokes = Image.new("RGBA", (512, 512))
    strokes.paste("#14b8a6", (256, 320, 416, 416))
    strokes.save(tmp_path / "strokes.png")
    brushed = canvas(background=PHOTO, layers=(tmp_path / "strokes.png",))
    result = ask(client, "complete", photo=handle_file(PHOTO), canvas=brushed, part="what I brush")
    different = (codes(result) != sampler.encode(load_image(PHOTO))).any(0)
    assert different.any() and different[20:26, 16:26].sum() == different.sum()
    assert result["numbers"]["codes"] == 3 * 6 * 10


def test_recoloring_keeps_shapes_and_textures(client: Client, sampler: Sampler):
    own = sampler.encode(load_image(PHOTO))
    found = codes(ask(client, "recolor", photo=handle_file(PHOTO), kind="Poinsettia", far=1))
    assert np.array_equal(found[1:], own[1:]) and not np.array_equal(found[0], own[0])


def test_the_same_seed_draws_the_same_and_another_seed_another(client: Client):
    first, again, other = (codes(ask(client, "recolor", photo=handle_file(PHOTO), seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_stop_keeps_what_there_is(client: Client):
    job = client.submit(canvas=canvas(SKETCH), count=4, seed=3, api_name="/sketch")
    for _ in job:  # the first preview is there
        break
    client.predict(api_name="/stop")
    found = dict(zip(OUTPUTS, job.result(), strict=True))
    assert found["numbers"]["stopped"] and found["numbers"]["codes"] < 4 * 3072
    assert "Stopped" in found["live"] and len(found["pictures"]) == 4


# How it says no -------------------------------------------------------------------------------------------------------


BAD_UPLOADS = {name: (BAD | TOO_LARGE)[name] for name in ("text.png", "drawing.svg", "enormous.png")}


@pytest.mark.parametrize("name", BAD_UPLOADS)
def test_a_bad_file_is_answered_in_words_wherever_it_is_sent(client: Client, tmp_path: Path, name: str):
    make, words = BAD_UPLOADS[name]
    path = tmp_path / name
    path.write_bytes(make())
    for action, wish in (
        ("sketch", {"canvas": canvas(path)}),
        ("complete", {"photo": handle_file(path), "canvas": canvas()}),
        ("complete", {"photo": handle_file(PHOTO), "canvas": canvas(layers=(path,)), "part": "what I brush"}),
        ("recolor", {"photo": handle_file(path)}),
    ):
        with pytest.raises(AppError, match=words) as caught:
            ask(client, action, **wish)
        assert f"'{name}'" in str(caught.value) and "/" not in str(caught.value)  # no folder of the server
    with pytest.raises(AppError, match=words) as caught:
        client.predict(handle_file(path), api_name="/colors_of_photo")
    assert f"'{name}'" in str(caught.value) and "/" not in str(caught.value)


WRONG = {
    "empty sketch": ("sketch", lambda: {"canvas": canvas()}, "nothing is painted yet"),
    "wide sketch": ("sketch", lambda: {"canvas": canvas(OTHER)}, "'chelsea.jpg' has 451 x 300 pixels; accepted: a"),
    "no photo": ("complete", lambda: {"photo": None, "canvas": canvas()}, "there is no photo"),
    "nothing brushed": (
        "complete", lambda: {"photo": handle_file(PHOTO), "canvas": canvas(), "part": "what I brush"},
        "nothing is brushed",
    ),
    "no photo to recolor": ("recolor", lambda: {"photo": None}, "there is no photo"),
    "too far": ("recolor", lambda: {"photo": handle_file(PHOTO), "far": 2}, "maximum"),
    "kind": ("recolor", lambda: {"photo": handle_file(PHOTO), "kind": "sunflowr"}, "Sunflower"),
    "count": ("recolor", lambda: {"photo": handle_file(PHOTO), "count": 9}, "maximum"),
    "seed": ("sketch", lambda: {"canvas": canvas(SKETCH), "seed": -1}, "accepted: 0 to 2147483647"),
    "closely": ("sketch", lambda: {"canvas": canvas(SKETCH), "closely": "nearly"}, "choices"),
    "part": ("complete", lambda: {"photo": handle_file(PHOTO), "canvas": canvas(), "part": "all"}, "choices"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_wish_is_answered_in_words(client: Client, name: str):
    action, wish, words = WRONG[name]
    with pytest.raises(AppError, match=words) as caught:
        ask(client, action, **wish())
    assert str(ROOT) not in str(caught.value)


def test_the_api_names_and_describes_every_action(client: Client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    expected = {
        "/sketch": ["canvas", "kind", "closely", "count", "seed"],
        "/complete": ["photo", "canvas", "part", "kind", "count", "seed"],
        "/recolor": ["photo", "kind", "far", "count", "seed"],
        "/colors_of_photo": ["photo"],
        "/stop": [],
    }
    for name, parameters in expected.items():
        assert [value["parameter_name"] for value in endpoints[name]["parameters"]] == parameters


def test_the_example_sketches_are_small_squares_of_known_kinds(sampler: Sampler):
    for file, kind in SKETCHES.values():
        path = SKETCH.with_name(file)
        assert kind in sampler.classes and path.stat().st_size < 8000
        with Image.open(path) as sketch:
            assert sketch.width == sketch.height
