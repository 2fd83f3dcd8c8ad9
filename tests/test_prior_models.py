"""The priors' networks: causal, exact, the same token by token as all at once, and saved strictly."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from cst.protocol import Level
from prior.config import GPTConfig, PixelCNNConfig, PriorConfig, kind_of
from prior.embedding import features
from prior.gpt import GPT, GridRotary
from prior.pixelcnn import PixelCNN
from prior.sample import log_prob
from prior.torch_runtime import WEIGHTS, TorchPrior, load_prior, save_prior
from prior.window import Window

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIGS = {
    "gpt": GPTConfig(width=32, hidden=48, heads=2, layers=(2, 1, 1), embedding=8, window=5, context=3, dropout=0.0),
    "pixelcnn": PixelCNNConfig(width=16, blocks=2, kernel=3, dropout=0.0),
    "simple": PixelCNNConfig(width=16, blocks=2, kernel=3, gated=False, dropout=0.0),
}
CLASSES = ("a", "b", "c")


def prior_config(name: str, grid: tuple[int, int], sizes: tuple[int, int, int] = (5, 7, 11)) -> PriorConfig:
    levels, model = dict(zip(("color", "shape", "texture"), sizes, strict=True)), CONFIGS[name]
    paired = {"fingerprint": "0" * 16, "patch": 8, "beam": 1}
    return PriorConfig(kind=kind_of(model), model=model, levels=levels, grid=grid, classes=CLASSES, **paired)


def random_net(name: str, grid: tuple[int, int], sizes: tuple[int, int, int] = (5, 7, 11)) -> GPT | PixelCNN:
    """A network every weight of which matters: none is left at zero."""
    torch.manual_seed(0)
    config = prior_config(name, grid, sizes)
    net = (GPT if config.kind == "gpt" else PixelCNN)(config.model, config.vocabulary, grid, len(CLASSES)).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return net


def random_tokens(net: GPT | PixelCNN, batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(level.size, size=(batch, *net.grid)) for level in net.levels], 1)


def in_order(prior: TorchPrior, values: np.ndarray) -> np.ndarray:
    """(B, L, h, w) -> (B, T) in the order of the plan."""
    plan = prior.plan(np.zeros((1, len(prior.levels), *prior.grid), bool))
    flat = values.reshape(len(values), len(prior.levels), -1)
    assert len(plan) == flat[0].size
    return np.stack([flat[:, level, position] for level, position in plan], 1)


# Causality ------------------------------------------------------------------------------------------------------------


def check_never_sees_the_future(net: GPT | PixelCNN) -> None:
    """Change every token in turn: nothing before it in the plan becomes more or less likely; what follows may."""
    prior = TorchPrior(net, CLASSES)
    order = in_order(prior, np.arange(3 * net.grid[0] * net.grid[1]).reshape(1, 3, *net.grid))[0]
    tokens = random_tokens(net, 1).repeat(len(order) + 1, 0)
    for time, flat in enumerate(order):
        place = np.unravel_index(flat, tokens.shape[1:])
        tokens[time][place] = (tokens[time][place] + 1) % net.levels[place[0]].size
    found = in_order(prior, prior.log_prob(tokens, np.ones(len(tokens), np.int64)))
    moved = np.abs(found[:-1] - found[-1]) > 1e-5  # [changed, observed]
    assert not np.tril(moved, -1).any()
    assert np.diag(moved).all()
    assert np.triu(moved, 1)[:-1].any(1).mean() > 0.9  # what was written matters to what follows


def test_gpt_never_sees_the_future():
    check_never_sees_the_future(random_net("gpt", (4, 5)))


@pytest.mark.parametrize("name", ["pixelcnn", "simple"])
def test_pixelcnn_never_sees_the_future(name):
    check_never_sees_the_future(random_net(name, (4, 5)))


def influence(net: GPT | PixelCNN, table: torch.nn.Embedding, level: int) -> torch.Tensor:
    """[observed position, place]: how strongly a level's likelihoods pull on what `table` says of every place."""
    seen = []
    handle = table.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    tokens = torch.from_numpy(random_tokens(net, 1))
    likelihood = net(tokens, torch.tensor([0]))[level][0]  # (N,)
    handle.remove()
    embedded = next(output for output in seen if output.dim() == 4)  # (1, h + border, w + border, E)
    border = (embedded.shape[1] - net.grid[0]) // 2
    pulls = []
    for value in likelihood:
        (pull,) = torch.autograd.grad(value, embedded, retain_graph=True)
        inner = pull[0, border : border + net.grid[0], border : border + net.grid[1]]
        pulls.append(inner.abs().sum(-1).flatten())
    return torch.stack(pulls)


