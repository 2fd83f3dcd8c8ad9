"""How long it takes to list a large collection of photos, and how much memory the list needs.

python -m cst benchmark-listing --photos 1000000
"""

import argparse
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

from cst.photos import find_photos, split


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst benchmark-listing", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1_000_000, help="entries in the archive (default 1000000)")
    parser.add_argument("--classes", type=int, default=1000, help="folders in the archive (default 1000)")
    flags = parser.parse_args(arguments)
    if min(flags.photos, flags.classes) < 1:
        raise ValueError(f"{flags.photos} photos in {flags.classes} classes; accepted: at least 1 of each")
    print(measure(flags.photos, flags.classes))


def measure(photos: int, classes: int) -> str:
    """List a zip archive of empty files, and split the list into training and validation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(photos):
                archive.writestr(f"class-{index % classes:04d}/photo-{index:08d}.jpg", b"")
        start = time.perf_counter()
        training, held_out = split(find_photos([path]))
        seconds = time.perf_counter() - start
        tracemalloc.start()
        entries = find_photos([path])
        size, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return (
        f"{len(entries):,} photos in {classes:,} folders of one zip archive: listed and split in {seconds:.1f} s\n"
        f"{len(training):,} for training, {len(held_out):,} held out\n"
        f"the list takes {size / 2**20:.0f} MiB, and {peak / 2**20:.0f} MiB at its peak"
    )
