"""VQ-VAE (van den Oord et al., 2017): of linear patches, and of strided convolutions."""

import torch.nn.functional as F
from torch import Tensor, nn

from cst.learned.config import LearnedConfig

CHANNELS = (32, 64, 128, 256, 256)


class LinearEncoder(nn.Module):
    """One matrix per patch, ReLU, and one more: (B, 3, H, W) -> (B, D, h, w)."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.embed = nn.Conv2d(3, config.width, config.factor, stride=config.factor)
        self.out = nn.Conv2d(config.width, config.code_width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(F.relu(self.embed(images)))


class LinearDecoder(nn.Module):
    """The mirror image of `LinearEncoder`."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.embed = nn.Conv2d(config.code_width, config.width, 1)
        self.out = nn.ConvTranspose2d(config.width, 3, config.factor, stride=config.factor)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(F.relu(self.embed(z)))


class StridedEncoder(nn.Module):
    """4x4 convolutions of stride 2, BatchNorm and ReLU on all but the last: (B, 3, H, W) -> (B, D, h, w)."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        widths = strided_channels(config.factor)
        layers: list[nn.Module] = []
        for index, (fan_in, fan_out) in enumerate(zip((3, *widths), widths, strict=False)):
            layers.append(nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(fan_out), nn.ReLU()] if index < len(widths) - 1 else [nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], config.code_width, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class StridedDecoder(nn.Module):
    """The mirror image of `StridedEncoder`, with a sigmoid at the end, here scaled to [-1, 1]."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        widths = strided_channels(config.factor)[::-1]
        layers: list[nn.Module] = [nn.Conv2d(config.code_width, widths[0], 1), nn.ReLU()]
        for index, (fan_in, fan_out) in enumerate(zip(widths, (*widths[1:], 3), strict=True)):
            layers.append(nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(fan_out), nn.ReLU()] if index < len(widths) - 1 else [nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z) * 2 - 1


def strided_channels(factor: int) -> tuple[int, ...]:
    """The channels after each halving, down to 1 / factor."""
    return CHANNELS[: factor.bit_length() - 1]
