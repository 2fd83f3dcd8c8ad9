"""The transformer block of the GPT: attention with rotary positions by row and column, and a feed-forward layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """A linear layer without bias that computes in the dtype of its input; the weights stay float32."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


def norm(x: Tensor) -> Tensor:
    """RMS normalization of the last axis (Zhang and Sennrich, 2019), without a learned scale."""
    return F.rms_norm(x, x.shape[-1:])


def rotary_angles(rows: Tensor, columns: Tensor, head_dim: int, base: float = 100.0) -> Tensor:
    """(T,) float coordinates -> (T, head_dim / 2) angles: half of the frequencies follow the row, half the column.

    Rotary position embedding (Su et al., 2021), applied by axis.
    """
    frequencies = base ** -(torch.arange(head_dim // 4, device=rows.device) / (head_dim // 4))
    return torch.cat([rows[:, None] * frequencies, columns[:, None] * frequencies], 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + d / 2) of (..., d) by angles given as (..., d / 2) cos and sin."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class Dropout(nn.Module):
    """Dropout with a probability rounded to 1/256; its random numbers are bytes, which are cheap to draw on a CPU."""

    def __init__(self, probability: float):
        super().__init__()
        self.dropped = round(probability * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        words = torch.randint(-(2**63), 2**63 - 1, ((x.numel() + 7) // 8,), device=x.device)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept * (256 / (256 - self.dropped))


class Block(nn.Module):
    """A transformer block: attention with normalized queries and keys, then a gated feed-forward layer (SwiGLU)."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.qkv, self.out = Linear(width, 3 * width), Linear(width, width)
        self.gate_up, self.down = Linear(width, 2 * hidden), Linear(hidden, width)
        self.mix = nn.Parameter(torch.tensor([1.0, 0.0]))  # of the residual stream and the first block's input
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., T, D) -> queries, keys and values, each (..., heads, T, d)."""
        qkv = self.qkv(norm(x)).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        return rotate(norm(qkv[0]), cos, sin), rotate(norm(qkv[1]), cos, sin), qkv[2]

    def merge(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention output, (..., heads, T, d), to the residual stream; feed-forward layer: (..., T, D)."""
        x = x + self.dropout(self.out(attended.transpose(-2, -3).flatten(-2)))
        both = self.gate_up(norm(x))
        hidden = both.shape[-1] // 2
        return x + self.dropout(self.down(F.silu(both[..., :hidden]) * both[..., hidden:]))

    def forward(self, x: Tensor, first: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """Attention over whole sequences: (B, T, D) -> (B, T, D). `mask`: (T, T), 0 where allowed, else -inf."""
        x = self.blend(x, first)
        q, k, v = self.project(x, cos, sin)
        # Written out: for short sequences the fused kernel takes twice as long on a CPU.
        scores = q @ (k.transpose(-1, -2) * k.shape[-1] ** -0.5) + mask  # (B, heads, T, T)
        return self.merge(x, scores.softmax(-1) @ v)

    def step(
        self, x: Tensor, first: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, absent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`forward` for one more token of n sequences: (n, D) -> the same, and its key and value (heads, n, d).

        keys, values: (heads, n, P, d) of earlier tokens; those where `absent`, (n, 1, P) bool, are masked.
        """
        x = self.blend(x, first)
        q, k, v = self.project(x, cos, sin)  # (heads, n, d)
        past = (q[:, :, None] @ keys.transpose(-1, -2)).masked_fill(absent, -torch.inf)  # (heads, n, 1, P)
        own = (q * k).sum(-1, keepdim=True)[:, :, None]
        weights = (torch.cat([past, own], -1) * k.shape[-1] ** -0.5).softmax(-1)
        attended = (weights[..., :-1] @ values)[:, :, 0] + weights[:, :, 0, -1:] * v
        return self.merge(x, attended), k, v

    def blend(self, x: Tensor, first: Tensor) -> Tensor:
        """The residual stream, plus a learned share of the input of the first block."""
        return self.mix[0].to(x.dtype) * x + self.mix[1].to(x.dtype) * first
