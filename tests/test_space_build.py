"""What the Space's folder holds: all that the page needs, nothing else, and whole or not at all."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cst.tokenizer.config import PRETRAINED
from space.hosting import build as build_module
from space.hosting.build import HARDWARE, MANIFEST, ROOT, build, card, check_out, main, read_pins
from space.hosting.import_closure import Contents, expand, imports, named_beside

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


def imported(folder: Path, *, at_once: bool = False) -> set[str]:
    """The top-level packages that the modules of a bundle import."""
    found = {wanted for path in folder.rglob("*.py") for wanted in imports(path)}
    return {wanted.name.split(".")[0] for wanted in found if wanted.at_once or not at_once}


# What is in it --------------------------------------------------------------------------------------------------------


def test_the_cpu_bundle_has_the_page_and_neither_training_nor_tests(bundles):
    found = names(bundles["cpu"])
    assert {"app.py", "README.md", "requirements.txt", ".gitattributes", "LICENSE", MANIFEST} <= found
    assert {"space/page.py", "space/page.css", "space/icon.svg", "space/examples/chelsea.jpg"} <= found
    assert {"space/examples/CREDITS.md", "cst/pretrained/README.md", "space/hosting/selfcheck.py"} <= found
    assert (
        not {
            "space/hosting/build.py",
            "space/hosting/publish.py",
            "space/hosting/measure.py",
            "space/gpu.py",
            "space/README.md",
        }
        & found
    )
    assert (
        not {
            "cst/training/train_rendernet.py",
            "prior/training/train.py",
            "cst/training/fit_codebooks.py",
            "cst/training/export_rendernet.py",
            "cst/tokenizer/torch_runtime.py",
        }
        & found
    )
    assert not [
        name for name in found if name.startswith(("tests", ".ci", ".git/", "space/pictures")) or "cache" in name
    ]
    assert not (TRAINING | {"torch", "transformers", "spaces"}) & imported(bundles["cpu"], at_once=True)


def test_the_zerogpu_bundle_has_the_torch_runtimes_too(bundles):
    more = names(bundles["zerogpu"]) - names(bundles["cpu"])
    assert {
        "space/gpu.py",
        "cst/tokenizer/torch_runtime.py",
        "cst/tokenizer/rendernet.py",
        "prior/torch_runtime.py",
        "prior/models/gpt.py",
    } <= more
    assert names(bundles["cpu"]) < names(bundles["zerogpu"])
    assert not {"cst/training/train_rendernet.py", "prior/training/train.py"} & more
    assert not TRAINING & imported(bundles["zerogpu"], at_once=True)


def test_every_module_that_the_page_imports_is_in_it(bundles):
    code = """
import sys, pathlib
here = pathlib.Path.cwd()
sys.path.insert(0, str(here))
import app
from space.models import Models
from space.page import build
import space.hosting.selfcheck  # asked for with a flag
build(Models())
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(sum(file.startswith(str(here)) for file in files), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], cwd=bundles["cpu"], capture_output=True, text=True, timeout=120
    )
    count, torch = done.stdout.split() or ("0", done.stderr)
    assert (int(count) >= len(list(bundles["cpu"].rglob("*.py"))) - 3, torch) == (True, "False"), done.stderr


def test_the_torch_runtimes_load_from_the_zerogpu_bundle_alone(bundles):
    code = "import sys; sys.path.insert(0, '.'); import space.gpu; print(space.gpu.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], cwd=bundles["zerogpu"], capture_output=True, text=True, timeout=120
    )
    assert Path(bundles["zerogpu"], done.stdout.strip() or "nothing").name == "gpu.py", done.stderr


def test_a_model_travels_with_its_config_its_card_and_the_files_that_it_names(bundles):
    for folder in ("cst/pretrained", "prior/pretrained/gpt", "prior/pretrained/pixelcnn"):
        there = {path.name for path in (bundles["cpu"] / folder).iterdir()}
        config = json.loads((bundles["cpu"] / folder / "config.json").read_text())
        assert there - {"README.md"} == {"config.json", *config["files"]}


def test_the_pins_are_exact_and_have_no_training_library(bundles):
    pins = {hardware: read_pins(folder / "requirements.txt") for hardware, folder in bundles.items()}
    assert not {"torch", "transformers", "scikit-learn", "accelerate"} & set(pins["cpu"])
    assert set(pins["zerogpu"]) - set(pins["cpu"]) == {"torch", "transformers", "spaces"}
    assert pins["cpu"].items() < pins["zerogpu"].items()


