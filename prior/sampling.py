"""Sampling from any prior: known tokens stay, and the others are drawn in the model's own order."""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from prior.config import CELLS, FULL, HALF, LEVEL_OF
from prior.protocol import LevelSettings, Prior, SampleRequest, Step

Maps = dict[str, np.ndarray]


def sample(prior: Prior, request: SampleRequest) -> Generator[Step, None, None]:
    """Draw what a request leaves open, in the model's own order.

    The random numbers of picture i do not depend on the size of the batch. Graphs in 8 bits share the scales of their
    activations, so that a picture can still differ between batches of another size. Yields after every few tokens, and
    once if nothing is to be drawn; the last step holds everything. To stop, close the iterator. Raises ValueError,
    before the first step, for a request that does not fit the model.
    """
    check_request(prior, request)
    settings, color_bias = request.settings, request.color_bias
    maps, fixed = prior.prepare(request.known, request.mask, request.sketch)
    order = prior.decoding_order(fixed)
    sizes = [level.size for level in prior.levels]
    biases = {} if color_bias is None else biases_by_map(color_bias, maps)
    pictures = Pictures(maps, fixed, request.label.astype(np.int64), request.seed, len(prior.levels))
    total = sum(len(positions) for _, positions in order)
    state, done = prior.new_state(), 0
    if not order:
        yield pictures.step("texture", 0, 0)
    for name, positions in order:
        level = LEVEL_OF[name]
        rows, columns = np.divmod(positions, pictures.maps[name].shape[2])
        guided = settings.guidance != 1 and name in prior.guided and (pictures.label != len(prior.classes)).any()
        cond = scores = pictures.predict(state, name, positions, len(prior.classes) if guided else None)
        if guided:
            cond, uncond = np.split(scores, 2)
            scores = uncond + settings.guidance * (cond - uncond)
        if name in biases:
            scores = scores + biases[name][rows, columns]
        uniforms = pictures.uniforms[name][:, rows, columns]  # (B, n)
        # Fine colors are a detail of the half-size picture: drawn as freely as coarse ones, they are speckled.
        chosen = settings.levels[level or int(name in FULL and HALF[0] in maps)]
        p = filter_probabilities(scores.reshape(-1, sizes[level]), chosen)
        codes = sample_categorical(p, uniforms.ravel()).reshape(uniforms.shape)
        pictures.write(name, level, rows, columns, codes, cond)
        done += len(positions)
        yield pictures.step(name, done, total)


