"""The priors' networks: causal, exact, the same token by token as all at once, and saved strictly."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.protocol import Level
from prior.coarse_maps import coarse_maps, half_size_maps
from prior.config import CELLS, COARSE, FULL, HALF, LEVEL_OF, PARTS, GPTConfig, PixelCNNConfig, PriorConfig, kind_of
from prior.models.codebook_init import codebook_features
from prior.models.color_maps import color_maps, near_codes
from prior.models.context_window import Window
from prior.models.gpt import GPT
from prior.models.pixelcnn import PixelCNN
from prior.models.transformer_block import Dropout, rotary_angles, rotate
from prior.sampling import log_prob, score_tokens
from prior.torch_runtime import TorchPrior, build, load_prior, save_prior

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIGS = {
    "gpt": GPTConfig(
        width=32, hidden=48, layers=(2, 2, 1, 1, 1, 1, 1), heads=(2, 2, 2, 4, 2, 2, 2), embedding=8, window=5,
        context=3, dropout=0.0,
    ),
    "pixelcnn": PixelCNNConfig(width=16, blocks=2, kernel=3, dropout=0.0),
    "simple": PixelCNNConfig(width=16, blocks=2, kernel=3, gated=False, dropout=0.0),
}  # fmt: skip
GRIDS = {"gpt": (8, 8), "pixelcnn": (4, 5), "simple": (4, 5)}
CLASSES = ("a", "b", "c")


def prior_config(name: str, grid: tuple[int, int] | None = None, sizes: tuple[int, ...] = (5, 7, 11)) -> PriorConfig:
    levels, model = dict(zip(("color", "shape", "texture"), sizes, strict=True)), CONFIGS[name]
    paired = {"fingerprint": "0" * 16, "patch": 8, "beam": 1}
    grid = grid or GRIDS[name]
    return PriorConfig(kind=kind_of(model), model=model, levels=levels, grid=grid, classes=CLASSES, **paired)


def random_net(name: str, grid: tuple[int, int] | None = None, sizes: tuple[int, ...] = (5, 7, 11)) -> GPT | PixelCNN:
    """A network every weight of which matters: none is left at zero."""
    torch.manual_seed(0)
    net = build(prior_config(name, grid, sizes)).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    if name == "gpt":
        for codebook in net.codebooks:
            codebook.copy_(torch.rand(codebook.shape))
    return net


def random_prior(name: str, grid: tuple[int, int] | None = None, sizes: tuple[int, ...] = (5, 7, 11)) -> TorchPrior:
    return TorchPrior(random_net(name, grid, sizes), prior_config(name, grid, sizes))


def random_tokens(net: GPT | PixelCNN | TorchPrior, batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(level.size, size=(batch, *net.grid)) for level in net.levels], 1)


def prior_codebooks(prior: TorchPrior) -> Codebooks:
    return Codebooks(*[book.numpy() for book in prior.net.codebooks])


def maps_of(net: GPT) -> dict[str, torch.Tensor]:
    """The maps of two pictures of random tokens."""
    prior, tokens = random_prior("gpt", net.grid), random_tokens(net, 2)
    return {name: torch.from_numpy(codes).long() for name, codes in prior.prepare(tokens, tokens >= 0, None)[0].items()}


# Causality ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pixelcnn", "simple"])
def test_pixelcnn_never_sees_the_future(name):
    """Change every token in turn: nothing before it in the order becomes more or less likely; what follows may."""
    prior = random_prior(name)
    tokens = random_tokens(prior, 1).repeat(61, 0)
    order = [
        (["color", "shape", "texture"].index(level), *divmod(int(position), 5))
        for level, (position,) in prior.decoding_order(prior.prepare(tokens[:1], tokens[:1] < 0, None)[1])
    ]
    for time, place in enumerate(order):
        tokens[time][place] = (tokens[time][place] + 1) % prior.levels[place[0]].size
    found = prior.log_prob(tokens, np.ones(len(tokens), np.int64))
    found = np.stack([found[:, level, row, column] for level, row, column in order], 1)
    check_moved(np.abs(found[:-1] - found[-1]) > 1e-5)


def check_moved(moved: np.ndarray) -> None:
    """moved: [changed, observed] bool, both in order."""
    assert not np.tril(moved, -1).any()
    assert np.diag(moved).all()
    assert np.triu(moved, 1)[:-1].any(1).mean() > 0.9  # what was written matters to what follows


def test_gpt_never_sees_the_future():
    """Of maps of any tokens, coarse ones too, which here need not be those of the finer."""
    net, rng = random_net("gpt"), np.random.default_rng(0)
    sizes = {name: (8 // CELLS.get(name, 1)) ** 2 for name in (*CELLS, *FULL)}
    codes = {name: (5, 7, 11)[LEVEL_OF[name]] for name in (*CELLS, *FULL)}
    order = [(name, position) for name, size in sizes.items() for position in range(size)]
    maps = {name: rng.integers(codes[name], size=(1, size)).repeat(len(order) + 1, 0) for name, size in sizes.items()}
    for time, (name, position) in enumerate(order):
        maps[name][time, position] = (maps[name][time, position] + 1) % codes[name]
    tensors = {
        name: torch.from_numpy(value).unflatten(1, (8 // CELLS.get(name, 1), -1)) for name, value in maps.items()
    }
    label = torch.ones(len(order) + 1, dtype=torch.int64)
    with torch.no_grad():
        found = torch.cat([net(part, tensors, label) for part in PARTS], 1).numpy()
    check_moved(np.abs(found[:-1] - found[-1]) > 1e-5)


def influence(net: PixelCNN, table: torch.nn.Embedding, level: int) -> torch.Tensor:
    """[observed position, place]: how strongly a level's likelihoods pull on what `table` says of every place."""
    seen = []
    handle = table.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    likelihood = net(torch.from_numpy(random_tokens(net, 1)), torch.tensor([0]))[level][0]  # (N,)
    handle.remove()
    embedded = next(output for output in seen if output.dim() == 4)  # (1, h, w, E)
    pulls = [torch.autograd.grad(value, embedded, retain_graph=True)[0] for value in likelihood]
    return torch.stack([pull[0].abs().sum(-1).flatten() for pull in pulls])


