"""The GPT prior: one causal transformer a level, each seeing the levels before it, in raster order."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from cst.protocol import Level
from prior.config import GPTConfig
from prior.embedding import features
from prior.window import Window


class GridRotary(nn.Module):
    """Rotary position embedding in two dimensions: half of the frequencies turn with the row, half with the column.

    Su et al., 2021 (RoFormer), applied by axis. Stands in for the backbone's own, which knows one dimension.
    """

    def __init__(self, head_dim: int, columns: int, base: float = 100.0):
        super().__init__()
        self.columns = columns
        quarter = head_dim // 4
        speeds = base ** -(torch.arange(quarter) / quarter)
        by_row, by_column = torch.cat([speeds, 0 * speeds]), torch.cat([0 * speeds, speeds])
        self.register_buffer("speeds", torch.stack([by_row, by_column]), persistent=False)  # (2, head_dim / 2)

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states and (1, T) positions in raster order -> cos and sin, each (1, T, head_dim)."""
        place = torch.stack([position_ids // self.columns, position_ids % self.columns], -1)  # (1, T, 2)
        angles = (place[..., None] * self.speeds).sum(-2)  # no matrix product: autocast would round it to bfloat16
        angles = torch.cat([angles, angles], -1)  # (1, T, head_dim)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class Stem(nn.Module):
    """What is already known around the token to be written, as one vector.

    The window of the token's own level reaches up and left (7x7, type A: van den Oord et al., 2016, section 3.1), the
    windows of the levels below it all around. Raster-order attention is slow to find the second dimension: this hands
    it over.
    """

    def __init__(self, config: GPTConfig, levels: Sequence[Level], grid: tuple[int, int], classes: int):
        super().__init__()
        self.windows = [Window(config.context, causal=False) for _ in levels[:-1]]
        self.windows.append(Window(config.window, causal=True))
        self.tables = nn.ModuleList(nn.Embedding(level.size + 1, config.embedding) for level in levels)
        places = sum(len(window) for window in self.windows)
        self.mix = nn.Linear(places * config.embedding, config.width, bias=False)
        self.row, self.column = nn.Embedding(grid[0], config.width), nn.Embedding(grid[1], config.width)
        self.label = nn.Embedding(classes + 1, config.width)  # the last: no class
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, label: Tensor) -> Tensor:
        """(B, levels, h, w) int64, (B,) int64 -> (B, N, D): position i sees only tokens of its level before i."""
        around = []
        for index, (table, window) in enumerate(zip(self.tables, self.windows, strict=True)):
            border = F.pad(tokens[:, index], [window.reach] * 4, value=table.num_embeddings - 1)
            embedded = table(border)
            around += window.shifts(embedded)
        place = self.row.weight[:, None] + self.column.weight  # (h, w, D)
        return self.combine(around, place, label[:, None, None]).flatten(1, 2)

    def step(self, near: Sequence[Tensor], position: Tensor, label: Tensor) -> Tensor:
        """`forward` at one position: for each level (B, places) int64 tokens of its window, (), (B,) -> (B, D)."""
        around = [table(tokens).flatten(1) for table, tokens in zip(self.tables, near, strict=True)]
        columns = self.column.num_embeddings
        return self.combine(around, self.row(position // columns) + self.column(position % columns), label)

    def combine(self, around: Sequence[Tensor], place: Tensor, label: Tensor) -> Tensor:
        """Embeddings (..., E) of what is around, of the place (..., D), and classes (...) -> (..., D)."""
        return self.dropout(self.mix(torch.cat(list(around), -1)) + place + self.label(label))


class LevelGPT(nn.Module):
    """p(tokens of one level | the levels below it, class)."""

    def __init__(self, config: GPTConfig, levels: Sequence[Level], grid: tuple[int, int], classes: int):
        super().__init__()
        self.stem = Stem(config, levels, grid, classes)
        backbone = LlamaConfig(
            vocab_size=1,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers[len(levels) - 1],
            num_attention_heads=config.heads,
            max_position_embeddings=grid[0] * grid[1],
            attention_dropout=0.0,  # the fused kernel has none on a CPU
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.backbone = LlamaModel(backbone)
        self.backbone.rotary_emb = GridRotary(config.width // config.heads, grid[1])
        self.backbone.embed_tokens = None
        self.head = nn.Linear(config.width, levels[-1].size)

    def forward(self, tokens: Tensor, label: Tensor) -> Tensor:
        """(B, levels, h, w) int64, (B,) int64 -> (B, N, V) logits of the last of these levels."""
        hidden = self.backbone(inputs_embeds=self.stem(tokens, label)).last_hidden_state
        return self.head(hidden)

    def step(
        self, near: Sequence[Tensor], position: Tensor, label: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """`forward` at one position, from the keys and values of those before it.

        near: see `Stem.step`. keys: for each layer (B, heads, head_dim, P); values: (B, heads, P, head_dim); room for
        P positions, of which those before `position` count. Returns (B, V) log-probabilities, and for each layer the
        (B, heads, head_dim) key and value of this position, for the caller to keep.
        """
        x = self.stem.step(near, position, label)[:, None]  # (B, 1, D)
        turn = self.backbone.rotary_emb(x, position[None, None])
        unwritten = torch.arange(keys[0].shape[3], device=x.device) >= position  # (P,)
        new_keys, new_values = [], []
        for layer, key, value in zip(self.backbone.layers, keys, values, strict=True):
            x, new_key, new_value = attend_to_past(layer, x, turn, key, value, unwritten)
            new_keys.append(new_key)
            new_values.append(new_value)
        logits = self.head(self.backbone.norm(x[:, 0]))
        return logits.float().log_softmax(-1), new_keys, new_values


def attend_to_past(
    layer: LlamaDecoderLayer, x: Tensor, turn: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, unwritten: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer of the backbone at one position: (B, 1, D) -> the same, and its new key and value, (B, heads, head_dim).

    What is remembered is read where it lies: only the scores are joined with those of the new position, so that
    nothing as large as the past is copied.
    """
    attention = layer.self_attn
    y = layer.input_layernorm(x)
    split = (x.shape[0], 1, -1, attention.head_dim)  # len(x) would fix the batch in an exported graph
    query, key, value = (
        project(y).view(split).transpose(1, 2) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )  # (B, heads, 1, head_dim)
    query, key = apply_rotary_pos_emb(query, key, *turn)
    past = (query @ keys).masked_fill(unwritten, -torch.inf)  # (B, heads, 1, P)
    weights = (torch.cat([past, query @ key.transpose(2, 3)], 3) * attention.scaling).softmax(-1)
    out = weights[..., :-1] @ values + weights[..., -1:] * value
    x = x + attention.o_proj(out.transpose(1, 2).flatten(2))
    return x + layer.mlp(layer.post_attention_layernorm(x)), key[:, :, 0], value[:, :, 0]


class GPT(nn.Module):
    """p(tokens | class), level by level: the colors, the shapes given the colors, the textures given both.

    The levels share no weights: each is as deep as it needs to be, and is sampled without touching the others.
    """

    def __init__(self, config: GPTConfig, levels: Sequence[Level], grid: tuple[int, int], classes: int):
        super().__init__()
        self.config, self.levels, self.grid, self.classes = config, tuple(levels), tuple(grid), classes
        self.stacks = nn.ModuleList(LevelGPT(config, levels[: i + 1], grid, classes) for i in range(len(levels)))

    @property
    def parts(self) -> dict[tuple[int, ...], nn.Module]:
        """What is learned independently, by the levels that it writes."""
        return {(index,): stack for index, stack in enumerate(self.stacks)}

    @torch.no_grad()
    def start_from(self, codebooks: Sequence[np.ndarray]) -> None:
        """Begin with what is known: codes whose centroids are alike get like embeddings and like rows of the head."""
        for index, stack in enumerate(self.stacks):
            for table, centroids in zip(stack.stem.tables, codebooks[: index + 1], strict=True):
                table.weight[:-1] = features(centroids, table.embedding_dim)
                table.weight[-1] = 0
            stack.head.weight.copy_(features(codebooks[index], stack.head.in_features) * 0.05)
            nn.init.zeros_(stack.head.bias)
            for table in (stack.stem.row, stack.stem.column, stack.stem.label):
                nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor, label: Tensor, counts: Sequence[int] | None = None) -> list[Tensor]:
        """(B, L, h, w) int64, (B,) int64 -> for each level (B, N) float32: the natural log of p of every token, exact.

        `label` is a class, or the number of classes for none. With `counts`, level l is given only the first
        `counts[l]` pictures (none: an empty tensor).
        """
        likelihoods = []
        for index, stack in enumerate(self.stacks):
            part = slice(len(tokens) if counts is None else counts[index])
            if tokens[part].shape[0] == 0:
                likelihoods.append(torch.empty(0, device=tokens.device))
                continue
            logits = stack(tokens[part, : index + 1], label[part])  # (B, N, V)
            wanted = tokens[part, index].flatten(1)  # (B, N)
            likelihoods.append(-F.cross_entropy(logits.float().transpose(1, 2), wanted, reduction="none"))
        return likelihoods
