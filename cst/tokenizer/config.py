"""Every setting of the tokenizer, and the folder it is saved in."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from safetensors import SafetensorError

FORMAT = "cst-tokenizer"
VERSION = 1
PRETRAINED = Path(__file__).parents[1] / "pretrained"
KERNEL = 3  # side of the convolutions in RenderNet's blocks that look beyond one patch
Config = TypeVar("Config")


@dataclass(frozen=True)
class RenderNetConfig:
    """Sizes of the decoder: `blocks` residual blocks, `width` -> `hidden` -> `width` channels."""

    width: int = 256
    hidden: int = 1024
    blocks: int = 12

    @property
    def margin(self) -> int:
        """How many patches away, in rows and columns, a code still changes what is painted."""
        return self.blocks * (KERNEL // 2)


PRESETS = {"base": RenderNetConfig(), "tiny": RenderNetConfig(width=192, hidden=256, blocks=2)}


@dataclass(frozen=True)
class FitConfig:
    """How the codebooks are fitted."""

    patch: int = 8
    color: int = 512
    shape: int = 2048
    texture: int = 8192
    passes: int = 7  # each starts anew from the last pass's centroids, dead codes re-seeded
    patches_per_pass: int = 2_000_000
    patches_per_photo: int = 256
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    chunk: int = 32_768
    beam: int = 4  # shapes tried in encoding, by default
    seed: int = 0


FIT_SMOKE = FitConfig(color=16, shape=32, texture=64, passes=1, patches_per_pass=20_000, chunk=4096)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the training losses; 0 leaves one out. See `cst/training/losses.py`."""

    l1: float = 0.2
    l2: float = 10.0
    ms_ssim: float = 0.0
    frequency: float = 0.0
    adversarial: float = 0.0
    overflow: float = 0.1  # keeps the residual stream small enough for 8 bits


@dataclass(frozen=True)
class TrainConfig:
    """How RenderNet is trained; a step sees `batch` crops in every process."""

    preset: str = "base"
    steps: int = 8000
    batch: int = 16
    size: int = 96  # side of a crop, pixels
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    beam_share: float = 0.5  # share of the steps whose tokens are encoded with the tokenizer's beam, others greedily
    learning_rate: float = 5e-4
    final_rate: float = 0.01  # of the learning rate, at the end of the cosine
    warmup: int = 300  # steps
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999
    freeze_norm: float = 0.9  # share of the steps after which BatchNorm keeps its averaged statistics, as in use
    precision: str = "auto"  # auto, bf16 or no
    validate_every: int = 500  # steps
    validate_on: int = 48  # whole held-out photos, shortest side 256 pixels
    checkpoint_minutes: float = 4.0
    seed: int = 0


TRAIN_SMOKE = TrainConfig(preset="tiny", steps=20, batch=2, size=64, warmup=5, validate_every=10, validate_on=2)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """`config.json` of a folder that a model is saved in, and the checksums of the files beside it."""

    format: str
    version: int
    files: dict[str, str] = field(default_factory=dict)  # file name -> sha256, checked at load

    def save(self, folder: str | os.PathLike) -> None:
        write_json(Path(folder) / "config.json", dataclasses.asdict(self))

    @staticmethod
    def read(folder: str | os.PathLike, *, format: str, version: int, what: str, make: str) -> dict[str, Any]:
        """The values of `config.json`. Raises ValueError unless it is there, readable, and of this format and version.

        `what` names the kind of folder for the error, `make` the command that makes one.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise ValueError(f"'{folder}' is not a {what}: it has no config.json; make one with {make}")
        try:
            values = json.loads(path.read_text())
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"'{path}' is not readable JSON ({error}); copy the artifact again") from None
        if not isinstance(values, dict) or (values.get("format"), values.get("version")) != (format, version):
            seen = (values.get("format"), values.get("version")) if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"'{path}' is of format {seen}; accepted: {(format, version)}")
        return values

    def check_file(self, folder: str | os.PathLike, name: str) -> Path:
        """The path of one file of the artifact, its checksum verified. Raises ValueError if missing or altered."""
        path = Path(folder) / name
        if name not in self.files or not path.is_file():
            raise ValueError(f"'{folder}' has no {name}; it holds {', '.join(sorted(self.files)) or 'nothing'}")
        if sha256(path) != self.files[name]:
            raise ValueError(f"'{path}' is damaged: its checksum is not the one in config.json; copy it again")
        return path

    def with_files(self, folder: str | os.PathLike, *names: str) -> Self:
        """The same configuration, with the checksums of these files as they now lie in `folder`."""
        sums = {name: sha256(Path(folder) / name) for name in names}
        return dataclasses.replace(self, files={**self.files, **sums})


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Artifact):
    """A tokenizer's folder: what the files are, and what they must be paired with."""

    levels: dict[str, int]
    fingerprint: str
    patch: int = 8
    beam: int = 1
    rendernet: RenderNetConfig | None = None
    format: str = FORMAT
    version: int = VERSION

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TokenizerConfig":
        """Read and check `config.json`. Raises ValueError that says what is missing, unknown or not understood."""
        values = cls.read(folder, format=FORMAT, version=VERSION, what="tokenizer", make="python -m cst fit")
        if values.get("rendernet") is not None:
            values["rendernet"] = from_dict(RenderNetConfig, values["rendernet"])
        return from_dict(cls, values)


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a dataclass strictly. Raises ValueError naming unknown and missing keys."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(needed - set(values))
    if unknown or missing:
        raise ValueError(f"{cls.__name__}: unknown keys {unknown}, missing keys {missing}; accepted: {sorted(fields)}")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON so that a crash leaves either the old file or the new one."""
    with replacing(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n")


class replacing:
    """`with replacing(path) as part:` write `part`; on success it takes the place of `path`, on failure it vanishes."""

    def __init__(self, path: Path):
        self.path = path
        self.part = path.with_name(path.name + ".part")

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, failure: type | None, error: BaseException | None, *_: object) -> None:
        if failure is not None:
            self.part.unlink(missing_ok=True)
            if issubclass(failure, SafetensorError):  # which is no OSError, though a full disk is the usual reason
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
    """Make the names in a folder, where possible, as lasting as its files: else a power cut may undo a rename."""
    with contextlib.suppress(OSError, AttributeError):  # Windows opens no folder, some network drives sync none
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
