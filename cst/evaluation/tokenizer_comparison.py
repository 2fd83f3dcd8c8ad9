"""Compare tokenizers on the same photos: CST level by level, the learned ones, and JPEG and WebP at CST's rate."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.evaluation.picture_features import DEPTHS, kid, network, network_features
from cst.image_formats import at_bytes
from cst.images import pad_to_multiple, to_float, to_image
from cst.learned.onnx_runtime import DECODER, ENCODER, OnnxLearnedTokenizer
from cst.metrics import MAX_PSNR, l1, psnr, ssim, usage
from cst.photos import Photos
from cst.tokenizer.onnx_runtime import FILES, OnnxTokenizer
from cst.tokenizer.protocol import Level, Tokenizer, bits_per_patch

TIMED_SIZE = 256  # pixels
REPEATS = 5
FORMATS = ("JPEG", "WEBP")
ABOUT_KID = (
    "KID is by EfficientNet-lite2. ViT-VQGAN, RQ-VAE and MoVQ were trained with a loss by its smaller sibling, lite0, "
    "which favors them."
)
COLUMNS = (
    "tokenizer", "bits/pixel", "PSNR dB", "SSIM", "L1", "KID x1000", "codes used", "perplexity", "encode ms",
    "decode ms", "MB",
)  # fmt: skip


@dataclass
class Method:
    """One row: how it encodes and decodes, and what was measured.

    levels: of the codes that it uses. encode, decode: as of `Tokenizer`. megabytes: of the files it needs. shared: all
    levels have one codebook.
    """

    name: str
    patch: int
    levels: tuple[Level, ...]
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]
    megabytes: float
    shared: bool = False
    values: list[tuple[float, ...]] = field(default_factory=list)
    pictures: list[Image.Image] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)  # of the codes of each codebook
    milliseconds: tuple[float, float] = (math.nan, math.nan)

    def add(self, original: np.ndarray) -> None:
        """Measure one (3, H, W) float32 photo."""
        _, height, width = original.shape
        tokens = self.encode(pad_to_multiple(original, self.patch)[None])
        picture = np.round(self.decode(tokens)[0, :, :height, :width] * 255) / 255  # 8 bits, as in a saved picture
        bits = bits_per_patch(self.levels) * tokens[0, 0].size
        books = [tokens] if self.shared else np.split(tokens, tokens.shape[1], 1)
        counts = [
            np.bincount(codes.ravel(), minlength=level.size) for codes, level in zip(books, self.levels, strict=False)
        ]
        self.counts = [old + new for old, new in zip(self.counts, counts, strict=True)] if self.counts else counts
        self.record(picture, original, bits)

    def record(self, picture: np.ndarray, original: np.ndarray, bits: float) -> None:
        pixels = original.shape[1] * original.shape[2]
        quality = min(psnr(picture, original), MAX_PSNR)
        self.values.append((bits / pixels, quality, ssim(picture, original), l1(picture, original)))
        self.pictures.append(to_image(picture))

    def time(self, photo: np.ndarray) -> None:
        """Time one (3, H, W) photo: the median of some runs."""
        tokens = self.encode(photo[None])
        spent = []
        for call, array in ((self.encode, photo[None]), (self.decode, tokens)):
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                call(array)
                times.append(1000 * (time.perf_counter() - start))
            spent.append(float(np.median(times)))
        self.milliseconds = (spent[0], spent[1])


def cst_methods(folder: Path, target: str) -> Iterator[Method]:
    """CST after one, two and three levels, and rendered in float and in 8 bits."""
    nets = {precision: OnnxTokenizer(folder, precision=precision, target=target) for precision in FILES}
    tokenizer = nets["int8"]
    codebooks = tokenizer.codebooks
    files = {name: (folder / name).stat().st_size / 1e6 for name in tokenizer.config.files}
    books = files["codebooks.safetensors"]
    for count, name in enumerate(("color", "+ shape", "+ texture"), 1):

        def decode(tokens: np.ndarray, count: int = count) -> np.ndarray:
            return np.clip(codebooks.centroid_picture(tokens, levels=count), 0, 1)

        def encode(images: np.ndarray, count: int = count) -> np.ndarray:
            return tokenizer.encode(images)[:, :count]

        levels = tokenizer.levels[:count]
        all_levels = pad_levels(decode, len(tokenizer.levels))  # `centroid_picture` takes all of them
        yield Method(f"CST, {name}", tokenizer.patch, levels, encode, all_levels, books)
    weights = {"float": files["rendernet.safetensors"], "int8": files[FILES["int8"]]}
    for precision, net in nets.items():
        words = {"float": "CST, rendered, float", "int8": "CST, rendered, 8 bits"}[precision]
        yield Method(words, net.patch, net.levels, net.encode, net.decode, books + weights[precision])


def pad_levels(decode: Callable[[np.ndarray], np.ndarray], levels: int) -> Callable[[np.ndarray], np.ndarray]:
    """Add levels of zeros, which the decoder ignores, to the tokens of the first levels."""
    return lambda tokens: decode(np.pad(tokens, [(0, 0), (0, levels - tokens.shape[1]), (0, 0), (0, 0)]))


def learned_methods(folders: Sequence[Path]) -> Iterator[Method]:
    for folder in folders:
        tokenizer: Tokenizer = OnnxLearnedTokenizer(folder)
        size = sum((folder / name).stat().st_size for name in (ENCODER, DECODER)) / 1e6
        yield Method(
            folder.name, tokenizer.patch, tokenizer.levels, tokenizer.encode, tokenizer.decode, size, shared=True
        )


def compare(photos: Photos, methods: list[Method]) -> str:
    """Measure every readable photo with every method -> a Markdown table, sorted by bits per pixel.

    KID is of EfficientNet-lite2 features that are standardized by those of the photos, the mean of two depths. Raises
    ValueError without the network's package, and for less than two photos.
    """
    network()
    originals, formats = [], {name: Method(name, 8, (), lambda x: x, lambda x: x, math.nan) for name in FORMATS}
    rate = max(bits_per_patch(method.levels) / method.patch**2 for method in methods if method.name.startswith("CST"))
    for photo in tqdm(photos, total=len(photos), unit="photo"):
        if min(photo.shape[:2]) < 11:  # the window of SSIM
            continue
        image = Image.fromarray(photo)
        original = to_float(image)
        originals.append(image)
        for method in methods:
            method.add(original)
        for name, method in formats.items():
            encoded = at_bytes(image, name, math.ceil(rate * image.width * image.height / 8))
            method.record(to_float(encoded.picture), original, 8 * encoded.bytes)
    if len(originals) < 2:
        raise ValueError(f"{len(originals)} photos can be read and have sides of at least 11 pixels; accepted: 2")
    timed = to_float(originals[0].resize((TIMED_SIZE, TIMED_SIZE), Image.Resampling.LANCZOS))
    for method in methods:
        method.time(timed)
    reference = network_features(originals)
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    for method in sorted([*methods, *formats.values()], key=lambda each: np.mean([bits for bits, *_ in each.values])):
        lines.append(row(method, distance(method.pictures, reference)))
    return "\n".join([*lines, "", f"{len(originals)} photos. {ABOUT_KID}"])


def distance(pictures: list[Image.Image], reference: dict[str, np.ndarray]) -> float:
    """1000 times the kernel distance of pictures to the photos that they are of."""
    features = network_features(pictures)
    found = []
    for depth in DEPTHS:
        mean, deviation = reference[depth].mean(0), reference[depth].std(0) + 1e-6
        x, y = ((values[depth] - mean) / deviation for values in (features, reference))
        found.append(1000 * kid(x, y, paired=True))
    return float(np.mean(found))


def row(method: Method, distance: float) -> str:
    bits, quality, similarity, error = np.mean(method.values, axis=0)
    cells = [method.name, f"{bits:.3f}", f"{quality:.2f}", f"{similarity:.4f}", f"{error:.4f}", f"{distance:.0f}"]
    if method.counts:
        found = [usage(counts) for counts in method.counts]
        cells.append(" / ".join(f"{used:.0%}" for used, _ in found))
        cells.append(" / ".join(f"{perplexity:.0f}" for _, perplexity in found))
        cells += [*(f"{spent:.1f}" for spent in method.milliseconds), f"{method.megabytes:.1f}"]
    else:
        cells += [""] * 5
    return "| " + " | ".join(cells) + " |"
