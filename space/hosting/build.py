"""Assemble the folder of a Space: app.py, what it imports, the card and the pinned packages; nothing else.

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
LEFT_OUT = {"training", "evaluation", "hosting", "docs", "pictures", "__pycache__"}  # folders that a host does not need
MANIFEST = "bundle.json"  # lists the written files, so that a rebuild deletes nothing else
MADE_BY = "python -m space build"
LARGE_FILE = 10 * 2**20  # bytes; the Hub stores larger files in its large file storage
ATTRIBUTES = ("*.onnx", "*.safetensors", "*.jpg", "*.png", "*.webp")  # binary files: stored with git LFS


@dataclass(frozen=True)
class Hardware:
    """Where a Space runs: the Hub's name for the hardware, the file of pinned packages, and the version of Python."""

    flavor: str
    requirements: str
    python: str


# ZeroGPU offers only 3.10.13 and 3.12.12, and this code needs at least 3.11.
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
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="a new or empty folder, or one that this command wrote"
    )
    parser.add_argument("--hardware", default="cpu", choices=HARDWARE, help="hardware of the Space (default cpu)")
    flags = parser.parse_args(arguments)
    print(listing(build(flags.out, flags.hardware)))


def build(out: Path, hardware: str, *, root: Path = ROOT) -> list[BuiltFile]:
    """Write the bundle for "cpu" or "zerogpu" to `out`, completely or not at all -> its files, by name.

    Raises ValueError for a folder with files that this command did not write, and for a damaged model.
    """
    out = out.resolve()
    check_out(out)
    pins = read_pins(root / "space" / HARDWARE[hardware].requirements)
    texts = {
        "README.md": card(
            (root / "space" / "README.md").read_text(encoding="utf-8"), HARDWARE[hardware], pins["gradio"]
        ),
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
                (part / name).write_text(texts[name], encoding="utf-8")
        put_in_place(part, out, old=Path(scratch) / "old")
    return [BuiltFile(name, (out / name).stat().st_size) for name in names]


def contents(root: Path) -> list[Path]:
    """The files of the repository that a host needs: the packages without `LEFT_OUT`, the models, and app.py."""
    folders = [folder for package in PACKAGES for folder in needed_folders(root / package)]
    files = [root / "app.py", root / "LICENSE", *(path for folder in folders for path in files_of(folder))]
    return sorted(path for path in files if path != root / "space" / "README.md")  # it becomes the card


def needed_folders(folder: Path) -> Iterator[Path]:
    """A folder and those below it, except `LEFT_OUT` and hidden ones."""
    yield folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and child.name not in LEFT_OUT and not child.name.startswith("."):
            yield from needed_folders(child)


def files_of(folder: Path) -> Iterator[Path]:
    """The files directly in a folder; of a model, its config, its model card and the files that the config names.

    Raises ValueError if a model's file is missing or altered.
    """
    if not (folder / "config.json").is_file():
        yield from (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        return
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    artifact = Artifact(format=values["format"], version=values["version"], files=values["files"])
    yield folder / "config.json"
    yield from (artifact.check_file(folder, name) for name in artifact.files)
    yield from folder.glob("README.md")


def put_in_place(part: Path, out: Path, *, old: Path) -> None:
    """Replace `out` by a folder. The previous one is moved to `old`, and back if that fails."""
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
    """Raise ValueError unless `out` is new, empty, or was written by this command, so that nothing is lost."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"'{out}' is a file; give --out a folder")
    present = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() or path.is_symlink()}
    try:
        values = json.loads((out / MANIFEST).read_text(encoding="utf-8")) if present else {}
        written = set(values["files"]) if values.get("made_by") == MADE_BY else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        written = set()
    foreign = sorted(name for name in present - written if "__pycache__" not in name.split("/"))
    if foreign:
        raise ValueError(f"'{out}' holds {foreign[0]}, which {MADE_BY} did not write; give --out a new or empty folder")


def read_pins(path: Path) -> dict[str, str]:
    """Distribution -> version, of a requirements file and those it includes. Raises ValueError for other lines."""
    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
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
    """The Space's README with the front matter of its hardware and the pinned version of Gradio."""
    fields = {"sdk_version": gradio, "python_version": f'"{hardware.python}"', "suggested_hardware": hardware.flavor}
    for key, value in fields.items():
        text, count = re.subn(rf"^{key}: .*$", f"{key}: {value}", text, count=1, flags=re.MULTILINE)
        assert count == 1, f"the card has no {key}"
    return text


def listing(files: Sequence[BuiltFile]) -> str:
    """A readable list of the files, their sizes and the totals."""
    lines = [f"{file.size:>12,}  {file.name}" for file in files]
    large = sum(file.size > LARGE_FILE for file in files)
    total = sum(file.size for file in files)
    lines.append(f"{total:>12,}  bytes in {len(files)} files, {large} of them above {LARGE_FILE >> 20} MiB")
    return "\n".join(lines)
