"""Rendering and sampling with torch on a GPU; on a ZeroGPU Space they run in processes of their own."""

import os
from collections.abc import Callable, Generator

import numpy as np
import torch
from gradio.context import LocalContext

from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.torch_runtime import TorchTokenizer
from prior.onnx_runtime import OnnxPrior
from prior.protocol import SampleRequest, Step
from prior.sampler import Sampler
from prior.sampling import sample
from prior.torch_runtime import TorchPrior
from space.device import is_zero_gpu

# The most that ZeroGPU reserves of a visitor's daily minutes. A batch of pictures takes a few seconds.
PAINT_SECONDS = 15
SAMPLE_SECONDS = 60


def load_tokenizer(folder: str | os.PathLike = PRETRAINED, *, device: str) -> CodebookTokenizer:
    """A tokenizer that decodes with torch on `device`, in float32.

    A ZeroGPU is lent to a visitor, and the page must start when none is free. So on ZeroGPU, pictures that no visitor
    asked for, such as those of the introductions, are decoded by onnxruntime. Raises ValueError for a device that torch
    can't use, or an artifact that is damaged.
    """
    prepare(device)
    tokenizer = TorchTokenizer(folder, device=device)
    on_torch = tokenizer.render

    def paint(tokens: np.ndarray) -> np.ndarray:
        return on_torch(tokens)

    on_lent_gpu = on_gpu(paint, seconds=PAINT_SECONDS)
    if is_zero_gpu():
        on_cpu = OnnxTokenizer(folder, target="cpu", precision="float").render
        tokenizer.render = lambda tokens: (on_lent_gpu if is_in_request() else on_cpu)(tokens)
        tokenizer.running_on += " (ZeroGPU)"
    return tokenizer


def load_sampler(
    folder: str | os.PathLike, tokenizer: CodebookTokenizer, *, device: str, threads: int | None = None
) -> Sampler:
    """A sampler that draws with torch on `device`; Look inside still scores tokens on the CPU.

    Raises ValueError for a device that torch can't use, or a prior that is damaged or of another tokenizer.
    """
    prepare(device)
    prior = TorchPrior.load(folder, device=device)

    def write(request: SampleRequest) -> Generator[Step, None, None]:
        yield from sample(prior, request)

    return Sampler(tokenizer, OnnxPrior(folder, threads=threads), draw=on_gpu(write, seconds=SAMPLE_SECONDS))


def on_gpu(function: Callable, *, seconds: int) -> Callable:
    """The function itself; on a ZeroGPU Space, wrapped to run with a GPU in a process forked from this one.

    Only pickled arguments and results cross over. So the weights must be in the function's closure before its first
    call, and the function does not see later changes in this process, such as an `Event` that is set. The steps of a
    generator come back one by one, and closing it here ends it there.
    """
    if not is_zero_gpu():
        return function
    import spaces

    return spaces.GPU(duration=seconds)(function)


def is_in_request() -> bool:
    """Whether this runs for a visitor, rather than while the page is built."""
    return LocalContext.in_event_listener.get(False)


def prepare(device: str) -> None:
    """Prepare to move weights to the device. Raises ValueError if torch can't use it."""
    if is_zero_gpu():
        import spaces  # noqa: F401 (allows moving weights to a GPU before one is lent)
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"torch {torch.__version__} finds no GPU for the device '{device}'; accepted: cpu, which needs no torch; "
            "or install torch for CUDA and NVIDIA's driver"
        )
