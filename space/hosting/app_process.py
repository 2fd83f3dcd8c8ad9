"""`python app.py` in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300  # to the first answer of the page: other work may be running on the machine
STOP_SECONDS = 90


@contextmanager
def running_app(
    folder: Path = ROOT, *, python: str | Path = sys.executable, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start the app in `folder` on a free port; yields (address, process) once the page answers, and stops it after.

    variables: the environment (default: that of this process). Raises ValueError, with the last line of the app's
    output, if the page does not answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**(os.environ if variables is None else variables)}
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    with tempfile.TemporaryFile() as output:
        app = subprocess.Popen([python, "app.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(url):
                if app.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    lines = output.read().decode(errors="replace").strip().splitlines() or ["no output"]
                    raise ValueError(f"python app.py does not serve its page: {lines[-1]}")
                time.sleep(0.1)
            yield url, app
        finally:
            app.terminate()
            app.wait(STOP_SECONDS)


def answers(url: str) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def listening_process(port: int) -> int | None:
    """The process that listens on a port of this machine; None if /proc does not report it."""
    sockets = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", name).read_text(encoding="utf-8").splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{words[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with contextlib.suppress(OSError):
            if os.readlink(link) in sockets:
                return int(link.parts[2])
    return None
