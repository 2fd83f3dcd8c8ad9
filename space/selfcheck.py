"""`python app.py --selfcheck`: verify the installation and the weights, and benchmark the models."""

import functools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from cst.artifact import find_artifact
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from cst.tokenizer.config import TokenizerConfig
from prior.config import PRETRAINED as PRIORS
from prior.config import PriorConfig
from space.models import Models

NEEDED = ("gradio", "onnxruntime", "numpy", "pillow", "safetensors", "huggingface_hub", "tqdm", "constriction")
OPTIONAL = ("openvino", "torch", "transformers", "spaces", "mcp")
# By Linux's names: they make 8-bit arithmetic fast and, with VNNI, exact.
FEATURES = {"avx2": "AVX2", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX"}
SIZES = (256, 512)  # pixels a side
REPEATS = 5
MAX_SAMPLE_SECONDS = 20.0  # per prior
PICTURES = 4

Report = Callable[[str], object]  # takes one line


def selfcheck(
    tokenizer: str | os.PathLike | None = None,
    *,
    priors: Mapping[str, str | os.PathLike] | None = None,
    report: Report = print,
    **options: Any,
) -> list[str]:
    """Check packages, processor and weights, then render and sample -> the problems, each with its remedy.

    tokenizer, priors and the other options: see `space.models.Models`. report: called with each line of the report.
    """
    report(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    problems = list(check_packages(report))
    report(describe_processor())
    damaged = list(check_weights(tokenizer, priors or {}, report))
    if not problems and not damaged:
        try:
            benchmark(Models(tokenizer, priors=priors, **options), report)
        except (ValueError, OSError) as error:
            damaged.append(str(error))
    problems += damaged
    report(f"\n{len(problems)} wrong:" if problems else "\nEverything is in order.")
    for number, problem in enumerate(problems, 1):
        report(f"{number}. {problem}")
    return problems


def check_packages(report: Report) -> Iterator[str]:
    """Report the versions of the main packages; yields those that are missing or don't match requirements.txt."""
    wanted = requirements(Path(__file__).resolve().parents[1])
    for name in (*NEEDED, *OPTIONAL):
        try:
            installed = version(name)
        except PackageNotFoundError:
            if name in NEEDED:
                yield f"{name} is not installed: pip install -r requirements.txt"
            continue
        report(f"{name} {installed}")
        specifier = wanted.get(name)
        if name in NEEDED and specifier is not None and not specifier.contains(installed, prereleases=True):
            yield f"{name} {installed} is not {name}{specifier}: pip install -r requirements.txt"


def requirements(folder: Path) -> dict[str, Any]:
    """The folder's requirements.txt: name -> `packaging.specifiers.SpecifierSet`; empty without the file."""
    from packaging.requirements import Requirement  # Gradio brings it

    path = folder / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    parsed = [Requirement(line) for line in (line.partition("#")[0].strip() for line in lines) if line]
    return {requirement.name: requirement.specifier for requirement in parsed}


def describe_processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, the cores of this process, and which of `FEATURES` it has, where Linux lists them."""
    name, flags = platform.processor() or platform.machine(), None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if info.is_file():
        values = dict(line.split(":", 1) for line in info.read_text(encoding="utf-8").splitlines() if ":" in line)
        values = {key.strip(): value.strip() for key, value in values.items()}
        name, flags = values.get("model name", name), values.get("flags", "").split()
    if not flags:
        return f"processor: {name}, {cores} cores; its features are not listed here"
    features = [f"{name} {'yes' if flag in flags else 'no'}" for flag, name in FEATURES.items()]
    note = "" if any("vnni" in flag for flag in flags) else "; without VNNI, 8-bit arithmetic can be inexact: use float"
    return f"processor: {name}, {cores} cores; {', '.join(features)}{note}"


def check_weights(
    tokenizer: str | os.PathLike | None, priors: Mapping[str, str | os.PathLike], report: Report
) -> Iterator[str]:
    """Verify the checksum of every file of every model; yields what is damaged or does not fit together."""
    try:
        folder = TOKENIZER if tokenizer is None else find_artifact(tokenizer)
        config = TokenizerConfig.load(folder)
    except (ValueError, OSError) as error:
        yield str(error)
        return
    yield from check_files(folder, config, report)
    for kind in ("gpt", "pixelcnn"):
        folder = Path(priors.get(kind, PRIORS / kind))
        try:
            prior = PriorConfig.load(folder)
            prior.check_tokenizer(config.fingerprint)
        except (ValueError, OSError) as error:
            yield f"'{folder}': {error}"
            continue
        yield from check_files(folder, prior, report)


def check_files(folder: str | os.PathLike, config: TokenizerConfig | PriorConfig, report: Report) -> Iterator[str]:
    """Yields the problems of one model's files."""
    intact = 0
    for name in config.files:
        try:
            config.check_file(folder, name)
            intact += 1
        except ValueError as error:
            yield str(error)
    root = Path(__file__).resolve().parents[1]
    name_of_folder = Path(folder).relative_to(root) if Path(folder).is_relative_to(root) else folder
    report(f"weights: {name_of_folder}: {intact} of {len(config.files)} files intact, tokenizer {config.fingerprint}")


def benchmark(models: Models, report: Report) -> None:
    """Report how long rendering and sampling take."""
    import onnxruntime

    report(f"onnxruntime offers {', '.join(onnxruntime.get_available_providers())}")
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 1:
        report(f"other work is running here (load {load:.1f}): the times below are not those of an idle machine")
    tokenizer = models.cst("int8").tokenizer
    report(f"rendering on {tokenizer.running_on}")
    rng = np.random.default_rng(0)
    for side in SIZES:
        h = side // tokenizer.patch
        tokens = np.stack([rng.integers(level.size, size=(1, h, h)) for level in tokenizer.levels], 1)
        tokenizer.decode(tokens)
        milliseconds = [1000 * seconds(functools.partial(tokenizer.decode, tokens)) for _ in range(REPEATS)]
        report(f"render {side}x{side}: {statistics.median(milliseconds):.0f} ms")
    for kind in models.kinds:
        report(f"{kind}: {tokens_a_second(models, kind):.0f} tokens a second, {PICTURES} pictures at once")


def seconds(function: Callable[[], object]) -> float:
    """The duration of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def tokens_a_second(models: Models, kind: str) -> float:
    """The sampling speed of a prior, over whole pictures, or over their first tokens if it is slow."""
    start, drawn = time.perf_counter(), 0
    for step in models.sampler(kind).sample(count=PICTURES, seed=0):
        drawn = PICTURES * step.done
        if time.perf_counter() - start > MAX_SAMPLE_SECONDS:
            break
    return drawn / (time.perf_counter() - start)
