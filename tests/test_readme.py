"""The commands and code of the documents run as they stand, on a handful of photos."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
COMMANDS = [
    line
    for text in DOCUMENTS.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in dict.fromkeys(block.splitlines())
]
SERVERS = "app.py"  # started by tests/test_page.py
LONG = ("space update-docs", "prior judge", "--all-tokenizers")  # tested on short commands, with a stand-in network
TRAINERS = {"retrain", "fit", "train", "train-learned"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, with `photos`, and `flowers` of two kinds, where commands may write."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("cst", "prior", "space", "app.py"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "photos").mkdir()
    for photo in (ROOT / "space" / "examples").glob("*.[jw]*"):
        shutil.copy(photo, folder / "photos")
    for number, photo in enumerate(sorted((folder / "photos").iterdir())):
        kind = folder / "flowers" / ("tulip", "rose")[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, kind)
    return folder


def run(arguments: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_commands_of_the_documents_run_in_order(checkout: Path) -> None:
    ran = []
    for command in dict.fromkeys(COMMANDS):
        program, *arguments = command.split()
        if (
            program != "python"
            or SERVERS in command
            or any(long in command for long in LONG)
            or "pytest" in command
            or "../" in command
        ):
            continue
        smoke = ["--smoke"] if arguments[2] in TRAINERS else []
        quick = ["--repeats", "2"] if "benchmark" in arguments else []
        run([*arguments, *smoke, *quick], checkout)
        ran.append(" ".join(arguments[1:3]))
    assert {f"cst {verb}" for verb in ("reconstruct", "evaluate", "fit", "train", "export", "retrain")} <= set(ran)
    assert {"prior sample", "prior train", "prior export"} <= set(ran)
    assert len(list((checkout / "samples").glob("sunflower-1-*.png"))) == 8
    assert (checkout / "out.png").exists() and (checkout / "reconstructed" / "coffee.png").exists()


def test_readme_python_runs(checkout: Path) -> None:
    taken_apart, drawn = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run(["-c", taken_apart + "assert picture.size == (600, 400) and tokens.codes.shape == (3, 50, 75)"], checkout)
    run(["-c", drawn + "assert len(pictures) == 2 and pictures[0].size == (256, 256)"], checkout)


def test_the_files_that_the_documents_name_exist() -> None:
    (tree,) = re.findall(r"```\n(app\.py.*?)```", DOCUMENTS[ROOT / "docs" / "design.md"], re.DOTALL)
    named = [
        ROOT / folder / name
        for folder, files in re.findall(r"^(\w+)/ .*\n((?:  .*\n)+)", tree, re.MULTILINE)
        for name in re.findall(r"\w+\.py|\w+/", files)
    ]
    assert len(named) > 20
    for path, text in DOCUMENTS.items():
        named += [path.parent / name for name in re.findall(r"\]\(([^)#:]+)\)", text)]
    assert [str(path) for path in named if not path.exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
