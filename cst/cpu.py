"""How many CPUs this process may use: what its container allows, not what the host has."""

import os
from pathlib import Path


def available_cpus(root: Path = Path("/")) -> int:
    """The CPUs of this process, at least 1: its affinity, and the quota of its cgroup (v1 or v2), rounded up.

    root: where /proc and /sys are.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(-(-quota // period) for quota, period in _quotas(root))]))


def _quotas(root: Path) -> list[tuple[int, int]]:
    """(quota, period), in microseconds, of this process's cgroup and of those above it."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        top = root / "sys/fs/cgroup"
        if controllers and "cpu" not in controllers.split(","):
            continue
        if controllers:
            top /= "cpu"
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if controllers:
                words = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
            else:
                words = _read(folder / "cpu.max").split()
            if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) and int(words[1]):
                found.append((int(words[0]), int(words[1])))
            if folder == top:
                break
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
