"""What imports what, and what importing does."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("cst", "prior", "space", "app")  # each may import itself and those before it
MODULES = sorted([*ROOT.glob("app.py"), *(path for name in ORDER for path in (ROOT / name).rglob("*.py"))])
HEAVY = ("torch", "transformers", "sklearn", "scipy", "skimage", "accelerate", "matplotlib", "onnx")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in MODULES}


def imported(path: Path) -> set[str]:
    """The modules of this project that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in FILES else str(node.module) for name in full.values()}
    return names & set(FILES)


def folder(name: str) -> str:
    """The folder inside a package that a module is in; the module itself if it is directly in the package."""
    return ".".join(name.split(".")[:2])


def test_packages_import_only_packages_below_them():
    rank = {name: ORDER.index(name.split(".")[0]) for name in FILES}
    upward = [(name, other) for name, path in FILES.items() for other in imported(path) if rank[other] > rank[name]]
    assert upward == []


@pytest.mark.parametrize("unit", [str, folder], ids=["files", "folders"])
def test_nothing_imports_in_a_circle(unit):
    graph: dict[str, set[str]] = {}
    for name, path in FILES.items():
        graph.setdefault(unit(name), set()).update(unit(other) for other in imported(path) if unit(other) != unit(name))
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_modules_only_define_things():
    """At module level: docstring, imports, constants, classes and functions, and `if __name__ == "__main__"`."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef)
    allowed += (ast.AsyncFunctionDef,)
    offenders = []
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            main = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            if relative or not (isinstance(node, allowed) or docstring or main):
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert offenders == []


@pytest.mark.parametrize("package", ["cst", "prior"])
def test_importing_every_module_of_a_package_does_nothing(package, run_python, tmp_path):
    names = sorted(name for name in FILES if name.startswith(f"{package}.") and not name.endswith("__main__"))
    code = f"""
import os, sys, importlib
sys.path.insert(0, {str(ROOT)!r})
os.chdir({str(tmp_path)!r})
sys.argv = ["nothing", "--nonsense"]
import torch, accelerate, onnxruntime, transformers.models.llama.modeling_llama  # libraries may set what they like,
before = dict(os.environ)  # we may not
for name in {names}:
    importlib.import_module(name)
assert dict(os.environ) == before
"""
    done = run_python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["cpu", "auto"])
def test_reconstructing_imports_no_training_library(run_python, artifact, photos, tmp_path, target):
    code = f"""
import sys
from cst import CST
cst = CST.from_pretrained({str(artifact)!r}, target={target!r})
cst.decode(cst.encode({str(photos / "photo-00.png")!r})).save({str(tmp_path / "out.png")!r})
print(sorted(name for name in {HEAVY} if name in sys.modules))
"""
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_command_line_imports_no_training_library(run_python, artifact, photos, tmp_path):
    code = f"""
import sys
from cst.__main__ import main
main(["reconstruct", {str(photos / "photo-00.png")!r}, {str(tmp_path / "out.png")!r}, "--tokenizer", {str(artifact)!r}])
print(sorted(name for name in {HEAVY} if name in sys.modules))
"""
    assert run_python("-c", code).stdout.splitlines()[-1] == "[]"


def test_drawing_new_pictures_imports_no_training_library(run_python, artifact, prior_folder, tmp_path):
    code = f"""
import sys
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from prior.sampler import Sampler
sampler = Sampler.from_pretrained(folder={str(prior_folder)!r}, tokenizer=OnnxTokenizer({str(artifact)!r}))
*_, last = sampler.sample("daisy", count=1)
sampler.decode(last)[0].save({str(tmp_path / "out.png")!r})
print(sorted(name for name in {HEAVY} if name in sys.modules))
"""
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_modules_are_named_for_one_idea():
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "misc", "common"}
