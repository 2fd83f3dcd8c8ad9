"""Train the critic of a GPT: a small network that classifies color maps as photos or drawn ones.

python -m prior train-critic --images flowers/ --prior runs/gpt

Sampling draws several color maps for each picture and keeps the one that looks most like a photo's (discriminator
rejection sampling, Azadi et al., 2018, with the number of draws fixed).
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from cst.artifact import replacing
from cst.photos import Photos, find_photos, split
from prior.config import COARSE
from prior.models.color_maps import nearest_color
from prior.models.critic import Critic
from prior.onnx_runtime import CRITIC, OnnxPrior
from prior.protocol import SampleRequest
from prior.sampler import DEFAULTS
from prior.sampling import sample
from prior.torch_runtime import CRITIC_WEIGHTS, save_weights
from prior.training.export import B, to_onnx

STEPS, BATCH, LEARNING_RATE = 1200, 64, 1e-3
DRAWN_AT_ONCE = 64


def photo_maps(photos: Photos, grid: tuple[int, int], centroids: Tensor, rng: np.random.Generator) -> Tensor:
    """A color map of every readable photo, of a square that covers most of it: (B, h, w, 3)."""
    maps = []
    for photo in tqdm(photos, unit="photo", leave=False):
        height, width = photo.shape[:2]
        side = round(min(height, width) * rng.uniform(0.85, 1))
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        box = (left, top, left + side, top + side)
        maps.append(np.asarray(Image.fromarray(photo).resize(grid[::-1], Image.Resampling.BOX, box=box), np.float32))
    return centroids[nearest_color(torch.from_numpy(np.stack(maps)) / 255, centroids)]


def drawn_maps(prior: OnnxPrior, labels: np.ndarray, seed: int) -> Tensor:
    """A color map for each class, drawn with the default settings but a single candidate: (B, h, w, 3)."""
    single = dataclasses.replace(DEFAULTS["gpt"], candidates=1)
    maps = []
    for start in tqdm(range(0, len(labels), DRAWN_AT_ONCE), unit="batch", leave=False):
        label = labels[start : start + DRAWN_AT_ONCE]
        for step in sample(prior, SampleRequest.of_classes(prior, label, single, seed + start)):
            if step.written[COARSE[-1]] == 1:
                break
        assert prior.colors is not None
        maps.append(prior.colors[step.colors[:, ::2, ::2]])
    return torch.from_numpy(np.concatenate(maps))


def jitter(maps: Tensor) -> Tensor:
    """Mirror half of (B, h, w, 3) maps, and change saturation, contrast, brightness and the order of the channels.

    The critic then judges where colors lie, not which ones they are. Without this it prefers gray pictures.
    """
    b = len(maps)
    maps = torch.where(torch.rand(b, 1, 1, 1) < 0.5, maps.flip(2), maps)
    order = torch.rand(b, 3).argsort(1)[:, None, None].expand(maps.shape)
    maps = maps.gather(3, order)
    gray = maps.mean(3, keepdim=True)
    saturation, contrast, brightness = (torch.rand(3, b, 1, 1, 1) * 2 - 1).unbind()
    maps = gray + (maps - gray) * (0.8 + 0.6 * saturation)
    return 0.5 + (maps - 0.5) * (1 + 0.4 * contrast) + 0.15 * brightness + torch.randn_like(maps) * 0.02


def train(real: Tensor, drawn: Tensor, *, steps: int = STEPS, seed: int = 0) -> Critic:
    """Fit to (B, h, w, 3) maps of photos and drawn ones."""
    torch.manual_seed(seed)
    critic = Critic((real.shape[1], real.shape[2])).train()
    optimizer = torch.optim.AdamW(critic.parameters(), LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    targets = torch.cat([torch.ones(BATCH, 1), torch.zeros(BATCH, 1)])
    for _ in tqdm(range(steps), unit="step", leave=False):
        maps = torch.cat([each[torch.randint(len(each), (BATCH,))] for each in (real, drawn)])
        losses = [F.binary_cross_entropy_with_logits(scores, targets) for scores in critic.each(jitter(maps))]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return critic.eval()


@torch.no_grad()
def accuracy(critic: Critic, real: Tensor, drawn: Tensor) -> float:
    """Balanced accuracy, in [0, 1]."""
    return float(((critic(real) > 0).float().mean() + (critic(drawn) <= 0).float().mean()) / 2)


def export(critic: Critic, example: Tensor, folder: Path) -> None:
    """Write the network beside its prior. example: (2, h, w, 3)."""
    model = to_onnx((critic, {"colors": example}, ["scores"], {"colors": {0: B}}))
    with replacing(folder / CRITIC) as part:
        onnx.save(model, part)
    save_weights(critic, folder / CRITIC_WEIGHTS)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior train-critic", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips")
    parser.add_argument("--prior", type=Path, required=True, help="folder of an exported GPT; the critic goes there")
    parser.add_argument("--drawn", type=int, default=4096, help="color maps to draw (default 4096)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds, to see that everything works")
    flags = parser.parse_args(arguments)
    prior = OnnxPrior(flags.prior)
    if not prior.drafts:
        raise ValueError(f"'{flags.prior}' is a {prior.config.kind}; accepted: a GPT")
    if flags.drawn < 16:
        raise ValueError(f"{flags.drawn} color maps to draw; accepted: at least 16")
    rng, centroids = np.random.default_rng(flags.seed), torch.from_numpy(prior.colors)
    training, held_out = (
        [entry for entry in entries if entry.label in prior.classes] for entries in split(find_photos(flags.images))
    )
    if not training or not held_out:
        known = ", ".join(prior.classes[:3])
        raise ValueError(f"no photos of a class that the prior knows; accepted: folders named {known}, ...")
    labels = np.array(
        [
            prior.classes.index(training[i].label)
            for i in rng.integers(len(training), size=64 if flags.smoke else flags.drawn)
        ]
    )
    drawn = drawn_maps(prior, labels, flags.seed)
    real, unseen = (
        photo_maps(Photos(entries, shortest=64), prior.sketch_grid, centroids, rng) for entries in (training, held_out)
    )
    fresh = max(1, len(drawn) // 8)
    critic = train(real, drawn[fresh:], steps=10 if flags.smoke else STEPS, seed=flags.seed)
    print(f"accuracy on unseen maps: {accuracy(critic, unseen, drawn[:fresh]):.1%}")
    export(critic, real[:2], flags.prior)
    prior.config.with_files(flags.prior, CRITIC, CRITIC_WEIGHTS).save(flags.prior)
