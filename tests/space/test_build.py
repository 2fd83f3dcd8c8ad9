"""What the Space's folder holds: all that the page needs, nothing else, and whole or not at all."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cst.tokenizer.config import PRETRAINED
from space.hosting import build as build_module
from space.hosting.build import HARDWARE, MANIFEST, ROOT, build, card, check_out, contents, files_of, main, read_pins

TRAINING = {"accelerate", "sklearn", "skimage", "matplotlib", "onnx", "onnxscript", "pytest", "scipy"}
HUB_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundle of each hardware. Shared: not to be changed."""
    folder = tmp_path_factory.mktemp("bundles")
    for hardware in HARDWARE:
        build(folder / hardware, hardware)
    return {hardware: folder / hardware for hardware in HARDWARE}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def imported(folder: Path) -> set[str]:
    """The top-level packages that the modules of a bundle import when they are loaded."""
    nodes = [node for path in folder.rglob("*.py") for node in ast.parse(path.read_text(encoding="utf-8")).body]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}}


# What is in it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_bundle_has_the_page_and_neither_training_nor_tests(bundles, hardware):
    found = names(bundles[hardware])
    assert {"app.py", "README.md", "requirements.txt", ".gitattributes", "LICENSE", MANIFEST} <= found
    assert {"space/page.py", "space/static/page.css", "space/static/icon.svg", "space/examples/chelsea.jpg"} <= found
    assert {"space/examples/CREDITS.md", "cst/pretrained/README.md", "space/selfcheck.py", "space/gpu.py"} <= found
    folders = {folder for name in found for folder in name.split("/")[:-1]}
    assert not {"training", "evaluation", "hosting", "docs", "tests", "pictures", "__pycache__"} & folders
    assert "space/README.md" not in found
    assert not TRAINING & imported(bundles[hardware])


def test_every_module_that_the_page_imports_is_in_it(bundles):
    code = """
import sys, pathlib
here = pathlib.Path.cwd()
sys.path.insert(0, str(here))
import app
from space.models import Models
from space.page import build
import space.selfcheck  # asked for with a flag
build(Models())
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(sum(file.startswith(str(here)) for file in files), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], cwd=bundles["cpu"], capture_output=True, text=True, timeout=120
    )
    count, torch = done.stdout.split() or ("0", done.stderr)
    assert int(count) > 40 and torch == "False", done.stderr


def test_the_torch_runtimes_load_from_the_zerogpu_bundle_alone(bundles):
    code = "import sys; sys.path.insert(0, '.'); import space.gpu; print(space.gpu.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], cwd=bundles["zerogpu"], capture_output=True, text=True, timeout=120
    )
    assert Path(bundles["zerogpu"], done.stdout.strip() or "nothing").name == "gpu.py", done.stderr


def test_a_model_travels_with_its_config_its_card_and_the_files_that_it_names(bundles):
    for folder in ("cst/pretrained", "prior/pretrained/gpt", "prior/pretrained/pixelcnn"):
        there = {path.name for path in (bundles["cpu"] / folder).iterdir()}
        config = json.loads((bundles["cpu"] / folder / "config.json").read_text(encoding="utf-8"))
        assert there - {"README.md"} == {"config.json", *config["files"]}


def test_the_pins_are_exact_and_have_no_training_library(bundles):
    pins = {hardware: read_pins(folder / "requirements.txt") for hardware, folder in bundles.items()}
    assert not {"torch", "transformers", "scikit-learn", "accelerate"} & set(pins["cpu"])
    assert set(pins["zerogpu"]) - set(pins["cpu"]) == {"torch", "transformers", "spaces"}
    assert pins["cpu"].items() < pins["zerogpu"].items()


def test_the_pins_are_versions_that_the_project_is_tested_with():
    from packaging.requirements import Requirement

    texts = (path.read_text(encoding="utf-8") for path in ROOT.glob("requirements*.txt"))
    lines = (line.partition("#")[0].strip() for text in texts for line in text.splitlines() if line[:2] != "-r")
    wanted = {need.name.replace("_", "-"): need.specifier for need in map(Requirement, filter(None, lines))}
    pins = read_pins(ROOT / "space" / "requirements-zerogpu.txt")
    assert set(pins) - set(wanted) == {"spaces", "gradio-client"}  # gradio itself pins its client
    others = wanted.keys() & pins.keys() - {"torch"}  # ZeroGPU supports only older versions
    assert not [name for name in others if not wanted[name].contains(pins[name])]


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_card_has_the_front_matter_of_its_hardware(bundles, hardware):
    _, matter, text = (bundles[hardware] / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = dict(re.findall(r"^(\w+): (.+)$", matter, re.MULTILINE))
    pins = read_pins(bundles[hardware] / "requirements.txt")
    assert values["sdk"] == "gradio" and values["sdk_version"] == pins["gradio"]
    assert values["suggested_hardware"] == HARDWARE[hardware].flavor
    assert values["python_version"].strip('"') == HARDWARE[hardware].python
    assert (bundles[hardware] / values["app_file"]).is_file()
    assert values["license"] == "other" and values["license_name"] == "mit-code-research-weights"
    assert len(values["short_description"]) <= 60 and {values["colorFrom"], values["colorTo"]} <= HUB_COLORS
    assert re.fullmatch(r"\d+[mh]", values["startup_duration_timeout"]) and "models" not in values
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (bundles[hardware] / link).is_file(), link


def test_flavors_are_those_of_the_hub():
    from huggingface_hub import SpaceHardware

    assert {hardware.flavor for hardware in HARDWARE.values()} <= {each.value for each in SpaceHardware}


def test_a_card_without_a_field_to_fill_is_noticed():
    with pytest.raises(AssertionError, match="sdk_version"):
        card("python_version: 3\nsuggested_hardware: cpu-basic\n", HARDWARE["cpu"], "6")


# How it is found ------------------------------------------------------------------------------------------------------


def test_a_new_module_and_its_files_are_found_without_being_listed(tmp_path):
    wanted = [
        "app.py",
        "LICENSE",
        "cst/new.py",
        "prior/models/new.py",
        "space/tabs/new/tab.py",
        "space/examples/new.jpg",
    ]
    others = ["cst/training/new.py", "space/docs/new.py", "space/README.md", "prior/.hidden/new.py", "tests/new.py"]
    for name in [*wanted, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    assert {path.relative_to(tmp_path).as_posix() for path in contents(tmp_path)} == set(wanted)


def test_a_damaged_model_is_not_built(tmp_path):
    for name in ("config.json", "codebooks.safetensors"):
        (tmp_path / name).write_bytes((PRETRAINED / name).read_bytes())
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    values["files"] = {"codebooks.safetensors": values["files"]["codebooks.safetensors"]}
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not of the model", encoding="utf-8")
    assert {path.name for path in files_of(tmp_path)} == {"config.json", "codebooks.safetensors"}
    (tmp_path / "codebooks.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="damaged"):
        list(files_of(tmp_path))


# Where it goes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles without the weights: quick to write."""
    monkeypatch.setattr(build_module, "contents", lambda root: [root / "app.py", root / "LICENSE"])


