"""Measure a network on whole held-out photos."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from cst.images import pad_to_multiple, to_float, to_image
from cst.metrics import psnr
from cst.photos import Entry, Photos
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.rendernet import RenderNet
from cst.tokenizer.torch_runtime import TorchEncoder


class Validation:
    """Photos, their tokens and centroid pictures, computed once for all calls of `measure`."""

    def __init__(self, entries: list[Entry], codebooks: Codebooks, *, limit: int, beam: int, device: torch.device):
        photos = Photos(entries, shortest=256)
        self.originals = [to_float(Image.fromarray(photo)) for _, photo in zip(range(limit), photos, strict=False)]
        if not self.originals:
            raise ValueError("none of the held-out photos can be read; check the --images")
        encoder, self.device = TorchEncoder(codebooks, device), device
        padded = [torch.from_numpy(pad_to_multiple(image, codebooks.patch))[None] for image in self.originals]
        self.tokens = [encoder(image.to(device), beam=beam) for image in padded]
        pictures = [codebooks.centroid_picture(tokens.cpu().numpy()) for tokens in self.tokens]
        self.centroids = [self._crop(picture, i) for i, picture in enumerate(pictures)]
        self.centroid_psnr = float(np.mean(list(map(psnr, self.centroids, self.originals))))

    def _crop(self, picture: np.ndarray, index: int) -> np.ndarray:
        height, width = self.originals[index].shape[1:]
        return picture[0, :, :height, :width]

    @torch.no_grad()
    def measure(self, net: RenderNet, accelerator: Accelerator, sheet: Path) -> float:
        """The mean PSNR in dB; saves a sheet of original, centroid and rendered pictures."""
        rows, values = [], []
        net.eval()
        for index, tokens in enumerate(self.tokens):
            with accelerator.autocast():
                picture = net(tokens)
            picture = self._crop(picture.float().clamp(0, 1).cpu().numpy(), index)
            values.append(psnr(picture, self.originals[index]))
            if index < 6:
                rows.append(np.concatenate([self.originals[index], self.centroids[index], picture], axis=2))
        save_rows(rows, sheet)
        return float(np.mean(values))


def save_rows(rows: list[np.ndarray], path: Path) -> None:
    """Save (3, H, W) float32 rows of pictures, one below the other, as one picture."""
    height, width = sum(row.shape[1] for row in rows), max(row.shape[2] for row in rows)
    page, top = Image.new("RGB", (width, height), "white"), 0
    for row in rows:
        page.paste(to_image(row), (0, top))
        top += row.shape[1]
    page.save(path)
