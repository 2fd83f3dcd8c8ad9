"""Install a built Space into a fresh environment, start it, use it, and measure size, time and memory.

python -m space measure
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

from cst.evaluation.process_memory import memory_bytes
from space.hosting.app_process import running_app
from space.hosting.build import HARDWARE, build

MIB = 2**20
KIND = "Sunflower"


@dataclass(frozen=True)
class HostingCosts:
    """What hosting the Space takes. Sizes in bytes, times in seconds; peak is None without /proc."""

    bundle: int
    environment: int
    install: float
    start: float  # from the command to the first answer of the page
    reconstruction: float
    sample: float
    peak: int | None  # most resident memory of the serving process
    psnr: float  # dB, of the reconstruction
    bits: float  # per patch, of the sample
    largest: int | None = None  # like `peak`, after the largest requests; None if they were not made

    def __str__(self) -> str:
        peak = "not available" if self.peak is None else f"{self.peak / MIB:.0f} MiB"
        return (
            f"bundle {self.bundle / MIB:.0f} MiB; environment {self.environment / MIB:.0f} MiB, installed in "
            f"{self.install:.0f} s\npage served {self.start:.1f} s after the start\n"
            f"a reconstruction at 512 pixels in {self.reconstruction:.1f} s ({self.psnr:.1f} dB), a new picture in "
            f"{self.sample:.1f} s ({self.bits:.1f} bits per patch)\npeak resident memory {peak}"
            + (f", and {self.largest / MIB:.0f} MiB after the largest requests" if self.largest else "")
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space measure", description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", default="cpu", choices=HARDWARE, help="which Space (default cpu)")
    parser.add_argument("--largest", action="store_true", help="also make the largest requests that the page accepts")
    flags = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        print(measure_hosting(Path(scratch), flags.hardware, largest=flags.largest))


def measure_hosting(scratch: Path, hardware: str = "cpu", *, largest: bool = False) -> HostingCosts:
    """Build, install, start and use the bundle inside the empty folder `scratch`.

    largest: also reconstruct a square photo of 2048 pixels in both precisions, and draw 8 pictures with both priors.
    Only the bundle's own requirements.txt is installed, by the pip of this Python as it is configured. Raises
    ValueError if it can't be installed, or does not serve the page.
    """
    bundle = build(scratch / "bundle", hardware)
    python, install = install_into(scratch / "environment", scratch / "bundle" / "requirements.txt")
    environment = sum(path.lstat().st_size for path in (scratch / "environment").rglob("*"))
    begin = time.perf_counter()
    with running_app(scratch / "bundle", python=python, variables=space_variables()) as (url, process):
        start = time.perf_counter() - begin
        psnr, reconstruction, bits, sample = visit(url, scratch / "bundle" / "space" / "examples" / "chelsea.jpg")
        peak, peak_of_largest = memory_bytes("VmHWM", process.pid), None
        if largest:
            visit_at_large(url, scratch)
            peak_of_largest = memory_bytes("VmHWM", process.pid)
    size = sum(file.size for file in bundle)
    return HostingCosts(size, environment, install, start, reconstruction, sample, peak, psnr, bits, peak_of_largest)


def install_into(folder: Path, requirements: Path) -> tuple[Path, float]:
    """Create an environment and install packages -> (its Python, seconds). Raises ValueError with pip's reason."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise ValueError(f"{requirements.name} can't be installed ({reasons[0]}); check the pins and the network")
    return python, time.perf_counter() - begin


def space_variables() -> dict[str, str]:
    """The environment without this shell's Python, virtual environment and device."""
    hidden = ("PYTHON", "CST_", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(hidden)}


def visit(url: str, photo: Path) -> tuple[float, float, float, float]:
    """Reconstruct a photo and draw a new picture -> (PSNR dB, seconds, bits per patch, seconds)."""
    with visitor(url) as client:
        begin = time.perf_counter()
        *_, numbers, _ = client.predict(handle_file(photo), 512, "int8", api_name="/reconstruct")
        between = time.perf_counter()
        *_, sample_numbers, _ = client.predict(kind=KIND, count=1, seed=1, api_name="/sample")
        end = time.perf_counter()
    _, h, w = sample_numbers["grid"]
    return numbers["codes"]["psnr_db"], between - begin, sample_numbers["bits"][0] / (h * w), end - between


def visit_at_large(url: str, scratch: Path) -> None:
    """Make the largest requests that the page accepts."""
    photo = scratch / "large.jpg"
    Image.effect_noise((2048, 2048), 64).convert("RGB").save(photo)
    with visitor(url) as client:
        for precision in ("int8", "float"):
            client.predict(handle_file(photo), 2048, precision, api_name="/reconstruct")
        for model in ("gpt", "pixelcnn"):
            client.predict(kind=KIND, count=8, seed=1, model=model, api_name="/sample")


@contextmanager
def visitor(url: str) -> Iterator[Client]:
    """A client of the page; the files that it downloads are deleted."""
    with tempfile.TemporaryDirectory() as results:
        client = Client(url, verbose=False, download_files=results, analytics_enabled=False)
        try:
            yield client
        finally:
            client.close()
