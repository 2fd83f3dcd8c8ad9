import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from space.picture_files import write_pictures_once


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`save(array)`: the file that Gradio's picture component makes of it."""
    monkeypatch.setattr(gr.processing_utils, "save_pil_to_cache", gr.processing_utils.save_pil_to_cache)
    write_pictures_once()
    return lambda pixels: gr.image_utils.save_image(pixels, str(tmp_path))


def test_a_picture_that_is_sent_again_is_not_written_again(save):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = Path(save(pixels))
    picture = path.read_bytes()
    path.write_bytes(b"in a download")
    os.utime(path, (0, 0))
    assert save(pixels) == str(path)
    assert path.read_bytes() == b"in a download"
    assert path.stat().st_mtime > 0  # so that `delete_cache` keeps it

    assert save(255 - pixels) != str(path)
    path.unlink()
    assert Path(save(pixels)).read_bytes() == picture


def test_several_threads_may_save_the_same_picture(save, tmp_path: Path):
    pictures = [np.full((8, 8, 3), 20 * value, np.uint8) for value in range(10) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(save, pictures))
    assert len(set(paths)) == 10
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 10  # nothing half-written is left
