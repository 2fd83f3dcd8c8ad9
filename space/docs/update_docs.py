"""Update every table, picture and measured number in the documents, by rerunning the commands noted with them.

python -m space update-docs --images photos/ --flowers flowers/
"""

import argparse
import datetime
import hashlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cst.artifact import replacing
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from prior.config import PRETRAINED as PRIORS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "docs/*.md", "cst/pretrained/README.md", "prior/pretrained/README.md")  # patterns
# A block lies between two comments, invisible to readers: the command that made it; the date, and the weights.
BLOCK = re.compile(r"<!-- made by: (?P<command>.+?) -->\n(?P<body>.*?)<!-- end(?P<stamp>.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A part of a document. body: the output of the command, or the picture that it saved. stamp: see `stamp`."""

    command: str
    body: str
    stamp: str

    @property
    def is_picture(self) -> bool:
        return self.body.startswith("![")

    def filled(self, printed: str, made: str) -> str:
        """The text of the block, with the new output of the command and the stamp `made`."""
        body = self.body
        if not self.is_picture:
            fence, lines = "```\n" if body.startswith("```") else "", printed.strip("\n").rstrip()
            body = f"{fence}{lines}\n{fence}\n(`{self.command}`, {made.split(',')[0]})\n"
        return f"<!-- made by: {self.command} -->\n{body}<!-- end: {made} -->"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space update-docs", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="PHOTOS in the commands")
    parser.add_argument(
        "--flowers", nargs="+", required=True, metavar="PATH", help="FLOWERS in the commands: one folder per class"
    )
    parser.add_argument("--only", metavar="WORDS", help="only the commands that contain this")
    parser.add_argument(
        "--documents", nargs="+", type=Path, default=documents(), metavar="FILE",
        help=f"default: {', '.join(DOCUMENTS)}",
    )  # fmt: skip
    flags = parser.parse_args(arguments)
    places = {"PHOTOS": check_paths(flags.images), "FLOWERS": check_paths(flags.flowers)}
    commands = list(dict.fromkeys(block.command for path in flags.documents for block in blocks(path)))
    chosen = [command for command in commands if flags.only is None or flags.only in command]
    if not chosen:
        raise ValueError(f"no command contains '{flags.only}'; there are: {'; '.join(commands) or 'none'}")
    for number, command in enumerate(chosen, 1):
        start = time.monotonic()
        print(f"{number} of {len(chosen)}: {command}", flush=True)
        printed = execute(command, places)
        for path in flags.documents:  # immediately: a later command may fail
            update_document(path, command, printed)
        print(f"done in {time.monotonic() - start:.0f} s", flush=True)


def documents() -> list[Path]:
    """The documents whose numbers are renewed."""
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


def check_paths(paths: list[str]) -> list[str]:
    """The absolute paths. Raises ValueError for one that doesn't exist."""
    for path in paths:
        if not Path(path).exists():
            raise ValueError(f"'{path}' does not exist; give folders, zip archives or photos")
    return [str(Path(path).resolve()) for path in paths]


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a document. Raises ValueError for one that has no end."""
    text = path.read_text(encoding="utf-8")
    complete = [Block(match["command"], match["body"], match["stamp"].strip(": ")) for match in BLOCK.finditer(text)]
    if len(complete) != text.count("<!-- made by:"):
        raise ValueError(f"'{path}' has a 'made by' comment without its '<!-- end -->'; add it after the block")
    yield from complete


def execute(command: str, places: dict[str, list[str]]) -> str:
    """Run a command in the project's folder -> its output. Raises ValueError, with the last line, if it fails."""
    program, *words = shlex.split(command)
    if program != "python":
        raise ValueError(f"'{command}' is not a command of this project; accepted: python ...")
    arguments = [path for word in words for path in places.get(word, [word])]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"'{command}' failed ({last}); the blocks before it are updated; run this again with --only")
    return done.stdout


def update_document(path: Path, command: str, printed: str) -> None:
    """Update the blocks of this command; a crash leaves either the old document or the new one."""
    made = stamp(command)

    def fill(match: re.Match) -> str:
        is_ours = match["command"] == command
        return Block(match["command"], match["body"], "").filled(printed, made) if is_ours else match[0]

    text = path.read_text(encoding="utf-8")
    updated = BLOCK.sub(fill, text)
    if updated != text:
        with replacing(path) as part:
            part.write_text(updated, encoding="utf-8")


def stamp(command: str, today: datetime.date | None = None) -> str:
    """The date and the weights, as the first digits of the SHA-256 of their config.json, which has those of all files.

    Commands of `cst` depend only on the tokenizer.
    """
    return f"{today or datetime.date.today()}, {weights(command)}"


def weights(command: str) -> str:
    """The weights that a command depends on, as `stamp` writes them."""
    names = {"tokenizer": TOKENIZER}
    if "-m cst" not in command:
        names |= {kind: PRIORS / kind for kind in ("gpt", "pixelcnn")}
    digests = {name: hashlib.sha256((folder / "config.json").read_bytes()) for name, folder in names.items()}
    return ", ".join(f"{name} {digest.hexdigest()[:8]}" for name, digest in digests.items())
