"""How well a prior predicts the tokens of held-out photos, in bits."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from cst.photos import Entry
from cst.tokenizer.codebooks import Codebooks
from prior.config import PriorConfig
from prior.training.token_cache import TokenSet


class Validation:
    """The tokens of held-out photos, each cut to its middle square."""

    def __init__(
        self,
        entries: Sequence[Entry],
        prior: PriorConfig,
        codebooks: Codebooks,
        *,
        device: torch.device,
        cache: Path | None = None,
    ):
        token_set = TokenSet.of(entries, prior, codebooks, cache=cache)
        arrays = (token_set.tokens.astype(np.int64), token_set.labels.astype(np.int64))
        self.tokens, self.labels = (torch.from_numpy(array).to(device) for array in arrays)
        self.count, self.chunk = len(token_set), 16

    @torch.no_grad()
    def measure(self, net: torch.nn.Module, accelerator: Accelerator) -> list[float]:
        """Mean bits per token of every level."""
        sums = [0.0] * self.tokens.shape[1]
        for start in range(0, self.count, self.chunk):
            part = slice(start, start + self.chunk)
            with accelerator.autocast():
                likelihoods = net(self.tokens[part], self.labels[part])
            for level, values in enumerate(likelihoods):
                sums[level] -= values.sum().item()
        return [total / math.log(2) / self.count / self.tokens[0, 0].numel() for total in sums]


def plot(history: list[dict], levels: list[str], path: Path) -> None:
    """Draw the bits per token of every level, held out and in training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(levels), 3.5), layout="constrained")
    for index, (axes, name) in enumerate(zip(figure.subplots(1, len(levels)), levels, strict=True)):
        steps = [point["step"] for point in history]
        axes.plot(steps, [point["bits"][index] for point in history], marker=".", label="held out")
        axes.plot(steps, [point["train"][index] for point in history], color="gray", label="training")
        axes.set(title=name, xlabel="step", ylabel="bits per token")
        axes.legend()
    figure.savefig(path, dpi=120)
