"""How fast the GPT writes tokens on this machine, against transformers' `generate()` and against the memory's limit.

python -m prior benchmark --batch 4
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from prior.config import PRETRAINED, GPTConfig
from prior.protocol import Settings
from prior.runtime import OnnxPrior
from prior.writing import LEAST_ROOM


class TimedPrior(OnnxPrior):
    """Adds up the seconds spent inside onnxruntime."""

    seconds = 0.0

    def _step(self, *arguments):
        start = time.perf_counter()
        result = super()._step(*arguments)
        self.seconds += time.perf_counter() - start
        return result


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prior", type=Path, default=PRETRAINED / "gpt", metavar="DIR", help="default: packaged GPT")
    parser.add_argument("--batch", type=int, default=4, help="pictures at once (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each, in turn (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads (default: all)")


def measure(flags: argparse.Namespace) -> str:
    """The report that `python -m prior benchmark` prints."""
    if min(flags.batch, flags.repeats, flags.threads) < 1:
        raise ValueError(f"batch {flags.batch}, {flags.repeats} repeats, {flags.threads} threads; accepted: at least 1")
    prior = TimedPrior(flags.prior, threads=flags.threads)
    if not isinstance(prior.config.model, GPTConfig):
        raise ValueError(f"'{flags.prior}' is a {prior.config.kind}; the comparison is for a GPT")
    bandwidth = read_bandwidth()
    lines = [f"{platform.machine()}, {flags.threads} threads, batch {flags.batch}, {bandwidth / 1e9:.1f} GB/s", ""]
    lines.append(f"{'seconds':<9} {'generate()':>11} {'ours':>7} {'ratio':>6} {'network':>8} {'memory limit':>13}")
    totals = np.zeros(2)
    for index, level in enumerate(prior.levels):
        prior.seconds = 0.0
        ours, theirs = in_turn(
            lambda index=index: write(prior, index, flags.batch), generator(prior, index, flags), flags.repeats
        )
        network, limit = prior.seconds / (flags.repeats + 1), bytes_read(prior, index, flags.batch) / bandwidth
        totals += ours, theirs
        lines.append(
            f"{level.name:<9} {theirs:>11.2f} {ours:>7.2f} {theirs / ours:>5.1f}x {network:>8.2f} {limit:>13.2f}"
        )
    tokens = flags.batch * len(prior.levels) * prior.grid[0] * prior.grid[1]
    ours, theirs = totals
    lines += ["", f"all       {theirs:>11.2f} {ours:>7.2f} {theirs / ours:>5.1f}x"]
    lines.append(f"{tokens / ours:.0f} tokens/s, against {tokens / theirs:.0f} by generate()")
    lines.append("(medians; network: of ours, the time inside onnxruntime; memory limit: the time it takes to read the")
    lines.append("weights and the past once a token, at the bandwidth measured above)")
    return "\n".join(lines)


def write(prior: OnnxPrior, level: int, batch: int) -> None:
    """Sample one level of `batch` pictures whose other levels are known."""
    known = np.zeros((batch, len(prior.levels), *prior.grid), np.int32)
    mask = np.ones(known.shape, bool)
    mask[:, level] = False
    for _ in prior.sample(known, mask, np.zeros(batch, np.int64), Settings(), 0):
        pass


def generator(prior: OnnxPrior, level: int, flags: argparse.Namespace) -> Callable[[], object]:
    """`generate()` of as many tokens, by a Llama with the same backbone and vocabulary, and a head like ours."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(flags.threads)
    model, length = prior.config.model, prior.grid[0] * prior.grid[1]
    config = LlamaConfig(
        vocab_size=prior.levels[level].size,
        hidden_size=model.width,
        intermediate_size=model.hidden,
        num_hidden_layers=model.layers[level],
        num_attention_heads=model.heads,
        max_position_embeddings=length + 1,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    net = LlamaForCausalLM(config).eval()
    start = torch.zeros(flags.batch, 1, dtype=torch.int64)
    given = {"attention_mask": torch.ones_like(start), "max_new_tokens": length, "min_new_tokens": length}
    return lambda: net.generate(start, **given, do_sample=True, top_k=0)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each, run in turn after one untimed run of both."""
    spent = ([], [])
    for _ in range(repeats + 1):
        for times, action in zip(spent, (ours, theirs), strict=True):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
    return float(np.median(spent[0][1:])), float(np.median(spent[1][1:]))


def bytes_read(prior: OnnxPrior, level: int, batch: int) -> float:
    """What writing one level has to read: its float32 weights once a token, and the past it has room for."""
    model, length = prior.config.model, prior.grid[0] * prior.grid[1]
    layers, width = model.layers[level], model.width
    weights = layers * (4 * width**2 + 3 * width * model.hidden) + width * prior.levels[level].size
    room, total = LEAST_ROOM, 0
    for position in range(length):
        room = 2 * room if position >= room else room
        total += 4 * (weights + 2 * layers * batch * width * room)
    return total


def read_bandwidth(mebibytes: int = 256) -> float:
    """Bytes a second at which one thread of numpy sums a large array: a floor of what the memory gives."""
    array = np.ones(mebibytes * 2**18, np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        array.sum()
        times.append(time.perf_counter() - start)
    return array.nbytes / min(times)