@pytest.mark.parametrize("level", range(3))
def test_the_gated_pixelcnn_sees_all_before_it_and_has_no_blind_spot(level):
    net = random_net("pixelcnn")
    for table in net.tables:
        assert torch.equal(influence(net, table, level) > 0, torch.ones(20, 20).tril(-1).bool())


def test_the_simple_pixelcnn_has_the_blind_spot_of_masked_convolutions():
    pull = influence(net := random_net("simple"), net.tables[0], 0) > 0
    assert not (pull & ~torch.ones(20, 20).tril(-1).bool()).any()
    below, right_above = 5, 4  # the first place of the second row, the last one of the first
    assert pull[below, :right_above].all()
    assert not pull[below, right_above]


# Likelihood -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "grid"), [("gpt", (16, 24)), ("pixelcnn", (9, 8)), ("simple", (9, 8))])
def test_token_by_token_is_as_likely_as_all_at_once(name, grid):
    prior = random_prior(name, grid)
    tokens, label = random_tokens(prior, 2), np.array([0, 3])
    one_by_one = log_prob(prior, tokens, label)
    assert one_by_one.dtype == np.float32
    assert np.abs(one_by_one - prior.log_prob(tokens, label)).max() < 1e-4


def test_the_coarser_maps_are_shared_by_the_patches_that_they_cover():
    prior = random_prior("gpt")
    tokens, label = random_tokens(prior, 1), np.array([1])
    found, (maps, _) = score_tokens(prior, tokens, label, top=1), prior.prepare(tokens, tokens >= 0, None)
    codes = {name: torch.from_numpy(each).long() for name, each in maps.items()}
    with torch.no_grad():
        coarse = {part: prior.net(part, codes, torch.from_numpy(label)).sum().item() for part in PARTS}
    expected = [coarse["layout"] + coarse["color_half"], coarse["shape_half"], coarse["texture_half"]]
    assert found.shared.sum((0, 2, 3)) == pytest.approx(expected, rel=1e-4)
    assert found.log_prob.sum((0, 2, 3)) == pytest.approx([coarse[name] for name in FULL], rel=1e-4)


