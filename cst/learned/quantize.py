"""The quantizer of all learned tokenizers: nearest codes, in groups and on residuals, and how the codebook learns."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cst.learned.config import LearnedConfig

COMMITMENT = 0.25  # beta of van den Oord et al. (2017), section 3.2
COUNT_DECAY = 0.99  # of codebooks trained by gradients
UNUSED = 0.02  # uses per step, averaged over about a hundred steps, below which a code is replaced
LLOYD_STEPS = 10


class Quantizer(nn.Module):
    """Replace vectors by the nearest codes of one codebook.

    groups: each vector is cut into equal parts (MoVQ: Zheng et al., 2022, section 3.2). depth: the codes of a part are
    found on what those before leave (RQ-VAE: Lee et al., 2022, section 3.1). The codebook is trained by gradients (van
    den Oord et al., 2017, equation 3) or as a moving average (appendix A.1 there). `vector-quantize-pytorch` has all of
    these, but starts its K-means with the first batch, and has no graph to export.
    """

    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.config = config
        width = config.code_width // config.groups
        self.table = nn.Parameter(torch.randn(config.codes, width) / width**0.5, requires_grad=not config.ema)
        self.register_buffer("counts", torch.ones(config.codes))  # moving average of the uses of each code per step
        self.register_buffer("sums", self.table.detach().clone())  # and of the sums of the vectors it replaced
        self.register_buffer("started", torch.tensor(False))

    @property
    def codebook(self) -> Tensor:
        """(codes, width of a group)."""
        return F.normalize(self.table, dim=1) if self.config.normalize else self.table

    def rows(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B * groups * h * w, D / groups) float32."""
        rows = z.float().unflatten(1, (self.config.groups, -1)).movedim(2, -1).flatten(0, 3)
        return F.normalize(rows, dim=1) if self.config.normalize else rows

    def encode(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, L, h, w) int64 codes; level = group * depth + depth of the residual."""
        codes = []
        with torch.autocast(z.device.type, enabled=False):
            rest = self.rows(z)
            for _ in range(self.config.depth):
                codes.append(nearest(rest, self.codebook))
                rest = rest - self.codebook[codes[-1]]
        b, _, h, w = z.shape
        return torch.stack(codes, 1).view(b, self.config.groups, h, w, -1).movedim(-1, 2).flatten(1, 2)

    def look_up(self, codes: Tensor) -> Tensor:
        """(B, L, h, w) int -> (B, D, h, w) float32."""
        vectors = self.codebook[codes].unflatten(1, (self.config.groups, -1)).sum(2)  # (B, groups, h, w, D / groups)
        return vectors.movedim(-1, 2).flatten(1, 2)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, h, w) -> the same, quantized, with gradients passed straight through; and the loss.

        Each partial sum of residual codes is committed to (Lee et al., 2022, equation 9). Before `start` the vectors
        pass unchanged.
        """
        with torch.autocast(z.device.type, enabled=False):
            rows = self.rows(z)
            if not self.started:
                return self._join(rows, z), rows.new_zeros(())
            total, loss, seen = torch.zeros_like(rows), rows.new_zeros(()), []
            for _ in range(self.config.depth):
                rest = (rows - total).detach()
                codes = nearest(rest, self.codebook.detach())
                seen.append((rest, codes))
                total = total + self.codebook[codes]
                loss = loss + COMMITMENT * F.mse_loss(rows, total.detach())
                if not self.config.ema:
                    loss = loss + F.mse_loss(total, rows.detach())
            if self.training:
                self._observe(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
            return self._join(rows + (total - rows).detach(), z), loss / self.config.depth

    def _join(self, rows: Tensor, z: Tensor) -> Tensor:
        b, _, h, w = z.shape
        return rows.view(b, self.config.groups, h, w, -1).movedim(-1, 2).flatten(1, 2)

    @torch.no_grad()
    def _observe(self, rows: Tensor, codes: Tensor) -> None:
        """Count the uses of each code; without gradients, also move the codes to the mean of what they replace."""
        uses = torch.bincount(codes, minlength=len(self.table)).float()
        self.counts.lerp_(uses, 1 - (self.config.ema or COUNT_DECAY))
        if self.config.ema:
            sums = torch.zeros_like(self.sums).index_add_(0, codes, rows)
            self.sums.lerp_(sums, 1 - self.config.ema)
            seen = self.counts > 1e-3
            self.table[seen] = self.sums[seen] / self.counts[seen, None]

    @torch.no_grad()
    def start(self, z: Tensor) -> None:
        """Fit the codebook to encoded pictures (B, D, h, w) by K-means; an equal share of the codes per residual."""
        rest = self.rows(z)
        share = len(self.table) // self.config.depth
        for index in range(self.config.depth):
            stop = len(self.table) if index + 1 == self.config.depth else (index + 1) * share
            fitted = k_means(rest, stop - index * share)
            self.table[index * share : stop] = fitted
            rest = rest - fitted[nearest(rest, fitted)]
        self.sums.copy_(self.table)
        self.counts.fill_(1.0)
        self.started.fill_(True)

    @torch.no_grad()
    def restart_unused(self, z: Tensor) -> Tensor:
        """Replace codes that are hardly used by vectors of a batch (Lee et al., 2022, section 3.1) -> which, (n,)."""
        rest = self.rows(z)
        pool = [rest]
        for _ in range(self.config.depth - 1):
            rest = rest - self.codebook[nearest(rest, self.codebook)]
            pool.append(rest)
        unused = (self.counts < UNUSED).nonzero()[:, 0]
        vectors = torch.cat(pool)
        self.table[unused] = vectors[torch.randint(len(vectors), (len(unused),), device=z.device)]
        self.sums[unused], self.counts[unused] = self.table[unused], 1.0
        return unused


def nearest(rows: Tensor, table: Tensor) -> Tensor:
    """(N, D) float32 vectors, (K, D) codes -> (N,) int64: the code at the smallest Euclidean distance."""
    return torch.addmm(-table.square().sum(1) / 2, rows, table.T).argmax(1)


def k_means(rows: Tensor, codes: int) -> Tensor:
    """(N, D) vectors -> (codes, D) centroids by Lloyd's algorithm; a centroid without vectors takes one of them."""
    table = rows[torch.randint(len(rows), (codes,), device=rows.device)].clone()
    for _ in range(LLOYD_STEPS):
        found = nearest(rows, table)
        counts = torch.bincount(found, minlength=codes)
        sums = torch.zeros_like(table).index_add_(0, found, rows)
        table = sums / counts.clamp_min(1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        table[empty] = rows[torch.randint(len(rows), (len(empty),), device=rows.device)]
    return table
