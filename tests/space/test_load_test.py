"""Visitors who wait, leave and press Stop: the model is soon free for the next, and `space.load` measures it all."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.client import Job
from gradio_client.utils import Status

from cst.flags import run
from space.generation.panel import RunningVisits
from space.generation.request import ANY
from space.hosting.app_process import listening_process
from space.hosting.load_test import LoadConfig, main
from space.hosting.load_visitors import ACTS, Record, Request, Visitor
from space.models import Models
from space.tabs.sample.tab import SampleTab
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES

MANY = {"count": 8, "seed": 1}


@pytest.fixture
def visitor(page_url: str, tmp_path: Path) -> Iterator[Callable[[], Client]]:
    """Opens the page in one more tab."""
    clients = []

    def come() -> Client:
        client = Client(page_url, verbose=False, analytics_enabled=False, download_files=str(tmp_path))
        clients.append(client)
        return clients[-1]

    yield come
    for client in clients:
        client.close()


def wait_for(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120  # generous: other work may be running on the machine
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done()


def wait_in_queue(client: Client) -> Job:
    job = client.submit(count=1, seed=5, api_name="/sample")
    wait_for(lambda: job.status().code == Status.IN_QUEUE)
    return job


def is_drawn(job: Job) -> bool:
    return job.result(timeout=120)[4]["seed"] == 5


def test_a_visitor_who_leaves_frees_the_model_for_the_next(visitor: Callable[[], Client], page_url: str):
    calls = f"{page_url}/gradio_api/call/v2/sample"
    with httpx.Client(timeout=120) as browser:
        event = browser.post(calls, json=MANY).raise_for_status().json()["event_id"]
        with browser.stream("GET", f"{calls}/{event}") as stream:
            for line in stream.iter_lines():
                if line.startswith("event: generating"):
                    break
        other = visitor().submit(count=1, seed=5, api_name="/sample")
        assert is_drawn(other)


def test_a_run_that_is_taken_back_ends_at_once_and_the_next_begins(visitor: Callable[[], Client]):
    first, second = visitor(), visitor()
    drawing = first.submit(**MANY, api_name="/sample")
    wait_for(drawing.outputs)
    waiting = wait_in_queue(second)
    drawing.cancel()
    assert is_drawn(waiting)
    wait_for(drawing.done)


def test_who_waits_sees_a_place_and_may_go_without_being_drawn_for(visitor: Callable[[], Client]):
    first, second, third = visitor(), visitor(), visitor()
    drawing = first.submit(**MANY, api_name="/sample")
    wait_for(drawing.outputs)
    goes = wait_in_queue(second)
    stays = third.submit(count=1, seed=5, api_name="/sample")
    wait_for(lambda: stays.status().rank == 1)
    goes.cancel()
    first.predict(api_name="/stop")  # at once: gradio_client cancels what it asks for while a run of its own ends
    assert is_drawn(stays)
    assert not goes.outputs()


def test_stop_of_one_visitor_does_not_stop_another(visitor: Callable[[], Client]):
    first, second = visitor(), visitor()
    drawing = first.submit(count=1, seed=5, api_name="/sample")
    wait_for(drawing.outputs)
    second.predict(api_name="/stop")
    assert drawing.result(timeout=120)[4]["stopped"] is False


def test_a_run_that_was_left_ends_without_taking_stop_from_the_next():
    running = RunningVisits()
    left, next_one = running.begin("tab"), running.begin("tab")
    running.end("tab", left)
    running.stop(SimpleNamespace(session_hash="tab"))
    assert next_one.is_set() and not left.is_set()
    running.end("tab", next_one)
    running.stop(SimpleNamespace(session_hash="tab"))


def test_a_drawing_that_is_closed_halfway_leaves_no_file_and_no_one_to_stop(lay_out, tmp_path, monkeypatch):
    tab = lay_out(lambda: SampleTab(Models(), RunningVisits(), gr.Button()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    drawing = tab.sample(ANY, 8, 1, "gpt", *[None] * 13, SimpleNamespace(session_hash="tab"))
    next(drawing)
    assert list(tmp_path.iterdir()) and "tab" in tab.running
    drawing.close()  # what Gradio does when a visitor leaves
    assert not list(tmp_path.iterdir()) and "tab" not in tab.running


# The measurement ------------------------------------------------------------------------------------------------------


def test_load_drives_a_page_and_reports_every_request(
    page_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--url", page_url, "--visitors", "3", "--requests", "8", "--minutes", "5", "--seed", "2"]
    main([*flags, "--json", str(tmp_path / "report.json")])
    said, report = capsys.readouterr().out, json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["requests"] == 8 == sum(found["requests"] for found in report["acts"].values())
    assert (report["failures"], report["lost"], report["unfinished"]) == ([], 0, 0)
    assert set(report["acts"]) <= set(ACTS) and len(report["acts"]) > 1
    for found in report["acts"].values():
        assert 0 <= found["waiting_p50"] <= found["waiting_p95"] and 0 <= found["service_p50"] <= found["service_p95"]
    assert report["largest_queue_place"] >= 1
    assert report["memory_over_time"][-1][1] > 100
    assert "8 requests by 3 visitors" in said and "0 failed, 0 lost" in said


def test_a_file_of_an_answer_that_is_not_there_is_a_failure(page_url: str, tmp_path: Path):
    visitor = Visitor(page_url, LoadConfig(), 0, Record(1), tmp_path)
    address = f"{page_url}/gradio_api/file="
    there, gone = (
        {"path": "photo.jpg", "url": address + path, "meta": {"_type": "gradio.FileData"}}
        for path in (str(EXAMPLES / EXAMPLE_PHOTOS["cat"]), "gone.jpg")
    )
    answer = (None, [there, there], {"size": [8, 8]})
    assert visitor.fetch(answer) is answer
    with pytest.raises(httpx.HTTPStatusError):
        visitor.fetch((*answer, gone))


def test_the_listener_of_a_port_is_the_process_of_the_page(page_url: str):
    found = listening_process(int(page_url.rsplit(":", 1)[1]))
    assert b"app.py" in Path(f"/proc/{found}/cmdline").read_bytes()
    assert listening_process(1) is None


def test_growth_is_measured_after_the_warm_up():
    record = Record(100, [Request("sample", 0, 1, 1)] * 100, [(n, 500 if n < 20 else 1000 + n) for n in range(101)])
    before, after, percent = record.growth()
    assert (before, after) == (1027.5, 1092.5) and percent == pytest.approx(100 * 65 / 1027.5)
    assert Record(5).growth() is None


def test_no_more_requests_are_begun_than_allowed():
    record, counted = Record(40), []
    threads = [threading.Thread(target=lambda: counted.extend(record.begin() for _ in range(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 40


@pytest.mark.parametrize(
    "changes", [{"visitors": 0}, {"visitors": 201}, {"minutes": 0}, {"requests": 0}, {"patience": 0}]
)
def test_a_load_that_can_not_be_is_refused(changes: dict):
    with pytest.raises(ValueError, match="accepted: "):
        LoadConfig(**changes)


def test_a_page_that_does_not_answer_is_one_clear_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        run(lambda: main(["--url", "http://127.0.0.1:9"]))
    assert "no page answers at 'http://127.0.0.1:9'" in capsys.readouterr().err
