"""Where the models run: this processor, a GPU, or one that a ZeroGPU Space lends."""

import importlib.util
import os

DEVICES = ("cpu", "cuda")


def default_device() -> str:
    """What the variable CST_DEVICE says, else "cuda" on a ZeroGPU Space, else "cpu". Raises ValueError for another."""
    device = os.environ.get("CST_DEVICE") or ("cuda" if is_zero_gpu() else "cpu")
    if device not in DEVICES:
        raise ValueError(f"the variable CST_DEVICE is '{device}'; accepted: {', '.join(DEVICES)}")
    return device


def is_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space: the Hub says so in a variable."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def check_torch() -> None:
    """Raise ValueError unless what a GPU needs is installed; the page itself needs neither."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"a GPU needs {' and '.join(missing)}, which the page alone does not: "
            "pip install -r space/requirements-zerogpu.txt, or take --device cpu"
        )
