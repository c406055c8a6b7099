"""Which members of a plate a body looks at, when it is handed all of them.

`position[-1]` depends on one member, `step.sum(0)` on all. A watched tensor records constant indexing along the leading axis and
counts everything else as touching every member.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Watched"]


class Watched(Tensor):
    """A tensor that notes which rows of its leading axis are used.

    Example:
        >>> seen = Watched.of(torch.arange(5))
        >>> _ = seen[-1] + 1
        >>> sorted(seen.touched)
        [4]
    """

    touched: set[int]

    @staticmethod
    def of(value: Tensor) -> Watched:
        """Start watching a tensor."""
        watched = torch.Tensor._make_subclass(Watched, value)
        watched.touched = set()
        return watched

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        plain = _plain(args)
        if function is Tensor.__getitem__ and isinstance(args[0], Watched):
            rows = _rows(args[1], args[0].shape[0])
            if rows is not None:
                args[0].touched.update(rows)
                return function(*plain, **(kwargs or {}))
        if function not in _HARMLESS:
            for argument in _flat(args):
                if isinstance(argument, Watched) and hasattr(argument, "touched"):
                    argument.touched.update(range(argument.shape[0] if argument.dim() else 0))
        return function(*plain, **_plain(kwargs or {}))


#: Questions about the form, which do not look at the numbers.
_HARMLESS = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.device.__get__,  # type: ignore[attr-defined]
    Tensor.is_sparse.__get__,  # type: ignore[attr-defined]
    Tensor.dim,
    Tensor.size,
    Tensor.__len__,
    Tensor.is_floating_point,
}


def _rows(index, size: int) -> set[int] | None:
    """The rows that a constant index names, or `None` when it is not constant."""
    first = index[0] if isinstance(index, tuple) and index else index
    if isinstance(first, bool) or first is None or first is Ellipsis:
        return None
    if isinstance(first, int):
        return {first % size} if -size <= first < size else set()
    if isinstance(first, slice):
        return set(range(size)[first])
    return None


def _plain(value):
    if isinstance(value, Watched):
        return value.as_subclass(Tensor)
    if isinstance(value, tuple | list):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _flat(value):
    if isinstance(value, tuple | list):
        for item in value:
            yield from _flat(item)
    else:
        yield value
