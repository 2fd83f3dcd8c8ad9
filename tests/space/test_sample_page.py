"""The Sample tab as a program sees it: wishes sent to `python app.py`, new pictures that come back."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from cst import CST, Tokens
from prior.protocol import LevelSettings, Settings, Step
from prior.sampler import Sampler
from space.generation.address import setting_values
from space.generation.gallery import with_transparency
from space.generation.generate import generate
from space.generation.numbers import SampleNumbers, fixed_bits, mean_bits, sample_table
from space.generation.panel import next_seed
from space.generation.request import ANY, GenerationRequest
from space.models import Models, by_kind
from space.tabs.sample.settings import chosen_values, fill_in

ROOT = Path(__file__).parents[2]
OUTPUTS = ("live", "pictures", "sheet", "archive", "numbers", "table")
KIND = "Sunflower"


@pytest.fixture(scope="module")
def client(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(
        page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("results")), analytics_enabled=False
    )
    yield client
    client.close()


def sample(client: Client, **wish: Any) -> dict[str, Any]:
    wish = {"kind": KIND, "count": 1, "seed": 7, **wish}
    return dict(zip(OUTPUTS, client.predict(**wish, api_name="/sample"), strict=True))


@pytest.fixture(scope="module")
def result(client: Client) -> dict[str, Any]:
    return sample(client)


def pixels(result: dict[str, Any], index: int = 0) -> np.ndarray:
    with Image.open(result["pictures"][index]["image"]) as image:
        assert image.format == "PNG"
        return np.asarray(image)


# The answer to a wish -------------------------------------------------------------------------------------------------


def test_a_new_picture_is_what_its_codes_paint(result: dict[str, Any], tmp_path: Path):
    with zipfile.ZipFile(result["archive"]) as archive:
        archive.extractall(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "sunflower-7-1.png", "sunflower-7-1.npz", "sunflower-7-1.cst", "sunflower-7-sheet.png"
    }  # fmt: skip
    cst, tokens = CST.from_pretrained(), Tokens.load(tmp_path / "sunflower-7-1.npz")
    assert np.array_equal(cst.decompress((tmp_path / "sunflower-7-1.cst").read_bytes()).codes, tokens.codes)
    painted = np.asarray(cst.decode(tokens))
    assert painted.shape == (*result["numbers"]["size"][::-1], 3)
    assert np.abs(pixels(result).astype(int) - painted).max() <= 1
    with Image.open(tmp_path / "sunflower-7-1.png") as saved:
        assert np.array_equal(pixels(result), np.asarray(saved))


def test_the_numbers_are_told_and_explained(result: dict[str, Any]):
    numbers, (levels, h, w) = result["numbers"], result["numbers"]["grid"]
    assert (numbers["kind"], numbers["model"], numbers["seed"], numbers["stopped"]) == (KIND, "GPT", 7, False)
    assert numbers["codes"] == levels * h * w and numbers["fixed_bits"] == 33 * h * w
    assert numbers["fixed_bits_per_code"] == {"color": 9, "shape": 11, "texture": 13}
    whole = sum(numbers["bits_per_code"].values())
    assert whole * h * w == pytest.approx(sum(numbers["bits"]), rel=1e-3)
    assert f"{whole:.1f}" in result["table"] and "None" not in result["table"]


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(client: Client, result: dict[str, Any]):
    assert np.array_equal(pixels(sample(client, kind="sunFLOWER")), pixels(result))
    other = sample(client, seed=8)
    assert not np.array_equal(pixels(other), pixels(result))


def test_pictures_grow_coarse_to_fine_before_they_are_done(client: Client):
    job = client.submit(kind=ANY, count=1, seed=0, api_name="/sample")
    job.result()
    *growing, last = (dict(zip(OUTPUTS, output, strict=True)) for output in job.outputs())
    assert all(found["numbers"] is None and not found["pictures"] for found in growing)
    words = [re.search(r'role="status">([^<]*)', found["live"]).group(1) for found in growing]
    told = list(dict.fromkeys(words))
    colors = [f"Writing colors, {side} × {side}" for side in (4, 8)]
    scales = [f"Writing {name}, {side} × {side}" for side in (16, 32) for name in ("colors", "shapes", "textures")]
    order = [*colors, *scales, "Rendering"]
    assert told[0] == order[0] and told[-1] == order[-1]
    assert told == [name for name in order if name in told]
    assert growing[0]["live"].count("<img") == 1
    assert last["numbers"]["kind"] == ANY


def test_pixelcnn_draws_too(client: Client, result: dict[str, Any]):
    other = sample(client, model="pixelcnn", guidance=1)
    assert other["numbers"]["model"] == "PixelCNN" and other["numbers"]["settings"]["guidance"] == 1
    assert pixels(other).shape == (128, 128, 3) and pixels(result).shape == (256, 256, 3)


def test_stop_keeps_what_there_is(client: Client):
    job = client.submit(kind=KIND, count=2, seed=3, api_name="/sample")
    for _ in job:  # the first preview is there
        break
    client.predict(api_name="/stop")
    found = dict(zip(OUTPUTS, job.result(), strict=True))
    numbers, (levels, h, w) = found["numbers"], found["numbers"]["grid"]
    assert numbers["stopped"] and numbers["codes"] < 2 * levels * h * w  # none while colors are coarse
    assert len(found["pictures"]) == len(numbers["bits"]) == 2 and sum(numbers["bits"]) > 0
    assert "Stopped" in found["live"]
    with zipfile.ZipFile(found["archive"]) as archive:  # tokens are of whole pictures
        assert not [name for name in archive.namelist() if name.endswith((".npz", ".cst"))]
    assert sample(client, seed=7)["numbers"]["stopped"] is False


def test_stop_with_nothing_running_does_nothing(client: Client):
    client.predict(api_name="/stop")


def test_the_next_seed_is_random_unless_it_is_kept():
    seeds = {next_seed(5, False) for _ in range(4)} | {next_seed(None, True)}
    assert len(seeds) > 1 and all(0 <= seed < 2**31 for seed in seeds)
    assert next_seed(5, True) == 5


BAD = {
    "kind": ({"kind": "sunflowr"}, "Sunflower"),
    "count": ({"count": 9}, "maximum"),
    "no count": ({"count": 0}, "minimum"),
    "seed": ({"seed": 2**31}, "accepted: 0 to 2147483647"),
    "negative seed": ({"seed": -1}, "accepted: 0 to 2147483647"),
    "model": ({"model": "gan"}, "choices"),
    "temperature": ({"color_temperature": 0}, "temperature of 0"),
    "top-k": ({"shape_top_k": -1}, "top-k -1"),
    "top-p": ({"texture_top_p": 1.5}, "top-p 1.5"),
    "min-p": ({"color_min_p": 1}, "min-p 1"),
    "guidance": ({"guidance": 11}, "guidance of 11"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_value_is_answered_in_words(client: Client, name: str):
    wish, words = BAD[name]
    with pytest.raises(AppError, match=words) as caught:
        sample(client, **wish)
    assert str(ROOT) not in str(caught.value)


def test_the_api_names_and_describes_every_action(client: Client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = [value["parameter_name"] for value in endpoints["/sample"]["parameters"]]
    fields = [f"{level}_{field}" for level in ("color", "shape", "texture")
              for field in ("temperature", "top_k", "top_p", "min_p")]  # fmt: skip
    assert names == ["kind", "count", "seed", "model", *fields, "guidance"]
    assert all(value["parameter_has_default"] for value in endpoints["/sample"]["parameters"])
    assert len(endpoints["/sample"]["returns"]) == len(OUTPUTS)


# Parts ----------------------------------------------------------------------------------------------------------------


def test_what_is_not_written_is_clear():
    there = np.array([[True, True], [False, False]])
    picture = np.asarray(with_transparency(Image.new("RGB", (16, 16), "red"), there))
    assert (picture[:8, :, 3] == 255).all() and (picture[8:, :, 3] == 0).all()
    assert (picture[:8, :, :3] == (255, 0, 0)).all()


def test_the_table_says_dash_where_nothing_is_written():
    levels = Models().cst("int8").tokenizer.levels
    known = np.zeros((1, 3, 2, 2), bool)
    known[0, 0, 0] = True
    tokens, colors = np.zeros(known.shape, np.int32), np.where(known[:, 0], 0, -1)
    step = Step(tokens, known, None, None, colors, 2, 12, "color", {"color": 0.5}, np.array([[7.0, 0, 0]]))
    bits = mean_bits(step, levels)
    assert bits == {"color": 3.5, "shape": None, "texture": None}
    numbers = SampleNumbers(
        "<any>", "GPT", 1, (16, 16), (3, 2, 2), Settings(), bits, fixed_bits(levels), (7.0,), 132.0, 2, 0.0, 1.0, True
    )
    said = sample_table(numbers)
    assert "–" in said and "3.5" in said and "so far" in said and "None" not in said and "<any>" not in said


def test_a_wish_out_of_range_is_refused():
    with pytest.raises(ValueError, match="accepted: 1 to 8"):
        GenerationRequest(ANY, 9, 0, Settings())
    with pytest.raises(ValueError, match="accepted: 0 to"):
        GenerationRequest(ANY, 1, -1, Settings())


def test_settings_follow_the_model_until_they_are_changed():
    liked = {"gpt": Settings(), "pixelcnn": Settings(guidance=2.0)}
    defaults = {kind: setting_values(settings) for kind, settings in liked.items()}
    gpt, pixelcnn = defaults.values()
    assert chosen_values(defaults, "pixelcnn", gpt) == pixelcnn and chosen_values(defaults, "gpt", pixelcnn) == gpt
    mine = (0.123, *gpt[1:])
    assert chosen_values(defaults, "pixelcnn", mine) == mine


def test_an_empty_field_takes_the_default():
    defaults = Settings((LevelSettings(), LevelSettings(0.9, 5, 0.8, 0.1), LevelSettings()), 2.0)
    values = setting_values(defaults)
    assert fill_in(defaults, values) == fill_in(defaults, [None] * len(values)) == defaults
    assert fill_in(defaults, (0.5, *values[1:])).levels[0].temperature == 0.5


# Other models ---------------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", "0", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_priors_of_another_tokenizer_leave_the_first_tab_alone_and_say_why(artifact: Path):
    models = Models(artifact)
    assert models.kinds == () and set(models.refusals) == {"gpt", "pixelcnn"}
    assert all("trained on the tokenizer" in why and str(ROOT) not in why for why in models.refusals.values())
    code = f"""
