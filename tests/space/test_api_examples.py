"""The examples of docs/api.md run as they stand, in order, against the page."""

import re
import shutil
from pathlib import Path

import pytest
from gradio_client import Client

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "space" / "examples"
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_run_and_cover_every_action(page_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "chelsea.jpg", "photo.jpg")
    shutil.copy(EXAMPLES / "sketches" / "sunflower.png", "sketch.png")
    shutil.copy(ROOT / "tests" / "golden" / "cat.cst", "photo.cst")
    names: dict = {}
    for code in CODE:
        exec(code.replace("http://127.0.0.1:7860", page_url), names)
    client: Client = names["client"]
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    client.close()
    assert set(re.findall(r'api_name="(/\w+)"', "".join(CODE))) == set(endpoints)
