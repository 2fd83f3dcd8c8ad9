"""`python app.py --selfcheck`: is everything here that the page needs, is it undamaged, and how fast is it?"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from cst.artifact import Artifact, find_artifact
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from cst.tokenizer.config import TokenizerConfig
from prior.config import PRETRAINED as PRIORS
from prior.config import PriorConfig
from space.models import Models

NEEDED = ("gradio", "onnxruntime", "numpy", "pillow", "safetensors", "huggingface_hub", "tqdm", "constriction")
OPTIONAL = ("openvino", "torch", "transformers", "spaces", "mcp")
# As Linux names them: what makes 8-bit arithmetic fast, and in the case of VNNI exact.
FEATURES = {"avx2": "AVX2", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX"}
SIZES = (256, 512)  # pixels a side
REPEATS = 5
SECONDS = 3.0  # of sampling, by each prior, at most
PICTURES = 4

Say = Callable[[str], object]


def selfcheck(
    tokenizer: str | os.PathLike | None = None,
    *,
    priors: Mapping[str, str | os.PathLike] | None = None,
    say: Say = print,
    **options: Any,
) -> list[str]:
    """Look at packages, processor and weights, then render and sample -> what is wrong, and how to mend each.

    tokenizer, priors and the other options: as of `space.models.Models`. say: takes the report line by line.
    """
    say(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    wrong = list(check_packages(say))
    say(describe_processor())
    damaged = list(check_weights(tokenizer, priors or {}, say))
    if not wrong and not damaged:
        try:
            measure(Models(tokenizer, priors=priors, **options), say)
        except (ValueError, OSError) as error:
            damaged.append(str(error))
    wrong += damaged
    say(f"\n{len(wrong)} wrong:" if wrong else "\nEverything is in order.")
    for number, what in enumerate(wrong, 1):
        say(f"{number}. {what}")
    return wrong


def check_packages(say: Say) -> Iterator[str]:
    """Tell the versions of the packages that matter; yields what is missing or not as requirements.txt wants it."""
    wanted = requirements(Path(__file__).resolve().parents[1])
    for name in (*NEEDED, *OPTIONAL):
        try:
            found = version(name)
        except PackageNotFoundError:
            if name in NEEDED:
                yield f"{name} is not installed: pip install -r requirements.txt"
            continue
        say(f"{name} {found}")
        specifier = wanted.get(name)
        if name in NEEDED and specifier is not None and not specifier.contains(found, prereleases=True):
            yield f"{name} {found} is not {name}{specifier}: pip install -r requirements.txt"


def requirements(folder: Path) -> dict[str, Any]:
    """What the folder's requirements.txt wants: name -> `packaging.specifiers.SpecifierSet`; empty without the file."""
    from packaging.requirements import Requirement  # Gradio brings it

    path = folder / "requirements.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    found = [Requirement(line) for line in (line.partition("#")[0].strip() for line in lines) if line]
    return {requirement.name: requirement.specifier for requirement in found}


def describe_processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, the cores for this process, and what it has of the features that matter, where Linux tells them."""
    name, flags = platform.processor() or platform.machine(), None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if info.is_file():
        values = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        values = {key.strip(): value.strip() for key, value in values.items()}
        name, flags = values.get("model name", name), values.get("flags", "").split()
    if not flags:
        return f"processor: {name}, {cores} cores; its features are not told here"
    has = [f"{said} {'yes' if flag in flags else 'no'}" for flag, said in FEATURES.items()]
    note = "" if any("vnni" in flag for flag in flags) else "; without VNNI 8 bits can be off: paint in float"
    return f"processor: {name}, {cores} cores; {', '.join(has)}{note}"


def check_weights(
    tokenizer: str | os.PathLike | None, priors: Mapping[str, str | os.PathLike], say: Say
) -> Iterator[str]:
    """Read every file of every model and compare its checksum; yields what is damaged or does not fit together."""
    try:
        folder = TOKENIZER if tokenizer is None else find_artifact(tokenizer)
        config = TokenizerConfig.load(folder)
    except (ValueError, OSError) as error:
        yield str(error)
        return
    yield from check_files(folder, config, say)
    for kind in ("gpt", "pixelcnn"):
        folder = Path(priors.get(kind, PRIORS / kind))
        try:
            prior = PriorConfig.load(folder)
            prior.check_tokenizer(config.fingerprint)
        except (ValueError, OSError) as error:
            yield f"'{folder}': {error}"
            continue
        yield from check_files(folder, prior, say)


def check_files(folder: str | os.PathLike, config: Artifact, say: Say) -> Iterator[str]:
    """Yields what is wrong with the files of one model."""
    sound = 0
    for name in config.files:
        try:
            config.check_file(folder, name)
            sound += 1
        except ValueError as error:
            yield str(error)
    root = Path(__file__).resolve().parents[1]
    shown = Path(folder).relative_to(root) if Path(folder).is_relative_to(root) else folder
    say(f"weights: {shown}: {sound} of {len(config.files)} files as they should be, tokenizer {config.fingerprint}")


def measure(models: Models, say: Say) -> None:
    """Render and sample, and tell how long it takes."""
    import onnxruntime

    say(f"onnxruntime offers {', '.join(onnxruntime.get_available_providers())}")
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 1:
        say(f"other work is running here (load {load:.1f}): the times below are not those of an idle machine")
    tokenizer = models.cst("int8").tokenizer
    say(f"painting on {tokenizer.running_on}")
    rng = np.random.default_rng(0)
    for side in SIZES:
        h = side // tokenizer.patch
        tokens = np.stack([rng.integers(level.size, size=(1, h, h)) for level in tokenizer.levels], 1)
        tokenizer.decode(tokens)
        milliseconds = [1000 * seconds(lambda tokens=tokens: tokenizer.decode(tokens)) for _ in range(REPEATS)]
        say(f"render {side}x{side}: {statistics.median(milliseconds):.0f} ms")
    for kind in models.kinds:
        say(f"{kind}: {tokens_a_second(models, kind):.0f} tokens a second, {PICTURES} pictures at once")


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def tokens_a_second(models: Models, kind: str) -> float:
    """How fast a prior writes: of its whole pictures, or of the first tokens of them if it is slow."""
    start, written = time.perf_counter(), 0
    for step in models.sampler(kind).sample(count=PICTURES, seed=0):
        written = int(step.known.sum())
        if time.perf_counter() - start > SECONDS:
            break
    return written / (time.perf_counter() - start)
