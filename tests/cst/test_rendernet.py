"""RenderNet: starts as the centroid picture, takes any size, and agrees on torch, in ONNX and in 8 bits."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from support.codebooks import make_codebooks, make_images, squared_errors

from cst.metrics import psnr
from cst.tokenizer import protocol
from cst.tokenizer.config import PRESETS, RenderNetConfig
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.rendernet import ACTIVATION_LIMIT, RenderNet
from cst.tokenizer.torch_runtime import TorchEncoder, TorchTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")
GRIDS = [(1, 1, 1), (2, 3, 5), (3, 8, 1), (1, 11, 13)]


def make_tokens(seed: int, b: int, h: int, w: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(size, size=(b, h, w)) for size in (16, 32, 64)], 1).astype(np.int32)


def paint(path, tokens: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.clip(session.run(None, {"tokens": tokens})[0], 0, 1)


@pytest.fixture(scope="module")
def tokenizer(artifact) -> TorchTokenizer:
    return TorchTokenizer(artifact)


CONFIGS = {
    "tiny": PRESETS["tiny"],
    "8": RenderNetConfig(width=8, hidden=12, blocks=3),
    "depthwise": RenderNetConfig(width=8, hidden=12, blocks=3, kernel=5, depthwise=True),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_untrained_network_returns_the_centroid_picture(config, grid):
    codebooks, tokens = make_codebooks(), make_tokens(0, *grid)
    net = RenderNet(config, codebooks.tables)
    for mode in (net.train(), net.eval()):
        if mode.training and tokens[:, 0].size == 1:
            continue  # BatchNorm has no statistics of a single value
        with torch.no_grad():
            picture = mode(torch.from_numpy(tokens)).clamp(0, 1).numpy()
        assert np.allclose(picture, codebooks.centroid_picture(tokens), atol=1e-6)


def test_a_patch_depends_only_on_its_neighborhood(tokenizer):
    tokens = make_tokens(1, 1, 9, 9)
    changed = tokens.copy()
    changed[0, 2, 4, 4] = (changed[0, 2, 4, 4] + 1) % 64
    gap = np.abs(tokenizer.decode(changed) - tokenizer.decode(tokens))[0].max(0)
    reach = len(tokenizer.net.blocks)  # one 3x3 convolution per block
    assert gap[4 * 8 : 5 * 8, 4 * 8 : 5 * 8].max() > 0
    gap[(4 - reach) * 8 : (5 + reach) * 8, (4 - reach) * 8 : (5 + reach) * 8] = 0
    assert gap.max() < 1e-6


def test_the_range_penalty_is_the_mean_square_beyond_the_limit():
    net = RenderNet(PRESETS["tiny"], make_codebooks().tables).eval()
    tokens = torch.from_numpy(make_tokens(0, 2, 3, 4))
    with torch.no_grad():
        assert net(tokens, with_range_penalty=True)[1] == 0
        net.embeddings[2].weight[:, 0] = 2 * ACTIVATION_LIMIT + 1 - net.embeddings[0].weight[tokens[0, 0, 0, 0], 0]
        net.embeddings[0].weight[:, 0] = net.embeddings[0].weight[tokens[0, 0, 0, 0], 0]
        net.embeddings[1].weight[:, 0] = 0
        picture, penalty = net(tokens, with_range_penalty=True)
    states = 1 + len(net.blocks)  # before the first and after each block; untrained blocks add nothing
    assert penalty.item() == pytest.approx(states * (ACTIVATION_LIMIT + 1) ** 2 / net.config.width, rel=1e-5)
    assert picture.shape == (2, 3, 24, 32)


def test_the_range_penalty_has_gradients_at_the_weights_that_cause_it():
    net = RenderNet(PRESETS["tiny"], make_codebooks().tables)
    net.embeddings[1].weight.data *= 100
    net(torch.from_numpy(make_tokens(0, 2, 3, 4)), with_range_penalty=True)[1].backward()
    assert net.embeddings[1].weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["rendernet.onnx", "rendernet.float.onnx"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_exported_network_equals_torch_at_every_size(name, grid, artifact, tokenizer):
    tokens = make_tokens(2, *grid)
    assert tokenizer.net.blocks[0].norm.running_mean.abs().max() > 0  # there is something to fold
    assert np.abs(paint(artifact / name, tokens) - tokenizer.decode(tokens)).max() < 1e-4


@pytest.mark.parametrize("grid", GRIDS)
def test_the_graph_with_shared_weights_equals_the_standalone_one(grid, artifact):
    tokens = make_tokens(3, *grid)
    shared, alone = (paint(artifact / name, tokens) for name in ("rendernet.float.onnx", "rendernet.onnx"))
    assert np.abs(shared - alone).max() < 1e-5


@pytest.mark.parametrize("grid", GRIDS)
def test_8_bits_lose_little_of_what_the_network_adds(grid, artifact, tokenizer):
    tokens = make_tokens(4, *grid)
    small, full = (paint(artifact / name, tokens) for name in ("rendernet.int8.onnx", "rendernet.onnx"))
    assert small.shape == full.shape == (grid[0], 3, 8 * grid[1], 8 * grid[2])
    assert psnr(small, full) > psnr(tokenizer.codebooks.centroid_picture(tokens), full) + 20


def test_the_network_improves_the_centroid_picture(artifact, photos):
    from cst.images import load_image, pad_to_multiple, to_float
    from cst.photos import find_photos, split

    tokenizer = OnnxTokenizer(artifact, target="cpu")
    (held_out,) = split(find_photos([photos]))[1]
    original = to_float(load_image(held_out.path))
    tokens = tokenizer.encode(pad_to_multiple(original, 8)[None])
    size = (slice(None), slice(original.shape[1]), slice(original.shape[2]))
    drawn, painted = tokenizer.codebooks.centroid_picture(tokens)[0][size], tokenizer.decode(tokens)[0][size]
    assert psnr(painted, original) > psnr(drawn, original) + 0.1


@pytest.mark.parametrize("name", ["rendernet.onnx", "rendernet.int8.onnx"])
def test_an_exported_network_is_one_file(name, artifact, tmp_path):
    model = onnx.load(artifact / name, load_external_data=False)
    assert not [item.name for item in model.graph.initializer if item.data_location == TensorProto.EXTERNAL]
    shutil.copy(artifact / name, tmp_path / name)
    assert paint(tmp_path / name, make_tokens(0, 1, 2, 3)).shape == (1, 3, 16, 24)


def test_the_shared_graph_reads_all_weights_from_the_artifact(artifact):
    model = onnx.load(artifact / "rendernet.float.onnx", load_external_data=False)
    places = {
        entry.value for item in model.graph.initializer for entry in item.external_data if entry.key == "location"
    }
    assert places == {"rendernet.safetensors", "codebooks.safetensors"}
    assert (artifact / "rendernet.float.onnx").stat().st_size < 100_000


@pytest.mark.parametrize("name", ["rendernet.onnx", "rendernet.float.onnx", "rendernet.int8.onnx"])
def test_an_exported_network_names_no_file_of_the_machine_it_was_made_on(name, artifact):
    data = (artifact / name).read_bytes()
    assert b"site-packages" not in data
    assert b"rendernet.py" not in data


def test_the_export_folds_batchnorm_and_quantizes_the_convolutions(artifact):
    folded = onnx.load(artifact / "rendernet.onnx")
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}
    small = onnx.load(artifact / "rendernet.int8.onnx")
    kinds = {item.name: item.data_type for item in small.graph.initializer}
    inputs = {node.output[0]: node.input for node in small.graph.node if node.op_type == "DequantizeLinear"}
    weights = [inputs[node.input[1]] for node in small.graph.node if node.op_type == "Conv"]
    assert len(weights) == 2 * 2 + 1
    shapes = {item.name: list(item.dims) for item in small.graph.initializer}
    for weight, scale, _ in weights:
        assert kinds[weight] == TensorProto.INT8
        assert shapes[scale] == shapes[weight][:1]  # one scale per output channel


@pytest.mark.parametrize("beam", [1, 4, 32])
def test_torch_and_numpy_find_the_same_codes(beam):
    codebooks, images = make_codebooks(), make_images(5, 2, 3, 128, 96)
    images[..., :16] = 0.25  # flat patches too
    ours = codebooks.encode(images, beam=beam)
    theirs = TorchEncoder(codebooks)(torch.from_numpy(images), beam=beam).numpy()
    differ = (ours != theirs).any(1)
    assert differ.mean() < 0.01
    errors = [squared_errors(codebooks, images, tokens)[differ] for tokens in (ours, theirs)]
    assert np.allclose(*errors, rtol=1e-5)  # ties within rounding


def test_a_beam_wider_than_the_codebook_is_every_shape_on_torch_too():
    codebooks, images = make_codebooks(), make_images(6, 1, 3, 16, 16)
    encoder = TorchEncoder(codebooks)
    wide = encoder(torch.from_numpy(images), beam=10_000)
    assert torch.equal(wide, encoder(torch.from_numpy(images), beam=32))
    assert np.array_equal(wide.numpy(), codebooks.encode(images, beam=10_000))


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_both_runtimes_are_tokenizers_and_agree(precision, artifact, tokenizer):
    ours = OnnxTokenizer(artifact, target="cpu", precision=precision)
    images = make_images(7, 2, 3, 40, 56)
    for either in (ours, tokenizer):
        assert either.patch == 8
        assert either.levels == tuple(
            protocol.Level(*level) for level in (("color", 16), ("shape", 32), ("texture", 64))
        )
        tokens, pictures = either.encode(images), either.decode(make_tokens(8, 2, 5, 7))
        assert (tokens.shape, tokens.dtype) == ((2, 3, 5, 7), np.int32)
        assert (pictures.shape, pictures.dtype) == (images.shape, np.float32)
        assert 0 <= pictures.min() < pictures.max() <= 1
    assert (ours.encode(images) == tokenizer.encode(images)).mean() > 0.99
    gap = np.abs(ours.decode(tokens) - tokenizer.decode(tokens)).max()
    assert gap < (1e-4 if precision == "float" else 0.05)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16])
def test_tokens_of_any_integer_type_render_the_same(kind, artifact, tokenizer):
    tokens = make_tokens(9, 1, 3, 4)
    for either in (OnnxTokenizer(artifact, target="cpu"), tokenizer):
        assert np.array_equal(either.decode(tokens.astype(kind)), either.decode(tokens))
        assert np.array_equal(
            either.decode(tokens.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)), either.decode(tokens)
        )


def test_both_runtimes_refuse_invalid_input(artifact, tokenizer):
    tokens = make_tokens(9, 1, 3, 4)
    tokens[0, 1, 2, 3] = 32
    for either in (OnnxTokenizer(artifact, target="cpu"), tokenizer):
        with pytest.raises(ValueError, match=r"shape codes span .* to 32; accepted: 0 to 31"):
            either.decode(tokens)
        with pytest.raises(ValueError, match="multiples of 8"):
            either.encode(np.zeros((1, 3, 8, 9), np.float32))
