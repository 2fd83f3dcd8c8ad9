"""Training losses of RenderNet, weighted by `LossConfig`."""

import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F

from cst.training.config import LossConfig


class Discriminator(nn.Module):
    """Patch discriminator (Isola et al., 2017, section 3.2.2): (B, 3, H, W) in [0, 1] -> (B, 1, H/8, W/8) scores."""

    def __init__(self, width: int = 64):
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            conv = nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1)
            layers += [nn.utils.parametrizations.spectral_norm(conv), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images * 2 - 1)


def reconstruction_loss(
    picture: torch.Tensor,
    original: torch.Tensor,
    range_penalty: torch.Tensor,
    config: LossConfig,
    discriminator: nn.Module | None = None,
    taught: torch.Tensor | None = None,
) -> torch.Tensor:
    """The weighted sum that RenderNet minimizes, a scalar. picture, original: (B, 3, H, W) float32.

    taught: the picture that a larger network renders from the same tokens (Hinton et al., 2015).
    """
    loss = config.range_penalty * range_penalty
    if config.l1:
        loss = loss + config.l1 * F.l1_loss(picture, original)
    if config.l2:
        loss = loss + config.l2 * F.mse_loss(picture, original)
    if taught is not None:
        loss = loss + config.distill * F.mse_loss(picture, taught)
    if discriminator is not None:
        loss = loss - config.adversarial * discriminator(picture).mean()
    return loss


def discriminator_loss(discriminator: nn.Module, picture: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Hinge loss of the discriminator (Lim and Ye, 2017), a scalar."""
    return F.relu(1 - discriminator(original)).mean() + F.relu(1 + discriminator(picture.detach())).mean()
