"""The GPT prior: causal transformers that write colors of large cells, then a picture of half the size, then all of it.

Two kinds of network share one block (`transformer_block.py`). `Layout` writes the two coarsest color maps as one
sequence with full attention. `Detail` writes one finer map (colors, shapes or textures) with attention to a local
window, so it fits any grid.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cst.tokenizer.protocol import Level
from prior.config import CELLS, CONTEXTS, LAYOUT, LEVEL_OF, GPTConfig
from prior.models.codebook_init import codebook_features
from prior.models.context_window import Window
from prior.models.transformer_block import Block, Dropout, Linear, norm, rotary_angles
from prior.models.typed_modules import module_dict, module_list

TRAINING_SQUARE = 16  # patches; attention is computed in squares of this side in training
AUGMENTATIONS = 12  # numbers that describe how a training picture was augmented; all zero for none


class InputEmbedding(nn.Module):
    """The input of the transformer at each position: its surroundings as one vector.

    The window on the token's own map is causal (type A: van den Oord et al., 2016, section 3.1). The windows on coarser
    maps, and on coarser levels of the same grid, are centered.

    contexts: (table, factor) of each coarser map: the index of its embedding table in `sizes`, and how many times finer
    the token's own grid is. sizes: vocabulary of each table; the last table is that of the token's own level.
    """

    def __init__(self, config: GPTConfig, sizes: Sequence[int], contexts: Sequence[tuple[int, int]], classes: int):
        super().__init__()
        self.contexts = tuple(contexts)
        self.own_window, self.context_window = Window(config.window, causal=True), Window(config.context, causal=False)
        self.tables = module_list(nn.Embedding(size + 1, config.embedding) for size in sizes)  # last: outside
        self.own = Linear(len(self.own_window) * config.embedding, config.width)
        self.context_mix = module_list(
            Linear(len(self.context_window) * config.embedding, config.width) for _ in contexts
        )
        self.child = nn.Embedding(16, config.width)  # place within the 4x4 block of a map four times coarser
        self.label = nn.Embedding(classes + 1, config.width)  # last: no class
        self.augmentation = Linear(AUGMENTATIONS, config.width)
        self.dropout = Dropout(config.dropout)
        for table in (self.child, self.label):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.zeros_(self.augmentation.weight)

    def embed_window(
        self, table: nn.Embedding, tokens: Tensor, window: Window, mix: Linear, dtype: torch.dtype
    ) -> Tensor:
        """(B, h, w) tokens -> (B, h, w, D): a linear map of the embeddings in the window of each place."""
        border = F.pad(tokens, [window.reach] * 4, value=table.num_embeddings - 1)
        return mix(torch.cat(list(window.shifts(table(border).to(dtype))), -1))

    def forward(
        self, tokens: Tensor, context_maps: Sequence[Tensor], label: Tensor, augmentation: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """(B, h, w) tokens, a map per context, (B,) classes, (B, AUGMENTATIONS) augmentations -> (B, h, w, D)."""
        h, w = tokens.shape[1:]
        x = self.embed_window(self.tables[-1], tokens, self.own_window, self.own, dtype)
        for (table, factor), mix, coarse in zip(self.contexts, self.context_mix, context_maps, strict=True):
            seen = self.embed_window(self.tables[table], coarse, self.context_window, mix, dtype)
            x = x + seen.repeat_interleave(factor, 1).repeat_interleave(factor, 2) if factor > 1 else x + seen
        child = child_index(torch.arange(h * w, device=tokens.device), w).view(h, w)
        x = x + self.child(child).to(dtype)
        condition = self.label(label).to(dtype) + self.augmentation(augmentation.to(dtype))
        return self.dropout(x + condition[:, None, None])

    def step(self, neighbors: Sequence[Tensor], child: Tensor, label: Tensor) -> Tensor:
        """`forward` at n places, unaugmented: (n, places) tokens of the own window and of each context -> (n, D)."""
        x = self.own(self.tables[-1](neighbors[0]).flatten(1))
        for (table, _), mix, codes in zip(self.contexts, self.context_mix, neighbors[1:], strict=True):
            x = x + mix(self.tables[table](codes).flatten(1))
        return x + self.child(child) + self.label(label)


class Layout(nn.Module):
    """p(the two coarsest color maps | class), as one sequence of tokens with full causal attention.

    For a grid of 32x32 patches these are maps of 4x4 and 8x8: 80 tokens.
    """

    angles: Tensor

    def __init__(self, config: GPTConfig, colors: int, grid: tuple[int, int], classes: int):
        super().__init__()
        self.stems = module_list(
            InputEmbedding(config, [colors], [(0, 2)] * (name == LAYOUT[1]), classes) for name in LAYOUT
        )
        sizes = [(grid[0] // CELLS[name], grid[1] // CELLS[name]) for name in LAYOUT]
        self.coarsest, self.columns = sizes[0][0] * sizes[0][1], sizes[1][1]
        self.place = nn.Parameter(torch.randn(sum(h * w for h, w in sizes), config.width) * 0.02)
        self.blocks = module_list(
            Block(config.width, config.hidden, config.heads_of("layout"), config.dropout)
            for _ in range(config.layers_of("layout"))
        )
        self.head = Linear(config.width, colors)
        scales = [CELLS[name] / CELLS[LAYOUT[1]] for name in LAYOUT]
        places = [torch.cartesian_prod(torch.arange(h), torch.arange(w)).view(-1, 2) for h, w in sizes]
        centers = torch.cat([(place + 0.5) * scale for place, scale in zip(places, scales, strict=True)])
        angles = rotary_angles(centers[:, 0], centers[:, 1], config.width // config.heads_of("layout"))
        self.register_buffer("angles", angles, persistent=False)

    def forward(
        self,
        maps: Sequence[Tensor],
        context_maps: Sequence[Tensor],
        label: Tensor,
        augmentation: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        """The two color maps (B, h, w), the first again as the context of the second -> (B, T, V) logits."""
        x = torch.cat(
            [
                stem(tokens, [context_maps[0]] * bool(stem.contexts), label, augmentation, dtype).flatten(1, 2)
                for stem, tokens in zip(self.stems, maps, strict=True)
            ],
            1,
        )
        x = first = x + self.place.to(dtype)
        cos, sin = self.angles.cos().to(dtype), self.angles.sin().to(dtype)
        mask = torch.full((x.shape[1],) * 2, -torch.inf, dtype=dtype, device=x.device).triu(1)
        for block in self.blocks:
            x = block(x, first, cos, sin, mask)
        return self.head(norm(x))

    def step(
        self,
        neighbors: Sequence[Tensor],
        place: Tensor,
        coordinates: Tensor,
        label: Tensor,
        past: Tensor,
        absent: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """`forward` for one token; see `Detail.step`. place: (n,) positions in the sequence."""
        later = (place - self.coarsest).clamp_min(0)
        first = place.clamp_max(self.coarsest - 1)
        coarse = self.stems[0].step(neighbors[:1], child_index(first, self.columns // 2), label)
        fine = self.stems[1].step(neighbors, child_index(later, self.columns), label)
        x = torch.where(place[:, None] < self.coarsest, coarse, fine) + self.place[place]
        x, present = step_blocks(self.blocks, x, coordinates, past, absent, keys, values)
        return self.head(norm(x)).log_softmax(-1), present


class Detail(nn.Module):
    """p(one map of a grid | coarser maps and levels, class): each token attends to the window before it."""

    def __init__(
        self, config: GPTConfig, name: str, sizes: Sequence[int], contexts: Sequence[tuple[int, int]], classes: int
    ):
        super().__init__()
        heads = config.heads_of(name)
        self.stem = InputEmbedding(config, sizes, contexts, classes)
        self.reach, self.head_dim = config.window // 2, config.width // heads
        self.blocks = module_list(
            Block(config.width, config.hidden, heads, config.dropout) for _ in range(config.layers_of(name))
        )
        self.head = Linear(config.width, sizes[-1])

    def forward(
        self, tokens: Tensor, context_maps: Sequence[Tensor], label: Tensor, augmentation: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """(B, h, w) tokens and a map per context -> (B, h, w, D) features, the input of `head`.

        In training the grid is cut into squares of at most 16x16, across which attention does not reach, for speed.
        """
        x = self.stem(tokens, context_maps, label, augmentation, dtype)
        h, w = (square_side(side) if self.training else side for side in tokens.shape[1:])
        x = x.unflatten(2, (-1, w)).unflatten(1, (-1, h))  # (B, H, h, W, w, D)
        squares = x.shape
        x = first = x.transpose(2, 3).flatten(0, 2).flatten(1, 2)  # (B H W, h w, D)
        places = torch.arange(h * w, device=x.device)
        rows, columns = places // w, places % w
        angles = rotary_angles(rows, columns, self.head_dim)
        down, right = rows[:, None] - rows, columns[:, None] - columns
        seen = (down * w + right >= 0) & (down <= self.reach) & (right.abs() <= self.reach)
        mask = torch.zeros(seen.shape, dtype=dtype, device=x.device).masked_fill(~seen, -torch.inf)
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        for block in self.blocks:
            x = block(x, first, cos, sin, mask)
        x = x.unflatten(1, (h, w)).unflatten(0, (squares[0], squares[1], squares[3])).transpose(2, 3)
        return norm(x.flatten(1, 2).flatten(2, 3))

    def step(
        self,
        neighbors: Sequence[Tensor],
        place: Tensor,
        coordinates: Tensor,
        label: Tensor,
        past: Tensor,
        absent: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """`forward` at n places, given the keys and values of earlier tokens; no augmentation.

        neighbors: (n, places) int64 codes of the own window and of each context's. place: (n,) int64, in the 4x4 block.
        coordinates: (n, 2) float32 row and column. label: (n,) int64. keys, values: per layer (heads, M, d)
        float32, the cache. past: (n, P) int64, the cache entries that each token attends to, masked where `absent`,
        (n, P) bool. Returns (n, V) log-probabilities, and (2, layers, heads, n, d), the new keys and values.
        """
        x = self.stem.step(neighbors, place, label)
        x, present = step_blocks(self.blocks, x, coordinates, past, absent, keys, values)
        return self.head(norm(x)).log_softmax(-1), present


def square_side(side: int) -> int:
    """The largest divisor of the side of a grid that is at most `TRAINING_SQUARE`."""
    return max(divisor for divisor in range(1, TRAINING_SQUARE + 1) if side % divisor == 0)


def child_index(place: Tensor, columns: int) -> Tensor:
    """Raster positions -> the place of each within its 4x4 block, 0 to 15."""
    return place // columns % 4 * 4 + place % columns % 4


def step_blocks(
    blocks: Sequence[Block],
    x: Tensor,
    coordinates: Tensor,
    past: Tensor,
    absent: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """(n, D) -> (n, D) and the new keys and values; see `Detail.step`."""
    angles = rotary_angles(coordinates[:, 0], coordinates[:, 1], keys[0].shape[-1])  # (n, d / 2)
    cos, sin, first = angles.cos(), angles.sin(), x
    new_keys, new_values = [], []
    for block, key, value in zip(blocks, keys, values, strict=True):
        # Not key[:, past]: its export transposes the whole cache.
        key, value = (cache.index_select(1, past.flatten()).unflatten(1, past.shape) for cache in (key, value))
        x, new_key, new_value = block.step(x, first, cos, sin, key, value, absent[:, None])
        new_keys.append(new_key)
        new_values.append(new_value)
    return x, torch.stack([torch.stack(new_keys), torch.stack(new_values)])


def table_levels(name: str) -> list[int]:
    """The levels of the embedding tables of a part, the one of its own tokens last."""
    own = LEVEL_OF.get(name, 0)
    return [*sorted({LEVEL_OF[other] for other, _ in CONTEXTS.get(name, ())} - {own}), own]


class GPT(nn.Module):
    """p(tokens | class), coarse to fine: the coarser color maps, the picture at half its size, then the whole picture.

    The networks share no weights. Each has its own depth, and is trained and sampled without the others.
    """

    def __init__(self, config: GPTConfig, levels: Sequence[Level], patch: int, grid: tuple[int, int], classes: int):
        super().__init__()
        if any(side % CELLS[LAYOUT[0]] for side in grid):
            raise ValueError(f"a grid of {grid[0]}x{grid[1]} patches; accepted: multiples of {CELLS[LAYOUT[0]]}")
        self.config, self.levels, self.grid, self.classes = config, tuple(levels), tuple(grid), classes
        for level, dims in zip(levels, (3, 3 * patch**2, 3 * patch**2), strict=True):
            # The tokenizer's centroids, which define the coarser maps.
            self.register_buffer(f"{level.name}_codebook", torch.zeros(level.size, dims), persistent=False)
        parts: dict[str, Layout | Detail] = {"layout": Layout(config, levels[0].size, grid, classes)}
        for name, contexts in CONTEXTS.items():
            order = table_levels(name)
            tables = [(order.index(LEVEL_OF[other]), factor) for other, factor in contexts]
            parts[name] = Detail(config, name, [levels[index].size for index in order], tables, classes)
        self.parts = module_dict(parts)

    @property
    def codebooks(self) -> tuple[Tensor, ...]:
        """The centroids of each level, (V, 3) or (V, 3 * patch * patch)."""
        return tuple(self.get_buffer(f"{level.name}_codebook") for level in self.levels)

    @torch.no_grad()
    def init_from_codebooks(self, codebooks: Sequence[np.ndarray]) -> None:
        """Start with similar embeddings and head rows for codes with similar centroids."""
        for buffer, codebook in zip(self.codebooks, codebooks, strict=True):
            buffer.copy_(torch.from_numpy(codebook))
        for name, part in self.parts.items():
            stems = part.stems if isinstance(part, Layout) else [part.stem]
            for stem in stems:
                for table, level in zip(stem.tables, table_levels(name), strict=True):
                    centroids = codebooks[level]
                    table.weight[:-1] = codebook_features(centroids, table.embedding_dim)
                    table.weight[-1] = 0
            centroids = codebooks[LEVEL_OF.get(name, 0)]
            part.head.weight.copy_(codebook_features(centroids, part.head.in_features) * 0.05)

    def forward(
        self,
        name: str,
        maps: dict[str, Tensor],
        label: Tensor,
        augmentation: Tensor | None = None,
        *,
        context_maps: dict[str, Tensor] | None = None,
        places: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The natural log of p of the tokens of one part, exact: (B, N) float32.

        maps: (B, h, w) int64 each; see `prior/coarse_maps.py`. label: (B,), a class, or the number of classes for none.
        augmentation: (B, AUGMENTATIONS). context_maps: replaces `maps` as the context. places: of a map other than the
        layout, (n,) flat indices into the B * N tokens; only these are scored, and the result is (n,).
        """
        part, context_maps = self.parts[name], context_maps or maps
        augmentation = (
            torch.zeros(len(label), AUGMENTATIONS, device=label.device) if augmentation is None else augmentation
        )
        if isinstance(part, Layout):
            own = [maps[coarse] for coarse in LAYOUT]
            logits = part(own, [context_maps[LAYOUT[0]]], label, augmentation, dtype).float()
            targets = torch.cat([each.flatten(1) for each in own], 1)
        else:
            x = part(
                maps[name], [context_maps[other] for other, _ in CONTEXTS[name]], label, augmentation, dtype
            ).flatten(1, 2)
            targets = maps[name].flatten(1)
            if places is not None:
                x, targets = x.flatten(0, 1)[places], targets.flatten()[places]
            logits = part.head(x).float()
        scores = -F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
        return scores.view(targets.shape)
