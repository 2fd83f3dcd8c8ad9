"""A linear probe: how well a class can be read from each layer of the GPT's network of 16x16 colors.

python -m prior probe --images flowers/
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from cst.artifact import replacing
from cst.images import center_crop
from cst.photos import Entry, Photos, find_photos, split
from prior.config import CONTEXTS, HALF, PRETRAINED
from prior.models.color_maps import color_maps, nearest_color
from prior.models.gpt import AUGMENTATIONS, GPT, Detail
from prior.torch_runtime import load_prior

PART = HALF[0]  # the map of 16x16 colors
BATCH = 64
PENALTY = 0.1  # of scikit-learn's C, on standardized features


def color_grids(entries: Sequence[Entry], side: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle squares of the readable photos, averaged to side x side cells -> (B, side, side, 3) uint8, classes."""
    photos, grids, labels = Photos(entries, shortest=256, memory_gib=0), [], []
    for index, entry in enumerate(tqdm(entries, desc="photos", unit="photo", leave=False)):
        if (photo := photos[index]) is not None:
            square = center_crop(Image.fromarray(photo), min(photo.shape[:2]))
            grids.append(np.asarray(square.resize((side, side), Image.Resampling.BOX)))
            labels.append(entry.label)
    if not grids:
        raise ValueError(f"none of {len(entries)} photos can be read; check the --images")
    return np.stack(grids), np.array(labels)


@torch.no_grad()
def layer_features(net: GPT, grids: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Color grids (B, side, side, 3) uint8 -> (features per layer, histograms, maps).

    features: (B, D) float32 each, the mean over all places of the input and of the output of each block, without a
    class. histograms: (B, V), the shares of the color codes. maps: (B, 3 * n * n), the colors of the map.
    """
    part, centroids = net.parts[PART], net.codebooks[0]
    assert isinstance(part, Detail)
    seen: list[torch.Tensor] = []
    hooks = [part.stem.register_forward_hook(lambda _, __, output: seen.append(output.flatten(1, 2).mean(1)))]
    hooks += [block.register_forward_hook(lambda _, __, output: seen.append(output.mean(1))) for block in part.blocks]
    features: list[list[np.ndarray]] = [[] for _ in hooks]
    histograms, maps = [], []
    for start in tqdm(range(0, len(grids), BATCH), desc="features", unit="batch", leave=False):
        values = torch.from_numpy(grids[start : start + BATCH]).float() / 255
        codes = color_maps(nearest_color(values, centroids), centroids)
        label = torch.full((len(values),), net.classes)
        seen.clear()
        context = [codes[name] for name, _ in CONTEXTS[PART]]
        part(codes[PART], context, label, torch.zeros(len(values), AUGMENTATIONS), torch.float32)
        for layer, output in zip(features, seen, strict=True):
            layer.append(output.numpy())
        flat = codes[PART].flatten(1)
        histograms.append(torch.stack([torch.bincount(row, minlength=len(centroids)) for row in flat]).numpy())
        maps.append(centroids[codes[PART]].flatten(1).numpy())
    for hook in hooks:
        hook.remove()
    histogram = np.concatenate(histograms) / flat.shape[1]
    return [np.concatenate(layer) for layer in features], histogram.astype(np.float32), np.concatenate(maps)


def probe(training: np.ndarray, labels: np.ndarray, held_out: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Top-1 and top-5 accuracy on held-out photos of logistic regression on (N, d) features."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = training.mean(0), training.std(0) + 1e-6
    model = LogisticRegression(C=PENALTY, max_iter=200).fit((training - mean) / deviation, labels)
    scores = model.predict_proba((held_out - mean) / deviation)
    hits = model.classes_[np.argsort(-scores, 1, kind="stable")] == truth[:, None]
    return float(hits[:, 0].mean()), float(hits[:, :5].any(1).mean())


def plot(rows: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Accuracy by layer; the last two rows, of the colors themselves, as lines."""
    from matplotlib.figure import Figure

    *layers, histogram, raw = rows
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(layers)), [top1 for _, top1, _ in layers], marker="o", label="mean of the layer's output")
    for (name, top1, _), style in ((histogram, "--"), (raw, ":")):
        axes.axhline(top1, color="gray", linestyle=style, label=name)
    axes.set(xlabel="layer (0: the input)", ylabel="top-1 accuracy", ylim=(0, None))
    axes.legend()
    with replacing(path) as part:
        figure.savefig(part, dpi=120, format="png")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m prior probe", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips")
    parser.add_argument("--prior", type=Path, default=PRETRAINED / "gpt", metavar="DIR", help="default: packaged GPT")
    parser.add_argument("--limit", type=int, default=3000, help="at most this many training photos (default 3000)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the accuracy by layer, as a .png file")
    flags = parser.parse_args(arguments)
    if flags.plot is not None and (flags.plot.suffix.lower() != ".png" or not flags.plot.parent.is_dir()):
        raise ValueError(f"'{flags.plot}' is not a name to write to; accepted: a .png file in a folder that exists")
    net, config = load_prior(flags.prior)
    if not isinstance(net, GPT):
        raise ValueError(f"'{flags.prior}' is a {config.kind}; the probe is of a GPT")
    training, held_out = split(find_photos(flags.images))
    order = np.random.default_rng(0).permutation(len(training))[: flags.limit]
    (grids, labels), (other_grids, truth) = (
        color_grids(photos, config.grid[0]) for photos in ([training[index] for index in order], held_out)
    )
    if len(np.unique(labels)) < 2:
        raise ValueError("the photos are of one class; accepted: at least 2, in folders named after them")
    (layers, *others), (other_layers, *their_others) = (layer_features(net, each) for each in (grids, other_grids))
    names = [f"layer {index}" for index in range(len(layers))]
    names[0] += " (input)"
    rows = []
    for name, ours, theirs in zip(
        [*names, "color histogram", "color map"], [*layers, *others], [*other_layers, *their_others], strict=True
    ):
        rows.append((name, *probe(ours, labels, theirs, truth)))
    if flags.plot is not None:
        plot(rows, flags.plot)
    print("| features | numbers | top-1 | top-5 |\n|---|---:|---:|---:|")
    widths = [array.shape[1] for array in [*layers, *others]]
    for (name, top1, top5), width in zip(rows, widths, strict=True):
        print(f"| {name} | {width} | {top1:.1%} | {top5:.1%} |")
    count = len(np.unique(labels))
    print(f"\n(logistic regression on {len(labels):,} photos of {count} classes; accuracy on {len(truth)} held out)")
