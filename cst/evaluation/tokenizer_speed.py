"""Time encoding and rendering on this machine.

python -m cst benchmark --target cpu --size 256 512
"""

import argparse
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from cst.artifact import find_artifact
from cst.evaluation.process_memory import memory_bytes
from cst.tokenizer.codebooks import Codebooks, to_patches
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.nearest import NearestNeighbors
from cst.tokenizer.onnx_runtime import OnnxTokenizer, add_runtime_flags


def timed(actions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of each action, (repeats,). The actions take turns, so that other load affects all of them."""
    spent: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            action()  # untimed: loads its weights into the cache again
            start = time.perf_counter()
            action()
            spent[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in spent.items()}


def table(times: dict[str, np.ndarray], pixels: int, *, baseline: str) -> str:
    """Minimum, median, 95th percentile, throughput, and speed relative to `baseline` (medians)."""
    lines = [f"{'':<34} {'min ms':>8} {'median':>8} {'p95':>8} {'Mpixel/s':>9} {'ratio':>6}"]
    for name, values in times.items():
        median = float(np.median(values))
        spread = f"{values.min():>8.1f} {median:>8.1f} {np.percentile(values, 95):>8.1f}"
        ratio = np.median(times[baseline]) / median
        lines.append(f"{name:<34} {spread} {pixels / median / 1000:>9.2f} {ratio:>5.2f}x")
    return "\n".join([*lines, f"(ratio: speed relative to {baseline})"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst benchmark", description=__doc__.splitlines()[0])
    add_runtime_flags(parser)
    parser.add_argument(
        "--size", type=int, nargs="+", default=[256], help="sides of the square pictures, pixels (default 256)"
    )
    parser.add_argument("--repeats", type=int, default=30, help="timed runs per action (default 30)")
    parser.add_argument("--against", action="store_true", help="also time other libraries' nearest-neighbor searches")
    parser.add_argument("--memory", action="store_true", help="only report the peak memory of each action")
    print(report(parser.parse_args(arguments)))


def report(flags: argparse.Namespace) -> str:
    """The output of `python -m cst benchmark`."""
    if min(flags.size) < 8 or flags.repeats < 1:
        raise ValueError(f"sizes {flags.size}, {flags.repeats} repeats; accepted: at least 8 pixels, at least 1 repeat")
    folder = PRETRAINED if flags.tokenizer is None else find_artifact(flags.tokenizer)
    if flags.memory:
        return "\n".join(
            line for side in flags.size for line in memory_report(folder, side, flags.target, flags.threads)
        )
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
    """Tables for one size: rendering with each of `nets`, encoding, and (`against`) nearest-neighbor searches."""
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
        parts.append("\nnearest-neighbor search, texture codebook")
        parts.append(compare_searches(first.codebooks, image, repeats))
    return "\n".join(parts)


def pattern(side: int) -> np.ndarray:
    """(3, side, side) float32 in [0, 1]: smooth color, with noise that increases from top to bottom."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    smooth = np.stack([x, y, (x + y) / 2]) * 0.8 + 0.1
    return np.clip(smooth + rng.normal(0, 0.15, smooth.shape) * y**3, 0, 1).astype(np.float32)


def compare_searches(codebooks: Codebooks, image: np.ndarray, repeats: int) -> str:
    """Time the nearest-neighbor searches of this project, scikit-learn, torch and faiss on the texture codebook."""
    import torch
    from sklearn.cluster import KMeans

    patches = to_patches(image[None], codebooks.patch).reshape(-1, codebooks.texture.shape[1])
    rest = codebooks.subtract_color(patches, NearestNeighbors(codebooks.color)(codebooks.means(patches)))
    ours = NearestNeighbors(codebooks.texture)
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


def memory_report(folder: Path, side: int, target: str, threads: int | None) -> Iterator[str]:
    """The peak memory of encoding one side x side picture and of rendering it at either precision."""
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
        yield f"rendering them, {precision}, adds {added:.0f} MiB, {image.nbytes / 2**20:.0f} of them the picture"


def memory_over_baseline(action: Callable[[], object]) -> float:
    """MiB that an action adds to the peak memory of this process (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak to the current use
    before = memory_bytes("VmHWM") or 0
    action()
    return ((memory_bytes("VmHWM") or 0) - before) / 2**20
