"""The page from end to end: `python app.py` in a process of its own, photos sent to it, pictures that come back."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from support.bad_pictures import BAD, ODD, TOO_LARGE

from cst import CST, Tokens
from cst.codec.container import HEADER, START, checksum
from cst.codec.range_coder import finish
from cst.images import fit_within, load_image
from cst.metrics import psnr
from cst.pipeline import join_strips, split_into_strips
from cst.tokenizer.protocol import bits_per_patch
from space.color import ramp
from space.models import Models
from space.tabs.reconstruct.difference_map import FULL_SCALE, difference_map
from space.tabs.reconstruct.numbers import Numbers, Quality, reconstruction_table
from space.tabs.reconstruct.reconstruction import ReconstructionView, open_cst, reconstruct, render_opened
from space.tabs.reconstruct.tab import ReconstructTab
from space.uploads import read_photo
from space.widgets.photo_picker import SharedPhoto

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "space" / "examples" / "chelsea.jpg"
OUTPUTS = (
    "comparison",
    "color",
    "shape",
    "texture",
    "rendered",
    "difference",
    "jpeg",
    "webp",
    "codes",
    "cst",
    "numbers",
    "table",
)


@dataclass
class Page:
    """The page as a program sees it."""

    client: Client

    def reconstruct(self, photo: Path, detail: int = 256, quality: str = "int8") -> dict[str, Any]:
        results = self.client.predict(handle_file(photo), detail, quality, api_name="/reconstruct")
        return dict(zip(OUTPUTS, results, strict=True))

    def open(self, file: Path, quality: str = "int8") -> dict[str, Any]:
        results = self.client.predict(handle_file(file), quality, api_name="/open")
        return dict(zip(OUTPUTS, results, strict=True))


@pytest.fixture(scope="module")
def page(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    client = Client(
        page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("results")), analytics_enabled=False
    )
    yield Page(client)
    client.close()


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


@pytest.fixture(scope="module")
def cst(models: Models) -> CST:
    return models.cst("int8")


@pytest.fixture(scope="module")
def tab(models: Models, lay_out: Callable[..., Any]) -> ReconstructTab:
    return lay_out(lambda: ReconstructTab(models, SharedPhoto()))


@pytest.fixture(scope="module")
def result(page: Page) -> dict[str, Any]:
    return page.reconstruct(PHOTO)


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


# The answer to a photo ------------------------------------------------------------------------------------------------


def test_an_uploaded_photo_comes_back_exactly_as_the_library_paints_it(result: dict[str, Any], cst: CST):
    photo = read_photo(str(PHOTO), 256)
    painted = np.asarray(cst.decode(cst.encode(photo)))
    assert np.array_equal(pixels(result["comparison"][0]), np.asarray(photo))
    assert np.array_equal(pixels(result["comparison"][1]), painted)
    assert np.array_equal(pixels(result["rendered"]), painted)


def test_every_step_of_the_ladder_is_nearer_to_the_photo(result: dict[str, Any]):
    photo = pixels(result["comparison"][0]) / 255
    near = [psnr(pixels(result[name]) / 255, photo) for name in ("color", "shape", "texture", "rendered")]
    assert near == sorted(near) and near[0] > 10


def test_the_downloaded_codes_hold_the_picture(result: dict[str, Any], cst: CST):
    tokens = Tokens.load(result["codes"])
    assert np.array_equal(np.asarray(cst.decode(tokens)), pixels(result["rendered"]))


def test_the_downloaded_cst_file_holds_the_same_codes_in_fewer_bytes(result: dict[str, Any], cst: CST):
    data = Path(result["cst"]).read_bytes()
    assert np.array_equal(cst.decompress(data).codes, Tokens.load(result["codes"]).codes)
    assert result["numbers"]["cst_bytes"] == len(data) < result["numbers"]["codes"]["bytes"]
    assert f"{len(data):,}" in result["table"]


def test_the_numbers_are_those_of_the_pictures(result: dict[str, Any]):
    numbers, photo = result["numbers"], pixels(result["comparison"][0]) / 255
    _, h, w = numbers["grid"]
    assert numbers["size"] == [photo.shape[1], photo.shape[0]] and (h, w) == (22, 32)
    assert numbers["codes"]["bytes"] == -(-33 * h * w // 8)
    for name, picture in (("codes", "rendered"), ("jpeg", "jpeg"), ("webp", "webp")):
        assert numbers[name]["psnr_db"] == pytest.approx(psnr(pixels(result[picture]) / 255, photo), abs=0.01)
        assert 0 < numbers[name]["bytes"] <= numbers["codes"]["bytes"]
        assert f"{numbers[name]['psnr_db']:.1f}" in result["table"]
    assert numbers["running_on"] in result["table"]


def test_float_painting_is_another_picture_of_the_same_codes(page: Page, result: dict[str, Any]):
    exact = page.reconstruct(PHOTO, quality="float")
    assert np.array_equal(pixels(exact["texture"]), pixels(result["texture"]))
    difference = np.abs(pixels(exact["rendered"]).astype(int) - pixels(result["rendered"]))
    assert 0 < difference.mean() < 4


# A .cst file that is given back ---------------------------------------------------------------------------------------


def test_a_cst_file_that_is_given_back_is_the_same_picture_without_its_photo(page: Page, result: dict[str, Any]):
    opened = page.open(Path(result["cst"]))
    for name in ("color", "shape", "texture", "rendered"):
        assert np.array_equal(pixels(opened[name]), pixels(result[name]))
    for picture, name in zip(opened["comparison"], ("texture", "rendered"), strict=True):
        assert np.array_equal(pixels(picture), pixels(opened[name]))
    assert [opened[name] for name in ("difference", "jpeg", "webp", "cst")] == [None] * 4
    assert np.array_equal(Tokens.load(opened["codes"]).codes, Tokens.load(result["codes"]).codes)
    size, numbers = Path(result["cst"]).stat().st_size, opened["numbers"]
    assert (numbers["cst_bytes"], numbers["model"], numbers["grid"]) == (size, "static", [3, 22, 32])
    assert f"{size:,}" in opened["table"]
    exact = page.open(Path(result["cst"]), "float")
    assert 0 < np.abs(pixels(exact["rendered"]).astype(int) - pixels(result["rendered"])).mean() < 4


def test_what_was_opened_last_is_painted_again_when_settings_change_and_a_photo_takes_its_place(page: Page):
    golden = Path(__file__).parents[1] / "golden" / "cat.cst"
    first = page.open(golden)
    again = dict(zip(OUTPUTS, page.client.predict(None, 256, "float", api_name="/reconstruct"), strict=True))
    assert pixels(again["rendered"]).shape == pixels(first["rendered"]).shape == (85, 128, 3)
    assert not np.array_equal(pixels(again["rendered"]), pixels(first["rendered"]))
    assert page.reconstruct(PHOTO, 128)["difference"] is not None
    assert page.client.predict(None, 256, "int8", api_name="/reconstruct")[4] is None


def crafted(place: int, value: bytes) -> bytes:
    """The golden file with a header field set to something else, and a checksum that is right again."""
    data = (Path(__file__).parents[1] / "golden" / "cat.cst").read_bytes()
    data = data[:place] + value + data[place + len(value) :]
    return data[: HEADER.size] + checksum(data) + data[START:]


BAD_CST: dict[str, tuple[Callable[[], bytes], str]] = {
    "photo.cst": (PHOTO.read_bytes, "not a .cst file"),
    "empty.cst": (lambda: b"", "not a .cst file"),
    "cut.cst": (lambda: crafted(0, b"")[:-1], "damaged or cut short"),
    "future.cst": (lambda: crafted(4, b"\x09"), "version 9; accepted: 1"),
    "other.cst": (lambda: crafted(10, b"\xff" * 8), "written by the tokenizer ffffffffffffffff"),
    "counted.cst": (lambda: crafted(18, b"\xff" * 8), "under the statistics ffffffffffffffff"),
    "enormous.cst": (lambda: crafted(6, np.array([7000, 7000], "<u2").tobytes()), "accepted here: up to 4,194,304"),
    "former.cst": (lambda: crafted(5, b"\1"), "coded under the prior 'gpt'; accepted: files under the static"),
    "lying.cst": (lambda: crafted(6, np.array([120, 85], "<u2").tobytes()), "its"),
}


@pytest.mark.parametrize("name", BAD_CST)
def test_a_bad_cst_file_is_answered_in_words(page: Page, tmp_path: Path, name: str):
    make, words = BAD_CST[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(AppError, match=words) as caught:
        page.open(tmp_path / name)
    assert str(caught.value).startswith(f"'{name}': ")
    assert "/" not in str(caught.value)  # no folder of the server


def test_a_tokenizer_without_statistics_has_no_cst_file_and_all_else(tab, artifact, photos, tmp_path):
    tiny = CST.from_pretrained(artifact, target="cpu")
    *_, view = reconstruct(tiny, load_image(photos / "photo-00.png"), tmp_path, lambda *sign: None)
    assert view.cst is None and view.numbers["cst_bytes"] is None and ".cst" not in view.table
    assert view.codes is not None and view.webp is not None
    update = tab.show(view)
    rows = [update[row]["visible"] for row in (tab.stop_row, tab.codes_row, tab.cst_row)]
    assert rows == [False, True, False]
    (tmp_path / "cat.cst").write_bytes(crafted(10, bytes.fromhex(tiny.tokenizer.fingerprint)))
    with pytest.raises(ValueError, match=r"^'cat.cst': 'the tokenizer' has no statistics of its codes") as caught:
        finish(open_cst(tiny, str(tmp_path / "cat.cst"), lambda *sign: None))
    assert str(artifact) not in str(caught.value)


# Every kind of upload -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_any_kind_of_picture_is_reconstructed(page: Page, tmp_path: Path, name: str):
    make, (width, height) = ODD[name]
    (tmp_path / name).write_bytes(make())
    result = page.reconstruct(tmp_path / name)
    size = fit_within(Image.new("1", (width, height)), 256).size
    assert result["numbers"]["size"] == list(size)
    assert pixels(result["rendered"]).shape == (size[1], size[0], 3)
    assert (result["numbers"]["codes"]["ssim"] is None) == (min(size) < 11)
    json.dumps(result["numbers"], allow_nan=False)


BAD_UPLOADS = BAD | TOO_LARGE


@pytest.mark.parametrize("name", BAD_UPLOADS)
def test_a_bad_upload_is_answered_in_words_and_the_next_good_one_works(page: Page, tmp_path: Path, name: str):
    make, words = BAD_UPLOADS[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(AppError, match=words) as caught:
        page.reconstruct(tmp_path / name)
    assert str(caught.value).startswith(f"'{name}'")
    assert "/" not in str(caught.value)  # no folder of the server
    assert page.reconstruct(PHOTO, 128)["numbers"]["size"] == [128, 85]


def test_a_file_that_is_too_large_is_refused(page: Page, tmp_path: Path):
    (tmp_path / "heavy.png").write_bytes(bytes(21 * 2**20))
    with pytest.raises(ValueError, match="maximum file size"):
        page.reconstruct(tmp_path / "heavy.png")


@pytest.mark.parametrize(("detail", "quality"), [(64, "int8"), (4096, "int8"), (256, "int4")])
def test_settings_out_of_range_are_refused(page: Page, detail: int, quality: str):
    with pytest.raises(AppError, match=r"minimum|maximum|choices"):
        page.reconstruct(PHOTO, detail, quality)


def test_the_api_names_and_describes_itself(page: Page):
    endpoints = page.client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    remix = {"/sketch", "/colors_of_photo", "/complete", "/recolor"}
    inside = {"/look", "/patch", "/atlas"}
    first = {"/reconstruct", "/open", "/compare", "/sample", "/stop", "/explain"}
    assert set(endpoints) == first | remix | inside
    assert [value["parameter_name"] for value in endpoints["/reconstruct"]["parameters"]] == [
        "photo",
        "detail",
        "quality",
    ]
    assert len(endpoints["/reconstruct"]["returns"]) == len(OUTPUTS)


# Parts ----------------------------------------------------------------------------------------------------------------


def test_codes_found_in_strips_are_those_of_the_whole_photo(cst: CST):
    photo = load_image(PHOTO).resize((509, 300))
    parts = [cst.encode(strip) for strip in split_into_strips(photo, cst.tokenizer.patch)]
    tokens = join_strips(parts, photo.size)
    assert len(parts) > 1
    assert np.array_equal(tokens.codes, cst.encode(photo).codes)
    cst.check(tokens)


def test_the_packaged_codes_take_33_bits_a_patch(cst: CST):
    assert bits_per_patch(cst.tokenizer.levels) == 33


def test_the_difference_map_runs_from_dark_to_bright_in_one_hue():
    original = Image.new("RGB", (3, 1), (100, 100, 100))
    picture = Image.fromarray(np.array([[[100] * 3, [100 + FULL_SCALE // 2] * 3, [0] * 3]], np.uint8))
    brightness = np.asarray(difference_map(picture, original)).sum(2)[0]
    assert brightness[0] < brightness[1] < brightness[2]
    assert np.array_equal(np.asarray(difference_map(picture, original))[0, 2], ramp()[255])
    assert (np.diff(ramp()[::5].astype(int) @ [2, 7, 1]) > 0).all()  # brighter and brighter


def test_the_table_says_dash_and_equal_where_there_is_no_number():
    exact, rest = Quality(None, None, 5, 40.0), Quality(30.0, 0.9, 1234567, 0.5)
    said = reconstruction_table(Numbers((1, 1), (3, 1, 1), 1.0, 2.0, "a <fast> machine", exact, rest, rest))
    assert "equal" in said and "–" in said and "1,234,567" in said and "None" not in said
    assert "<fast>" not in said


# Starting -------------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("app.py", "--host", "127.0.0.1", "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"error: .*{port}.*--port.*\n", done.stderr)


def test_a_missing_tokenizer_is_one_clear_line(tmp_path: Path):
    done = run("app.py", "--port", "0", "--tokenizer", str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: .*nothing.*\n", done.stderr)


def test_help_lists_every_flag():
    done = run("app.py", "--help")
    assert done.returncode == 0
    assert {"--host", "--port", "--share", "--tokenizer", "--target", "--threads"} <= set(done.stdout.split())


def test_the_page_needs_no_training_library():
    code = (
        "import sys; from space.models import Models; from space.page import build; import app; build(Models());"
        "print(sorted({'torch', 'transformers', 'accelerate', 'sklearn', 'scipy', 'skimage'} & set(sys.modules)))"
    )
    done = run("-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_progress_is_told_strip_by_strip_then_tile_by_tile(cst: CST, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cst.tokenizer, "max_patches", 1)
    told: list[tuple[float, str]] = []
    run = reconstruct(cst, load_image(PHOTO).resize((512, 512)), tmp_path, lambda *sign: told.append(sign))
    for _ in run:
        pass
    painting = next(index for index, (_, what) in enumerate(told) if what == "Rendering")
    encoded, painted = ([fraction for fraction, _ in part] for part in (told[:painting], told[painting:]))
    assert encoded[0] == 0 and encoded == sorted(encoded) and len(encoded) > 3
    assert painted == [0, 0.25, 0.5, 0.75, 1]
    assert told[0][1] == "Finding the codes of every patch" and told[-1][1] == "Rendering"


def test_a_photo_can_be_stopped_at_many_places(cst: CST, tmp_path: Path):
    steps = list(reconstruct(cst, load_image(PHOTO), tmp_path, lambda *sign: None))
    assert len(steps) > 24 and steps[-1].numbers is not None
    assert sum(step.table is not None for step in steps) > 20  # while it is compared with other formats


def broken_midway() -> Iterator[ReconstructionView]:
    yield ReconstructionView()
    raise ValueError("'mine.cst': damaged")


def test_a_mistake_midway_leaves_nothing_half_shown(tab: ReconstructTab):
    updates = tab.show_steps(broken_midway(), of_photo=False)
    assert [next(updates)[tab.introduction]["visible"] for _ in range(2)] == [False, True]
    with pytest.raises(ValueError, match="damaged"):
        next(updates)


def test_a_cst_file_can_be_stopped_while_it_is_read_and_painted(cst: CST, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cst.tokenizer, "max_patches", 1)
    tokens, told = cst.encode(load_image(PHOTO).resize((512, 512))), []
    (tmp_path / "a.cst").write_bytes(cst.compress(tokens))
    reading = open_cst(cst, str(tmp_path / "a.cst"), lambda done, what: told.append((round(done, 2), what)))
    *steps, shown = render_opened(cst, finish(reading), tmp_path, lambda done, what: told.append((done, what)))
    assert told[:3] == [(share, "Reading the codes") for share in (0.33, 0.67, 1)]
    assert told[3:] == [(share, "Rendering") for share in (0, 0.25, 0.5, 0.75, 1)]
    assert len(steps) == 5 + 3 and set(steps) == {ReconstructionView()} and shown.numbers["grid"] == (3, 64, 64)


@pytest.mark.parametrize("kind", ["photo", "cst"])
def test_a_run_that_is_closed_halfway_leaves_no_file(
    kind: str, tab: ReconstructTab, cst: CST, tmp_path: Path, monkeypatch
):
    (tmp_path / "a.cst").write_bytes(cst.compress(cst.encode(load_image(PHOTO))))
    (tmp_path / "made").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "made"))
    monkeypatch.setattr("space.tabs.reconstruct.tab.STOP_INTERVAL", -1)
    silent = lambda *sign: None  # noqa: E731
    run = {
        "photo": lambda: tab.reconstruct(str(PHOTO), 256, "int8", None, silent),
        "cst": lambda: tab.open(str(tmp_path / "a.cst"), "int8", silent),
    }[kind]()
    while not any(path.is_file() for path in tmp_path.glob("made/*/*")):
        next(run)
    run.close()  # what Gradio does when a visitor leaves or presses Stop
    assert not list((tmp_path / "made").iterdir())
