"""Put together the folder that is a Space: app.py, what it needs, the card and the pinned packages; nothing else.

python -m space build --out dist/space --hardware cpu
"""

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import Artifact

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cst", "prior", "space")
LEFT_OUT = {"training", "evaluation", "hosting", "docs", "pictures", "__pycache__"}  # folders that no host needs
MANIFEST = "bundle.json"  # lists what was written, so that building again deletes nothing else
MADE_BY = "python -m space build"
LARGE = 10 * 2**20  # bytes; above, the Hub keeps a file in its large file storage
ATTRIBUTES = ("*.onnx", "*.safetensors", "*.jpg", "*.png", "*.webp")  # binary files: not for git itself


@dataclass(frozen=True)
class Hardware:
    """Where a Space runs: the Hub's name for it, the pinned packages, and the version of Python there."""

    flavor: str
    requirements: str
    python: str


# ZeroGPU offers 3.10.13 and 3.12.12 alone, and this code wants 3.11 at least.
HARDWARE = {
    "cpu": Hardware("cpu-basic", "requirements.txt", "3.11"),
    "zerogpu": Hardware("zero-a10g", "requirements-zerogpu.txt", "3.12.12"),
}


@dataclass(frozen=True)
class BuiltFile:
    """One file of the bundle: its path there, with /, and its bytes."""

    name: str
    size: int


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space build", description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="an empty or new folder, or an old one")
    parser.add_argument("--hardware", default="cpu", choices=HARDWARE, help="what the Space will run on (default cpu)")
    flags = parser.parse_args(arguments)
    print(listing(build(flags.out, flags.hardware)))


def build(out: Path, hardware: str, *, root: Path = ROOT) -> list[BuiltFile]:
    """Write the bundle for "cpu" or "zerogpu" to `out`, whole or not at all -> its files, by name.

    Raises ValueError for a folder that holds what this command did not write, and for a damaged model.
    """
    out = out.resolve()
    check_out(out)
    pins = read_pins(root / "space" / HARDWARE[hardware].requirements)
    texts = {
        "README.md": card((root / "space" / "README.md").read_text(), HARDWARE[hardware], pins["gradio"]),
        "requirements.txt": "".join(f"{name}=={version}\n" for name, version in pins.items()),
        ".gitattributes": "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in ATTRIBUTES),
    }
    copies = {path.relative_to(root).as_posix(): path for path in contents(root)}
    names = sorted([*texts, *copies, MANIFEST])
    texts[MANIFEST] = json.dumps({"made_by": MADE_BY, "hardware": hardware, "files": names}, indent=2) + "\n"

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        part = Path(scratch) / "part"
        for name in names:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            if name in copies:
                shutil.copyfile(copies[name], part / name)
            else:
                (part / name).write_text(texts[name])
        put_in_place(part, out, old=Path(scratch) / "old")
    return [BuiltFile(name, (out / name).stat().st_size) for name in names]


def contents(root: Path) -> list[Path]:
    """What a host needs of the repository: all of its packages but `LEFT_OUT`, the models, and app.py."""
    folders = [folder for package in PACKAGES for folder in needed(root / package)]
    files = [root / "app.py", root / "LICENSE", *(path for folder in folders for path in files_of(folder))]
    return sorted(path for path in files if path != root / "space" / "README.md")  # which becomes the Space's card


def needed(folder: Path) -> Iterator[Path]:
    """A folder and those below it, but `LEFT_OUT` and hidden ones."""
    yield folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and child.name not in LEFT_OUT and not child.name.startswith("."):
            yield from needed(child)


def files_of(folder: Path) -> Iterator[Path]:
    """The files right in a folder; of a model, its config, its model card and the files it names.

    Raises ValueError if a model's file is missing or altered.
    """
    if not (folder / "config.json").is_file():
        yield from (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        return
    values = json.loads((folder / "config.json").read_text())
    artifact = Artifact(format=values["format"], version=values["version"], files=values["files"])
    yield folder / "config.json"
    yield from (artifact.check_file(folder, name) for name in artifact.files)
    yield from folder.glob("README.md")


def put_in_place(part: Path, out: Path, *, old: Path) -> None:
    """Let a folder take the place of `out`, which goes to `old`, or stays where that fails."""
    if not out.exists():
        part.rename(out)
        return
    out.rename(old)
    try:
        part.rename(out)
    except OSError:
        old.rename(out)
        raise


def check_out(out: Path) -> None:
    """Raise ValueError unless nothing is lost when `out` is replaced: it is new, empty, or written by this command."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"'{out}' is a file; give --out a folder")
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() or path.is_symlink()}
    try:
        values = json.loads((out / MANIFEST).read_text()) if found else {}
        mine = set(values["files"]) if values.get("made_by") == MADE_BY else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        mine = set()
    strange = sorted(name for name in found - mine if "__pycache__" not in name.split("/"))
    if strange:
        raise ValueError(f"'{out}' holds {strange[0]}, which {MADE_BY} did not write; give --out a new or empty folder")


def read_pins(path: Path) -> dict[str, str]:
    """Distribution -> version, of a requirements file and those it refers to. Raises ValueError for what is no pin."""
    pins: dict[str, str] = {}
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            pins |= read_pins(path.parent / line.removeprefix("-r ").strip())
        elif line:
            name, pinned, version = line.partition("==")
            if not pinned or not re.fullmatch(r"[0-9][\w.]*", version):
                raise ValueError(f"'{line}' in {path.name} is not an exact pin; accepted: name==version")
            pins[name.lower().replace("_", "-")] = version
    return pins


def card(text: str, hardware: Hardware, gradio: str) -> str:
    """The Space's README with the front matter of its hardware, whose Gradio is the one that is pinned."""
    given = {"sdk_version": gradio, "python_version": f'"{hardware.python}"', "suggested_hardware": hardware.flavor}
    for key, value in given.items():
        text, count = re.subn(rf"^{key}: .*$", f"{key}: {value}", text, count=1, flags=re.MULTILINE)
        assert count == 1, f"the card has no {key}"
    return text


def listing(files: Sequence[BuiltFile]) -> str:
    """The files and their bytes, and the sums, for people."""
    lines = [f"{file.size:>12,}  {file.name}" for file in files]
    large = sum(file.size > LARGE for file in files)
    total = sum(file.size for file in files)
    return "\n".join([*lines, f"{total:>12,}  bytes in {len(files)} files, {large} of them above {LARGE >> 20} MiB"])