class Pictures:
    """The maps of a batch of pictures while they are drawn."""

    def __init__(self, maps: Maps, fixed: Maps, label: np.ndarray, seed: int, levels: int):
        self.maps, self.fixed, self.label = maps, fixed, label
        self.final = {name: known.copy() for name, known in fixed.items()}
        self.bits = np.zeros((len(label), levels))
        # One random number per token, drawn ahead, so that known tokens do not shift the others.
        self.uniforms: Maps = {}
        for picture in range(len(label)):
            rng = np.random.default_rng([seed, picture])
            for name, codes in maps.items():
                self.uniforms.setdefault(name, np.empty(codes.shape))[picture] = rng.random(codes.shape[1:])

    def predict(self, state, name: str, positions: np.ndarray, free: int | None) -> np.ndarray:
        """(B, n, V) log-probabilities; with `free`, the label of no class, (2B, n, V), with and without the class."""
        if free is None:
            return state.predict(name, positions, self.maps, self.label)
        doubled = {other: np.concatenate([codes, codes]) for other, codes in self.maps.items()}
        return state.predict(name, positions, doubled, np.append(self.label, np.full(len(self.label), free)))

    def write(
        self, name: str, level: int, rows: np.ndarray, columns: np.ndarray, codes: np.ndarray, scores: np.ndarray
    ) -> None:
        """Set (B, n) codes where nothing is known, and add their bits under the (B, n, V) log-probabilities."""
        new = ~self.fixed[name][:, rows, columns]  # (B, n)
        kept = self.maps[name][:, rows, columns]
        self.maps[name][:, rows, columns] = np.where(new, codes, kept)
        self.final[name][:, rows, columns] = True
        spent = np.take_along_axis(scores, codes[..., None], 2)[..., 0]
        self.bits[:, level] -= np.where(new, spent, 0).sum(1) / math.log(2)

    def step(self, name: str, done: int, total: int) -> Step:
        """The current state."""
        both = (self.maps, self.final)
        tokens, known = (np.stack([each[n] for n in FULL], 1) for each in both)
        half = half_known = None
        if HALF[-1] in self.maps:
            half, half_known = (np.stack([each[n] for n in HALF], 1) for each in both)
        h, w = tokens.shape[2:]
        colors = np.full((len(tokens), h, w), -1, np.int32)
        for other, codes in self.maps.items():
            if LEVEL_OF[other] == 0:
                scale = (h // codes.shape[1], w // codes.shape[2])
                enlarged, there = (np.repeat(np.repeat(each[other], scale[0], 1), scale[1], 2) for each in both)
                colors = np.where(there, enlarged, colors)
        written = {
            other: float(1 - (~known).sum() / max(1, (~self.fixed[other]).sum())) for other, known in self.final.items()
        }
        return Step(tokens, known, half, half_known, colors, done, total, name, written, self.bits.copy())


def biases_by_map(color_bias: np.ndarray, maps: Maps) -> Maps:
    """(rows, columns, V) -> the bias of every color map of that size or coarser: the mean over each cell."""
    biases = {}
    for name, codes in maps.items():
        rows, columns = codes.shape[1:]
        if LEVEL_OF[name] == 0 and rows <= color_bias.shape[0]:
            cells = color_bias.reshape(rows, color_bias.shape[0] // rows, columns, -1, color_bias.shape[2])
            biases[name] = cells.mean((1, 3))
    return biases


def log_prob(prior: Prior, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32: the natural log of p of every token, one after another.

    Maps coarser than the patches count too: the value of a coarse cell is shared by the patches it covers.
    """
    scores = score_tokens(prior, tokens, label, top=1)
    return scores.log_prob + scores.shared


@dataclass(frozen=True)
class TokenScores:
    """A prior's prediction of every token of some pictures.

    log_prob: (B, L, h, w) float32, natural log of p of the actual token. shared: the same shape, the patch's share of
    the coarser maps: that of a cell, over the number of patches that it covers. codes: (B, L, h, w, k) int32, the k
    most likely codes, most likely first. p: (B, L, h, w, k) float32, their probabilities.
    """

    log_prob: np.ndarray
    shared: np.ndarray
    codes: np.ndarray
    p: np.ndarray


def score_tokens(prior: Prior, tokens: np.ndarray, label: np.ndarray, *, top: int = 5) -> TokenScores:
    """(B, L, h, w) int tokens and (B,) int classes -> the likelihood of each, and the `top` most likely codes there.

    Raises ValueError for arguments that don't fit the model.
    """
    mask = np.zeros(tokens.shape, bool)
    check(prior, tokens, mask | True, label)
    smallest = min(level.size for level in prior.levels)
    if not 1 <= top <= smallest:
        raise ValueError(f"the {top} most likely codes; accepted: 1 to {smallest}")
    tokens, label = tokens.astype(np.int32), label.astype(np.int64)
    maps, fixed = prior.prepare(tokens, mask | True, None)
    state = prior.new_state()
    log_probs, shared = (np.zeros(tokens.shape, np.float32) for _ in range(2))
    codes, p = (np.empty((*tokens.shape, top), kind) for kind in (np.int32, np.float32))
    for name, positions in prior.decoding_order({name: np.zeros_like(known) for name, known in fixed.items()}):
        level = LEVEL_OF[name]
        rows, columns = np.divmod(positions, maps[name].shape[2])
        scores = state.predict(name, positions, maps, label)  # (B, n, V)
        there = np.take_along_axis(scores, maps[name][:, rows, columns, None], 2)[..., 0]
        if cell := CELLS.get(name):  # shared by the patches it covers
            for row, column, value in zip(rows * cell, columns * cell, there.T, strict=True):
                shared[:, level, row : row + cell, column : column + cell] += value[:, None, None] / cell**2
            continue
        log_probs[:, level, rows, columns] = there
        few = np.argpartition(-scores, top - 1, axis=2)[..., :top]
        few = np.take_along_axis(few, np.argsort(-np.take_along_axis(scores, few, 2), axis=2, kind="stable"), 2)
        codes[:, level, rows, columns] = few
        p[:, level, rows, columns] = np.exp(np.take_along_axis(scores, few, 2))
    return TokenScores(log_probs, shared, codes, p)


def filter_probabilities(scores: np.ndarray, settings: LevelSettings) -> np.ndarray:
    """(B, V) log-probabilities, in any scale -> (B, V) probabilities after temperature, top-k, top-p, min-p."""
    p = np.exp((scores - scores.max(1, keepdims=True)) / np.float32(settings.temperature))  # the most likely: 1
    if 0 < settings.top_k < p.shape[1]:
        least = np.partition(p, -settings.top_k, axis=1)[:, -settings.top_k, None]
        p[p < least] = 0
    if settings.top_p < 1:
        ranked = np.sort(p, 1)[:, ::-1]
        before = np.cumsum(ranked, 1) - ranked  # of all more likely codes
        kept = (before < settings.top_p * ranked.sum(1, keepdims=True)).sum(1, keepdims=True)
        p[p < np.take_along_axis(ranked, kept - 1, 1)] = 0
    p[p < settings.min_p] = 0
    return p / p.sum(1, keepdims=True)


def sample_categorical(p: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """(B, V) probabilities, (B,) in [0, 1) -> (B,) int64: where the cumulative distribution passes each uniform."""
    total = np.cumsum(p, 1)
    return (total > uniforms[:, None] * total[:, -1:]).argmax(1)


def check_request(prior: Prior, request: SampleRequest) -> None:
    """Raise ValueError unless a request fits the model."""
    check(prior, request.known, request.mask, request.label)
    check_sketch(prior, request.sketch, request.color_bias)
    if len(request.settings.levels) != len(prior.levels):
        raise ValueError(
            f"settings for {len(request.settings.levels)} levels; accepted: {len(prior.levels)}, one per level"
        )


def check(prior: Prior, known: np.ndarray, mask: np.ndarray, label: np.ndarray) -> None:
    """Raise ValueError unless the tokens where `mask` is True, and the classes, fit the model."""
    wanted = (len(prior.levels), *prior.grid)
    if known.ndim != 4 or known.shape[1:] != wanted or len(known) < 1 or not np.issubdtype(known.dtype, np.integer):
        raise ValueError(
            f"tokens are {known.dtype} {known.shape}; accepted: integers (B, {', '.join(map(str, wanted))})"
        )
    if mask.shape != known.shape or mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype} {mask.shape}; accepted: bool {known.shape}, as the tokens")
    for index, level in enumerate(prior.levels):
        codes = known[:, index][mask[:, index]]
        if codes.size and not 0 <= codes.min() <= codes.max() < level.size:
            raise ValueError(f"{level.name} codes span {codes.min()} to {codes.max()}; accepted: 0 to {level.size - 1}")
    most = len(prior.classes)
    if label.shape != known.shape[:1] or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(
            f"classes are {label.dtype} {label.shape}; accepted: integers ({len(known)},), one per picture"
        )
    if not 0 <= label.min() <= label.max() <= most:
        raise ValueError(f"classes span {label.min()} to {label.max()}; accepted: 0 to {most - 1}, or {most} for none")


def check_sketch(prior: Prior, sketch: np.ndarray | None, color_bias: np.ndarray | None) -> None:
    """Raise ValueError unless a sketch and a color bias fit the model, and the bias is finite."""
    size = prior.levels[0].size
    if sketch is not None:
        if sketch.shape != prior.sketch_grid or not np.issubdtype(sketch.dtype, np.integer):
            raise ValueError(f"the sketch is {sketch.dtype} {sketch.shape}; accepted: integers {prior.sketch_grid}")
        if not -1 <= sketch.min() <= sketch.max() < size:
            raise ValueError(f"a sketch of codes {sketch.min()} to {sketch.max()}; accepted: 0 to {size - 1}, or -1")
    if color_bias is None:
        return
    kind, accepted = color_bias.dtype, ((*prior.sketch_grid, size), (*prior.grid, size))
    if color_bias.shape not in accepted or not np.issubdtype(kind, np.floating) or not np.isfinite(color_bias).all():
        raise ValueError(
            f"the color bias is {kind} {color_bias.shape}; accepted: finite floats {accepted[0]} or {accepted[1]}"
        )
