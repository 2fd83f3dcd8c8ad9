"""The encoder: exactly the nearest centroids, in constant memory."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.codebooks import make_codebooks, make_images, squared_errors

from cst.tokenizer.codebooks import Codebooks, from_patches, to_patches
from cst.tokenizer.nearest import NearestNeighbors


def brute_force(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, D), (K, D) -> (N, K) squared distances in float64."""
    return np.stack([np.square(row.astype(np.float64) - points).sum(1) for row in x])


def hard_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (x, points) where float32 scores can pick the wrong point."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.1, (300, 192)).astype(np.float32)
    near = np.repeat(points[:1], 300, 0) + rng.normal(0, 1e-6, points.shape).astype(np.float32)
    far = (rng.normal(0, 1e-3, points.shape) + 30).astype(np.float32)
    x = rng.normal(0, 0.1, (500, 192)).astype(np.float32)
    equal = x[:100] / np.linalg.norm(x[:100], axis=1, keepdims=True)
    return {
        "random": (x, points),
        "colors": (rng.random((500, 3), dtype=np.float32), rng.random((512, 3), dtype=np.float32)),
        "nearly equal points": (x, near),
        "nearly equal points and far ones": (x, np.concatenate([near[::-1], points * 1e4])),
        "nearly equal points, seen from far": (x * 1e4, near),
        "points far from the origin": (far[:100] + x[:100] * 0.01, far),
        "twice as long as the query": (equal, np.concatenate([points * 1e-3, equal * 1.98])),
        "duplicates": (x, np.concatenate([points[:50], points[:50][::-1], points[:50]])),
        "flat patches": (np.linspace(0, 1, 500, dtype=np.float32)[:, None].repeat(192, 1), points),
        "the points themselves": (points, points),
        "halfway between": ((points[:-1] + points[1:]) / 2, points),
        "all zero": (np.zeros((20, 192), np.float32), np.zeros((7, 192), np.float32)),
        "one point": (x, points[:1]),
        "large": (x * 1e4, points * 1e4),
        "tiny": (x * 1e-12, points * 1e-12),
    }


@pytest.mark.parametrize("case", hard_cases())
def test_search_finds_exactly_the_nearest_point(case):
    x, points = hard_cases()[case]
    distances = brute_force(x, points)
    codes = NearestNeighbors(points, chunk=64)(x)
    assert codes.dtype == np.int32
    assert np.array_equal(distances[np.arange(len(x)), codes], distances.min(1))


def test_of_equal_points_the_first_is_found():
    x, points = hard_cases()["duplicates"]
    assert NearestNeighbors(points)(x).max() < 50
    assert (NearestNeighbors(np.zeros((7, 3), np.float32))(np.ones((5, 3), np.float32)) == 0).all()


@pytest.mark.parametrize("case", hard_cases())
def test_search_does_not_depend_on_how_it_is_cut_into_chunks(case):
    x, points = hard_cases()[case]
    whole = NearestNeighbors(points, chunk=10_000)(x)
    assert np.array_equal(NearestNeighbors(points, chunk=128)(x), whole)
    for chunk in (1, 7):
        assert np.array_equal(NearestNeighbors(points, chunk=chunk)(x[:70]), whole[:70])


def test_encoding_is_exactly_the_nearest_centroid():
    codebooks, images = make_codebooks(), make_images(1, 2, 3, 40, 48)
    tokens = codebooks.encode(images)
    patches = to_patches(images, 8).reshape(-1, 192)
    color, shape, texture = tokens.transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.array_equal(color, brute_force(patches.reshape(-1, 3, 64).mean(2), codebooks.color).argmin(1))
    rest = patches - np.repeat(codebooks.color[color], 64, axis=1)
    assert np.array_equal(shape, brute_force(rest, codebooks.shape).argmin(1))
    assert np.array_equal(texture, brute_force(rest - codebooks.shape[shape], codebooks.texture).argmin(1))


