"""Measuring a bundle that fails; tests/space/test_bundle.py measures one that works."""

import os
import subprocess
from pathlib import Path

import pytest

from cst.evaluation.process_memory import memory_bytes
from space.hosting.app_process import running_app
from space.hosting.measure import MIB, HostingCosts, install_into, space_variables


def bundle(folder: Path, code: str) -> Path:
    (folder / "app.py").write_text(code, encoding="utf-8")
    return folder


def test_a_bundle_that_ends_is_told_with_its_last_words(tmp_path):
    broken = bundle(tmp_path, "print('starting'); raise SystemExit('error: the weights are gone')")
    with pytest.raises(ValueError, match="does not serve its page: error: the weights are gone"), running_app(broken):
        pytest.fail("served")


def test_the_page_is_started_where_a_space_would_be_and_stopped_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("CST_DEVICE", "cuda")  # what this shell says must not reach the bundle
    code = (
        "import os, http.server as http; assert 'CST_DEVICE' not in os.environ;"
        "address = (os.environ['GRADIO_SERVER_NAME'], int(os.environ['GRADIO_SERVER_PORT']));"
        "http.HTTPServer(address, http.SimpleHTTPRequestHandler).serve_forever()"
    )
    with running_app(bundle(tmp_path, code), variables=space_variables()) as (url, process):
        assert url.startswith("http://127.0.0.1:") and process.poll() is None
    assert process.poll() is not None


def test_packages_that_can_not_be_installed_are_told_with_pips_reason(tmp_path, monkeypatch):
    def fail(command: list, **_: object) -> subprocess.CompletedProcess:
        failed = "install" in command
        said = "WARNING: slow\nERROR: No matching distribution found for nothing==1\n" if failed else ""
        return subprocess.CompletedProcess(command, int(failed), "", said)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ValueError, match=r"requirements.txt can't be installed \(ERROR: No matching .*check the pins"):
        install_into(tmp_path / "environment", tmp_path / "requirements.txt")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it")
def test_peak_memory_is_in_bytes():
    assert 10 * MIB < memory_bytes("VmHWM", os.getpid()) < 2**40


def test_the_report_names_every_number():
    said = str(HostingCosts(100 * MIB, 400 * MIB, 30.0, 3.0, 1.5, 1.2, 380 * MIB, 31.5, 18.1))
    for words in ("bundle 100 MiB", "environment 400 MiB", "3.0 s after the start", "memory 380 MiB", "31.5 dB"):
        assert words in said
    assert "largest" not in said
    assert "not available" in str(HostingCosts(1, 1, 1, 1, 1, 1, None, 1, 1))
    assert "and 900 MiB after" in str(HostingCosts(1, 1, 1, 1, 1, 1, MIB, 1, 1, 900 * MIB))
