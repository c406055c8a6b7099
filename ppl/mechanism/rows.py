"""Rows of a batch: arguments of one call among many, distinct combinations of whole numbers, short words for errors."""

from __future__ import annotations

from math import prod
from textwrap import shorten

import numpy
import torch
from torch import Tensor

__all__ = ["alike", "distinct_rows", "first_line", "flattened", "fresh", "plain", "short"]


def fresh(value):
    """A copy of what a body could change in place."""
    if type(value) is Tensor:  # a watched tensor is a copy already, and would notice this one
        return value.clone()
    return value.copy() if isinstance(value, numpy.ndarray) else value


def alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True))


def flattened(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An argument for every call of the batch, `(calls, *rest)`."""
    rest = a.shape[len(shape) :]
    return a.expand((*shape, *rest)).reshape((-1, *rest))


def plain(value: Tensor, python: bool):
    """Whole numbers as Python integers; for `rng` bodies NumPy arrays and Python scalars; tensors otherwise."""
    if value.dim() == 0 and (python or not value.is_floating_point()):
        return value.item()
    return value.numpy() if python else value


def distinct_rows(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a matrix of integers, `(distinct, columns)`, and for each row which one it is."""
    low = columns.amin(dim=0)
    spans = (columns.amax(dim=0) - low + 1).tolist()
    if prod(spans) > 2**20:
        distinct, index = torch.unique(columns, dim=0, return_inverse=True)
        return distinct, index
    code = torch.zeros(len(columns), dtype=torch.int64)
    for k, span in enumerate(spans):
        code = code * span + (columns[:, k] - low[k])
    present = torch.bincount(code, minlength=prod(spans)).nonzero()[:, 0]
    lookup = torch.empty(prod(spans), dtype=torch.int64)
    lookup[present] = torch.arange(len(present))
    rest, digits = present, []
    for span in reversed(spans):
        digits.append(rest % span)
        rest = rest // span
    distinct = torch.stack(digits[::-1], dim=-1) + low
    return distinct, lookup[code]


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shorten(lines[0], 160, placeholder=" …") if lines else type(error).__name__


def short(value) -> str:
    text = str(value.tolist()) if isinstance(value, Tensor | numpy.ndarray) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
