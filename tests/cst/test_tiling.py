"""Large pictures are painted a piece at a time, and come out as if they were painted whole."""

import numpy as np
import pytest
from support.codebooks import make_codebooks, make_tokens

from cst import CST
from cst.tokenizer.config import RenderNetConfig
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.rendernet import RenderNet
from cst.tokenizer.tiling import windows

GRIDS = [(1, 1), (5, 3), (64, 64), (97, 31), (1, 300), (300, 2), (256, 256), (750, 1000), (33, 41)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("most", "margin"), [(20_480, 12), (6_800, 12), (100, 2), (10, 0), (1, 3)])
def test_every_patch_is_kept_once_and_seen_with_its_margin(grid, most, margin):
    times, shapes = np.zeros(grid, int), set()
    for window in windows(*grid, most=most, margin=margin):
        times[window.kept] += 1
        for seen, kept, length in zip(window.seen, window.kept, grid, strict=True):
            assert 0 <= seen.start <= kept.start < kept.stop <= seen.stop <= length
            assert kept.start - seen.start >= margin or seen.start == 0
            assert seen.stop - kept.stop >= margin or seen.stop == length
        shapes.add(tuple(seen.stop - seen.start for seen in window.seen))
        assert np.array_equal(times[window.seen][window.inner], times[window.kept])
    assert (times == 1).all()
    assert len(shapes) == 1 and np.prod(*shapes) <= max(most, (4 * margin) ** 2)


def test_a_grid_that_is_small_enough_is_one_window():
    (only,) = windows(80, 85, most=6_800, margin=12)
    assert only.seen == only.kept == (slice(0, 80), slice(0, 85))


@pytest.mark.parametrize(("most", "dearest"), [(20_480, 1.2), (6_800, 1.65)])
def test_margins_of_the_largest_photo_cost_little(most, dearest):
    seen = sum(np.prod([side.stop - side.start for side in w.seen]) for w in windows(256, 256, most=most, margin=12))
    assert seen / 256**2 < dearest


def test_the_margin_is_how_far_a_code_is_seen(one_thread):
    import torch

    config = RenderNetConfig(width=8, hidden=12, blocks=3)
    net = RenderNet(config, make_codebooks().tables).eval()
    for parameter in net.parameters():
        torch.nn.init.uniform_(
            parameter, 0.1, 0.2, generator=torch.Generator().manual_seed(0)
        )  # so that nothing is cut off
    tokens = torch.from_numpy(make_tokens(0, 1, 9, 9))
    changed = tokens.clone()
    changed[0, 2, 4, 4] = (changed[0, 2, 4, 4] + 1) % 64
    with torch.no_grad():
        gap = (net(changed) - net(tokens)).abs().amax((0, 1)).reshape(9, 8, 9, 8).amax((1, 3)) > 0  # (h, w)
    far = (np.abs(np.indices((9, 9)) - 4)).max(0)
    assert np.array_equal(gap.numpy(), far <= config.margin)


@pytest.mark.parametrize("target", ["cpu", "openvino"])
@pytest.mark.parametrize("precision", ["float", "int8"])
@pytest.mark.parametrize("grid", [(1, 1), (1, 70), (3, 41), (37, 29), (50, 2)])
def test_in_pieces_a_picture_is_the_same_as_in_one(grid, precision, target, artifact, monkeypatch):
    if target == "openvino":
        pytest.importorskip("openvino")
    tokenizer, tokens = OnnxTokenizer(artifact, target=target, precision=precision, threads=1), make_tokens(0, 2, *grid)
    whole = tokenizer.decode(tokens)
    monkeypatch.setattr(tokenizer, "max_patches", 64)
    pieces = list(tokenizer.iter_decode(tokens))
    assert (len(pieces) > 1) == (np.prod(grid) > 64)
    assert np.abs(tokenizer.decode(tokens) - whole).max() <= (0 if precision == "int8" else 1e-6)


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_the_packaged_network_paints_the_same_in_pieces(precision, monkeypatch):
    tokenizer = OnnxTokenizer(target="cpu", precision=precision)
    rng = np.random.default_rng(0)
    tokens = np.stack([rng.integers(level.size, size=(1, 30, 90)) for level in tokenizer.levels], 1)
    whole = tokenizer.decode(tokens)
    monkeypatch.setattr(tokenizer, "max_patches", 1)
    assert len(list(tokenizer.iter_decode(tokens))) == 2
    assert np.abs(tokenizer.decode(tokens) - whole).max() <= (0 if precision == "int8" else 1e-6)


def test_the_steps_of_painting_lead_to_the_picture(artifact, photos, monkeypatch):
    cst = CST.from_pretrained(artifact, target="cpu")
    tokens = cst.encode(photos / "photo-03.png")
    whole = cst.decode(tokens)
    monkeypatch.setattr(cst.tokenizer, "max_patches", 64)
    steps = [(picture.copy(), done) for picture, done in cst.iter_decode(tokens)]
    assert len(steps) > 1 and [done for _, done in steps] == sorted({done for _, done in steps})
    assert steps[-1][1] == 1 and steps[-1][0].tobytes() == whole.tobytes() and whole.size == (103, 84)
    first = np.asarray(steps[0][0])
    assert np.array_equal(first[:8, :8], np.asarray(whole)[:8, :8]) and not first[-1, -1].any()