def test_the_gpt_sees_all_before_it_but_the_ends_of_rows_a_little_late():
    """What was written is seen through windows alone, and those of the first columns do not reach the last one."""
    net = random_net("gpt", (4, 5))
    sees, reach = torch.ones(20, 20).tril(-1).bool(), 5 // 2
    for row in range(3):
        for column in range(5 - 1 - reach):
            sees[(row + 1) * 5 + column, row * 5 + 4] = False
    for level, stack in enumerate(net.stacks):
        assert torch.equal(influence(net, stack.stem.tables[level], level) > 0, sees)
        for lower in range(level):
            assert (influence(net, stack.stem.tables[lower], level) > 0).diagonal().all()


@pytest.mark.parametrize("level", range(3))
def test_the_gated_pixelcnn_sees_all_before_it_and_has_no_blind_spot(level):
    net = random_net("pixelcnn", (4, 5))
    for table in net.tables:
        assert torch.equal(influence(net, table, level) > 0, torch.ones(20, 20).tril(-1).bool())


def test_the_simple_pixelcnn_has_the_blind_spot_of_masked_convolutions():
    pull = influence(net := random_net("simple", (4, 5)), net.tables[0], 0) > 0
    assert not (pull & ~torch.ones(20, 20).tril(-1).bool()).any()
    below, right_above = 5, 4  # the first place of the second row, the last one of the first
    assert pull[below, :right_above].all()
    assert not pull[below, right_above]


# Likelihood -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_token_by_token_is_as_likely_as_all_at_once(name):
    prior = TorchPrior(net := random_net(name, (9, 8)), CLASSES)  # 72 positions: the GPT's memory grows on the way
    tokens, label = random_tokens(net, 3), np.array([0, 2, 3])
    one_by_one = log_prob(prior, tokens, label)
    assert one_by_one.dtype == np.float32
    assert np.abs(one_by_one - prior.log_prob(tokens, label)).max() < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_the_probabilities_of_all_pictures_sum_to_one(name):
    prior = TorchPrior(random_net(name, (1, 3), sizes=(2, 2, 3)), CLASSES)
    colors_and_shapes = itertools.product(*[range(2)] * 6)
    every = [[*low, *high] for low in colors_and_shapes for high in itertools.product(*[range(3)] * 3)]
    tokens = np.array(every).reshape(-1, 3, 1, 3)
    assert len(tokens) == 2**6 * 3**3
    found = prior.log_prob(tokens, np.zeros(len(tokens), np.int64)).astype(np.float64)
    assert np.exp(found.sum((1, 2, 3))).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_predicted_distribution_sums_to_one(name):
    prior = TorchPrior(net := random_net(name, (3, 2)), CLASSES)
    tokens, writing = random_tokens(net, 2).astype(np.int32), prior.start()
    for level, position in prior.plan(np.zeros(tokens.shape, bool)):
        scores = writing.predict(level, position, tokens, np.array([1, 3]))
        assert scores.shape == (2, net.levels[level].size)
        assert np.exp(scores).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_class_and_the_place_matter(name):
    net = random_net(name, (4, 5))
    prior = TorchPrior(net, CLASSES)
    tokens = random_tokens(net, 1).repeat(4, 0)
    found = prior.log_prob(tokens, np.arange(4))
    assert len({values.tobytes() for values in found}) == 4
    flat = prior.log_prob(np.zeros((1, 3, 4, 5), np.int64), np.array([0]))
    assert all(len(np.unique(level)) == 20 for level in flat[0])


@pytest.mark.parametrize(("name", "counts"), [("gpt", [4, 1, 0]), ("gpt", [0, 2, 2]), ("pixelcnn", [4, 2, 1])])
def test_a_level_that_is_given_fewer_pictures_finds_the_same_for_them(name, counts):
    net = random_net(name, (4, 5))
    tokens, label = torch.from_numpy(random_tokens(net, 4)), torch.tensor([0, 1, 2, 3])
    for some, every, count in zip(net(tokens, label, counts), net(tokens, label), counts, strict=True):
        assert len(some) == count
        assert torch.allclose(some, every[:count], atol=1e-5) if count else some.numel() == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parts_write_every_level_and_hold_every_weight_once(name):
    net = random_net(name, (2, 2))
    assert sorted(itertools.chain(*net.parts)) == [0, 1, 2]
    assert sum(p.numel() for part in net.parts.values() for p in part.parameters()) == sum(
        p.numel() for p in net.parameters()
    )


