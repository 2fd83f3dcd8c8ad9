"""Install a Space's bundle into a fresh environment, start it, use it as a visitor would, and measure all that.

python -m space measure
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

from space.hosting.build import HARDWARE, build

PATIENCE = 300  # seconds to wait for the page: other work may be running on the machine
MIB = 2**20
KIND = "Sunflower"


@dataclass(frozen=True)
class Measured:
    """What it takes to host the Space. Sizes in bytes, times in seconds; peak is None where Linux doesn't tell it."""

    bundle: int
    environment: int
    install: float
    start: float  # from the command to the first answer of the page
    reconstruction: float
    sample: float
    peak: int | None  # most resident memory of the serving process
    psnr: float  # dB, of the reconstruction: that it is one
    bits: float  # a patch, of the sample
    largest: int | None = None  # as `peak`, after the most that a visitor can ask for; None if that was not tried

    def __str__(self) -> str:
        peak = "not told here" if self.peak is None else f"{self.peak / MIB:.0f} MiB"
        return (
            f"bundle {self.bundle / MIB:.0f} MiB; environment {self.environment / MIB:.0f} MiB, installed in "
            f"{self.install:.0f} s\npage served {self.start:.1f} s after the start\n"
            f"a reconstruction at 512 pixels in {self.reconstruction:.1f} s ({self.psnr:.1f} dB), a new picture in "
            f"{self.sample:.1f} s ({self.bits:.1f} bits a patch)\npeak resident memory {peak}"
            + (f", and {self.largest / MIB:.0f} MiB after the largest requests" if self.largest else "")
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space measure", description=__doc__.splitlines()[0])
    parser.add_argument("--hardware", default="cpu", choices=HARDWARE, help="which bundle (default cpu)")
    parser.add_argument("--largest", action="store_true", help="also ask for the most that a visitor can ask for")
    flags = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        print(measure(Path(scratch), flags.hardware, largest=flags.largest))


def measure(scratch: Path, hardware: str = "cpu", *, largest: bool = False) -> Measured:
    """Build, install, start and use the bundle inside the empty folder `scratch`.

    largest: go on to a square photo of 2048 pixels in either arithmetic, and 8 pictures by either prior. Into the
    environment goes the bundle's own requirements.txt and nothing else, by the pip of this Python as it is configured.
    Raises ValueError if it can't be installed, or does not serve the page.
    """
    bundle = build(scratch / "bundle", hardware)
    python, install = install_into(scratch / "environment", scratch / "bundle" / "requirements.txt")
    environment = sum(path.lstat().st_size for path in (scratch / "environment").rglob("*"))
    begin = time.perf_counter()
    with serving(python, scratch / "bundle", scratch / "log") as (url, process):
        start = time.perf_counter() - begin
        psnr, reconstruction, bits, sample = visit(url, scratch / "bundle" / "space" / "examples" / "chelsea.jpg")
        peak, most = peak_memory(process.pid), None
        if largest:
            visit_at_large(url, scratch)
            most = peak_memory(process.pid)
    size = sum(file.size for file in bundle)
    return Measured(size, environment, install, start, reconstruction, sample, peak, psnr, bits, most)


def install_into(folder: Path, requirements: Path) -> tuple[Path, float]:
    """Make an environment and install there -> (its Python, seconds). Raises ValueError with pip's reason."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise ValueError(f"{requirements.name} can't be installed ({reasons[0]}); check the pins and the network")
    return python, time.perf_counter() - begin


@contextmanager
def serving(python: Path, bundle: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start the bundle as a Space would; (address, process) once the page answers. Raises ValueError if it doesn't."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CST_", "VIRTUAL_ENV"))},
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
    }
    with log.open("w") as output:
        process = subprocess.Popen([python, "app.py"], cwd=bundle, env=variables, stdout=output, stderr=output)
    try:
        wait_for(url, process, log)
        yield url, process
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    """Return at the first answer of the page. Raises ValueError if the process ends or `PATIENCE` does."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < PATIENCE:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None:
                break
            time.sleep(0.05)
    last = (log.read_text().strip().splitlines() or ["it said nothing"])[-1]
    raise ValueError(f"the bundle does not serve its page: {last}")


def visit(url: str, photo: Path) -> tuple[float, float, float, float]:
    """Reconstruct a photo and draw a new picture -> (PSNR dB, seconds, bits a patch, seconds)."""
    with visitor(url) as client:
        begin = time.perf_counter()
        *_, numbers, _ = client.predict(handle_file(photo), 512, "int8", api_name="/reconstruct")
        between = time.perf_counter()
        *_, drawn, _ = client.predict(kind=KIND, count=1, seed=1, api_name="/sample")
        end = time.perf_counter()
    _, h, w = drawn["grid"]
    return numbers["codes"]["psnr_db"], between - begin, drawn["bits"][0] / (h * w), end - between


def visit_at_large(url: str, scratch: Path) -> None:
    """Ask for the most that the page lets a visitor ask for."""
    photo = scratch / "large.jpg"
    Image.effect_noise((2048, 2048), 64).convert("RGB").save(photo)
    with visitor(url) as client:
        for precision in ("int8", "float"):
            client.predict(handle_file(photo), 2048, precision, api_name="/reconstruct")
        for model in ("gpt", "pixelcnn"):
            client.predict(kind=KIND, count=8, seed=1, model=model, api_name="/sample")


@contextmanager
def visitor(url: str) -> Iterator[Client]:
    """A program that uses the page; the files it gets are thrown away."""
    with tempfile.TemporaryDirectory() as results:
        client = Client(url, verbose=False, download_files=results, analytics_enabled=False)
        try:
            yield client
        finally:
            client.close()


def peak_memory(pid: int) -> int | None:
    """The most memory a process has had resident so far, bytes; None where there is no /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])