def test_a_beam_over_every_shape_finds_the_best_pair_of_all():
    codebooks, images = make_codebooks(), make_images(2, 1, 3, 16, 24)
    tokens = codebooks.encode(images, beam=1000)
    best = np.full(tokens.shape[2:], np.inf)
    for shape in range(32):
        for texture in range(64):
            pair = np.stack([tokens[:, 0], np.full_like(tokens[:, 0], shape), np.full_like(tokens[:, 0], texture)], 1)
            best = np.minimum(best, squared_errors(codebooks, images, pair)[0])
    assert np.allclose(squared_errors(codebooks, images, tokens)[0], best, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_wider_beam_is_never_worse_than_greedy(seed):
    codebooks, images = make_codebooks(seed), make_images(seed, 1, 3, 96, 96)
    images[..., :32] = 0.5  # flat patches too
    errors = [squared_errors(codebooks, images, codebooks.encode(images, beam=beam)) for beam in (1, 2, 4, 16)]
    for narrower, wider in itertools.pairwise(errors):
        assert (wider <= narrower * (1 + 1e-6)).all()
    assert errors[1].mean() < errors[0].mean()


def test_patches_lie_channel_first_and_come_back_as_they_were():
    images = make_images(0, 2, 3, 24, 40)
    patches = to_patches(images, 8)
    assert patches.shape == (2, 3, 5, 192)
    assert np.array_equal(patches[1, 2, 4], images[1, :, 16:24, 32:40].ravel())
    assert np.array_equal(from_patches(patches, 8), images)
    assert np.array_equal(to_patches(from_patches(patches, 8), 8), patches)


@pytest.mark.parametrize("beam", [1, 4])
def test_a_picture_made_of_centroids_encodes_to_its_own_tokens(beam):
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(192, 192)))[0].reshape(192, 3, 64)
    axes = (axes - axes.mean(2, keepdims=True)).reshape(192, 192)  # orthogonal to the earlier levels
    color = np.array([[r, g, b] for r in (0.4, 0.6) for g in (0.4, 0.6) for b in (0.4, 0.6)])
    codebooks = Codebooks(color, axes[:32] * 0.3, axes[100:164] * 0.1)
    tokens = np.stack([rng.integers(size, size=(2, 6, 9)) for size in (8, 32, 64)], 1).astype(np.int32)
    assert np.array_equal(codebooks.encode(codebooks.centroid_picture(tokens), beam=beam), tokens)


@pytest.mark.parametrize("beam", [1, 4])
def test_a_picture_encodes_the_same_whole_and_in_pieces(beam):
    codebooks, images = make_codebooks(), make_images(3, 2, 3, 136, 640)  # more than one strip
    tokens = codebooks.encode(images, beam=beam)
    left, right = images[..., :320], np.ascontiguousarray(images[..., 320:])
    pieces = np.concatenate([codebooks.encode(left, beam=beam), codebooks.encode(right, beam=beam)], 3)
    assert np.array_equal(pieces, tokens)
    assert np.array_equal(codebooks.encode(images[1:, :, 128:], beam=beam), tokens[1:, :, 16:])


def test_each_level_is_drawn_on_top_of_those_before_it():
    codebooks = make_codebooks()
    rng = np.random.default_rng(0)
    tokens = np.stack([rng.integers(size, size=(2, 3, 4)) for size in (16, 32, 64)], 1)
    flat = np.repeat(codebooks.color[tokens[:, 0]], 64, axis=-1)
    expected = (flat, flat + codebooks.shape[tokens[:, 1]])
    expected += (expected[1] + codebooks.texture[tokens[:, 2]],)
    for levels, patches in enumerate(expected, 1):
        drawn = codebooks.centroid_picture(tokens, levels=levels)
        assert np.array_equal(drawn, np.clip(from_patches(patches, 8), 0, 1))
    assert np.array_equal(codebooks.centroid_picture(tokens), drawn)


def test_levels_and_fingerprint_describe_the_codebooks():
    codebooks = make_codebooks()
    assert [(level.name, level.size) for level in codebooks.levels] == [("color", 16), ("shape", 32), ("texture", 64)]
    assert codebooks.fingerprint == make_codebooks().fingerprint != make_codebooks(1).fingerprint
    altered = codebooks.shape.copy()
    altered[3, 5] = np.nextafter(altered[3, 5], np.float32(1))
    assert Codebooks(codebooks.color, altered, codebooks.texture).fingerprint != codebooks.fingerprint


