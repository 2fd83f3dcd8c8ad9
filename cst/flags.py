"""Shared by all commands: flags from a dataclass, dispatch by command name, and one-line errors."""

import argparse
import dataclasses
import difflib
import importlib
import io
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from cst.artifact import Config, Dataclass


def add_dataclass_flags(parser: argparse.ArgumentParser, cls: type[Dataclass], *, skip: tuple[str, ...] = ()) -> None:
    """Add one `--whole-word` flag per field of type int, float, bool, str or tuple; the defaults stay in the class."""
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if item.name in skip:
            continue
        default: Any = item.default
        options: dict[str, Any] = {"type": hints[item.name]}
        if hints[item.name] is bool:
            options = {"action": argparse.BooleanOptionalAction}
        elif hints[item.name] not in (int, float, str):
            options = {"type": type(default[0]), "nargs": "+"}
            default = " ".join(map(str, default))
        flag = "--" + item.name.replace("_", "-")
        parser.add_argument(flag, default=argparse.SUPPRESS, help=f"default {default}", **options)


def dataclass_from_flags(cls: type[Config], flags: argparse.Namespace, *, start: Config | None = None) -> Config:
    """The dataclass (or `start`) with the values of the flags that were set."""
    names = {item.name for item in dataclasses.fields(cls)}
    values = {name: value for name, value in vars(flags).items() if name in names}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return dataclasses.replace(start or cls(), **values)


@dataclasses.dataclass(frozen=True)
class Verb:
    """One command of a package.

    module: imported when the command runs; its `main` gets the arguments after the verb. shared: the module serves
    several verbs, and its `main` gets the verb too.
    """

    module: str
    help: str
    shared: bool = False


def dispatch(package: str, about: str, verbs: Mapping[str, Verb], arguments: Sequence[str]) -> None:
    """Run `python -m package verb ...`. Raises ValueError for an unknown verb, with the most similar one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, verbs))
        lines = [f"  {name:<{width}}  {verb.help}" for name, verb in verbs.items()]
        print(f"usage: python -m {package} COMMAND ...\n\n{about}\n\n" + "\n".join(lines))
        return
    name, *rest = arguments
    if name not in verbs:
        similar = difflib.get_close_matches(name, verbs, n=1)
        hint = f"did you mean {similar[0]}?" if similar else f"accepted: {', '.join(verbs)}"
        raise ValueError(f"no command '{name}'; {hint}")
    try:
        module = importlib.import_module(verbs[name].module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"python -m {package} {name} needs {error.name}, which is not installed; "
            "pip install -r requirements-dev.txt"
        ) from None
    module.main(arguments if verbs[name].shared else rest)


def run(main: Callable[[], None]) -> None:
    """Call a command; a ValueError or OSError becomes one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # our own error line reports what matters
    for stream in (sys.stdout, sys.stderr):  # file names may hold anything, and terminals may accept little
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
