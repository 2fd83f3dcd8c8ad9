"""What every command shares: flags made from a dataclass, and mistakes answered in one line."""

import argparse
import dataclasses
import difflib
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, get_type_hints

Config = TypeVar("Config")


def add_dataclass_flags(parser: argparse.ArgumentParser, cls: type, *, skip: tuple[str, ...] = ()) -> None:
    """One `--whole-word` flag a field of int, float, bool, str or tuple of float; the dataclass holds the defaults."""
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if item.name in skip:
            continue
        flag = "--" + item.name.replace("_", "-")
        many = hints[item.name] not in (int, float, bool, str)
        kind = type(item.default[0]) if many else hints[item.name]
        shown = " ".join(map(str, item.default)) if many else item.default
        action = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(
            flag, default=argparse.SUPPRESS, help=f"default {shown}", **action, **({"nargs": "+"} if many else {})
        )


def dataclass_from_flags(cls: type[Config], flags: argparse.Namespace, *, start: Config | None = None) -> Config:
    """The dataclass (or `start`) with the flags that were given."""
    names = {item.name for item in dataclasses.fields(cls)}
    given = {name: value for name, value in vars(flags).items() if name in names}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return dataclasses.replace(start, **given) if start else cls(**given)


@dataclasses.dataclass(frozen=True)
class Verb:
    """One command of a package. module: whose `main` gets the arguments after the verb; imported only when asked.
    shared: the module serves several verbs, and gets the verb too.
    """

    module: str
    help: str
    shared: bool = False


def dispatch(package: str, about: str, verbs: Mapping[str, Verb], arguments: Sequence[str]) -> None:
    """Run `python -m package verb ...`. Raises ValueError for an unknown verb, with the nearest one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, verbs))
        lines = [f"  {name:<{width}}  {verb.help}" for name, verb in verbs.items()]
        print(f"usage: python -m {package} COMMAND ...\n\n{about}\n\n" + "\n".join(lines))
        return
    name, *rest = arguments
    if name not in verbs:
        near = difflib.get_close_matches(name, verbs, n=1)
        meant = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(verbs)}"
        raise ValueError(f"no command '{name}'; {meant}")
    try:
        module = importlib.import_module(verbs[name].module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"python -m {package} {name} needs {error.name}, which is not installed; "
            "pip install -r requirements-dev.txt"
        ) from None
    module.main(arguments if verbs[name].shared else rest)


def run(main: Callable[[], None]) -> None:
    """Call a command; a caller's mistake (ValueError) or a file that can't be written is one line and exit code 2."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on odd files: what matters is said in our own line
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(_fail(" ".join(str(error).split())))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
