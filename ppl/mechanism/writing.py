"""Bodies that fill a tensor entry by entry, lifted all the same.

vmap forbids writing a row's number into a tensor that all rows share. Here whatever a body makes to write into is a tensor of its own for every row,
and every write makes a new tensor, which stands for the old one from then on: derivatives and recordings see no change of anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["FORBIDDEN", "Writable"]

#: How vmap says that something was written in place.
FORBIDDEN = ("inplace arithmetic", "in-place", "index_put_", "copy_")
#: What makes tensors that are then written into.
MAKERS = frozenset(
    [
        *(torch.empty, torch.zeros, torch.ones, torch.full, torch.tensor),
        *(torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like, torch.clone),
        *(Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.clone),
        Tensor.new_tensor,
    ]
)


class Writable(TorchFunctionMode):
    """New tensors of real numbers vary over whatever the arguments vary over.

    Args:
        arguments: The body's arguments under vmap.
    """

    def __init__(self, arguments: Sequence[Tensor]):
        super().__init__()
        self.zero = sum(torch.zeros_like(a.reshape(-1)[0]) for a in arguments if a.numel())
        #: By the address of a tensor that was made here: itself, and what it is by now.
        self.now: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.__setitem__ and id(args[0]) in self.now:
            first, place, value = args
            self.now[id(first)] = first, _with(self._current(first), place, self._current(value))
            return None
        made = func(*self._current(args), **self._current(kwargs))
        if func in MAKERS and made.is_floating_point():
            made = made + self.zero.to(made.dtype)
            self.now[id(made)] = made, made
        return made

    def _current(self, value: Any) -> Any:
        """A value with what its tensors are by now."""
        if isinstance(value, Tensor):
            return self.now.get(id(value), (value, value))[1]
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return type(value)(self._current(v) for v in value)
        if isinstance(value, dict):
            return {k: self._current(v) for k, v in value.items()}
        return value


def _with(old: Tensor, place: Any, value: Any) -> Tensor:
    """A tensor whose entries at a place are replaced."""
    if isinstance(place, int):
        mask = torch.zeros(old.shape, dtype=torch.bool)
        mask[place] = True
        return torch.where(mask, torch.as_tensor(value, dtype=old.dtype), old)
    numbers = torch.arange(old.numel()).reshape(old.shape)
    chosen = numbers[place]
    source = torch.zeros(old.numel(), dtype=torch.long)
    source[chosen.reshape(-1)] = torch.arange(chosen.numel())
    written = torch.zeros(old.numel(), dtype=torch.bool)
    written[chosen.reshape(-1)] = True
    new = torch.as_tensor(value, dtype=old.dtype).expand(chosen.shape).reshape(-1)
    return torch.where(written.reshape(old.shape), new[source].reshape(old.shape), old)
