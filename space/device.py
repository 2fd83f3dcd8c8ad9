"""Where the models run: on the CPU, on a GPU, or on a GPU that a ZeroGPU Space lends."""

import importlib.util
import os

DEVICES = ("cpu", "cuda")


def default_device() -> str:
    """The variable CST_DEVICE, else "cuda" on a ZeroGPU Space, else "cpu". Raises ValueError for any other device."""
    device = os.environ.get("CST_DEVICE") or ("cuda" if is_zero_gpu() else "cpu")
    if device not in DEVICES:
        raise ValueError(f"the variable CST_DEVICE is '{device}'; accepted: {', '.join(DEVICES)}")
    return device


def is_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space, by a variable that the Hub sets."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def check_torch() -> None:
    """Raise ValueError unless the packages for a GPU are installed; the page without a GPU does not need them."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"a GPU needs {' and '.join(missing)}, which the page on a CPU does not: "
            "pip install -r space/requirements-zerogpu.txt, or use --device cpu"
        )
