"""How fast a photo is encoded and painted back on this machine.

python -m cst benchmark --target cpu --size 256 512
"""

import argparse
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from cst.artifact import find_artifact
from cst.tokenizer.codebooks import Codebooks, to_patches
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.nearest import Nearest
from cst.tokenizer.onnx_runtime import OnnxTokenizer, add_runtime_flags


def timed(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of each action, (repeats,): in turn, so that whatever else the machine does falls on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            action()  # untimed: brings its own weights back into the cache after the other actions'
            start = time.perf_counter()
            action()
            spent[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in spent.items()}


def table(times: dict[str, np.ndarray], pixels: int, *, baseline: str) -> str:
    """Minimum, median, 95th percentile, throughput, and how many times faster than `baseline` (medians)."""
    lines = [f"{'':<34} {'min ms':>8} {'median':>8} {'p95':>8} {'Mpixel/s':>9} {'ratio':>6}"]
    for name, values in times.items():
        median = float(np.median(values))
        spread = f"{values.min():>8.1f} {median:>8.1f} {np.percentile(values, 95):>8.1f}"
        ratio = np.median(times[baseline]) / median
        lines.append(f"{name:<34} {spread} {pixels / median / 1000:>9.2f} {ratio:>5.2f}x")
    return "\n".join([*lines, f"(ratio: times as fast as {baseline})"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst benchmark", description=__doc__.splitlines()[0])
    add_runtime_flags(parser)
    parser.add_argument("--size", type=int, nargs="+", default=[256], help="sides of the picture, pixels (default 256)")
    parser.add_argument("--repeats", type=int, default=30, help="timed runs of each (default 30)")
    parser.add_argument("--against", action="store_true", help="also time other nearest-neighbor searches")
    parser.add_argument("--memory", action="store_true", help="instead, the peak memory that each adds")
    print(measure(parser.parse_args(arguments)))


def measure(flags: argparse.Namespace) -> str:
    """The report that `python -m cst benchmark` prints."""
    if min(flags.size) < 8 or flags.repeats < 1:
        raise ValueError(f"sizes {flags.size}, {flags.repeats} repeats; accepted: at least 8 pixels, at least 1 repeat")
    folder = PRETRAINED if flags.tokenizer is None else find_artifact(flags.tokenizer)
    if flags.memory:
        return "\n".join(line for side in flags.size for line in memory(folder, side, flags.target, flags.threads))
    targets = [flags.target]
    if flags.target == "auto":
        targets = ["cpu", "openvino"] if importlib.util.find_spec("openvino") else ["cpu"]
    nets = {
        (target, precision): OnnxTokenizer(folder, target=target, precision=precision, threads=flags.threads)
        for target in targets
        for precision in ("float", "int8")
    }
    parts = [f"{platform.machine()}, {os.cpu_count()} cores"]
    parts += [f"{target}: {nets[target, 'int8'].running_on}" for target in targets]
    for side in flags.size:
        parts.append(compare(nets, side, flags.repeats, against=flags.against))
    return "\n".join(parts)


def compare(nets: dict[tuple[str, str], OnnxTokenizer], side: int, repeats: int, *, against: bool) -> str:
    """Tables for one size: rendering with each of `nets`, encoding, and (`against`) other nearest-neighbor searches."""
    first = next(iter(nets.values()))
    side = side // first.patch * first.patch
    image = pattern(side)
    tokens = first.encode(image[None])
    renders = {f"render {net.precision}, {name}": partial(net.decode, tokens) for (name, _), net in nets.items()}
    beams = dict.fromkeys((1, first.beam))
    encodes = {f"encode, beam {beam}": partial(first.codebooks.encode, image[None], beam=beam) for beam in beams}
    parts = [f"\n{side}x{side} pixels"]
    for actions in (renders, encodes):
        parts.append(table(timed(actions, repeats), side * side, baseline=next(iter(actions))))
    if against:
        parts.append("\nthe texture search alone, by other means")
        parts.append(compare_searches(first.codebooks, image, repeats))
    return "\n".join(parts)


def pattern(side: int) -> np.ndarray:
    """(3, side, side) float32 in [0, 1]: smooth color, and grain that grows from none to strong, as in photos."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    smooth = np.stack([x, y, (x + y) / 2]) * 0.8 + 0.1
    return np.clip(smooth + rng.normal(0, 0.15, smooth.shape) * y**3, 0, 1).astype(np.float32)


def compare_searches(codebooks: Codebooks, image: np.ndarray, repeats: int) -> str:
    """Time our nearest-code search against scikit-learn's, torch's and faiss's, on the texture codebook."""
    import torch
    from sklearn.cluster import KMeans

    patches = to_patches(image[None], codebooks.patch).reshape(-1, codebooks.texture.shape[1])
    rest = codebooks.subtract_color(patches, Nearest(codebooks.color)(codebooks.means(patches)))
    ours = Nearest(codebooks.texture)
    kmeans = KMeans(len(codebooks.texture), init=codebooks.texture, n_init=1, max_iter=1).fit(codebooks.texture)
    kmeans.cluster_centers_ = codebooks.texture
    points, queries = torch.from_numpy(codebooks.texture), torch.from_numpy(rest)
    actions: dict[str, Callable[[], object]] = {
        "this project": lambda: ours(rest),
        "sklearn KMeans.predict": lambda: kmeans.predict(rest),
        "torch.cdist(...).argmin": lambda: torch.cdist(queries, points).argmin(1),
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatL2(rest.shape[1])
        index.add(codebooks.texture)
        actions["faiss.IndexFlatL2"] = lambda: index.search(rest, 1)
    return table(timed(actions, repeats), image.shape[1] * image.shape[2], baseline="this project")


def memory(folder: Path, side: int, target: str, threads: int | None) -> Iterator[str]:
    """What encoding one side x side picture adds to this process at its peak, and painting it in either arithmetic."""
    codebooks = Codebooks.load(folder / "codebooks.safetensors")
    side = side // codebooks.patch * codebooks.patch
    image = pattern(side)[None]
    codebooks.encode(image[..., : codebooks.patch])
    added = memory_over_baseline(partial(codebooks.encode, image))
    yield f"encoding {side}x{side} pixels adds {added:.0f} MiB at its peak"
    tokens = codebooks.encode(image)
    for precision in ("int8", "float"):
        net = OnnxTokenizer(folder, target=target, precision=precision, threads=threads)
        net.decode(tokens[..., :1, :1])
        added = memory_over_baseline(partial(net.decode, tokens))
        yield f"painting them, {precision}, adds {added:.0f} MiB, {image.nbytes / 2**20:.0f} of them the picture"


def memory_over_baseline(action: Callable[[], object]) -> float:
    """MiB that an action adds to this process at its peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before = _peak()
    action()
    return _peak() - before


def _peak() -> float:
    """Peak resident memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
