"""A learned tokenizer as one network: encoder, quantizer, decoder."""

from collections.abc import Callable

from torch import Tensor, nn

from cst.learned.config import LearnedConfig
from cst.learned.conv_autoencoder import ConvDecoder, ConvEncoder
from cst.learned.quantize import Quantizer
from cst.learned.vit_vqgan import ViTDecoder, ViTEncoder
from cst.learned.vq_vae import LinearDecoder, LinearEncoder, StridedDecoder, StridedEncoder

# Encoders map pictures in [-1, 1] to vectors, decoders map them back.
NETWORKS: dict[str, Callable[[LearnedConfig], tuple[nn.Module, nn.Module]]] = {
    "linear": lambda config: (LinearEncoder(config), LinearDecoder(config)),
    "strided": lambda config: (StridedEncoder(config), StridedDecoder(config)),
    "vit": lambda config: (ViTEncoder(config), ViTDecoder(config)),
    "residual": lambda config: (ConvEncoder(config), ConvDecoder(config)),
    "modulated": lambda config: (ConvEncoder(config), ConvDecoder(config, modulated=True)),
}


class LearnedNet(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] to codes (B, L, h, w) and back. Raises ValueError for an unknown kind."""

    def __init__(self, config: LearnedConfig):
        super().__init__()
        if config.kind not in NETWORKS:
            raise ValueError(f"a network of kind '{config.kind}'; accepted: {', '.join(NETWORKS)}")
        self.config = config
        self.encoder, self.decoder = NETWORKS[config.kind](config)
        self.quantizer = Quantizer(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """-> reconstructions, not clipped, and the quantizer's loss, a scalar."""
        z, loss = self.quantizer(self.encoder(images * 2 - 1))
        return (self.decoder(z) + 1) / 2, loss

    def encode(self, images: Tensor) -> Tensor:
        """-> (B, L, h, w) int64."""
        return self.quantizer.encode(self.encoder(images * 2 - 1))

    def decode(self, codes: Tensor) -> Tensor:
        """(B, L, h, w) int -> (B, 3, H, W) float32 in [0, 1]."""
        return ((self.decoder(self.quantizer.look_up(codes)) + 1) / 2).clamp(0, 1)
