"""The priors on torch: for training, export and GPUs. The app runs on `prior/runtime.py` instead."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cst.config import replacing
from cst.torch_runtime import load_weights
from prior.config import GPTConfig, PriorConfig
from prior.gpt import GPT
from prior.pixelcnn import PixelCNN
from prior.protocol import Settings, Step
from prior.sample import check, sample
from prior.writing import Arrays, GPTWriting, PixelCNNWriting, plan_by_level, plan_by_patch

WEIGHTS = "model.safetensors"


def build(config: PriorConfig) -> GPT | PixelCNN:
    """The untrained network that a configuration describes."""
    network = GPT if isinstance(config.model, GPTConfig) else PixelCNN
    return network(config.model, config.vocabulary, config.grid, len(config.classes))


def save_prior(net: GPT | PixelCNN, config: PriorConfig, out: Path) -> None:
    """Write the weights in float16, and `config.json`."""
    with replacing(out / WEIGHTS) as part:
        tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
        save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}, part)
    dataclasses.replace(config, files={}).with_files(out, WEIGHTS).save(out)


def load_prior(folder: str | os.PathLike, *, device: torch.device | str = "cpu") -> tuple[GPT | PixelCNN, PriorConfig]:
    """The float32 network of a folder, ready to predict, and its configuration. Strict; raises ValueError."""
    config = PriorConfig.load(folder)
    net = build(config)
    load_weights(net, config.check_file(folder, WEIGHTS))
    return net.to(device).eval(), config


class TorchPrior:
    """A network on torch; the `Prior` and `Writer` protocols on numpy arrays."""

    def __init__(self, net: GPT | PixelCNN, classes: Sequence[str]):
        self.net, self.classes, self.levels, self.grid = net, tuple(classes), net.levels, net.grid
        self.device = next(net.parameters()).device

    @classmethod
    def load(cls, folder: str | os.PathLike, *, device: torch.device | str = "cpu") -> "TorchPrior":
        """The prior of a folder. Raises ValueError if it is damaged or something else."""
        net, config = load_prior(folder, device=device)
        return cls(net, config.classes)

    @torch.no_grad()
    def log_prob(self, tokens: np.ndarray, label: np.ndarray) -> np.ndarray:
        """(B, L, h, w) int, (B,) int -> (B, L, h, w) float32, all at once; see `Prior.log_prob`."""
        check(self, tokens, np.ones(tokens.shape, bool), label)
        likelihoods = self.net(self._tensor(tokens), self._tensor(label))
        return torch.stack(likelihoods, 1).reshape(tokens.shape).cpu().numpy()

    def sample(
        self,
        known: np.ndarray,
        mask: np.ndarray,
        label: np.ndarray,
        settings: Settings,
        seed: int,
        *,
        lean: np.ndarray | None = None,
    ) -> Iterator[Step]:
        """See `Prior.sample`."""
        return sample(self, known, mask, label, settings, seed, lean=lean)

    def plan(self, mask: np.ndarray) -> Sequence[tuple[int, int]]:
        """See `Writer.plan`."""
        return plan_by_level(mask) if isinstance(self.net, GPT) else plan_by_patch(mask)

    def start(self) -> GPTWriting | PixelCNNWriting:
        """See `Writer.start`."""
        if isinstance(self.net, GPT):
            zeros = lambda shape: torch.zeros(shape, device=self.device)  # noqa: E731
            return GPTWriting(self.net.config, self.levels, zeros=zeros, step=self._step)
        return PixelCNNWriting(look=self._look, head=self._head)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.int64)).to(self.device)

    @torch.no_grad()
    def _step(
        self, level: int, near: list[np.ndarray], position: int, label: np.ndarray, keys: Arrays, values: Arrays
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        place = torch.tensor(position, device=self.device)
        scores, keys, values = self.net.stacks[level].step(
            [self._tensor(tokens) for tokens in near], place, self._tensor(label), keys, values
        )
        return scores.cpu().numpy(), keys, values

    @torch.no_grad()
    def _look(self, tokens: np.ndarray, position: int, label: np.ndarray) -> torch.Tensor:
        row, column = divmod(position, tokens.shape[3])
        return self.net.look(self._tensor(tokens[:, :, : row + 1]), self._tensor(label))[:, row, column]

    @torch.no_grad()
    def _head(self, level: int, hidden: torch.Tensor, codes: np.ndarray) -> np.ndarray:
        return self.net.logits(hidden, self._tensor(codes), level).log_softmax(-1).cpu().numpy()