from space.models import Models
from space.page import build
config = build(Models({str(artifact)!r})).get_config_file()
print(any("This page has no model that can draw" in str(part["props"].get("value")) for part in config["components"]))
public = [part["api_name"] for part in config["dependencies"] if part["api_visibility"] == "public"]
print("+".join(sorted(public)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "atlas+compare+explain+look+open+patch+reconstruct"], done.stderr


def test_a_missing_prior_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("space.models.PRETRAINED", tmp_path)
    refusals = Models().refusals
    assert set(refusals) == {"gpt", "pixelcnn"} and str(tmp_path) not in str(refusals)


def test_a_prior_takes_the_place_of_the_packaged_one_of_its_kind(gpt_folder: Path, pixelcnn_folder: Path):
    assert by_kind([pixelcnn_folder, gpt_folder]) == {"gpt": gpt_folder, "pixelcnn": pixelcnn_folder}
    assert by_kind([]) == {}


def test_given_priors_draw_with_their_tokenizer(
    artifact: Path, gpt_folder: Path, pixelcnn_folder: Path, tmp_path: Path
):
    models = Models(artifact, priors={"gpt": gpt_folder, "pixelcnn": pixelcnn_folder})
    assert models.kinds == ("gpt", "pixelcnn")
    for kind in models.kinds:
        sampler: Sampler = models.sampler(kind)
        settings = Settings((LevelSettings(),) * 3)
        *growing, last = generate(sampler, GenerationRequest("wild rose", 2, 5, settings), tmp_path, lambda: False)
        assert growing and last.numbers["kind"] == "wild_rose" and len(last.pictures) == 2
        *_, stopped = generate(sampler, GenerationRequest(ANY, 1, 5, settings), tmp_path, lambda: True)
        assert stopped.numbers["stopped"] and stopped.numbers["codes"] <= 1
        with Image.open(stopped.pictures[0][0]) as picture:
            assert picture.mode == "RGBA"


def test_a_given_prior_that_does_not_fit_is_one_clear_line(gpt_folder: Path, tmp_path: Path):
    for arguments, words in (
        (("--prior", gpt_folder), "tokenizer"),
        (("--prior", gpt_folder, "--prior", gpt_folder), "both priors of kind gpt"),
        (("--prior", tmp_path / "nothing"), "nothing"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(rf"error: .*{words}.*\n", done.stderr)
