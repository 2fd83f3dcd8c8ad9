"""The critic of a GPT: a small network that classifies coarse color maps as photos or drawn ones."""

import torch
from torch import Tensor, nn

MEMBERS = 3  # networks whose scores are averaged


class Critic(nn.Module):
    """Color maps (B, h, w, 3) float32 in [0, 1] -> (B,): the log-odds of a photo."""

    def __init__(self, grid: tuple[int, int], members: int = MEMBERS):
        """grid: (h, w)."""
        super().__init__()
        cells = -(-grid[0] // 4) * -(-grid[1] // 4)  # after two strides of 2
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(),
                nn.Conv2d(24, 48, 3, padding=1, stride=2), nn.ReLU(),
                nn.Conv2d(48, 64, 3, padding=1, stride=2), nn.ReLU(), nn.Dropout(0.3),
                nn.Flatten(), nn.Linear(64 * cells, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1),
            )
            for _ in range(members)
        )  # fmt: skip

    def forward(self, colors: Tensor) -> Tensor:
        return torch.cat(self.each(colors), 1).mean(1)

    def each(self, colors: Tensor) -> list[Tensor]:
        """(B, 1) of every member."""
        x = colors.movedim(3, 1) * 4 - 2
        return [member(x) for member in self.members]