@pytest.mark.parametrize("name", ["pixelcnn", "simple"])
def test_the_probabilities_of_all_pictures_sum_to_one(name):
    prior = random_prior(name, (1, 3), sizes=(2, 2, 3))
    colors_and_shapes = itertools.product(*[range(2)] * 6)
    every = [[*low, *high] for low in colors_and_shapes for high in itertools.product(*[range(3)] * 3)]
    tokens = np.array(every).reshape(-1, 3, 1, 3)
    assert len(tokens) == 2**6 * 3**3
    found = prior.log_prob(tokens, np.zeros(len(tokens), np.int64)).astype(np.float64)
    assert np.exp(found.sum((1, 2, 3))).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_predicted_distribution_sums_to_one(name):
    prior = random_prior(name)
    tokens, state = random_tokens(prior, 2), prior.new_state()
    maps, fixed = prior.prepare(tokens, tokens < 0, None)
    for level, positions in prior.decoding_order(fixed):
        scores = state.predict(level, positions, maps, np.array([1, 3]))
        assert scores.shape[:2] == (2, len(positions))
        assert np.exp(scores).sum(2) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_class_and_the_place_matter(name):
    prior = random_prior(name)
    found = prior.log_prob(random_tokens(prior, 1).repeat(4, 0), np.arange(4))
    assert len({values.tobytes() for values in found}) == 4
    flat = prior.log_prob(np.zeros((1, 3, *prior.grid), np.int64), np.array([0]))
    # The GPT's finer maps know only the place in a block of 4x4 and how near the border is.
    assert all(len(np.unique(level)) >= 16 for level in flat[0])


def test_the_training_squares_change_nothing_in_a_picture_of_one_square():
    net = random_net("gpt", (16, 16))
    maps, label = maps_of(net), torch.tensor([0, 1])
    whole = net("color", maps, label)
    assert torch.allclose(net.train()("color", maps, label), whole, atol=1e-5)  # no dropout in this network


def test_only_the_tokens_asked_for_are_scored():
    net = random_net("gpt")
    maps, label = maps_of(net), torch.tensor([0, 1])
    places = torch.tensor([3, 70, 127])
    assert torch.allclose(
        net("color", maps, label, places=places), net("color", maps, label).flatten()[places], atol=1e-6
    )


def test_a_grid_that_does_not_hold_the_coarse_maps_is_refused():
    with pytest.raises(ValueError, match="a grid of 8x12 patches; accepted: multiples of 8"):
        build(prior_config("gpt", (8, 12)))


# The color maps -------------------------------------------------------------------------------------------------------


def test_a_coarse_color_is_the_nearest_to_the_mean_of_those_it_covers():
    centroids = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]], np.float32)
    codes = np.zeros((1, 8, 8), np.int64)
    codes[0, :4, :4] = 1
    codes[0, 4:, 4:] = np.indices((4, 4)).sum(0) % 2  # black and white: gray on average
    maps, fixed = coarse_maps(codes, codes >= 0, centroids)
    assert maps["color_quarter"].tolist() == [[[1, 0], [0, 2]]]
    assert maps["color_half"][0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]
    assert all(known.all() for known in fixed.values())


def test_training_and_sampling_make_the_same_color_maps():
    rng = np.random.default_rng(0)
    codes, centroids = rng.integers(40, size=(3, 16, 24)), rng.random((40, 3), np.float32)
    ours, _ = coarse_maps(codes, codes >= 0, centroids)
    theirs = color_maps(torch.from_numpy(codes), torch.from_numpy(centroids))
    assert list(ours) == list(COARSE)
    for name, found in ours.items():
        assert np.array_equal(found, theirs[name].numpy())


