"""How fast the networks of a GPT train on this machine, and how many operations a picture takes.

python -m prior benchmark-training
"""

import argparse
import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cst.tokenizer.config import PRETRAINED, TokenizerConfig
from cst.tokenizer.protocol import Level
from cst.training.optimization import use_bf16
from prior.config import CELLS, GPT_PARTS, LEVEL_OF, PRESETS, GPTConfig
from prior.models.gpt import GPT


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior benchmark-training", description=__doc__.splitlines()[0])
    gpts = [name for name, model in PRESETS.items() if isinstance(model, GPTConfig)]
    parser.add_argument("--preset", default="small", choices=gpts, help="default small")
    parser.add_argument("--size", type=int, default=256, help="side of a picture in pixels (default 256)")
    parser.add_argument(
        "--steps", type=int, default=5, help="timed steps of each network, after two others (default 5)"
    )
    parser.add_argument("--device", default="cpu", help="default cpu")
    print(measure(parser.parse_args(arguments)))


def measure(flags: argparse.Namespace) -> str:
    """The report of `python -m prior benchmark-training`: forward and backward passes, on random tokens."""
    device = torch.device(flags.device)
    dtype = torch.bfloat16 if use_bf16("auto", device) else torch.float32
    tokenizer = TokenizerConfig.load(PRETRAINED)
    levels = [Level(name, size) for name, size in tokenizer.levels.items()]
    side = flags.size // tokenizer.patch
    net = GPT(cast(GPTConfig, PRESETS[flags.preset]), levels, tokenizer.patch, (side, side), classes=100)
    net = net.to(device).train()
    rng = np.random.default_rng(0)
    lines = ["network       batch  GFLOP/picture  pictures/s  TFLOP/s"]
    total = 0.0
    for name, config in GPT_PARTS.items():
        maps = {}
        for each, level in LEVEL_OF.items():
            cells = side // CELLS.get(each, 1)
            codes = rng.integers(levels[level].size, size=(config.batch, cells, cells))
            maps[each] = torch.from_numpy(codes).to(device)
        label = torch.zeros(config.batch, dtype=torch.int64, device=device)

        def step(name: str = name, maps: dict = maps, label: torch.Tensor = label) -> None:
            net(name, maps, label, dtype=dtype).mean().backward()
            net.zero_grad()
            if device.type != "cpu":
                torch.cuda.synchronize()

        with FlopCounterMode(display=False) as counter:
            step()
        step()
        start = time.perf_counter()
        for _ in range(flags.steps):
            step()
        rate = flags.steps * config.batch / (time.perf_counter() - start)
        operations = counter.get_total_flops() / config.batch
        total += operations
        lines.append(
            f"{name:<12} {config.batch:>6} {operations / 1e9:>14.1f} {rate:>11.1f} {operations * rate / 1e12:>8.2f}"
        )
    lines.append(f"all                 {total / 1e9:>14.1f}")
    where = f"{torch.get_num_threads()} threads" if flags.device == "cpu" else flags.device
    lines.append(f"({flags.preset}, {flags.size}x{flags.size} pixels, {str(dtype)[6:]}, {where}, not compiled)")
    return "\n".join(lines)
