"""What the page, the library and the command line answer to files and values that no careful person would send."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bad_pictures import BAD, Harm, pickled_picture

from cst import CST, Tokens
from cst.images import load_image
from prior.protocol import LevelSettings, Settings
from space.generation.request import GenerationRequest
from space.hosting.load_test import check_address

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "space" / "examples" / "chelsea.jpg"
QUIET = settings(derandomize=True, deadline=None, max_examples=60, database=None)
NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**70), 2**70)


@pytest.fixture(scope="module")
def client(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(
        page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("results")), analytics_enabled=False
    )
    yield client
    client.close()


def numbers(client: Client, photo: Path) -> dict:
    return client.predict(handle_file(photo), 128, "int8", api_name="/reconstruct")[10]


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_picture_that_is_a_pickle_is_not_unpickled(client: Client, tmp_path: Path):
    (tmp_path / "harm.png").write_bytes(pickled_picture(tmp_path / "harmed"))
    with pytest.raises(AppError, match="not a picture"):
        numbers(client, tmp_path / "harm.png")
    assert not (tmp_path / "harmed").exists()


def test_60_megabytes_are_refused_by_the_server_too(page_url: str):
    answer = httpx.post(f"{page_url}/gradio_api/upload", files={"files": ("heavy.png", bytes(60 * 2**20))}, timeout=120)
    assert answer.status_code == 413 and "20971520" in answer.text


def test_many_bad_files_at_once_leave_the_page_as_it_was(client: Client, tmp_path: Path):
    jobs = []
    for name, (make, _) in BAD.items():
        (tmp_path / name).write_bytes(make())
        jobs.append(client.submit(handle_file(tmp_path / name), 128, "int8", api_name="/reconstruct"))
    assert all(isinstance(job.exception(timeout=120), AppError) for job in jobs)
    assert numbers(client, PHOTO)["size"] == [128, 85]


# Values ---------------------------------------------------------------------------------------------------------------

WRONG = [math.nan, math.inf, -math.inf, 1e300, 10**400, "abc", "4", [1], {"a": 1}, True]
FIELDS = ("count", "seed", "color_temperature", "shape_top_k", "texture_top_p", "color_min_p", "guidance")


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_that_is_no_number_is_answered_in_words(name: str, call: Callable[..., Any]):
    for value in WRONG:
        kind, answer = call("sample", **{"count": 1, "seed": 1, name: value})
        assert kind == "error" and "give a number" in answer["error"], value
        assert len(answer["error"]) < 200


def test_the_detail_of_a_photo_must_be_a_number_too(call: Callable[..., Any]):
    for value in [*WRONG, None]:
        kind, answer = call("reconstruct", photo=None, detail=value, quality="int8")
        assert kind == "error" and "Detail" in answer["error"], value


@pytest.mark.parametrize("kind", [5, ["Rose", "Lily"], {"a": 1}, "x" * 5000, "<script>", "../../etc", "\0"])
def test_a_kind_that_is_none_is_answered_with_some_that_are(kind: object, call: Callable[..., Any]):
    result, answer = call("sample", count=1, seed=1, kind=kind)
    assert result == "error" and ("accepted: " in answer["error"] or "did you mean" in answer["error"])


@given(values=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), guidance=NUMBER)
@QUIET
def test_settings_are_in_range_or_refused_by_name(values: tuple, guidance: float):
    try:
        level, all_levels = LevelSettings(*values), Settings(guidance=guidance)
    except ValueError as error:
        assert "accepted: " in str(error)
        return
    assert 0 < level.temperature <= 10 and level.top_k >= 0 and 0 < level.top_p <= 1 and 0 <= level.min_p < 1
    assert 0 <= all_levels.guidance <= 10


@given(kind=st.text(max_size=30), count=st.none() | NUMBER, seed=st.none() | NUMBER)
@QUIET
def test_a_wish_is_in_range_or_refused_and_its_file_names_are_plain(kind: str, count: float, seed: float):
    try:
        wish = GenerationRequest.from_fields(kind, count, seed, Settings())
    except ValueError as error:
        assert "accepted: " in str(error) or "give a whole number" in str(error)
        return
    assert 1 <= wish.count <= 8 and 0 <= wish.seed < 2**31
    assert set(wish.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(
    data=st.binary(max_size=300), head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF89a"])
)
@QUIET
def test_any_bytes_are_a_picture_or_a_value_error(data: bytes, head: bytes):
    with pytest.raises(ValueError, match=r"not a picture|damaged|more pixels"):
        load_image(head + data)


# Tokens ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cst(artifact: Path) -> CST:
    return CST.from_pretrained(artifact, target="cpu")


@given(
    shape=st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 9)),
    kind=st.sampled_from([np.int32, np.int64, np.uint8, np.int8, np.uint64, np.float32, bool]),
    fill=st.integers(-(2**63), 2**64 - 1),
    size=st.tuples(st.integers(-5, 80), st.integers(-5, 80)),
    mine=st.booleans(),
)
@QUIET
def test_any_tokens_are_painted_whole_or_refused(
    cst: CST, shape: tuple, kind: type, fill: int, size: tuple, mine: bool
):
    with np.errstate(all="ignore"):
        codes = np.full(shape, np.array(fill % 2**64, np.uint64)).astype(kind)
    tokens = Tokens(codes, size, cst.tokenizer.fingerprint if mine else "0" * 16)
    try:
        picture = cst.decode(tokens)
    except ValueError as error:
        assert str(error)
        return
    assert mine and picture.size == size and np.issubdtype(kind, np.integer)


def write(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def test_a_bad_file_of_tokens_is_one_line_of_the_command(cst: CST, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from cst import __main__
    from cst.flags import run

    mine = np.array(cst.tokenizer.fingerprint)
    good = {"codes": np.zeros((3, 2, 2), np.int32), "size": np.array([16, 16]), "fingerprint": mine}
    bad = {
        "shape": ({"codes": np.zeros((3, 2), np.int32)}, "accepted: integers"),
        "levels": ({"codes": np.zeros((2, 2, 2), np.int32)}, "accepted"),
        "type": ({"codes": np.zeros((3, 2, 2))}, "float64"),
        "text": ({"codes": np.full((3, 2, 2), "x")}, "accepted: integers"),
        "range": ({"codes": np.full((3, 2, 2), 10**6)}, "codes span"),
        "below": ({"codes": np.full((3, 2, 2), -1)}, "codes span"),
        "print": ({"fingerprint": np.array("0" * 16)}, "decode them with the tokenizer that wrote them"),
        "size": ({"size": np.array([2**40, 2**40])}, "do not cover"),
        "pickle": ({"codes": np.array([Harm(tmp_path / "harmed")], object)}, "not a file of tokens"),
    }
    for name, (change, words) in bad.items():
        path = write(tmp_path / f"{name}.npz", **{**good, **change})
        command = ["decode", str(path), str(tmp_path / "out.png"), "--target", "cpu"]
        with pytest.raises(SystemExit, match="2"):
            run(lambda: __main__.main([*command, "--tokenizer", str(cst.tokenizer.folder)]))  # noqa: B023
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and words in said, (name, said)
    assert not (tmp_path / "out.png").exists() and not (tmp_path / "harmed").exists()


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:7860", "http://localhost:1", "http://[::1]:7860/", "http://127.9.9.9"]
)
def test_load_is_put_on_this_machine(url: str):
    check_address(url)


@pytest.mark.parametrize(
    "url", ["http://example.com", "https://127.0.0.1", "http://10.0.0.1", "http://localhost.example.com", "7860", "",
            "http://127.0.0.1@example.com", "http://0.0.0.0:7860", "file:///etc/passwd"]
)  # fmt: skip
def test_load_is_put_on_no_other(url: str):
    with pytest.raises(ValueError, match="not a page of this machine; accepted: http://127"):
        check_address(url)