def test_a_coarse_cell_is_known_where_all_it_covers_is():
    rng = np.random.default_rng(0)
    codes, centroids = rng.integers(5, size=(1, 8, 8)), rng.random((5, 3), np.float32)
    known = np.zeros((1, 8, 8), bool)
    known[:, :4] = True
    known[0, 5, 5] = True
    _, fixed = coarse_maps(codes, known, centroids)
    assert fixed["color_quarter"].tolist() == [[[True, True], [False, False]]]
    assert fixed["color_half"][0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert not fixed["color_eighth"].any()


def test_a_sketch_is_the_half_map_and_the_coarser_ones_follow():
    centroids = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    sketch = np.full((4, 4), -1)
    sketch[:2, :2] = 1
    nothing = np.zeros((2, 8, 8), np.int64)
    maps, fixed = coarse_maps(nothing, nothing > 0, centroids, sketch)
    assert (maps["color_half"][:, :2, :2] == 1).all()
    assert np.array_equal(fixed["color_half"], (sketch >= 0)[None].repeat(2, 0))
    assert maps["color_quarter"][:, 0, 0].tolist() == [1, 1]
    assert fixed["color_quarter"].tolist() == [[[True, False], [False, False]]] * 2


def test_the_half_maps_are_the_tokens_of_the_smaller_picture_where_its_details_are_known():
    rng = np.random.default_rng(0)
    books = Codebooks(*[rng.random((size, dims), np.float32) / 2 for size, dims in ((5, 3), (7, 192), (11, 192))])
    tokens = np.stack([rng.integers(level.size, size=(2, 8, 8)) for level in books.levels], 1)
    known = np.ones(tokens.shape, bool)
    known[0, 2, 0, 5] = False  # one texture
    known[1, 0, 7, 7] = False  # one color
    maps, fixed = half_size_maps(tokens, known, books)
    pixels = books.centroid_picture(tokens)
    small = (pixels[..., ::2, ::2] + pixels[..., 1::2, ::2] + pixels[..., ::2, 1::2] + pixels[..., 1::2, 1::2]) / 4
    expected = books.encode(small)
    for level, name in enumerate(HALF):
        assert np.argwhere(~fixed[name]).tolist() == [[0, 0, 2], *[[1, 3, 3]] * (level == 0)]
        assert np.array_equal(maps[name][fixed[name]], expected[:, level][fixed[name]])


def test_a_photo_in_new_colors_keeps_the_shapes_of_its_half_size_picture():
    prior = random_prior("gpt")
    tokens = random_tokens(prior, 1)
    mask = np.ones(tokens.shape, bool)
    mask[:, 0] = False
    maps, fixed = prior.prepare(tokens, mask, None)
    whole, _ = prior.prepare(tokens, mask | True, None)
    for name in HALF[1:]:
        assert fixed[name].all() and np.array_equal(maps[name], whole[name])
    assert not fixed["color_half"].any() and not fixed["color"].any()
    assert np.array_equal(
        whole["color_half"], half_size_maps(tokens, mask | True, prior_codebooks(prior))[0]["color_half"]
    )


def test_the_near_codes_are_the_nearest_others():
    centroids = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert near_codes(centroids, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert near_codes(centroids, 9).shape == (4, 3)


@pytest.mark.parametrize(
    ("tokens", "label", "said"),
    [
        (
            np.zeros((1, 3, 4, 4), int),
            np.array([0]),
            r"tokens are int64 \(1, 3, 4, 4\); accepted: integers \(B, 3, 8, 8\)",
        ),
        (np.zeros((1, 3, 8, 8), int) + 5, np.array([0]), "color codes span 5 to 5; accepted: 0 to 4"),
        (np.zeros((1, 3, 8, 8), int), np.array([4]), "classes span 4 to 4; accepted: 0 to 2, or 3 for none"),
    ],
)
def test_the_likelihood_of_what_is_no_picture_is_refused(tokens, label, said):
    prior = random_prior("gpt")
    for find in (prior.log_prob, lambda *given: log_prob(prior, *given)):
        with pytest.raises(ValueError, match=said):
            find(tokens, label)


# Beginning and saving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_codes_whose_centroids_are_alike_begin_alike(name):
    rng = np.random.default_rng(0)
    books = [rng.random((size, dims), np.float32) for size, dims in ((5, 3), (7, 192), (11, 192))]
    for book in books:
        book[1] = book[0] + 1e-4
    net = random_net(name)
    net.init_from_codebooks(books)
    if name == "gpt":
        stems = [
            stem for part in net.parts.values() for stem in (part.stems if hasattr(part, "stems") else [part.stem])
        ]
        tables, heads = [table for stem in stems for table in stem.tables], [part.head for part in net.parts.values()]
        assert all(torch.equal(*pair) for pair in zip(net.codebooks, map(torch.from_numpy, books), strict=True))
    else:
        tables, heads = net.tables, net.heads
    for weight in [module.weight for module in (*tables, *heads)]:
        assert weight[0].sub(weight[1]).norm() < 0.05 * weight[0].sub(weight[2]).norm()
    tokens = random_tokens(net, 2)
    assert np.isfinite(TorchPrior(net, prior_config(name)).log_prob(tokens, np.array([0, 3]))).all()


@pytest.mark.parametrize("dims", [3, 192])
def test_features_of_near_centroids_are_near(dims):
    rng = np.random.default_rng(1)
    points = rng.random((40, dims))
    found = codebook_features(np.concatenate([points, points + rng.normal(0, 0.001, points.shape)]), 64)
    assert (found.shape, found.dtype) == ((80, 64), torch.float32)
    assert found.square().mean().sqrt() == pytest.approx(1, abs=0.1)
    gaps = torch.cdist(found[:40], found[40:])
    assert (gaps.argmin(1) == torch.arange(40)).all()
    assert gaps.diagonal().max() < 0.1 * gaps.median()


def test_features_of_fewer_centroids_than_dimensions_are_finite():
    for count in (1, 2, 5):
        found = codebook_features(np.random.default_rng(0).random((count, 192)), 64)
        assert found.shape == (count, 64)
        assert found.isfinite().all()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_prior_comes_back_in_half_precision(name, tmp_path):
    net, config = random_net(name), prior_config(name)
    save_prior(net, config, tmp_path)
    loaded, read = load_prior(tmp_path)
    assert (read.model, read.grid, read.classes, read.vocabulary) == (config.model, GRIDS[name], CLASSES, net.levels)
    assert not loaded.training
    for key, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float() if value.is_floating_point() else value)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_load_strictly_and_name_what_does_not_fit(name, tmp_path):
    config = prior_config(name)
    save_prior(random_net(name), config, tmp_path)
    path = tmp_path / config.weights[0]
    tensors = load_file(path)
    lost, cut = sorted(tensors)[0], sorted(tensors)[1]
    tensors["stranger"], tensors[cut] = tensors.pop(lost), tensors[cut][:1].clone()
    save_file(tensors, path)
    PriorConfig.load(tmp_path).with_files(tmp_path, path.name).save(tmp_path)
    with pytest.raises(ValueError) as error:
        load_prior(tmp_path)
    assert f"missing ['{lost}'], unexpected ['stranger'], of another shape ['{cut}']" in str(error.value)


# Windows and places ---------------------------------------------------------------------------------------------------


def test_a_causal_window_holds_what_comes_before_in_raster_order():
    assert len(Window(7, causal=True)) == 24
    assert len(Window(5, causal=False)) == 25
    assert Window(3, causal=True).offsets == [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    assert (0, 0) in Window(3, causal=False).offsets


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_window_at_one_position_is_what_the_shifts_say_there(causal, side):
    window = Window(side, causal=causal)
    tokens = np.arange(2 * 4 * 3).reshape(2, 4, 3)
    padded = np.pad(tokens, [(0, 0), *[(window.reach, window.reach)] * 2], constant_values=99)
    whole = np.stack([*window.shifts(padded[..., None])] or [np.empty((2, 4, 3, 0))], -1).reshape(2, 12, len(window))
    rows, columns = np.divmod(np.arange(12), 3)
    assert np.array_equal(window.at(tokens, rows, columns, 99), whole)


def test_rotary_scores_depend_only_on_how_many_rows_and_columns_lie_between():
    rows, columns = (torch.arange(20) // 5).float(), (torch.arange(20) % 5).float()
    angles = rotary_angles(rows, columns, 16)
    query, key = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0)).expand(2, 20, 16)
    scores = rotate(query, angles.cos(), angles.sin()) @ rotate(key, angles.cos(), angles.sin()).T  # (20, 20)
    by_gap: dict[tuple[int, int], list[float]] = {}
    for one, other in itertools.product(range(20), range(20)):
        gap = (one // 5 - other // 5, one % 5 - other % 5)
        by_gap.setdefault(gap, []).append(scores[one, other].item())
    assert len(by_gap) == 7 * 9
    assert max(max(values) - min(values) for values in by_gap.values()) < 1e-4
    assert len({round(values[0], 3) for values in by_gap.values()}) > 55  # and every gap has its own


def test_dropout_drops_its_share_in_training_alone_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout, x = Dropout(0.25), torch.ones(1000, 77)
    assert torch.equal(dropout.eval()(x), x)
    found = dropout.train()(x)
    assert found.unique().tolist() == pytest.approx([0, 256 / 192])
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert found.mean().item() == pytest.approx(1, abs=0.01)


def test_levels_are_named_and_sized_by_the_configuration():
    assert prior_config("gpt").vocabulary == (Level("color", 5), Level("shape", 7), Level("texture", 11))
