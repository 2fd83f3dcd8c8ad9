"""Simulated visitors of a running page: their requests, and the answers."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.client import Job
from gradio_client.utils import Status, is_file_obj_with_meta, traverse

from cst.images import fit_within, load_image
from space.widgets.photo_picker import EXAMPLE_PHOTOS, EXAMPLES

POLL_INTERVAL = 0.02  # seconds between two looks at a job
STARTED = (Status.PROCESSING, Status.ITERATING, Status.PROGRESS, Status.FINISHED)
# What visitors do, in percent; see `Visitor`. Service time is from processing to the answer; of "stop", from the click.
ACTS = {"reconstruct": 45, "sample": 30, "stop": 8, "cancel": 8, "leave": 9}
SIDES, DETAILS = (200, 640, 1600), (128, 256, 512)  # pixels of the photos, and of the requested pictures
NUMBERS = {"reconstruct": 10, "sample": 4}  # their index in the outputs of the API


@dataclass(frozen=True)
class LoadConfig:
    """How many visitors there are, how long they stay, and the seed of what they do."""

    visitors: int = 20
    minutes: float = 3.0
    requests: int = 100_000  # at most
    patience: float = 600.0  # seconds after which an unanswered request counts as lost
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        bounds = {"visitors": (1, 200), "minutes": (0.01, 120), "requests": (1, 100_000), "patience": (1, 3600)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"--{name} {getattr(self, name)}; accepted: {least} to {most}")


@dataclass(frozen=True)
class Request:
    """One request, in seconds. rank: its largest place in the queue, where 1 is next."""

    act: str
    waiting: float
    service: float
    rank: int
    failure: str | None = None  # the error message
    lost: bool = False  # never answered


@dataclass
class Record:
    """The requests of all visitors so far."""

    max_requests: int
    done: list[Request] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)  # requests done, MiB resident
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        """Count one more request -> whether it may be made."""
        with self.lock:
            self.begun += (allowed := self.begun < self.max_requests)
            return allowed

    def growth(self) -> tuple[float, float, float] | None:
        """(MiB after warm-up, MiB at the end, growth in percent); the first fifth of the requests is the warm-up."""
        done = self.memory[-1][0] if self.memory else 0
        parts = [
            [size for count, size in self.memory if first * done <= count <= last * done]
            for first, last in ((0.2, 0.35), (0.85, 1))
        ]
        if not done or not all(parts):
            return None
        before, after = map(float, map(np.median, parts))
        return before, after, 100 * (after / before - 1)


class Lost(Exception):
    """A request that was not answered."""


class Visitor:
    """A browser that opens the page again and again: each time it makes a few requests, then leaves."""

    def __init__(self, url: str, config: LoadConfig, number: int, record: Record, folder: Path):
        self.url, self.config, self.record, self.folder = url, config, record, folder
        self.random = random.Random(f"{config.seed} {number}")
        self.until = time.monotonic() + 60 * config.minutes
        self.left_open: list[Client] = []

    def stay(self) -> None:
        """Make requests until the time or the number of requests is used up."""
        while time.monotonic() < self.until:
            client = self.open()
            if client is None:
                continue
            for _ in range(self.random.randint(1, 5)):
                if time.monotonic() >= self.until or not self.record.begin():
                    client.close()
                    return
                act = self.random.choices(list(ACTS), list(ACTS.values()))[0]
                self.record.done.append(self.make(act, client))
                time.sleep(self.random.random())
            if not self.left_open and self.random.random() < 0.2:
                self.left_open.append(client)  # a tab left open
            else:
                client.close()

    def open(self) -> Client | None:
        """The page in a new tab; None, and a recorded failure, if it does not open."""
        watch = Watch(time.monotonic(), self.config.patience)
        watch.begun = watch.came
        try:
            return Client(
                self.url, verbose=False, analytics_enabled=False, download_files=False,
                httpx_kwargs={"timeout": self.config.patience},
            )  # fmt: skip
        except Exception as error:
            self.record.done.append(Request("open", 0, watch.service, 0, one_line(error)))
            return None

    def make(self, act: str, client: Client) -> Request:
        """Make one request and wait for its end; the result records any failure."""
        watch = Watch(time.monotonic(), self.config.patience)
        try:
            getattr(self, act)(client, watch)
        except Lost:
            return Request(act, watch.waiting, watch.service, watch.rank, "no answer", lost=True)
        except Exception as error:  # failures are what a load test is for
            return Request(act, watch.waiting, watch.service, watch.rank, one_line(error))
        return Request(act, watch.waiting, watch.service, watch.rank)

    def reconstruct(self, client: Client, watch: "Watch") -> None:
        """Upload a small or large photo, and wait for the result."""
        side, detail = self.random.choice(SIDES), self.random.choice(DETAILS)
        photo = self.folder / f"{self.random.choice(list(EXAMPLE_PHOTOS))}-{side}.jpg"
        job = client.submit(handle_file(photo), detail, "int8", api_name="/reconstruct")
        size = self.fetch(watch.wait(job))[NUMBERS["reconstruct"]]["size"]
        if max(size) != min(side, detail):
            raise ValueError(f"a picture of {size} pixels came back for {detail} of {side}: another visitor's?")

    def sample(self, client: Client, watch: "Watch") -> None:
        """Draw one to four pictures and wait for them."""
        seed = self.random.randrange(10**6)
        job = client.submit(count=self.random.choice((1, 2, 4)), seed=seed, api_name="/sample")
        drawn_seed = self.fetch(watch.wait(job))[NUMBERS["sample"]]["seed"]
        if drawn_seed != seed:
            raise ValueError(f"pictures of seed {drawn_seed} came back for {seed}: another visitor's?")

    def stop(self, client: Client, watch: "Watch") -> None:
        """Draw eight pictures, and click Stop when they begin to grow."""
        job = client.submit(count=8, seed=self.random.randrange(10**6), api_name="/sample")
        watch.wait(job, until=lambda: bool(job.outputs()))
        watch.begun = time.monotonic()
        client.predict(api_name="/stop")
        self.fetch(watch.wait(job))

    def fetch(self, answer: tuple) -> tuple:
        """Download the pictures and files of an answer, like a browser. Returns the answer; raises httpx.HTTPError."""
        files: list[str] = []
        traverse(answer, lambda file: files.append(file["url"]), is_file_obj_with_meta)
        with httpx.Client(timeout=self.config.patience) as browser:
            for file in dict.fromkeys(files):
                browser.get(file).raise_for_status()
        return answer

    def cancel(self, client: Client, watch: "Watch") -> None:
        """Request eight pictures, and cancel soon, whether still in the queue or not."""
        job = client.submit(count=8, seed=self.random.randrange(10**6), api_name="/sample")
        deadline = time.monotonic() + self.random.uniform(0.2, 2)
        watch.wait(job, until=lambda: time.monotonic() > deadline)
        job.cancel()

    def leave(self, client: Client, watch: "Watch") -> None:
        """Request eight pictures, and close the tab when they begin to grow."""
        calls = f"{self.url}/gradio_api/call/v2/sample"
        with httpx.Client(timeout=self.config.patience) as browser:
            values = {"count": 8, "seed": self.random.randrange(10**6)}
            event = browser.post(calls, json=values).raise_for_status().json()["event_id"]
            with browser.stream("GET", f"{calls}/{event}") as stream:
                for line in stream.iter_lines():
                    if line.startswith("event: error"):
                        raise ValueError("the request was rejected")
                    if line.startswith("event: generating"):
                        break
        watch.begun = time.monotonic()


@dataclass
class Watch:
    """When a request was made, when its processing began and ended, and its largest place in the queue."""

    came: float
    patience: float
    begun: float | None = None
    ended: float | None = None
    rank: int = 0

    @property
    def waiting(self) -> float:
        return (self.begun or self.ended or time.monotonic()) - self.came

    @property
    def service(self) -> float:
        return (self.ended or time.monotonic()) - self.begun if self.begun else 0.0

    def wait(self, job: Job, *, until: Callable[[], bool] | None = None) -> tuple:
        """Wait for a job -> its outputs, empty if `until()` is true first. Raises Lost, and what the job raised."""
        while not job.done():
            status = job.status()
            if status.code == Status.IN_QUEUE and status.rank is not None:
                self.rank = max(self.rank, status.rank + 1)
            if self.begun is None and status.code in STARTED:
                self.begun = time.monotonic()
            if until is not None and until():
                return ()
            if time.monotonic() - self.came > self.patience:
                raise Lost
            time.sleep(POLL_INTERVAL)
        self.ended = time.monotonic()
        self.begun = self.begun or self.ended
        return job.result()


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def make_photos(folder: Path) -> None:
    """Write the example photos in every size that visitors upload."""
    for name, file in EXAMPLE_PHOTOS.items():
        photo = load_image(EXAMPLES / file)
        for side in SIDES:
            scale = side / max(photo.size)
            enlarged = photo.resize([round(length * scale) for length in photo.size]) if scale > 1 else photo
            fit_within(enlarged, side).save(folder / f"{name}-{side}.jpg")
