"""The tokenizer on torch: for training, export and GPUs."""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import PRETRAINED, TokenizerConfig
from cst.tokenizer.rendernet import RenderNet

MAX_PATCHES = 256 * 256  # rendered in one piece: the largest photo that the app accepts


class TorchEncoder:
    """`Codebooks.encode` on a torch device, in float32: the same codes except for ties within rounding."""

    def __init__(self, codebooks: Codebooks, device: torch.device | str = "cpu"):
        self.patch = codebooks.patch
        self.tables = [torch.from_numpy(table).to(device) for table in codebooks.tables]
        self.halves = [table.square().sum(1) / 2 for table in self.tables]

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, *, beam: int = 1) -> torch.Tensor:
        """(B, 3, H, W) float32 in [0, 1] on the device -> (B, 3, h, w) int64."""
        b, _, height, width = images.shape
        beam = min(beam, len(self.tables[1]))
        patches = F.pixel_unshuffle(images, self.patch).permute(0, 2, 3, 1)  # (B, h, w, 192)
        patches = patches.reshape(-1, 3 * self.patch**2)
        codes = torch.cat([self._encode(part, beam) for part in patches.split(max(1, 4096 // beam))])  # (N, 3)
        return codes.T.reshape(3, b, height // self.patch, width // self.patch).transpose(0, 1)

    @torch.no_grad()
    def colors(self, images: torch.Tensor) -> torch.Tensor:
        """Only the first level, which is cheap: (B, 3, H, W) float32 in [0, 1] -> (B, 1, h, w) int64."""
        means = F.avg_pool2d(images, self.patch).movedim(1, -1)  # (B, h, w, 3)
        return self._scores(means.flatten(0, 2), 0).argmax(1).reshape(len(images), 1, *means.shape[1:3])

    def _encode(self, patches: torch.Tensor, beam: int) -> torch.Tensor:
        """(n, 192) -> (n, 3) int64."""
        channels = patches.reshape(len(patches), 3, -1)
        color = self._scores(channels.mean(2), 0).argmax(1)
        rest = (channels - self.tables[0][color][..., None]).reshape(patches.shape)
        shapes = self._scores(rest, 1).topk(beam, dim=1).indices  # (n, beam)
        seconds = rest[:, None] - self.tables[1][shapes]  # (n, beam, 192)
        textures = self._scores(seconds.flatten(0, 1), 2).argmax(1).reshape(shapes.shape)
        errors = (seconds - self.tables[2][textures]).square().sum(2)
        best = errors.argmin(1, keepdim=True)
        return torch.cat([color[:, None], shapes.gather(1, best), textures.gather(1, best)], 1)

    def _scores(self, x: torch.Tensor, level: int) -> torch.Tensor:
        return torch.addmm(-self.halves[level], x, self.tables[level].T)


class TorchTokenizer(CodebookTokenizer):
    """A tokenizer whose RenderNet runs on a torch device, in float32."""

    def __init__(
        self,
        folder: str | os.PathLike = PRETRAINED,
        *,
        device: torch.device | str = "cpu",
        max_patches: int = MAX_PATCHES,
    ):
        super().__init__(Path(folder), TokenizerConfig.load(folder), beam=None, max_patches=max_patches)
        self.net = load_rendernet(folder, self.config, self.codebooks).to(device)
        self.device, self.render = torch.device(device), self._render
        self.running_on = f"torch {torch.__version__} on {device}"

    @torch.no_grad()
    def _render(self, tokens: np.ndarray) -> np.ndarray:
        return self.net(torch.from_numpy(tokens).long().to(self.device)).cpu().numpy()


def load_rendernet(folder: str | os.PathLike, config: TokenizerConfig, codebooks: Codebooks) -> RenderNet:
    """The float32 network of an artifact, in eval mode. Raises ValueError unless the tensors match it exactly."""
    if config.rendernet is None:
        raise ValueError(f"'{folder}' has codebooks but no RenderNet; train one with python -m cst train")
    net = RenderNet(config.rendernet, codebooks.tables, patch=config.patch)
    load_weights(net, config.check_file(folder, "rendernet.safetensors"))
    return net.eval()


def load_weights(net: torch.nn.Module, path: Path) -> None:
    """Load a safetensors file strictly. Raises ValueError that names missing and unexpected tensors."""
    tensors, wanted = load_file(path), net.state_dict()
    missing, unexpected = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    wrong = [name for name in set(tensors) & set(wanted) if tensors[name].shape != wanted[name].shape]
    if missing or unexpected or wrong:
        raise ValueError(f"'{path}': missing {missing}, unexpected {unexpected}, of another shape {sorted(wrong)}")
    net.load_state_dict(tensors)
