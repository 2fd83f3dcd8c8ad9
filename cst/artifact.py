"""The folder of a saved model: config.json, checksums, and files that are written atomically."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from safetensors import SafetensorError


class Dataclass(Protocol):
    """Any dataclass, for type checkers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Config = TypeVar("Config", bound=Dataclass)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The content of `config.json`, with the checksums of the other files in the folder."""

    format: str
    version: int
    files: dict[str, str] = field(default_factory=dict)  # file name -> sha256, checked at load

    def save(self, folder: str | os.PathLike) -> None:
        write_json(Path(folder) / "config.json", dataclasses.asdict(self))

    @staticmethod
    def read(folder: str | os.PathLike, *, format: str, version: int, what: str, make: str) -> dict[str, Any]:
        """The values of `config.json`. Raises ValueError if it is missing, unreadable, or of another format or version.

        The error calls the folder a `what` and names `make`, the command that makes one.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise ValueError(f"'{folder}' is not a {what}: it has no config.json; make one with {make}")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"'{path}' is not readable JSON ({error}); copy the artifact again") from None
        if not isinstance(values, dict) or (values.get("format"), values.get("version")) != (format, version):
            found = (values.get("format"), values.get("version")) if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"'{path}' is of format {found}; accepted: {(format, version)}")
        return values

    def check_file(self, folder: str | os.PathLike, name: str) -> Path:
        """The path of one file, after verifying its checksum. Raises ValueError if it is missing or altered."""
        path = Path(folder) / name
        if name not in self.files or not path.is_file():
            raise ValueError(f"'{folder}' has no {name}; it holds {', '.join(sorted(self.files)) or 'nothing'}")
        if sha256(path) != self.files[name]:
            raise ValueError(f"'{path}' is damaged: its checksum is not the one in config.json; copy it again")
        return path

    def with_files(self, folder: str | os.PathLike, *names: str) -> Self:
        """This configuration with the checksums of these files as they are now in `folder`."""
        sums = {name: sha256(Path(folder) / name) for name in names}
        return dataclasses.replace(self, files={**self.files, **sums})


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a dataclass strictly. Raises ValueError that names unknown and missing keys."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    required = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(values))
    if unknown or missing:
        raise ValueError(f"{cls.__name__}: unknown keys {unknown}, missing keys {missing}; accepted: {sorted(fields)}")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with replacing(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


class replacing:
    """Atomic write: `with replacing(path) as part:` write `part`. It then replaces `path`; on failure it is deleted."""

    def __init__(self, path: Path):
        self.path = path
        self.part = path.with_name(path.name + ".part")

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, failure: type | None, error: BaseException | None, *_: object) -> None:
        if failure is not None:
            self.part.unlink(missing_ok=True)
            if issubclass(failure, SafetensorError):  # not an OSError, though usually the disk is full
                raise OSError(f"can't write '{self.path}' ({error})") from None
            return
        try:
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())
            self.part.chmod(0o644)
            self.part.replace(self.path)
        except OSError:
            self.part.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)


def sync_folder(folder: Path) -> None:
    """fsync a directory, where possible, so that a rename in it survives a crash."""
    with contextlib.suppress(OSError, AttributeError):  # not possible on Windows and on some network drives
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def find_artifact(source: str | os.PathLike) -> Path:
    """The path of a folder, or of the local copy of a Hub repository. Raises ValueError if it is neither."""
    if Path(source).is_dir():
        return Path(source)
    name = os.fspath(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(
            f"'{name}' is not a folder; give a folder that holds config.json, or a Hub repository owner/name"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["config.json", "*.safetensors", "*.onnx"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"'{name}' is neither a folder here nor a Hub repository that can be read ({reason})"
        ) from None