def test_building_again_replaces_the_old_bundle(small, tmp_path, capsys):
    main(["--out", str(tmp_path / "out")])
    assert "bytes in 6 files" in capsys.readouterr().out
    (tmp_path / "out" / "app.py").write_text("edited by hand", encoding="utf-8")
    (tmp_path / "out" / "__pycache__").mkdir()
    (tmp_path / "out" / "__pycache__" / "app.pyc").write_text("", encoding="utf-8")
    built = build(tmp_path / "out", "zerogpu")
    assert {file.name for file in built} == names(tmp_path / "out")
    assert (tmp_path / "out" / "app.py").read_text(encoding="utf-8") == (ROOT / "app.py").read_text(encoding="utf-8")
    assert "torch==" in (tmp_path / "out" / "requirements.txt").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("stranger", ["thesis.txt", MANIFEST, ".git/config"])
def test_a_folder_with_other_files_is_refused_and_kept(small, tmp_path, stranger):
    build(tmp_path / "out", "cpu")
    (tmp_path / "out" / stranger).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / stranger).write_text("[1]", encoding="utf-8")
    before = names(tmp_path / "out")
    with pytest.raises(ValueError, match="did not write"):
        build(tmp_path / "out", "cpu")
    assert names(tmp_path / "out") == before


def test_a_file_in_the_way_is_refused_and_an_empty_folder_is_taken(small, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="is a file"):
        check_out(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty", "cpu")


@pytest.mark.parametrize("fails", ["copyfile", "put_in_place"])
def test_a_build_that_fails_leaves_the_old_bundle(small, tmp_path, monkeypatch, fails):
    build(tmp_path / "out", "cpu")
    before = (tmp_path / "out" / MANIFEST).read_text(encoding="utf-8")

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(build_module.shutil if fails == "copyfile" else build_module, fails, fail)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "out", "zerogpu")
    assert (tmp_path / "out" / MANIFEST).read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_requirement_that_is_no_pin_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_text("gradio>=6\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'gradio>=6'.*name==version"):
        read_pins(tmp_path / "requirements.txt")
