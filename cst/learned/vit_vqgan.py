"""ViT-VQGAN (Yu et al., 2022): a transformer encodes patches, another one decodes their codes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cst.learned.config import LearnedConfig

HEAD_WIDTH = 64
TEMPERATURE = 10_000  # of the place embedding


class Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalized input and added to it: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))  # (B, T, 3, heads, D / heads)
        q, k, v = qkv.transpose(1, 3).unbind(2)
        x = x + self.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Transformer(nn.Module):
    """Blocks over all patches of a picture, with sine and cosine place embeddings: (B, D, h, w) -> (B, D, h, w)."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = (x + place_embedding(h, w, x.shape[1], x.device)).flatten(2).transpose(1, 2)  # (B, h * w, D)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).transpose(1, 2).unflatten(2, (h, w))


class ViTEncoder(nn.Module):
    """Patches, transformer, and a tanh head down to the width of the codes: (B, 3, H, W) -> (B, code_width, h, w)."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.embed = nn.Conv2d(3, config.width, config.factor, stride=config.factor)
        self.transformer = Transformer(config)
        self.hidden = nn.Conv2d(config.width, 4 * config.width, 1)
        self.out = nn.Conv2d(4 * config.width, config.code_width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(self.transformer(self.embed(images)))))


class ViTDecoder(nn.Module):
    """The mirror image of `ViTEncoder`."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.embed = nn.Conv2d(config.code_width, config.width, 1)
        self.transformer = Transformer(config)
        self.hidden = nn.Conv2d(config.width, 4 * config.width, 1)
        self.out = nn.ConvTranspose2d(4 * config.width, 3, config.factor, stride=config.factor)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(self.transformer(self.embed(z)))))


def place_embedding(h: int, w: int, width: int, device: torch.device) -> Tensor:
    """(width, h, w): half of the channels for the row, half for the column (Vaswani et al., 2017, section 3.5)."""
    rates = TEMPERATURE ** -(torch.arange(width // 4, device=device) / (width // 4))
    rows, columns = (torch.arange(length, device=device)[:, None] * rates for length in (h, w))
    rows, columns = (torch.cat([angle.sin(), angle.cos()], 1).T for angle in (rows, columns))  # (width / 2, length)
    return torch.cat([rows[:, :, None].expand(-1, h, w), columns[:, None].expand(-1, h, w)])
