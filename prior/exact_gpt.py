"""The step of the GPT in exact arithmetic: a second evaluation of `prior.gpt`, for coding alone.

`prior.gpt` says what the network is, and `LevelGPT.step` how it is run token by token. The network is written a second
time here because the arithmetic is the point: a file can only be decoded where every probability comes out as it did
where it was encoded, and torch and onnxruntime promise that on no two machines. Tests hold this to both.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from cst.protocol import Level
from prior.config import GPTConfig
from prior.exact import ACTIVATION, ALONE, EXACT, Linear, fixed, rms_norm, shares, silu

EPSILON = 1e-6  # of LlamaConfig
SHARE = 20  # binary places of a softmax over positions
TURN = 24  # of cosines and sines
BASE = 100.0  # of `GridRotary`

Weights = Callable[[str], np.ndarray]  # name in the state dict -> float64


def turns(head_dim: int, grid: tuple[int, int], base: float = BASE) -> np.ndarray:
    """Cosines and sines of every position of the grid, as `GridRotary` turns it: (2, h w, head_dim) float64."""
    quarter = head_dim // 4
    speeds = base ** -(np.arange(quarter) / quarter)
    row, column = (place.reshape(-1, 1) * speeds for place in np.indices(grid))  # (h w, head_dim / 4)
    angles = np.concatenate([row, column, row, column], 1)
    return np.stack([np.cos(angles), np.sin(angles)])


class ExactLayer:
    """A layer of the backbone at one position."""

    def __init__(self, weights: Weights, config: GPTConfig, positions: int):
        self.heads, self.head_dim = config.heads, config.width // config.heads
        self.project = Linear(np.concatenate([weights(f"self_attn.{name}_proj.weight").T for name in "qkv"], 1))
        self.out = Linear(weights("self_attn.o_proj.weight").T)
        self.open = Linear(np.concatenate([weights(f"mlp.{name}_proj.weight").T for name in ("gate", "up")], 1))
        self.down = Linear(weights("mlp.down_proj.weight").T)
        self.before, self.between = weights("input_layernorm.weight"), weights("post_attention_layernorm.weight")
        # A score sums head_dim products of two activations; what is read, a share of at most 1 a position.
        self.match_limit = math.floor(math.sqrt(EXACT / self.head_dim))
        self.value_limit = math.floor(EXACT / (positions * 2.0**SHARE))
        self.part = max(1, ALONE // self.head_dim)  # positions matched at once
        self.scale = 2.0 ** (-2 * ACTIVATION) / math.sqrt(self.head_dim)

    def __call__(
        self, x: np.ndarray, turn: np.ndarray, keys: np.ndarray, values: np.ndarray, absent: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(B, D), cos and sin (2, head_dim), the past in fixed point -> (B, D), and its new key and value.

        keys: (B, heads, head_dim, P); values: (B, heads, P, head_dim); absent: (B, P) bool, or None for none.
        """
        projected = self.project(rms_norm(x, self.before, EPSILON)).reshape(len(x), 3, self.heads, self.head_dim)
        query, key, value = projected[:, 0], projected[:, 1], projected[:, 2]  # (B, heads, head_dim)
        query, key = (fixed(rotate(part, turn), ACTIVATION, self.match_limit) for part in (query, key))
        value = fixed(value, ACTIVATION, self.value_limit)
        scores = np.empty((len(x), self.heads, 1, keys.shape[3] + 1))
        parts = [slice(start, start + self.part) for start in range(0, keys.shape[3], self.part)]
        for part in parts:
            scores[..., :-1][..., part] = query[:, :, None] @ keys[..., part]
        scores[:, :, 0, -1] = (query * key).sum(-1)
        scores *= self.scale
        if absent is not None:
            np.copyto(scores[..., :-1], -np.inf, where=absent[:, None, None])
        share = shares(scores, SHARE)  # (B, heads, 1, P + 1)
        read = share[..., -1:] * value[:, :, None]  # (B, heads, 1, head_dim)
        for part in parts:
            read += share[..., :-1][..., part] @ values[:, :, part]
        read /= share.sum(-1, keepdims=True)
        read *= 2.0**-ACTIVATION
        x = x + self.out(read.reshape(len(x), -1))
        gate, up = np.split(self.open(rms_norm(x, self.between, EPSILON)), 2, 1)
        return x + self.down(silu(gate) * up), key, value


def rotate(x: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(B, heads, head_dim) turned by the angles of its position, as transformers' `apply_rotary_pos_emb` does."""
    half = x.shape[-1] // 2
    return x * turn[0] + np.concatenate([-x[..., half:], x[..., :half]], -1) * turn[1]


class ExactLevelGPT:
    """One level's network."""

    def __init__(self, weights: Weights, config: GPTConfig, levels: Sequence[Level], grid: tuple[int, int]):
        """weights: of a stack, by their names in it."""
        self.mix = Linear(weights("stem.mix.weight").T)
        self.tables = [
            fixed(weights(f"stem.tables.{index}.weight"), ACTIVATION, self.mix.limit) for index in range(len(levels))
        ]
        rows, columns = weights("stem.row.weight"), weights("stem.column.weight")
        self.place = (rows[:, None] + columns).reshape(-1, config.width)  # (N, D)
        self.label = weights("stem.label.weight")
        self.turns = fixed(turns(config.width // config.heads, grid), TURN) * 2.0**-TURN
        self.layers = [
            ExactLayer(lambda name, index=index: weights(f"backbone.layers.{index}.{name}"), config, len(self.place))
            for index in range(config.layers[len(levels) - 1])
        ]
        self.norm = weights("backbone.norm.weight")
        self.head = Linear(weights("head.weight").T, weights("head.bias"))

    def step(
        self,
        near: Sequence[np.ndarray],
        position: int,
        label: np.ndarray,
        keys: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        *,
        absent: np.ndarray | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """As `LevelGPT.step`, but (B, V) float64 scores, which a softmax makes probabilities, and fixed-point pasts.

        absent: (B, h w) bool, the positions that a picture does not have; None if all have all.
        """
        around = [table[tokens].reshape(len(label), -1) for table, tokens in zip(self.tables, near, strict=True)]
        x = self.mix.product(np.concatenate(around, 1)) + self.place[position] + self.label[label]  # (B, D)
        hidden = None if absent is None else absent[:, :position]
        new_keys, new_values = [], []
        for layer, key, value in zip(self.layers, keys, values, strict=True):
            past = key[..., :position], value[:, :, :position]
            x, new_key, new_value = layer(x, self.turns[:, position], *past, hidden)
            new_keys.append(new_key)
            new_values.append(new_value)
        return self.head(rms_norm(x, self.norm, EPSILON)), new_keys, new_values
