"""What is kept, what is opened, and who is told: nothing, nothing that was not uploaded, and no one."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.server import ROOT, free_port

from space.page import KEEP_SECONDS

PHOTO = ROOT / "space" / "examples" / "coffee.jpg"
SOURCES = [
    ROOT / "app.py",
    *(path for name in ("cst", "prior", "space") for path in sorted((ROOT / name).rglob("*.py"))),
]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
KEEP = 6  # seconds

# The page, with uploads and results deleted after a few seconds.
BRIEF = f"""
import sys
from space.models import Models
from space.page import build, serve
serve(build(Models(), keep={KEEP}), host="127.0.0.1", port=int(sys.argv[1]), share=False)
"""


# Nothing is unpickled or evaluated ------------------------------------------------------------------------------------


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a module could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0]}
        else:
            names = set()
        yield from names & FORBIDDEN_MODULES
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {item.arg: ast.unparse(item.value) for item in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield called
        if called.endswith(("np.load", "numpy.load")) and given.get("allow_pickle", "False") != "False":
            yield called
        if called.endswith("torch.load") and given.get("weights_only") != "True":
            yield called
        if given.get("shell") == "True" or given.get("trust_remote_code") == "True":
            yield called


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_unpickles_and_evaluates_nothing(path: Path):
    assert not list(unsafe(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "np.load(path, allow_pickle=True)", "torch.load(path)", "eval(text)",
     "torch.load(path, weights_only=False)", "subprocess.run(words, shell=True)"],
)  # fmt: skip
def test_what_would_be_unsafe_is_noticed(line: str):
    assert list(unsafe(ast.parse(line)))


# No path of a visitor is opened ---------------------------------------------------------------------------------------

PATHS = [
    "/etc/passwd", "../../../../etc/passwd", "README.md", str(ROOT / "README.md"), "/dev/zero", "/proc/self/environ",
    "file:///etc/passwd", "/", "a\0b", "~/.bashrc", "http://127.0.0.1:1/", "http://example.com/photo.png",
]  # fmt: skip


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture on the server that was never uploaded."""
    path = tmp_path_factory.mktemp("secret") / "secret.jpg"
    path.write_bytes(PHOTO.read_bytes())
    return path


def payloads(path: str) -> list[dict]:
    file = {"_type": "gradio.FileData"}
    return [
        {"path": path},
        {"path": path, "meta": file},
        {"path": path, "meta": file, "is_stream": True},
        {"path": path, "url": path, "orig_name": "photo.png", "meta": {}},
        {"path": None, "url": path, "meta": file},
    ]


def test_no_path_or_address_that_a_visitor_names_is_opened(call: Callable[..., Any], secret: Path):
    for path in [*PATHS, str(secret), f"{secret.parent}/../{secret.parent.name}/{secret.name}"]:
        for payload in payloads(path):
            kind, answer = call("reconstruct", photo=payload, detail=128, quality="int8")
            said = answer["error"] or ""
            assert kind == "error", (payload, answer)
            assert "picture" not in said and "no such file" not in said, (payload, said)  # nor is it told what is there


def test_what_was_uploaded_and_the_examples_are_opened(call: Callable[..., Any], page_url: str):
    answer = httpx.post(f"{page_url}/gradio_api/upload", files={"files": ("../../x.jpg", PHOTO.read_bytes())})
    uploaded = Path(answer.json()[0])
    assert uploaded.name == "x.jpg" and "uploads" in uploaded.parts
    for path in (uploaded, PHOTO):
        kind, answer = call("reconstruct", photo={"path": str(path)}, detail=128, quality="int8")
        assert (kind, answer[10]["size"]) == ("complete", [128, 85])


def test_no_file_of_the_server_is_served(page_url: str, secret: Path):
    for path in [*PATHS, str(secret), "app.py", "prior/pretrained/gpt/config.json"]:
        if "\0" not in path:
            answer = httpx.get(f"{page_url}/gradio_api/file={path}", timeout=60)
            assert answer.status_code in (403, 404) or ("example.com" in path and answer.status_code < 400), path
            assert b"root:" not in answer.content


# Uploads and results are deleted --------------------------------------------------------------------------------------


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[tuple[str, Path, subprocess.Popen]]:
    """(address, folder of files, process) of the page that keeps files for a few seconds."""
    port, folder = free_port(), tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "gradio"), "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", BRIEF, str(port)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as page:
        try:
            assert "The page is at" in page.stdout.readline()
            yield f"http://127.0.0.1:{port}", folder, page
        finally:
            page.terminate()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def upload(url: str) -> str:
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.jpg", PHOTO.read_bytes())}, timeout=60)
    return answer.json()[0]


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120  # generous: other work may be running on the machine
    while not done() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert done()


def test_uploads_and_results_are_deleted_after_the_time_set_and_at_the_end(brief: tuple):
    url, folder, page = brief
    with httpx.Client(timeout=120) as browser:
        asked = {"photo": {"path": upload(url)}, "detail": 128, "quality": "int8"}
        event = browser.post(f"{url}/gradio_api/call/v2/reconstruct", json=asked).json()["event_id"]
        assert "event: complete" in browser.get(f"{url}/gradio_api/call/v2/reconstruct/{event}").text
        wait_until(lambda: not files(folder))
        upload(url)
        assert files(folder)
        with browser.stream("GET", f"{url}/gradio_api/heartbeat/tab"):  # a tab left open
            page.terminate()
            assert page.wait(60) == 0
    assert not files(folder)


# No one is told -------------------------------------------------------------------------------------------------------


def test_the_page_keeps_no_history_counts_no_visits_and_says_how_long_files_live(page_url: str):
    config = httpx.get(f"{page_url}/config", timeout=60).json()
    assert not config["analytics_enabled"] and not config["run_history"]
    assert httpx.get(f"{page_url}/gradio_api/monitoring/summary").status_code == 404
    footer = next(block for block in config["components"] if block["props"].get("elem_id") == "footer")
    assert f"deleted within {KEEP_SECONDS // 60} minutes" in footer["props"]["value"]


def test_loading_the_models_leaves_no_trace_and_reports_to_no_one(run_python: Callable[..., Any], tmp_path: Path):
    code = """
from cst import CST
from prior.sampler import Sampler
sampler = Sampler.from_pretrained("gpt", tokenizer=CST.from_pretrained(target="cpu").tokenizer)
print(next(sampler.sample()).done)
"""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    # What onnxruntime reports with lies in these two folders.
    done = run_python("-c", code, HOME=str(home), XDG_CACHE_HOME=str(home), TMPDIR=str(temporary))
    assert done.stdout == "1\n", done.stderr
    assert not files(home) and not files(temporary)
