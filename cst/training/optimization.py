"""Shared by the trainers: learning rate schedule, averaged weights, precision."""

import math
from typing import Protocol

import torch


class Schedule(Protocol):
    """The settings of `lr_multiplier`. final_rate: at the last step, as a share of the learning rate."""

    @property
    def steps(self) -> int: ...
    @property
    def warmup(self) -> int: ...
    @property
    def final_rate(self) -> float: ...


def lr_multiplier(step: int, config: Schedule) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to `final_rate`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def update_ema(ema: torch.nn.Module, net: torch.nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights and BatchNorm statistics toward the current ones."""
    decay = min(decay, (1 + step) / (10 + step))
    averaged, current = list(ema.state_dict().values()), list(net.state_dict().values())
    floats = [i for i, tensor in enumerate(averaged) if tensor.is_floating_point()]
    torch._foreach_lerp_([averaged[i] for i in floats], [current[i] for i in floats], 1 - decay)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16: "bf16", "no", or "auto" (if the device supports it)."""
    if precision not in ("auto", "bf16", "no"):
        raise ValueError(f"no precision '{precision}'; accepted: auto, bf16, no")
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu.get_capabilities().get("avx512_bf16", False)
