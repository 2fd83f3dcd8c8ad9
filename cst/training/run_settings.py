"""The settings and photos of a run, saved in its folder: a run can only be resumed with the same ones."""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from cst.artifact import write_json
from cst.photos import Entry

# Settings that may change when a run is resumed.
FREE = (
    "steps", "learning_rate", "muon_learning_rate", "validate_every", "validate_on", "checkpoint_minutes", "patience",
    "precision", "compile",
)  # fmt: skip


def check_settings(
    path: Path, settings: dict[str, Any], photos: Sequence[Entry], *, write: bool, free: Collection[str] = FREE
) -> None:
    """Save the settings in `path`, or compare them with those saved there.

    photos: those that the run learns from. write: one of several processes does. Raises
    ValueError, naming what differs, unless all but `free` are equal.
    """
    names = "\n".join(sorted(f"{photo.label}/{photo.name}" for photo in photos))
    digest = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:8]
    now = json.loads(json.dumps({**settings, "photos": f"{len(photos)} photos ({digest})"}))
    saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
    changed = [name for name in now if name not in free and saved.get(name, now[name]) != now[name]]
    if changed:
        differences = ", ".join(f"{name}: {saved[name]}, now {now[name]}" for name in changed)
        raise ValueError(
            f"'{path.parent}' holds a run with other settings ({differences}); "
            "resume with its own, or give another --out"
        )
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
