"""The page in a process of its own."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


START_SECONDS = 60  # generous: other work may be running on the machine


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until_served(url: str, app: subprocess.Popen, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and app.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    why = "is not served" if app.poll() is None else f"ended with code {app.returncode}"
    pytest.fail(f"python app.py {why}; it said:\n{output.read_text()}")
