"""What several chains say about themselves: ArviZ's bulk ESS and rank R-hat, for each number of a node.

References:
    | Rank-Normalization, Folding, and Localization: An Improved R-hat (Vehtari et al., 2021)
    | https://doi.org/10.1214/20-BA1221
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy import ndarray
from torch import Tensor

__all__ = ["bulk", "rank"]

#: Shorter chains say nothing about themselves.
SHORTEST = 4


def bulk(values: Tensor, chains: int) -> Tensor:
    """Bulk ESS of draws `(chains · draws, *shape)`, `(*shape)`; NaN where nothing moves."""
    from arviz_stats.base import array_stats

    return _each(values, chains, array_stats.ess)


def rank(values: Tensor, chains: int) -> Tensor:
    """Rank R-hat of draws `(chains · draws, *shape)`, `(*shape)`; NaN where nothing moves."""
    from arviz_stats.base import array_stats

    return _each(values, chains, array_stats.rhat)


def _each(values: Tensor, chains: int, figure: Callable[..., ndarray]) -> Tensor:
    shape = values.shape[1:]
    found = torch.full((shape.numel(),), torch.nan, dtype=torch.float64)
    cut = values.to(torch.float64).reshape((chains, -1, shape.numel()))
    moving = cut.flatten(0, 1).std(dim=0) > 0
    if cut.shape[1] >= SHORTEST and bool(moving.any()):
        kept = cut[:, :, moving].numpy()
        found[moving] = torch.as_tensor(figure(kept, chain_axis=0, draw_axis=1))
    return found.reshape(shape)
