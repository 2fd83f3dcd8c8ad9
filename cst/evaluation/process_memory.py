"""The memory use of a process."""

from pathlib import Path


def memory_bytes(field: str, process: int | str = "self") -> int | None:
    """Read "VmRSS" (resident memory) or "VmHWM" (its peak) of a process, in bytes; None if it is not available."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)
