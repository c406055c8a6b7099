"""What a function closes over: remembered at the decorator, compared when the model is used.

A loop that declares nodes is the usual trap: Python's closures see the variable, not its value at the time.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from .node import Body

__all__ = ["changed_since", "place", "remember", "used_names"]


def place(function: Callable[..., Any]) -> str:
    """Where a function is written, as `file:line`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (
        "unknown place" if code is None else f"{Path(code.co_filename).name}:{code.co_firstlineno}"
    )


def changed_since(body: Body) -> str | None:
    """The name of a closed-over value that is no longer what it was at the decorator, or `None`."""
    now = dict(remember(body.function))
    for name, before in body.remembered:
        if name in now and not _unchanged(before, now[name]):
            return name
    return None


def _unchanged(before: Any, now: Any) -> bool:
    """Whether two fingerprints mean the same; a dictionary may have grown, as memos do."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(key in now and _unchanged(value, now[key]) for key, value in before.items())
    return bool(before == now)


def remember(function: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    """A fingerprint of every value that the function takes from outside."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    seen = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            seen[name] = _fingerprint(cell.cell_contents)
        except ValueError:  # a cell that is not filled yet: a function defined further down
            continue
    for name in used_names(code):
        if name in function.__globals__ and not hasattr(builtins, name):
            seen[name] = _fingerprint(function.__globals__[name])
    return tuple(seen.items())


def used_names(code: Any) -> list[str]:
    """Global names that a function uses, comprehensions and inner functions included."""
    inner = [
        name for part in code.co_consts if hasattr(part, "co_names") for name in used_names(part)
    ]
    return [*code.co_names, *inner]


def _fingerprint(value: Any, depth: int = 3) -> Any:
    """Something that compares equal as long as the value means the same; containers by content, objects by identity."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return type(value).__name__, repr(value)
    if isinstance(value, torch.Tensor) and not value.requires_grad:
        value = value.detach().cpu().numpy()
    if isinstance(value, numpy.ndarray) and value.dtype != object and value.nbytes <= 2**22:
        return value.shape, hashlib.sha1(numpy.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, list | tuple) and depth and len(value) <= 4096:
        return tuple(_fingerprint(item, depth - 1) for item in value)
    if isinstance(value, dict) and depth and len(value) <= 4096:
        return {repr(key): _fingerprint(item, depth - 1) for key, item in value.items()}
    return id(value)
