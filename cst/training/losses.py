"""Training losses of RenderNet, weighted by `LossConfig`."""

import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F

from cst.metrics import MS_SSIM_WEIGHTS
from cst.training.config import LossConfig


class Discriminator(nn.Module):
    """Patch discriminator (Isola et al., 2017, section 3.2.2): (B, 3, H, W) -> (B, 1, H/8, W/8) scores."""

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


def ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Multi-scale structural similarity of (B, 3, H, W) images in [0, 1], a scalar; as `cst.metrics.ms_ssim`."""
    scales = sum(min(x.shape[2:]) // 2**scale >= 11 for scale in range(len(MS_SSIM_WEIGHTS)))
    weights = torch.tensor(MS_SSIM_WEIGHTS[:scales], device=x.device)
    window = torch.exp(-(torch.arange(-5, 6, device=x.device) ** 2) / (2 * 1.5**2))
    window = (window / window.sum()).expand(3, 1, 1, 11)

    def blur(z: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(z, window, groups=3), window.transpose(2, 3), groups=3)

    terms = []
    for scale in range(scales):
        mean_x, mean_y = blur(x), blur(y)
        var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
        term = (2 * (blur(x * y) - mean_x * mean_y) + 0.03**2) / (var_x + var_y + 0.03**2)
        if scale == scales - 1:
            term = term * (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        terms.append(term.mean((1, 2, 3)).clamp_min(1e-4))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return torch.stack(terms, 1).pow(weights / weights.sum()).prod(1).mean()


def frequency(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Focal frequency loss (Jiang et al., 2021, eq. 8, alpha = 1): spectral error, worst frequencies weighted up."""
    gap = torch.fft.rfft2(x, norm="ortho") - torch.fft.rfft2(y, norm="ortho")
    distance = gap.real.square() + gap.imag.square()
    weight = distance.detach().sqrt()
    return (distance * weight / weight.amax((2, 3), keepdim=True).clamp_min(1e-12)).mean()


def painting_loss(
    picture: torch.Tensor,
    original: torch.Tensor,
    overflow: torch.Tensor,
    config: LossConfig,
    discriminator: nn.Module | None = None,
) -> torch.Tensor:
    """The weighted sum that RenderNet lowers, a scalar. picture, original: (B, 3, H, W) float32."""
    loss = config.overflow * overflow
    if config.l1:
        loss = loss + config.l1 * F.l1_loss(picture, original)
    if config.l2:
        loss = loss + config.l2 * F.mse_loss(picture, original)
    if config.ms_ssim:
        loss = loss + config.ms_ssim * (1 - ms_ssim(picture.clamp(0, 1), original))
    if config.frequency:
        loss = loss + config.frequency * frequency(picture, original)
    if discriminator is not None:
        loss = loss - config.adversarial * discriminator(picture).mean()
    return loss


def discriminator_loss(discriminator: nn.Module, picture: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Hinge loss of the discriminator (Lim and Ye, 2017), a scalar."""
    return F.relu(1 - discriminator(original)).mean() + F.relu(1 + discriminator(picture.detach())).mean()
