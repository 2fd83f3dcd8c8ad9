"""What surrounds the page on a host: other users, proxies, addresses, locales, and quotas."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import free_port

from cst.cpu import available_cpus

ROOT = Path(__file__).parents[2]


def start(*arguments: object, **environment: str) -> tuple[subprocess.Popen, str]:
    """Start the page; returns it and the line in which it says that it is ready."""
    command = [sys.executable, "app.py", "--port", str(free_port()), *map(str, arguments)]
    variables = {**os.environ, **environment}
    variables.pop("GRADIO_TEMP_DIR", None)
    app = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert app.stdout is not None
    lines = []
    for line in app.stdout:
        lines.append(line.decode())
        if "The page is at" in lines[-1]:
            return app, lines[-1]
    pytest.fail("".join(lines))


@pytest.fixture
def pages() -> Iterator[list[subprocess.Popen]]:
    apps: list[subprocess.Popen] = []
    yield apps
    for app in apps:
        with app:  # closes its output
            app.kill()


def test_the_page_starts_beside_a_proxy_and_the_uploads_of_another_user(pages, tmp_path):
    (tmp_path / "gradio").write_text("not a folder of ours", encoding="utf-8")
    proxy = "http://127.0.0.1:9"  # nothing answers there
    app, line = start(TMPDIR=str(tmp_path), HTTP_PROXY=proxy, http_proxy=proxy, HTTPS_PROXY=proxy)
    pages.append(app)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(line.split()[4], timeout=20).status == 200
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("cst-page-")] != []
    app.send_signal(signal.SIGTERM)
    app.wait(30)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("cst-page-")] == []


def test_the_page_listens_on_ipv6(pages):
    app, line = start("--host", "::")
    pages.append(app)
    port = line.split()[4].rsplit(":", 1)[1].strip("/")
    assert urllib.request.urlopen(f"http://[::1]:{port}", timeout=20).status == 200


def test_nothing_depends_on_the_locale(pages):
    app, line = start(LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    pages.append(app)
    assert "×" in urllib.request.urlopen(line.split()[4], timeout=20).read().decode()


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/x\n0::/\n", "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "300000",
          "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000"}, 3),
        ({"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)  # fmt: skip
def test_threads_follow_the_quota_of_the_container(files, cpus, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert available_cpus(tmp_path) == cpus
