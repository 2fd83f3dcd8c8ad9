"""What a Space needs of this repository, found by following the imports from app.py: no list that can fall behind."""

import ast
import json
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

from cst.tokenizer.config import Artifact

ENTRY = "app.py"


@dataclass(frozen=True)
class Import:
    """One imported name, with dots, and whether it is imported with the module: not only where a function wants it."""

    name: str
    at_once: bool


class Contents:
    """The files under `root` that `python app.py` can come to need with some packages installed.

    packages: names of distributions that will be there. missing: those that won't. A module that imports a missing one
    can't be loaded there, and is left out with all that it alone needs. Raises ValueError if app.py is among these, or
    if a module needs a package that is in neither set.
    """

    def __init__(self, root: Path, *, packages: Set[str], missing: Set[str] = frozenset()):
        self.root, self.packages, self.missing = root, packages, missing
        self._loadable: dict[Path, bool] = {}
        self._owners = packages_distributions()  # "PIL" -> ["pillow"]

    @cached_property
    def modules(self) -> list[Path]:
        """The Python files, in order of their names."""
        entry = self.root / ENTRY
        if not self._can_load(entry):
            raise ValueError(f"{ENTRY} needs one of {', '.join(sorted(self.missing))}, which won't be there")
        found, waiting = set(), [entry]
        while waiting:
            path = waiting.pop()
            if path in found or not self._can_load(path):
                continue
            found.add(path)
            for wanted in imports(path):
                files = self._files(wanted.name)
                waiting += files
                if not files and wanted.at_once:
                    self._check(wanted.name, path)
        return sorted(found)

    @cached_property
    def files(self) -> list[Path]:
        """The modules, and every file that one of them names beside itself; models are verified on the way."""
        found = set(self.modules)
        for module in self.modules:
            for name in named_beside(module):
                found |= set(expand(module.parent / name))
        return sorted(found)

    def _files(self, name: str) -> list[Path]:
        """The files that importing a name of this project runs, packages first; none for another's."""
        parts, found = name.split("."), []
        for end in range(1, len(parts) + 1):
            place = self.root.joinpath(*parts[:end])
            found += [path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
        return found

    def _owner(self, name: str) -> str:
        """The distribution that an imported name comes from."""
        top = name.split(".")[0]
        return self._owners.get(top, [top])[0].lower().replace("_", "-")

    def _can_load(self, path: Path) -> bool:
        if path not in self._loadable:
            self._loadable[path] = True  # modules that import each other don't keep each other out
            self._loadable[path] = not any(
                self._owner(wanted.name) in self.missing or not all(map(self._can_load, self._files(wanted.name)))
                for wanted in imports(path)
                if wanted.at_once
            )
        return self._loadable[path]

    def _check(self, name: str, path: Path) -> None:
        if name.split(".")[0] not in sys.stdlib_module_names and self._owner(name) not in self.packages:
            raise ValueError(
                f"{path.relative_to(self.root)} imports {name}, which the Space's requirements don't have; accepted: "
                f"{', '.join(sorted(self.packages))}; add it, or import it where it is optional"
            )


def imports(path: Path) -> Iterator[Import]:
    """Everything a file imports; from a package, also the names taken, since they may be its modules."""
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), True)]
    while waiting:
        node, at_once = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(f"{node.module}.{alias.name}", at_once) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield from (Import(name.value, at_once) for name in node.args if isinstance(name, ast.Constant))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting += [(child, at_once and not inside) for child in ast.iter_child_nodes(node)]


def named_beside(path: Path) -> set[str]:
    """The names in statements that speak of `__file__`, such as `Path(__file__).parent / "examples"`, that exist."""
    names = set()
    for statement in ast.walk(ast.parse(path.read_text())):
        if not isinstance(statement, ast.stmt):
            continue
        own = [child for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.stmt)]
        nodes = [node for child in own for node in ast.walk(child)]
        if any(isinstance(node, ast.Name) and node.id == "__file__" for node in nodes):
            names |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {name for name in names if name.strip("./") and (path.parent / name).exists()}


def expand(path: Path) -> Iterator[Path]:
    """A file, or what a folder holds; of a folder with a model: its config, its model card and the files it names.

    Raises ValueError if a model's file is missing or altered.
    """
    if path.is_file():
        yield path
    elif (path / "config.json").is_file():
        values = json.loads((path / "config.json").read_text())
        artifact = Artifact(format=values["format"], version=values["version"], files=values["files"])
        yield path / "config.json"
        yield from (artifact.check_file(path, name) for name in artifact.files)
        yield from path.glob("README.md")
    else:
        for child in path.iterdir():
            if not child.name.startswith((".", "__")):
                yield from expand(child)
