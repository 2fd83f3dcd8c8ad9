"""Fit the three codebooks to a folder of photos.

python -m cst fit --images photos/ --out runs/codebooks
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from cst.artifact import replacing
from cst.flags import add_dataclass_flags, dataclass_from_flags
from cst.images import pad_to_multiple, to_float
from cst.metrics import psnr, usage
from cst.photos import Photos, find_photos, split
from cst.tokenizer.codebooks import LEVEL_NAMES, Codebooks, to_patches
from cst.tokenizer.config import TokenizerConfig
from cst.tokenizer.nearest import NearestNeighbors
from cst.training.config import FIT_SMOKE, FitConfig
from cst.training.run_settings import check_settings


def stream_patches(photos: Photos, config: FitConfig, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield patches of photos at random offsets and scales, (config.chunk, 192) float32 in [0, 1], without end."""
    pending: list[np.ndarray] = []
    size = 0
    while True:
        any_readable = False
        for index in rng.permutation(len(photos)):
            photo = photos[index]
            if photo is None:
                continue
            any_readable = True
            scale = rng.choice(config.scales)
            width, height = (max(config.patch, round(side * scale)) for side in photo.shape[1::-1])
            image = to_float(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
            top, left = (rng.integers(min(config.patch, side - config.patch + 1)) for side in image.shape[1:])
            image = image[:, top:, left:]
            height, width = (side // config.patch * config.patch for side in image.shape[1:])
            patches = to_patches(image[None, :, :height, :width], config.patch).reshape(-1, 3 * config.patch**2)
            pending.append(patches[rng.permutation(len(patches))[: config.patches_per_photo]])
            size += len(pending[-1])
            if size >= config.chunk:
                pool = np.concatenate(pending)
                yield pool[rng.permutation(len(pool))[: config.chunk]]
                pending, size = [], 0
        if not any_readable:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(photos.unreadable.items())[:3])
            raise ValueError(f"none of the {len(photos)} photos can be read ({reasons})")


def residual(patches: np.ndarray, fitted: dict[str, np.ndarray], patch: int) -> np.ndarray:
    """(N, 192) patches -> the input of the level after the `fitted` ones: (N, 3) means or (N, 192) residuals."""
    if "color" not in fitted:
        return patches.reshape(len(patches), 3, -1).mean(2)
    colors = NearestNeighbors(fitted["color"])(patches.reshape(len(patches), 3, -1).mean(2))
    rest = patches - np.repeat(fitted["color"][colors], patch**2, axis=1)
    if "shape" in fitted:
        rest -= fitted["shape"][NearestNeighbors(fitted["shape"])(rest)]
    return rest


def fit_level(name: str, photos: Photos, fitted: dict[str, np.ndarray], config: FitConfig, *, out: Path) -> np.ndarray:
    """Run K-means on one level -> (K, D) float32 centroids. Saves them to `out` after each pass and resumes there."""
    from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus

    codes = getattr(config, name)
    state = out / f"{name}.safetensors"
    saved = load_file(state) if state.exists() else {}
    done, centroids = int(saved.get("passes", 0)), saved.get("centroids")
    level_seed = [config.seed, LEVEL_NAMES.index(name)]
    if centroids is None:
        rng = np.random.default_rng(level_seed)
        chunks = stream_patches(photos, config, rng)
        pool = np.concatenate(
            [residual(next(chunks), fitted, config.patch) for _ in range(-(-3 * codes // config.chunk))]
        )
        centroids, _ = kmeans_plusplus(pool, codes, n_local_trials=1, random_state=config.seed)
    for number in range(done, config.passes):
        rng = np.random.default_rng([*level_seed, number])
        chunks = stream_patches(photos, config, rng)
        # A new estimator per pass forgets the counts of worse centroids and has no private state to save.
        kmeans = MiniBatchKMeans(codes, init=centroids, n_init=1, reassignment_ratio=0, random_state=config.seed)
        counts = np.zeros(codes, np.int64)
        with tqdm(
            total=config.patches_per_pass, desc=f"{name} {number + 1}/{config.passes}", unit="patch", unit_scale=True
        ) as bar:
            while bar.n < bar.total:
                x = residual(next(chunks), fitted, config.patch)
                kmeans.partial_fit(x)
                counts += np.bincount(kmeans.labels_, minlength=codes)
                bar.update(len(x))
        centroids = kmeans.cluster_centers_.astype(np.float32)
        dead = np.flatnonzero(counts == 0)
        if len(dead) and number + 1 < config.passes:
            # Halfway between a badly fitted patch and its centroid: at the patch itself it would often be the only one.
            nearest = centroids[kmeans.labels_]
            error = np.square(x - nearest).sum(1).astype(np.float64) + 1e-12
            chosen = rng.choice(len(x), len(dead), p=error / error.sum(), replace=len(dead) > len(x))
            centroids[dead] = (x[chosen] + nearest[chosen]) / 2
        used, perplexity = usage(counts)
        tqdm.write(f"{name} pass {number + 1}: {used:.1%} used, {len(dead)} re-seeded, perplexity {perplexity:.0f}")
        with replacing(state) as part:
            save_file({"centroids": centroids, "passes": np.array(number + 1)}, part)
    # They are saved as float16: round them now, so that all measurements use the saved values.
    return centroids.astype(np.float16).astype(np.float32)


def report(codebooks: Codebooks, photos: Photos, *, limit: int, beam: int = 1) -> str:
    """A table per level: codes used, perplexity, and PSNR of the centroid picture up to that level."""
    counts = [np.zeros(level.size, np.int64) for level in codebooks.levels]
    errors: list[list[float]] = [[] for _ in codebooks.levels]
    for _, photo in zip(range(limit), photos, strict=False):
        image = to_float(Image.fromarray(photo))
        padded = pad_to_multiple(image, codebooks.patch)
        tokens = codebooks.encode(padded[None], beam=beam)
        for index in range(len(counts)):
            counts[index] += np.bincount(tokens[0, index].ravel(), minlength=len(counts[index]))
            picture = codebooks.centroid_picture(tokens, levels=index + 1)[0, :, : image.shape[1], : image.shape[2]]
            errors[index].append(psnr(picture, image))
    lines = [f"{'level':<8} {'codes':>6} {'used':>7} {'perplexity':>10} {'PSNR dB':>8}"]
    for level, count, values in zip(codebooks.levels, counts, errors, strict=True):
        used, perplexity = usage(count)
        lines.append(f"{level.name:<8} {level.size:>6} {used:>7.1%} {perplexity:>10.0f} {np.mean(values):>8.2f}")
    return "\n".join([*lines, f"(whole validation photos, {len(errors[0])} of them, beam {beam})"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst fit", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the codebooks; an interrupted fit resumes")
    parser.add_argument("--validate", type=int, default=128, help="number of held-out photos to measure")
    parser.add_argument("--smoke", action="store_true", help="a test run of seconds")
    add_dataclass_flags(parser, FitConfig)
    flags = parser.parse_args(arguments)
    config = dataclass_from_flags(FitConfig, flags, start=FIT_SMOKE if flags.smoke else None)
    if max(config.color, config.shape, config.texture) > config.chunk:
        raise ValueError(
            f"a chunk of {config.chunk} patches; accepted: at least the number of codes of the largest codebook"
        )

    training, held_out = split(find_photos(flags.images))
    print(f"{len(training)} photos to fit, {len(held_out)} held out")
    check_settings(flags.out / "fit.json", dataclasses.asdict(config), training, free=(), write=True)
    photos = Photos(training)
    fitted: dict[str, np.ndarray] = {}
    for name in LEVEL_NAMES:
        fitted[name] = fit_level(name, photos, fitted, config, out=flags.out)
    codebooks = Codebooks(**fitted, patch=config.patch)
    if not is_saved(codebooks, flags.out):  # else keep what was trained for them since
        save_codebooks(codebooks, flags.out, beam=config.beam)
    for unreadable, reason in photos.unreadable.items():
        print(f"skipped: {unreadable}: {reason}")
    print(f"{len(photos.unreadable)} unreadable photos skipped\n")
    print(report(codebooks, Photos(held_out, shortest=256), limit=flags.validate, beam=config.beam))


def is_saved(codebooks: Codebooks, out: Path) -> bool:
    return (out / "config.json").exists() and TokenizerConfig.load(out).fingerprint == codebooks.fingerprint


def save_codebooks(codebooks: Codebooks, out: Path, *, beam: int = 1) -> TokenizerConfig:
    """Write `codebooks.safetensors` and `config.json`: an artifact that encodes, without a RenderNet."""
    codebooks.save(out / "codebooks.safetensors")
    config = TokenizerConfig(
        levels={level.name: level.size for level in codebooks.levels},
        fingerprint=codebooks.fingerprint,
        patch=codebooks.patch,
        beam=beam,
    ).with_files(out, "codebooks.safetensors")
    config.save(out)
    return config