def test_the_pins_are_versions_that_the_project_is_tested_with():
    from packaging.requirements import Requirement

    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    wanted = {need.name.replace("_", "-"): need.specifier for need in map(Requirement, filter(None, lines))}
    pins = read_pins(ROOT / "space" / "requirements-zerogpu.txt")
    assert set(pins) - set(wanted) == {"spaces"}
    assert not [name for name in wanted if name in pins and not wanted[name].contains(pins[name])]


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_card_has_the_front_matter_of_its_hardware(bundles, hardware):
    _, matter, text = (bundles[hardware] / "README.md").read_text().split("---\n", 2)
    values = dict(re.findall(r"^(\w+): (.+)$", matter, re.MULTILINE))
    pins = read_pins(bundles[hardware] / "requirements.txt")
    assert values["sdk"] == "gradio" and values["sdk_version"] == pins["gradio"]
    assert values["suggested_hardware"] == HARDWARE[hardware].flavor
    assert values["python_version"].strip('"') == HARDWARE[hardware].python
    assert (bundles[hardware] / values["app_file"]).is_file() and values["license"] == "mit"
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small repository: app.py, a page that torch is optional to, and what is not of the page."""
    files = {
        "app.py": "from space import page\n",
        "space/__init__.py": "",
        "space/page.py": "from pathlib import Path\nimport numpy\nCSS = Path(__file__).with_name('page.css')\n"
        "NAME = 'other.css'\ndef more():\n    import openvino\n    from space.gpu import paint\n",
        "space/page.css": "", "space/other.css": "",
        "space/gpu.py": "from space.kernels import paint\n",
        "space/kernels.py": "import torch\nfrom space import tables\n",
        "space/tables.py": "",
        "space/train.py": "import torch\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def contents(project: Path, *, packages: set[str], missing: set[str]) -> set[str]:
    found = Contents(project, packages=packages, missing=missing).files
    return {path.relative_to(project).as_posix() for path in found}


def test_what_only_a_missing_package_could_run_is_left_out(project):
    found = contents(project, packages={"numpy"}, missing={"torch"})
    assert found == {"app.py", "space/__init__.py", "space/page.py", "space/page.css"}


def test_with_the_package_it_is_there(project):
    found = contents(project, packages={"numpy", "torch"}, missing=set())
    assert {"space/gpu.py", "space/kernels.py", "space/tables.py"} <= found and "space/train.py" not in found


def test_a_new_module_and_its_files_are_found_without_being_listed(project):
    (project / "space" / "remix.py").write_text(
        "HERE = __file__\ndef load():\n    return open(__file__ and 'photos')\n"
    )
    (project / "app.py").write_text("from space import page, remix\n")
    assert "space/tabs/remix/tab.py" in contents(project, packages={"numpy"}, missing={"torch"})
    (project / "space" / "photos").mkdir()
    (project / "space" / "photos" / "cat.jpg").write_text("")
    (project / "space" / "remix.py").write_text("from pathlib import Path\nALL = Path(__file__).parent / 'photos'\n")
    assert "space/photos/cat.jpg" in contents(project, packages={"numpy"}, missing={"torch"})


def test_a_package_that_is_not_pinned_is_named(project):
    with pytest.raises(ValueError, match=r"space/page.py imports numpy.*accepted: pillow"):
        contents(project, packages={"pillow"}, missing={"torch"})


def test_a_page_that_needs_a_missing_package_is_refused(project):
    (project / "space" / "page.py").write_text("import torch\n")
    with pytest.raises(ValueError, match=r"app.py needs one of torch"):
        contents(project, packages={"numpy"}, missing={"torch"})


def test_modules_that_import_each_other_are_both_found(project):
    (project / "space" / "tables.py").write_text("from space import page\n")
    (project / "space" / "page.py").write_text("from space import tables\n")
    assert {"space/tables.py", "space/page.py"} <= contents(project, packages=set(), missing={"torch"})


def test_only_names_beside_the_file_count(project):
    assert named_beside(project / "space" / "page.py") == {"page.css"}


def test_a_damaged_model_is_not_built(tmp_path):
    for name in ("config.json", "codebooks.safetensors"):
        (tmp_path / name).write_bytes((PRETRAINED / name).read_bytes())
    values = json.loads((tmp_path / "config.json").read_text())
    values["files"] = {"codebooks.safetensors": values["files"]["codebooks.safetensors"]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "notes.txt").write_text("not of the model")
    assert {path.name for path in expand(tmp_path)} == {"config.json", "codebooks.safetensors"}
    (tmp_path / "codebooks.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="damaged"):
        list(expand(tmp_path))


# Where it goes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles without the weights: quick to write."""
    monkeypatch.setattr(Contents, "files", property(lambda self: [self.root / "app.py"]))


def test_building_again_replaces_the_old_bundle(small, tmp_path, capsys):
    main(["--out", str(tmp_path / "out")])
    assert "bytes in 6 files" in capsys.readouterr().out
    (tmp_path / "out" / "app.py").write_text("edited by hand")
    (tmp_path / "out" / "__pycache__").mkdir()
    (tmp_path / "out" / "__pycache__" / "app.pyc").write_text("")
    built = build(tmp_path / "out", "zerogpu")
    assert {file.name for file in built} == names(tmp_path / "out")
    assert (tmp_path / "out" / "app.py").read_text() == (ROOT / "app.py").read_text()
    assert "torch==" in (tmp_path / "out" / "requirements.txt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("stranger", ["thesis.txt", MANIFEST, ".git/config"])
def test_a_folder_with_other_files_is_refused_and_kept(small, tmp_path, stranger):
    build(tmp_path / "out", "cpu")
    (tmp_path / "out" / stranger).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / stranger).write_text("[1]")
    before = names(tmp_path / "out")
    with pytest.raises(ValueError, match="did not write"):
        build(tmp_path / "out", "cpu")
    assert names(tmp_path / "out") == before


def test_a_file_in_the_way_is_refused_and_an_empty_folder_is_taken(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        check_out(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty", "cpu")


@pytest.mark.parametrize("fails", ["copyfile", "put_in_place"])
def test_a_build_that_fails_leaves_the_old_bundle(small, tmp_path, monkeypatch, fails):
    build(tmp_path / "out", "cpu")
    before = (tmp_path / "out" / MANIFEST).read_text()

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(build_module.shutil if fails == "copyfile" else build_module, fails, fail)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "out", "zerogpu")
    assert (tmp_path / "out" / MANIFEST).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_requirement_that_is_no_pin_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_text("gradio>=6\n")
    with pytest.raises(ValueError, match=r"'gradio>=6'.*name==version"):
        read_pins(tmp_path / "requirements.txt")
