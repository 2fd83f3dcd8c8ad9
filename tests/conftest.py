"""What several tests share: the served page; small photos; tiny tokenizers and priors made by the real commands."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.photos import CLASSES, make_photo
from support.quick import FIT, PRIOR, TRAIN
from support.server import ROOT

from space.hosting.app_process import running_app


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that open a browser, and those whose fixtures train a model or start a process."""
    browser = {"browser", "visit"}
    slow = {
        "page_url",
        "run_python",
        "codebooks_folder",
        "artifact",
        "learned_folder",
        "prior_folder",
        "gpt_folder",
        "checkout",
    }
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & browser:
            item.add_marker("browser")
        if fixtures & slow:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gradio's client keeps what it downloads in the system's folder for temporary files: here, with the tests' own."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("scratch"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `python app.py`, started once for all tests with the packaged weights."""
    variables = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("app") / "uploads")}
    with running_app(variables=variables) as (url, _):
        yield url


# The tokenizer --------------------------------------------------------------------------------------------------------

FIT += ["--chunk", "1024", "--patches-per-photo", "64", "--beam", "4"]


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Torch on one thread: as fast for networks this small, steady on busy cores, and bit for bit repeatable."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """Run a fresh interpreter in the root of the repository: `run_python("-m", "cst", ...)`."""

    def run(*arguments: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(16):
        make_photo(seed, 100 + seed, 84).save(folder / f"photo-{seed:02d}.png")
    return folder


@pytest.fixture(scope="session")
def codebooks_folder(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """An artifact of codebooks alone: 16 colors, 32 shapes, 64 textures. Shared: copy it before changing a file."""
    import cst.training.fit_codebooks

    folder = tmp_path_factory.mktemp("codebooks")
    cst.training.fit_codebooks.main(["--images", str(photos), "--out", str(folder), *FIT])
    return folder


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory, photos: Path, codebooks_folder: Path, one_thread: None) -> Path:
    """A whole tiny artifact, trained and exported. Shared: copy it before changing a file."""
    import cst.training.export_rendernet
    import cst.training.train_rendernet

    folder = tmp_path_factory.mktemp("artifact")
    cst.training.train_rendernet.main(
        ["--codebooks", str(codebooks_folder), "--images", str(photos), "--out", str(folder), *TRAIN]
    )
    cst.training.export_rendernet.main(["--tokenizer", str(folder), "--images", str(photos)])
    return folder


@pytest.fixture(scope="session")
def counted_artifact(tmp_path_factory: pytest.TempPathFactory, photos: Path, artifact: Path) -> Path:
    """The same, with the statistics of its codes. Shared: copy it before changing a file."""
    import cst.training.count_codes

    folder = tmp_path_factory.mktemp("counted") / "artifact"
    shutil.copytree(artifact, folder)
    cst.training.count_codes.main(["--images", str(photos), "--tokenizer", str(folder)])
    return folder


@pytest.fixture(scope="session")
def learned_folder(tmp_path_factory: pytest.TempPathFactory, photos: Path, one_thread: None) -> Path:
    """A tiny RQ-VAE, trained and exported by the commands. Shared: copy it before changing a file."""
    from cst.training import export_learned, train_learned

    folder = tmp_path_factory.mktemp("learned") / "rq-vae"
    train_learned.main(
        ["--model", "tiny", "--smoke", "--precision", "no", "--images", str(photos), "--out", str(folder)]
    )
    export_learned.main(["--tokenizer", str(folder), "--images", str(photos)])
    return folder


# The priors -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kinds_of_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three folders of photos, each of a kind: 15 small photos in all."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for seed in range(5):
            make_photo(100 * kind + seed, 60 + seed, 50 + kind).save(folder / name / f"{kind}-{seed}.png")
    return folder


def make_prior(folder: Path, preset: str, artifact: Path, images: Path) -> Path:
    """Train and export a prior through the real commands."""
    import prior.training.export
    import prior.training.train

    paths = ["--images", str(images), "--tokenizer", str(artifact), "--out", str(folder)]
    prior.training.train.main([*paths, *PRIOR[preset], "--preset", preset])
    prior.training.export.main(["--prior", str(folder), "--precision", "float"])
    return folder


@pytest.fixture(scope="session")
def gpt_folder(tmp_path_factory: pytest.TempPathFactory, artifact: Path, kinds_of_photo: Path) -> Path:
    """A tiny GPT that writes 8x8 patches of the tiny tokenizer. Shared: copy it before changing a file."""
    return make_prior(tmp_path_factory.mktemp("gpt"), "tiny", artifact, kinds_of_photo)


@pytest.fixture(scope="session")
def pixelcnn_folder(tmp_path_factory: pytest.TempPathFactory, artifact: Path, kinds_of_photo: Path) -> Path:
    """A tiny PixelCNN that writes 4x4 patches."""
    return make_prior(tmp_path_factory.mktemp("pixelcnn"), "pixelcnn-tiny", artifact, kinds_of_photo)


@pytest.fixture(params=["gpt", "pixelcnn"])
def prior_folder(request: pytest.FixtureRequest) -> Path:
    """Each of the tiny priors in turn."""
    return request.getfixturevalue(f"{request.param}_folder")