@pytest.mark.parametrize(
    ("tokens", "label", "said"),
    [
        (
            np.zeros((1, 3, 4, 4), int),
            np.array([0]),
            r"tokens are int64 \(1, 3, 4, 4\); accepted: integers \(B, 3, 4, 5\)",
        ),
        (np.zeros((1, 3, 4, 5), int) + 5, np.array([0]), "color codes span 5 to 5; accepted: 0 to 4"),
        (np.zeros((1, 3, 4, 5), int), np.array([4]), "classes span 4 to 4; accepted: 0 to 2, or 3 for none"),
    ],
)
def test_the_likelihood_of_what_is_no_picture_is_refused(tokens, label, said):
    prior = TorchPrior(random_net("gpt", (4, 5)), CLASSES)
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
    net = random_net(name, (4, 5))
    net.start_from(books)
    for part in net.stacks if name == "gpt" else [net]:
        tables = part.stem.tables if name == "gpt" else part.tables
        heads = [part.head] if name == "gpt" else part.heads
        for weight in [module.weight for module in (*tables, *heads)]:
            assert weight[0].sub(weight[1]).norm() < 0.05 * weight[0].sub(weight[2]).norm()
    tokens = random_tokens(net, 2)
    assert np.isfinite(TorchPrior(net, CLASSES).log_prob(tokens, np.array([0, 3]))).all()


@pytest.mark.parametrize("dims", [3, 192])
def test_features_of_near_centroids_are_near(dims):
    rng = np.random.default_rng(1)
    points = rng.random((40, dims))
    found = features(np.concatenate([points, points + rng.normal(0, 0.001, points.shape)]), 64)
    assert (found.shape, found.dtype) == ((80, 64), torch.float32)
    assert found.square().mean().sqrt() == pytest.approx(1, abs=0.1)
    gaps = torch.cdist(found[:40], found[40:])
    assert (gaps.argmin(1) == torch.arange(40)).all()
    assert gaps.diagonal().max() < 0.1 * gaps.median()


def test_features_of_fewer_centroids_than_dimensions_are_finite():
    for count in (1, 2, 5):
        found = features(np.random.default_rng(0).random((count, 192)), 64)
        assert found.shape == (count, 64)
        assert found.isfinite().all()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_prior_comes_back_in_half_precision(name, tmp_path):
    net, config = random_net(name, (4, 5)), prior_config(name, (4, 5))
    save_prior(net, config, tmp_path)
    loaded, read = load_prior(tmp_path)
    assert (read.model, read.grid, read.classes, read.vocabulary) == (config.model, (4, 5), CLASSES, net.levels)
    assert not loaded.training
    for key, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float() if value.is_floating_point() else value)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_load_strictly_and_name_what_does_not_fit(name, tmp_path):
    config = prior_config(name, (4, 5))
    save_prior(random_net(name, (4, 5)), config, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    lost, cut = sorted(tensors)[0], sorted(tensors)[1]
    tensors["stranger"], tensors[cut] = tensors.pop(lost), tensors[cut][:1].clone()
    save_file(tensors, tmp_path / WEIGHTS)
    config.with_files(tmp_path, WEIGHTS).save(tmp_path)
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
    for position in range(12):
        assert np.array_equal(window.at(tokens, position, 99), whole[:, position])


def test_rotary_scores_depend_only_on_how_many_rows_and_columns_lie_between():
    columns = 5
    rotary = GridRotary(16, columns)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator).expand(2, 1, 1, 20, 16)
    turned = apply_rotary_pos_emb(query, key, *rotary(query, torch.arange(20)[None]))
    scores = (turned[0] @ turned[1].transpose(2, 3))[0, 0]  # (20, 20)
    by_gap: dict[tuple[int, int], list[float]] = {}
    for one, other in itertools.product(range(20), range(20)):
        gap = (one // columns - other // columns, one % columns - other % columns)
        by_gap.setdefault(gap, []).append(scores[one, other].item())
    assert len(by_gap) == 7 * 9
    assert max(max(values) - min(values) for values in by_gap.values()) < 1e-4
    assert len({round(values[0], 3) for values in by_gap.values()}) > 55  # and every gap has its own


def test_levels_are_named_and_sized_by_the_configuration():
    assert prior_config("gpt", (2, 2)).vocabulary == (Level("color", 5), Level("shape", 7), Level("texture", 11))
