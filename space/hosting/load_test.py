"""Drive a running page as many visitors at once would, and tell how it bears up.

python -m space load-test --visitors 20 --minutes 3
"""

import argparse
import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from cst.artifact import write_json
from cst.flags import add_dataclass_flags, dataclass_from_flags
from space.hosting.load_visitors import ACTS, LoadConfig, Record, Visitor, make_photos

ROOT = Path(__file__).parents[2]
START_SECONDS = 90


def main(arguments: list[str] | None = None) -> None:
    flags = parse(arguments)
    config = dataclass_from_flags(LoadConfig, flags)
    if flags.url is not None:
        check_address(flags.url)
        report = drive(flags.url.rstrip("/"), config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with served(Path(folder)) as url:
                report = drive(url, config)
                report["files"] = count_files(Path(folder))
            report["files_after_stop"] = count_files(Path(folder))
    print(table(report))
    if flags.json is not None:
        write_json(flags.json, report)
    if report["failures"]:
        raise ValueError(f"{len(report['failures'])} requests failed, the first: {report['failures'][0]}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m space load-test", description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="address of the page, on this machine (default: one started for this)")
    add_dataclass_flags(parser, LoadConfig)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there")
    return parser.parse_args(arguments)


def check_address(url: str) -> None:
    """Raise ValueError unless the address is http and of this very machine: others are not ours to load."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback):
            return
    raise ValueError(f"'{url}' is not a page of this machine; accepted: http://127.0.0.1:PORT, ::1 or localhost")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of `python app.py`, with all its temporary files in `folder`. Raises ValueError if it won't start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "TMPDIR": str(folder), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile() as output:
        app = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(url):
                if app.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise ValueError(f"python app.py does not start: {output.read().decode(errors='replace')}")
                time.sleep(0.2)
            yield url
        finally:
            app.terminate()
            app.wait(START_SECONDS)


def answers(url: str) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def drive(url: str, config: LoadConfig) -> dict:
    """Let the visitors in, wait until all have gone -> what was measured, as JSON values."""
    if not answers(url):
        raise ValueError(f"no page answers at '{url}'; start one with python app.py, or leave out --url")
    record, gone = Record(config.requests), threading.Event()
    start, process = time.monotonic(), listener(urlsplit(url).port or 80)
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder))
        visitors = [Visitor(url, config, number, record, Path(folder)) for number in range(config.visitors)]
        threads = [threading.Thread(target=visitor.stay) for visitor in visitors]
        keeper = threading.Thread(target=watch_memory, args=(process, record, gone))
        for thread in (keeper, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        gone.set()
        keeper.join()
        open_tabs = [client for visitor in visitors for client in visitor.left_open]
        for client in open_tabs:
            client.close()
    growth = record.growth()
    return {
        "config": asdict(config),
        "seconds": round(time.monotonic() - start, 1),
        "requests": len(record.done),
        "lost": sum(request.lost for request in record.done),
        "failures": [f"{request.act}: {request.failure}" for request in record.done if request.failure],
        "unfinished": record.begun - len(record.done),
        "tabs_left_open": len(open_tabs),
        "largest_place_told": max((request.rank for request in record.done), default=0),
        "acts": {act: times(record, act) for act in ACTS if any(request.act == act for request in record.done)},
        "memory": growth and dict(zip(("mib_warm", "mib_end", "growth_percent"), growth, strict=True)),
        "memory_over_time": record.memory[:: max(1, len(record.memory) // 60)],
    }


def times(record: Record, act: str) -> dict:
    """How often, and the median and 95th percentile of waiting and service in seconds."""
    mine = [request for request in record.done if request.act == act]
    found = {"requests": len(mine)}
    for name in ("waiting", "service"):
        p50, p95 = np.percentile([getattr(request, name) for request in mine], (50, 95))
        found |= {f"{name}_p50": round(float(p50), 2), f"{name}_p95": round(float(p95), 2)}
    return found


def listener(port: int) -> int | None:
    """The process that listens on a port of this machine; None where /proc does not tell."""
    sockets = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{words[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with contextlib.suppress(OSError):
            if os.readlink(link) in sockets:
                return int(link.parts[2])
    return None


def watch_memory(process: int | None, record: Record, gone: threading.Event) -> None:
    """Note twice a second how much of a process is in memory, beside the requests done by then."""
    while not gone.wait(0.5) and process is not None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
            record.memory.append((len(record.done), round(kib / 1024, 1)))


def count_files(folder: Path) -> dict:
    """How many files there are, and how large together."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"count": len(sizes), "mib": round(sum(sizes) / 2**20, 1)}


def table(report: dict) -> str:
    """The report in words and columns."""
    lines = [f"{'seconds':<12}{'requests':>9}{'waiting p50':>13}{'p95':>8}{'service p50':>13}{'p95':>8}"]
    for act, found in report["acts"].items():
        row = [f"{found[name]:.2f}" for name in ("waiting_p50", "waiting_p95", "service_p50", "service_p95")]
        lines.append(f"{act:<12}{found['requests']:>9}{row[0]:>13}{row[1]:>8}{row[2]:>13}{row[3]:>8}")
    lines.append(
        f"{report['requests']} requests by {report['config']['visitors']} visitors in {report['seconds']:.0f} s: "
        f"{len(report['failures'])} failed, {report['lost']} lost; largest place told in the queue: "
        f"{report['largest_place_told']}; tabs left open: {report['tabs_left_open']}"
    )
    if report["memory"]:
        memory = report["memory"]
        lines.append(
            f"resident memory: {memory['mib_warm']:.0f} MiB after warm-up, {memory['mib_end']:.0f} at the end "
            f"({memory['growth_percent']:+.1f}%)"
        )
    if "files" in report:
        files, after = report["files"], report["files_after_stop"]
        lines.append(f"temporary files: {files['count']} ({files['mib']} MiB); {after['count']} after the app stopped")
    return "\n".join(lines)
