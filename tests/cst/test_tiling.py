"""Large pictures are rendered in tiles, with the same result as in one piece."""

import numpy as np
import pytest
from support.codebooks import make_codebooks, make_tokens

from cst import CST
from cst.tokenizer.config import RenderNetConfig
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.rendernet import RenderNet
from cst.tokenizer.tiling import tile_grid

GRIDS = [(1, 1), (5, 3), (64, 64), (97, 31), (1, 300), (300, 2), (256, 256), (750, 1000), (33, 41)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("max_patches", "margin"), [(20_480, 12), (6_800, 12), (100, 2), (10, 0), (1, 3)])
def test_every_patch_is_in_one_output_with_its_margin_in_the_input(grid, max_patches, margin):
    times, shapes = np.zeros(grid, int), set()
    for tile in tile_grid(*grid, max_patches=max_patches, margin=margin):
        times[tile.output] += 1
        for outer, inner, length in zip(tile.input, tile.output, grid, strict=True):
            assert 0 <= outer.start <= inner.start < inner.stop <= outer.stop <= length
            assert inner.start - outer.start >= margin or outer.start == 0
            assert outer.stop - inner.stop >= margin or outer.stop == length
        shapes.add(tuple(side.stop - side.start for side in tile.input))
        assert np.array_equal(times[tile.input][tile.crop], times[tile.output])
    assert (times == 1).all()
    assert len(shapes) == 1 and np.prod(*shapes) <= max(max_patches, (4 * margin) ** 2)


def test_a_small_grid_is_one_tile():
    (tile,) = tile_grid(80, 85, max_patches=6_800, margin=12)
    assert tile.input == tile.output == (slice(0, 80), slice(0, 85))


@pytest.mark.parametrize(("max_patches", "most"), [(20_480, 1.2), (6_800, 1.65)])
def test_margins_of_the_largest_photo_cost_little(max_patches, most):
    tiles = tile_grid(256, 256, max_patches=max_patches, margin=12)
    total = sum(np.prod([side.stop - side.start for side in tile.input]) for tile in tiles)
    assert total / 256**2 < most


@pytest.mark.parametrize("depthwise", [False, True])
def test_the_margin_is_the_radius_of_the_receptive_field(depthwise, one_thread):
    import torch

    blocks, kernel = (2, 5) if depthwise else (3, 3)
    config = RenderNetConfig(width=8, hidden=12, blocks=blocks, kernel=kernel, depthwise=depthwise)
    net = RenderNet(config, make_codebooks().tables).eval()
    for parameter in net.parameters():
        torch.nn.init.uniform_(
            parameter, 0.1, 0.2, generator=torch.Generator().manual_seed(0)
        )  # so that nothing is cut off
    tokens = torch.from_numpy(make_tokens(0, 1, 13, 13))
    changed = tokens.clone()
    changed[0, 2, 6, 6] = (changed[0, 2, 6, 6] + 1) % 64
    with torch.no_grad():
        gap = (net(changed) - net(tokens)).abs().amax((0, 1)).reshape(13, 8, 13, 8).amax((1, 3)) > 0  # (h, w)
    far = (np.abs(np.indices((13, 13)) - 6)).max(0)
    assert np.array_equal(gap.numpy(), far <= config.margin)


@pytest.mark.parametrize("target", ["cpu", "openvino"])
@pytest.mark.parametrize("precision", ["float", "int8"])
@pytest.mark.parametrize("grid", [(1, 1), (1, 70), (3, 41), (37, 29), (50, 2)])
def test_tiles_do_not_change_the_picture(grid, precision, target, artifact, monkeypatch):
    if target == "openvino":
        pytest.importorskip("openvino")
    tokenizer, tokens = OnnxTokenizer(artifact, target=target, precision=precision, threads=1), make_tokens(0, 2, *grid)
    whole = tokenizer.decode(tokens)
    monkeypatch.setattr(tokenizer, "max_patches", 64)
    pieces = list(tokenizer.iter_decode(tokens))
    assert (len(pieces) > 1) == (np.prod(grid) > 64)
    assert np.abs(tokenizer.decode(tokens) - whole).max() <= (0 if precision == "int8" else 1e-6)


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_tiles_do_not_change_the_picture_of_the_packaged_network(precision, monkeypatch):
    tokenizer = OnnxTokenizer(target="cpu", precision=precision)
    rng = np.random.default_rng(0)
    tokens = np.stack([rng.integers(level.size, size=(1, 30, 90)) for level in tokenizer.levels], 1)
    whole = tokenizer.decode(tokens)
    monkeypatch.setattr(tokenizer, "max_patches", 1)
    assert len(list(tokenizer.iter_decode(tokens))) == 2
    assert np.abs(tokenizer.decode(tokens) - whole).max() <= (0 if precision == "int8" else 1e-6)


def test_decoding_in_steps_ends_with_the_picture(artifact, photos, monkeypatch):
    cst = CST.from_pretrained(artifact, target="cpu")
    tokens = cst.encode(photos / "photo-03.png")
    whole = cst.decode(tokens)
    monkeypatch.setattr(cst.tokenizer, "max_patches", 64)
    steps = [(picture.copy(), done) for picture, done in cst.iter_decode(tokens)]
    assert len(steps) > 1 and [done for _, done in steps] == sorted({done for _, done in steps})
    assert steps[-1][1] == 1 and steps[-1][0].tobytes() == whole.tobytes() and whole.size == (103, 84)
    first = np.asarray(steps[0][0])
    assert np.array_equal(first[:8, :8], np.asarray(whole)[:8, :8]) and not first[-1, -1].any()
