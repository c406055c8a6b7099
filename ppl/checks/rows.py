"""Rows of numbers made comparable: columns on one scale, and fewer of them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["columns", "principal"]


def columns(rows: Tensor) -> Tensor:
    """Standardised columns, heavy tails drawn together; columns that do not vary are left out, `(n, columns)`."""
    rows = rows.to(torch.float64)
    low, middle, high = torch.quantile(
        rows, torch.tensor([0.05, 0.5, 0.95], dtype=rows.dtype), dim=0
    )
    width = torch.where(high > low, (high - low) / 3.3, rows.std(dim=0))
    rows = rows[:, width > 0]
    scaled = (rows - middle[width > 0]) / width[width > 0]
    far = scaled.abs() > 3
    return torch.where(far, scaled.sign() * (3 + (scaled.abs() - 2).clamp(min=1).log()), scaled)


def principal(rows: Tensor, count: int, rest: bool = False) -> Tensor:
    """Columns, or so many principal components where there are more; the last row has no say in what these are.

    Args:
        rows: `(n, columns)`.
        count: How many.
        rest: Whether the size of what they leave is one more column.
    """
    scaled = columns(rows)
    if scaled.shape[1] <= count:
        return scaled
    centred = scaled - scaled[:-1].mean(dim=0)
    _, _, axes = torch.linalg.svd(centred[:-1], full_matrices=False)
    found = centred @ axes[:count].T
    if rest:
        left = (centred - found @ axes[:count]).square().mean(dim=1, keepdim=True)
        found = torch.cat([found, left.clamp(min=1e-12).log()], dim=1)
    return columns(found)
