"""Trainings stopped on the way, and what their checkpoints say."""

import json
from pathlib import Path

from safetensors import safe_open

from cst.training import checkpoint


def progress(out: Path) -> dict:
    with safe_open(out / "state.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["progress"])


def interrupt_after(monkeypatch, step: int) -> None:
    """Stop a run as Ctrl-C would, right after it has saved this step's checkpoint."""
    save = checkpoint.save

    def save_and_stop(path, **state):
        save(path, **state)
        if state["progress"]["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_and_stop)
