"""The convolutional autoencoder of VQGAN (Esser et al., 2021, appendix A), small: of RQ-VAE and of MoVQ."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from cst.learned.config import LearnedConfig

GROUPS = 8  # of GroupNorm


class Norm(nn.Module):
    """GroupNorm; in MoVQ's decoder its scale and bias are computed from the codes at each place.

    F' = phi_g(z) * norm(F) + phi_b(z) (Zheng et al., 2022, equation 6), z enlarged to the size of F by nearest.
    """

    def __init__(self, channels: int, code_width: int = 0):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, affine=not code_width)
        self.scale = nn.Conv2d(code_width, channels, 1) if code_width else None
        self.bias = nn.Conv2d(code_width, channels, 1) if code_width else None
        if self.scale is not None and self.scale.bias is not None:
            nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and the codes (B, D, h, w) -> (B, C, H, W)."""
        x = self.norm(x)
        if self.scale is None or self.bias is None or z is None:
            return x
        times = x.shape[2] // z.shape[2]
        scale, bias = (
            phi(z).repeat_interleave(times, 2).repeat_interleave(times, 3) for phi in (self.scale, self.bias)
        )
        return scale * x + bias


class ResBlock(nn.Module):
    """Twice normalization, SiLU and a 3x3 convolution; added to its input."""

    def __init__(self, channels: int, code_width: int = 0):
        super().__init__()
        self.norm_1, self.norm_2 = (Norm(channels, code_width) for _ in range(2))
        self.conv_1, self.conv_2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        hidden = self.conv_1(F.silu(self.norm_1(x, z)))
        return x + self.conv_2(F.silu(self.norm_2(hidden, z)))


class ConvEncoder(nn.Module):
    """Halve the sides by 4x4 convolutions, with a `ResBlock` after each: (B, 3, H, W) -> (B, D, h, w)."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        widths = conv_channels(config)
        self.downs = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1)
            for fan_in, fan_out in zip((3, *widths), widths, strict=False)
        )
        self.blocks = nn.ModuleList(ResBlock(width) for width in widths)
        self.middle, self.norm = ResBlock(widths[-1]), Norm(widths[-1])
        self.out = nn.Conv2d(widths[-1], config.code_width, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for down, block in zip(self.downs, self.blocks, strict=True):
            x = block(down(x))
        return self.out(F.silu(self.norm(self.middle(x))))


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`; modulated: each normalization is conditioned on the codes, as in MoVQ."""

    def __init__(self, config: LearnedConfig, *, modulated: bool = False):
        super().__init__()
        widths, code_width = conv_channels(config)[::-1], config.code_width if modulated else 0
        self.embed = nn.Conv2d(config.code_width, widths[0], 3, padding=1)
        self.middle = ResBlock(widths[0], code_width)
        self.blocks = nn.ModuleList(ResBlock(width, code_width) for width in widths)
        self.ups = nn.ModuleList(
            nn.Conv2d(fan_in, 4 * fan_out, 3, padding=1) for fan_in, fan_out in itertools.pairwise(widths)
        )
        self.norm = Norm(widths[-1], code_width)
        self.out = nn.Conv2d(widths[-1], 4 * 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.middle(self.embed(z), z)
        for index, block in enumerate(self.blocks):
            x = block(x, z)
            if index < len(self.ups):
                x = F.pixel_shuffle(self.ups[index](x), 2)
        return F.pixel_shuffle(self.out(F.silu(self.norm(x, z))), 2)


def conv_channels(config: LearnedConfig) -> tuple[int, ...]:
    """The channels after each halving, down to 1 / factor; each twice those before."""
    halvings = config.factor.bit_length() - 1
    return tuple(config.width >> (halvings - 1 - index) for index in range(halvings))
