"""Load test: simulate many concurrent visitors of a running page, and report waiting and service times.

python -m space load-test --visitors 20 --minutes 3
"""

import argparse
import contextlib
import ipaddress
import os
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from cst.artifact import write_json
from cst.evaluation.process_memory import memory_bytes
from cst.flags import add_dataclass_flags, dataclass_from_flags
from space.hosting.app_process import answers, listening_process, running_app
from space.hosting.load_visitors import ACTS, LoadConfig, Record, Visitor, make_photos

SAMPLE_INTERVAL = 0.5  # seconds between two readings of the memory


def main(arguments: list[str] | None = None) -> None:
    flags = parse(arguments)
    config = dataclass_from_flags(LoadConfig, flags)
    if flags.url is not None:
        check_address(flags.url)
        report = drive(flags.url.rstrip("/"), config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            variables = {**os.environ, "TMPDIR": folder, "GRADIO_TEMP_DIR": f"{folder}/gradio"}
            with running_app(variables=variables) as (url, _):
                report = drive(url, config)
                report["files"] = count_files(Path(folder))
            report["files_after_stop"] = count_files(Path(folder))
    print(report_text(report))
    if flags.json is not None:
        write_json(flags.json, report)
    if report["failures"]:
        raise ValueError(f"{len(report['failures'])} requests failed, the first: {report['failures'][0]}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m space load-test", description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="address of a page on this machine (default: start one)")
    add_dataclass_flags(parser, LoadConfig)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to this file")
    return parser.parse_args(arguments)


def check_address(url: str) -> None:
    """Raise ValueError unless the address is http and of this machine: do not load machines of others."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback):
            return
    raise ValueError(f"'{url}' is not a page of this machine; accepted: http://127.0.0.1:PORT, ::1 or localhost")


def drive(url: str, config: LoadConfig) -> dict:
    """Run all visitors until the time is up -> the measurements, as JSON values."""
    if not answers(url):
        raise ValueError(f"no page answers at '{url}'; start one with python app.py, or leave out --url")
    record, finished = Record(config.requests), threading.Event()
    start, process = time.monotonic(), listening_process(urlsplit(url).port or 80)
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder))
        visitors = [Visitor(url, config, number, record, Path(folder)) for number in range(config.visitors)]
        threads = [threading.Thread(target=visitor.stay) for visitor in visitors]
        memory_thread = threading.Thread(target=watch_memory, args=(process, record, finished))
        for thread in (memory_thread, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        finished.set()
        memory_thread.join()
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
        "largest_queue_place": max((request.rank for request in record.done), default=0),
        "acts": {act: times(record, act) for act in ACTS if any(request.act == act for request in record.done)},
        "memory": growth and dict(zip(("mib_warm", "mib_end", "growth_percent"), growth, strict=True)),
        "memory_over_time": record.memory[:: max(1, len(record.memory) // 60)],
    }


def times(record: Record, act: str) -> dict:
    """The number of requests of an act, and the median and 95th percentile of waiting and service in seconds."""
    requests = [request for request in record.done if request.act == act]
    result: dict[str, float] = {"requests": len(requests)}
    for name in ("waiting", "service"):
        p50, p95 = np.percentile([getattr(request, name) for request in requests], (50, 95))
        result |= {f"{name}_p50": round(float(p50), 2), f"{name}_p95": round(float(p95), 2)}
    return result


def watch_memory(process: int | None, record: Record, finished: threading.Event) -> None:
    """Record the resident memory of a process, with the number of requests answered by then."""
    while process is not None and not finished.wait(SAMPLE_INTERVAL):
        resident = memory_bytes("VmRSS", process)
        if resident is not None:
            record.memory.append((len(record.done), round(resident / 2**20, 1)))


def count_files(folder: Path) -> dict:
    """The number of files and their total size."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"count": len(sizes), "mib": round(sum(sizes) / 2**20, 1)}


def report_text(report: dict) -> str:
    """The report as aligned columns and sentences."""
    lines = [f"{'seconds':<12}{'requests':>9}{'waiting p50':>13}{'p95':>8}{'service p50':>13}{'p95':>8}"]
    for act, result in report["acts"].items():
        row = [f"{result[name]:.2f}" for name in ("waiting_p50", "waiting_p95", "service_p50", "service_p95")]
        lines.append(f"{act:<12}{result['requests']:>9}{row[0]:>13}{row[1]:>8}{row[2]:>13}{row[3]:>8}")
    lines.append(
        f"{report['requests']} requests by {report['config']['visitors']} visitors in {report['seconds']:.0f} s: "
        f"{len(report['failures'])} failed, {report['lost']} lost; largest place in the queue: "
        f"{report['largest_queue_place']}; tabs left open: {report['tabs_left_open']}"
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
