"""Containers of `torch.nn` whose items keep their types for type checkers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """An `nn.ModuleList`, typed as a sequence of its modules."""
    return cast(Sequence[M], nn.ModuleList(modules))


def module_dict(modules: Mapping[str, M]) -> Mapping[str, M]:
    """An `nn.ModuleDict`, typed as a mapping of its modules."""
    return cast(Mapping[str, M], nn.ModuleDict(modules))
