"""How fast the GPT writes pictures on this machine, map by map, and against transformers' `generate()`.

python -m prior benchmark --batch 4
"""

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cst.cpu import available_cpus
from prior.config import LAYOUT, LEVEL_OF, PRETRAINED, GPTConfig
from prior.onnx_runtime import OnnxPrior
from prior.protocol import SampleRequest
from prior.sampler import DEFAULTS
from prior.sampling import sample


class TimedPrior(OnnxPrior):
    """Adds up the seconds spent inside onnxruntime."""

    seconds = 0.0

    def _step(self, *arguments):
        start = time.perf_counter()
        result = super()._step(*arguments)
        self.seconds += time.perf_counter() - start
        return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--prior", type=Path, default=PRETRAINED / "gpt", metavar="DIR", help="default: packaged GPT")
    parser.add_argument("--batch", type=int, default=4, help="pictures at once (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each, in turn (default 3)")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="processor threads (default: all)")
    print(measure(parser.parse_args(arguments)))


def measure(flags: argparse.Namespace) -> str:
    """The report that `python -m prior benchmark` prints."""
    if min(flags.batch, flags.repeats, flags.threads) < 1:
        raise ValueError(f"batch {flags.batch}, {flags.repeats} repeats, {flags.threads} threads; accepted: at least 1")
    prior = TimedPrior(flags.prior, threads=flags.threads)
    if not isinstance(prior.config.model, GPTConfig):
        raise ValueError(f"'{flags.prior}' is a {prior.config.kind}; the comparison is for a GPT")
    empty = request(prior, 1)
    maps = {name: codes[0].size for name, codes in prior.prepare(empty.known, empty.mask, None)[0].items()}
    generators = [generator(prior, name, count, flags) for name, count in maps.items()]
    runs: list[dict[str, float]] = []
    ours, theirs = in_turn(
        lambda: runs.append(write(prior, flags.batch)), lambda: [make() for make in generators], flags.repeats
    )
    lines = [f"{platform.machine()}, {flags.threads} threads, batch {flags.batch}", "", f"{'map':<14} {'seconds':>8}"]
    for name in maps:
        lines.append(f"{name:<14} {np.median([run[name] for run in runs[1:]]):>8.2f}")
    lines.append(f"{'all':<14} {ours:>8.2f}, of which {prior.seconds / len(runs):.2f} inside onnxruntime")
    tokens = flags.batch * sum(maps.values())
    lines += ["", f"{tokens / ours:.0f} tokens/s, against {tokens / theirs:.0f} by generate() ({theirs / ours:.1f}x)"]
    lines.append("(medians; default settings)")
    return "\n".join(lines)


def request(prior: OnnxPrior, batch: int) -> SampleRequest:
    """Pictures of the first class with the default settings."""
    return SampleRequest.of_classes(prior, np.zeros(batch, np.int64), DEFAULTS["gpt"], 0)


def write(prior: OnnxPrior, batch: int) -> dict[str, float]:
    """Sample `batch` pictures; returns the seconds of each map."""
    spent, last = defaultdict[str, float](float), time.perf_counter()
    for step in sample(prior, request(prior, batch)):
        now = time.perf_counter()
        spent[step.name] += now - last
        last = now
    return spent


def generator(prior: OnnxPrior, name: str, length: int, flags: argparse.Namespace) -> Callable[[], object]:
    """`generate()` of as many tokens as a map has, by a Llama with the same sizes and vocabulary."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(flags.threads)
    model = prior.config.model
    assert isinstance(model, GPTConfig)
    part = "layout" if name in LAYOUT else name
    config = LlamaConfig(
        vocab_size=prior.levels[LEVEL_OF[name]].size,
        hidden_size=model.width,
        intermediate_size=model.hidden,
        num_hidden_layers=model.layers_of(part),
        num_attention_heads=model.heads_of(part),
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
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for times, action in zip(spent, (ours, theirs), strict=True):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
    return float(np.median(spent[0][1:])), float(np.median(spent[1][1:]))
