"""Sampling, the same for every prior: known tokens stay, the others are drawn one after another."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prior.protocol import LevelSettings, Settings, Step, Writer


def sample(
    writer: Writer,
    known: np.ndarray,
    mask: np.ndarray,
    label: np.ndarray,
    settings: Settings,
    seed: int,
    *,
    lean: np.ndarray | None = None,
) -> Iterator[Step]:
    """Write new tokens where `mask` is False, and keep those of `known` where it is True; see `Prior.sample`.

    Picture i of a seed is the same whatever the size of the batch, up to rounding. Yields after every token; once if
    nothing is to be written. Raises ValueError, before the first step, for arguments that don't fit the model.
    """
    check(writer, known, mask, label)
    check_lean(writer, lean)
    if len(settings.levels) != len(writer.levels):
        raise ValueError(f"settings for {len(settings.levels)} levels; accepted: {len(writer.levels)}, one a level")
    tokens, final = np.where(mask, known, 0).astype(np.int32), mask.copy()
    label = label.astype(np.int64)
    b = len(tokens)
    # A random number for every token, drawn ahead: what is known doesn't shift the rest.
    chance = np.stack([np.random.default_rng([seed, i]).random(tokens.shape[1:]) for i in range(b)])
    guided = settings.guidance != 1 and (label != len(writer.classes)).any()
    free_label = np.full(b, len(writer.classes))
    plan = writer.plan(mask)
    writing = writer.start()
    bits = np.zeros((b, len(writer.levels)))
    if not plan:
        yield Step(tokens, final, 0, 0, len(writer.levels) - 1, bits)
    for done, (level, position) in enumerate(plan, 1):
        row, column = divmod(position, tokens.shape[3])
        if guided and level == 0:
            twice = np.concatenate([tokens, tokens])
            both = writing.predict(level, position, twice, np.append(label, free_label))
            own, free = both[:b], both[b:]
            scores = free + settings.guidance * (own - free)
        else:
            own = scores = writing.predict(level, position, tokens, label)
        if lean is not None and level == 0:
            scores = scores + lean[row, column]
        new = ~mask[:, level, row, column]
        if new.any():
            drawn = draw(truncate(scores, settings.levels[level]), chance[:, level, row, column])
            tokens[new, level, row, column] = drawn[new]
            final[new, level, row, column] = True
            bits[new, level] -= own[new, drawn[new]] / math.log(2)
        yield Step(tokens.copy(), final.copy(), done, len(plan), level, bits.copy())


def log_prob(writer: Writer, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32: the natural log of p of every token, one after another."""
    return survey(writer, tokens, label, likeliest=1).log_prob


@dataclass(frozen=True)
class Survey:
    """What a prior thought of every token of some pictures before it saw it.

    log_prob: (B, L, h, w) float32, natural log of p of the token that is there. codes: (B, L, h, w, k) int32, the
    likeliest codes, the first the likeliest, and p: (B, L, h, w, k) float32, their probabilities.
    """

    log_prob: np.ndarray
    codes: np.ndarray
    p: np.ndarray


def survey(writer: Writer, tokens: np.ndarray, label: np.ndarray, *, likeliest: int = 5) -> Survey:
    """(B, L, h, w) int tokens and (B,) int classes -> the likelihood of each, and the `likeliest` codes there.

    Raises ValueError for arguments that don't fit the model.
    """
    mask = np.zeros(tokens.shape, bool)
    check(writer, tokens, mask | True, label)
    most = min(level.size for level in writer.levels)
    if not 1 <= likeliest <= most:
        raise ValueError(f"the {likeliest} likeliest codes; accepted: 1 to {most}")
    tokens, label = tokens.astype(np.int32), label.astype(np.int64)
    writing = writer.start()
    found = np.empty(tokens.shape, np.float32)
    codes, p = (np.empty((*tokens.shape, likeliest), kind) for kind in (np.int32, np.float32))
    for level, position in writer.plan(mask):
        row, column = divmod(position, tokens.shape[3])
        scores = writing.predict(level, position, tokens, label)
        found[:, level, row, column] = np.take_along_axis(scores, tokens[:, level, row, column, None], 1)[:, 0]
        few = np.argpartition(-scores, likeliest - 1, axis=1)[:, :likeliest]
        few = np.take_along_axis(few, np.argsort(-np.take_along_axis(scores, few, 1), axis=1, kind="stable"), 1)
        codes[:, level, row, column] = few
        p[:, level, row, column] = np.exp(np.take_along_axis(scores, few, 1))
    return Survey(found, codes, p)


def truncate(scores: np.ndarray, settings: LevelSettings) -> np.ndarray:
    """(B, V) log-probabilities, in any scale -> (B, V) float64 probabilities after temperature, top-k, top-p, min-p."""
    p = np.exp((scores - scores.max(1, keepdims=True)).astype(np.float64) / settings.temperature)  # the likeliest: 1
    if 0 < settings.top_k < p.shape[1]:
        least = np.partition(p, -settings.top_k, axis=1)[:, -settings.top_k, None]
        p[p < least] = 0
    if settings.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        ranked = np.take_along_axis(p, order, 1)
        before = np.cumsum(ranked, 1) - ranked  # of all that are likelier
        ranked[before >= settings.top_p * ranked.sum(1, keepdims=True)] = 0
        np.put_along_axis(p, order, ranked, 1)
    p[p < settings.min_p] = 0
    return p / p.sum(1, keepdims=True)


def draw(p: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """(B, V) probabilities, (B,) in [0, 1) -> (B,) int64: where the cumulative distribution passes each chance."""
    total = np.cumsum(p, 1)
    return (total > chance[:, None] * total[:, -1:]).argmax(1)


def check(writer: Writer, known: np.ndarray, mask: np.ndarray, label: np.ndarray) -> None:
    """Raise ValueError unless tokens, of which those where `mask` is True count, and classes fit the model."""
    wanted = (len(writer.levels), *writer.grid)
    if known.ndim != 4 or known.shape[1:] != wanted or len(known) < 1 or not np.issubdtype(known.dtype, np.integer):
        raise ValueError(
            f"tokens are {known.dtype} {known.shape}; accepted: integers (B, {', '.join(map(str, wanted))})"
        )
    if mask.shape != known.shape or mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype} {mask.shape}; accepted: bool {known.shape}, as the tokens")
    for index, level in enumerate(writer.levels):
        codes = known[:, index][mask[:, index]]
        if codes.size and not 0 <= codes.min() <= codes.max() < level.size:
            raise ValueError(f"{level.name} codes span {codes.min()} to {codes.max()}; accepted: 0 to {level.size - 1}")
    most = len(writer.classes)
    if label.shape != known.shape[:1] or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"classes are {label.dtype} {label.shape}; accepted: integers ({len(known)},), one a picture")
    if not 0 <= label.min() <= label.max() <= most:
        raise ValueError(f"classes span {label.min()} to {label.max()}; accepted: 0 to {most - 1}, or {most} for none")


def check_lean(writer: Writer, lean: np.ndarray | None) -> None:
    """Raise ValueError unless a lean of the colors is finite and fits the model."""
    if lean is None:
        return
    wanted = (*writer.grid, writer.levels[0].size)
    if lean.shape != wanted or not np.issubdtype(lean.dtype, np.floating) or not np.isfinite(lean).all():
        raise ValueError(f"the lean is {lean.dtype} {lean.shape}; accepted: finite floats {wanted}")