def test_codebooks_of_another_form_are_refused(tmp_path):
    good = make_codebooks()
    with pytest.raises(ValueError, match=r"shape codebook has shape \(32, 100\)"):
        Codebooks(good.color, good.shape[:, :100], good.texture)
    with pytest.raises(ValueError, match=r"texture codebook has shape \(0, 192\)"):
        Codebooks(good.color, good.shape, good.texture[:0])
    save_file({"color": good.color, "form": good.shape, "texture": good.texture}, tmp_path / "codebooks.safetensors")
    with pytest.raises(ValueError, match=r"'form'.*accepted: exactly \['color', 'shape', 'texture'\]"):
        Codebooks.load(tmp_path / "codebooks.safetensors")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 3, 8, 8)), "float64"),
        (np.zeros((3, 8, 8), np.float32), r"\(3, 8, 8\)"),
        (np.zeros((1, 4, 8, 8), np.float32), r"\(1, 4, 8, 8\)"),
        (np.zeros((1, 3, 8, 12), np.float32), "8x12.*multiples of 8"),
        (np.zeros((0, 3, 8, 8), np.float32), "8x8"),
        (np.full((1, 3, 8, 8), 1.5, np.float32), r"1\.5"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "nan"),
        ([[1, 2]], "list"),
    ],
)
def test_invalid_images_are_refused_with_a_description(images, said):
    with pytest.raises(ValueError, match=said):
        make_codebooks().encode(images)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (np.zeros((1, 3, 2, 2)), "float64"),
        (np.zeros((3, 2, 2), int), r"\(3, 2, 2\)"),
        (np.zeros((1, 2, 2, 2), int), r"\(1, 2, 2, 2\)"),
        (np.zeros((1, 3, 0, 2), int), r"\(1, 3, 0, 2\)"),
        (np.full((1, 3, 2, 2), 20), "color codes span 20 to 20; accepted: 0 to 15"),
        (np.full((1, 3, 2, 2), -1), "color codes span -1"),
        ([[1]], "list"),
    ],
)
def test_invalid_tokens_are_refused_with_a_description(tokens, said):
    with pytest.raises(ValueError, match=said):
        make_codebooks().centroid_picture(tokens)


@given(
    st.integers(0, 3), st.integers(0, 40), st.integers(0, 40), st.integers(1, 40), st.sampled_from([np.float32, float])
)
@settings(derandomize=True, deadline=None, max_examples=60, database=None)
def test_encoding_gives_a_grid_of_codes_or_a_value_error(b, height, width, beam, dtype):
    codebooks = make_codebooks()
    images = np.random.default_rng(b).random((b, 3, height, width)).astype(dtype)
    if b and height and width and height % 8 == width % 8 == 0 and dtype == np.float32:
        tokens = codebooks.encode(images, beam=beam)
        assert (tokens.shape, tokens.dtype) == ((b, 3, height // 8, width // 8), np.int32)
        codebooks.check_tokens(tokens)
        assert codebooks.centroid_picture(tokens).shape == images.shape
    else:
        with pytest.raises(ValueError):
            codebooks.encode(images, beam=beam)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("side", "beam"), [(2048, 1), (512, 16)])
def test_encoding_a_large_picture_stays_under_500_mb(run_python, side, beam):
    code = f"""
import numpy as np
from cst.evaluation.process_memory import memory_bytes
from cst.tokenizer.codebooks import Codebooks

rng = np.random.default_rng(0)
normal = lambda *size: rng.standard_normal(size, dtype=np.float32)
codebooks = Codebooks(rng.random((512, 3)), normal(2048, 192) / 10, normal(8192, 192) / 20)
image = rng.random((1, 3, {side}, {side}), dtype=np.float32)
before = memory_bytes("VmRSS")
codebooks.encode(image, beam={beam})
print((memory_bytes("VmHWM") - before) / 2**20)
"""
    done = run_python("-c", code)
    assert float(done.stdout) < 500, done.stderr
