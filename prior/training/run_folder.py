"""The folder of a training: begin, resume, and stop on a non-finite loss."""

import math
from pathlib import Path

from prior.config import PriorConfig


def begin_or_resume(out: Path, prior: PriorConfig, *, write: bool) -> None:
    """Begin the folder; raise ValueError if it holds a training of something else."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "config.json").exists():
        if write:
            prior.save(out)
        return
    there = PriorConfig.load(out)
    for name in ("kind", "model", "levels", "fingerprint", "beam", "grid", "classes"):
        if getattr(there, name) != getattr(prior, name):
            raise ValueError(
                f"'{out}' holds a prior with another {name} ({getattr(there, name)!r:.80}); "
                "resume with its own settings, or give another --out"
            )


def check_finite(loss: float, step: int, state: Path, flag: str) -> None:
    """Raise ValueError if the loss is not finite."""
    if not math.isfinite(loss):
        checkpoint = f"the last good checkpoint is '{state}'" if state.exists() else "there is no checkpoint"
        raise ValueError(f"the loss became {loss} at step {step + 1}; {checkpoint}: continue with a lower {flag}")
