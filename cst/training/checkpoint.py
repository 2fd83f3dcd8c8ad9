"""The state of a training run in one safetensors file, from which a killed run resumes exactly."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cst.artifact import replacing


def save(
    path: Path,
    *,
    modules: Mapping[str, torch.nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    progress: dict,
) -> None:
    """Write all tensors of the modules and optimizers, and `progress` (JSON values), atomically."""
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{key}": torch.as_tensor(value) for key, value in values.items()}
    with replacing(path) as part:
        contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
        save_file(contiguous, part, metadata={"progress": json.dumps(progress)})


def load(
    path: Path, *, modules: Mapping[str, torch.nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict:
    """Restore modules and optimizers in place -> `progress`. Raises ValueError for a file that does not fit."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise ValueError(f"'{path}' is not a readable checkpoint ({error}); delete it to start again") from None
    try:
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, name))
        for name, optimizer in optimizers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in _below(tensors, name).items():
                index, field = key.split("/")
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            for parameter, values in optimizer.state.items():  # fused kernels require the parameter's strides
                for field, value in values.items():
                    if value.shape == parameter.shape:
                        values[field] = torch.empty_like(parameter).copy_(value)
    except RuntimeError as error:
        raise ValueError(
            f"'{path}' is of another network ({str(error).splitlines()[-1]}); give another --out"
        ) from None
    return progress


def _below(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name + "/"): value for key, value in tensors.items() if key.startswith(name + "/")}
