"""Painting and sampling by torch on a GPU, on a ZeroGPU Space in processes of its own; all else as without one."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gradio.context import LocalContext

from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.torch_runtime import load_rendernet
from prior.onnx_runtime import OnnxPrior
from prior.protocol import Settings, Step
from prior.sampling import check, check_sketch
from prior.torch_runtime import TorchPrior
from space.device import is_zero_gpu

# What ZeroGPU reserves of a visitor's daily minutes at most: a batch of pictures takes a few seconds of it.
PAINT_SECONDS = 15
SAMPLE_SECONDS = 60
MOST_PATCHES = 256 * 256  # painted in one piece: the largest photo of the page, so that a GPU is asked for once


class GpuTokenizer(OnnxTokenizer):
    """A tokenizer whose RenderNet paints by torch on `device`, in float32; the codebook search stays in numpy.

    On ZeroGPU it paints by onnxruntime what no visitor asked for, such as the pictures that the page is built with: a
    GPU is lent to a visitor, and the page must come up when none is free.
    """

    def __init__(self, folder: str | os.PathLike = PRETRAINED, *, device: str, threads: int | None = None):
        """See `OnnxTokenizer`; raises ValueError also for a device that torch can't use."""
        prepare(device)
        super().__init__(folder, target="cpu", threads=threads)
        self.precision = "float"
        self.most = MOST_PATCHES
        net = load_rendernet(self.folder, self.config, self.codebooks).to(device)

        @torch.no_grad()
        def paint(tokens: np.ndarray) -> np.ndarray:
            return net(torch.from_numpy(tokens).long().to(device)).cpu().numpy()

        lent, processor = on_gpu(paint, seconds=PAINT_SECONDS), self._network
        self._network = lambda tokens: (lent if is_asked_for() or not is_zero_gpu() else processor)(tokens)
        self.running_on = f"torch {torch.__version__} on {device}" + (" (ZeroGPU)" if is_zero_gpu() else "")


class GpuPrior(OnnxPrior):
    """A prior that samples by torch on `device`; single tokens are still predicted on the processor."""

    def __init__(self, folder: str | os.PathLike, *, device: str, threads: int | None = None):
        """See `OnnxPrior`; raises ValueError also for a device that torch can't use."""
        prepare(device)
        super().__init__(folder, threads=threads)
        prior = TorchPrior.load(folder, device=device)

        def write(*wish: Any) -> Iterator[Step]:
            *most, sketch, color_bias = wish
            yield from prior.sample(*most, sketch=sketch, color_bias=color_bias)

        self._write = on_gpu(write, seconds=SAMPLE_SECONDS)

    def sample(
        self,
        known: np.ndarray,
        mask: np.ndarray,
        label: np.ndarray,
        settings: Settings,
        seed: int,
        *,
        sketch: np.ndarray | None = None,
        color_bias: np.ndarray | None = None,
    ) -> Iterator[Step]:
        """See `Prior.sample`. Whoever closes the iterator stops the GPU after the token it is at."""
        check(self, known, mask, label)  # here: of an error in ZeroGPU's process only the class comes back
        check_sketch(self, sketch, color_bias)
        return self._write(known, mask, label, settings, seed, sketch, color_bias)


def on_gpu(function: Callable, *, seconds: int) -> Callable:
    """The function as it is; on a ZeroGPU Space, run with a GPU in a process forked from this one.

    There only arguments and results are sent, pickled: the weights must be in the function's closure before it is first
    called, and what happens in this process meanwhile, such as an `Event` that is set, is not seen. A generator's steps
    come back one by one, and closing it here ends it there.
    """
    if not is_zero_gpu():
        return function
    import spaces

    return spaces.GPU(duration=seconds)(function)


def is_asked_for() -> bool:
    """Whether this runs for a visitor, and not while the page is built."""
    return LocalContext.in_event_listener.get(False)


def prepare(device: str) -> None:
    """Make ready to move weights to the device. Raises ValueError if torch can't use it."""
    if is_zero_gpu():
        import spaces  # noqa: F401 (from here on weights can be moved to a GPU that is not there yet)
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"torch {torch.__version__} finds no GPU for the device '{device}'; accepted: cpu, which needs no torch; "
            "or install torch for CUDA and NVIDIA's driver"
        )
