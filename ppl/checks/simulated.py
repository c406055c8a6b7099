"""Simulated data sets: parameters and data drawn together from the model, in the shape of the question that was asked.

Data are missing where the observation is missing, and inputs are those of the observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import BackendError
from ..mechanism import Data, forward

__all__ = ["Simulated", "flat", "seen", "simulate_data"]


@dataclass(frozen=True, eq=False)
class Simulated:
    """Draws from the joint distribution.

    Args:
        truth: Of the asked nodes, `(n, *plates, *event)` by node.
        data: What would be observed in each.
    """

    truth: Mapping[str, Tensor]
    data: Data

    def __len__(self) -> int:
        return self.data.datasets


def simulate_data(query: Any, names: Sequence[str], data: Data, n: int, seed: int) -> Simulated:
    """So many data sets with their parameters; those whose simulation failed are left out.

    Args:
        query: The component.
        names: The asked nodes.
        data: The observation, whose gaps and inputs are taken over.
        n: How many.
        seed: Decides them.

    Raises:
        BackendError: If every simulation failed.
    """
    inputs = {n: v for n, v in data.inputs.items() if n in query.graph}
    batch = forward(query.mechanism, n, (seed, 301), fixed=inputs)
    given = [name for name in query.given if name in query.graph]
    values = {
        name: batch.values[name].expand((n, *batch.values[name].shape[1:]))
        for name in dict.fromkeys((*names, *given))
    }
    good = ~batch.failed
    for name in given:
        finite = torch.isfinite(values[name].to(torch.float64)).reshape((n, -1)).all(dim=1)
        good = good & finite
    count = int(good.sum())
    if not count:
        raise BackendError("Every simulated data set failed; nothing can be checked with them.")
    observed = {name: values[name][good] for name in given}
    present = {
        name: data.present[name][:1].expand((count, *data.present[name].shape[1:])).clone()
        for name in given
    }
    made = replace(
        query.mechanism.data,
        observed=observed,
        present=present,
        inputs={**query.mechanism.data.inputs, **inputs},
        datasets=count,
    )
    return Simulated({name: values[name][good] for name in names}, made)


def flat(values: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Some nodes as rows of numbers, `(n, columns)`."""
    n = max(len(values[name]) for name in names)
    parts = [
        values[name].expand((n, *values[name].shape[1:])).reshape((n, -1)).to(torch.float64)
        for name in names
    ]
    return torch.cat(parts, dim=1)


def seen(query: Any, data: Data) -> Tensor:
    """What was observed as rows of numbers, `(datasets, columns)`: the cells that are there, and means and spreads over plates."""
    parts = []
    for name in query.given:
        if name not in query.graph or name not in data.observed:
            continue
        value, there = data.observed[name], data.present[name][0]
        axes = there.dim()
        rows = value.reshape((len(value), there.numel(), -1)).to(torch.float64)
        rows = rows[:, there.reshape(-1)]
        parts.append(rows.flatten(1))
        if axes and rows.shape[1] > 1:
            parts += [rows.mean(dim=1), rows.std(dim=1)]
    return torch.cat(parts, dim=1) if parts else torch.zeros(data.datasets, 0)
