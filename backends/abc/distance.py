"""How far simulated data lie from what was seen.

Every observed node has a distance of its own; several are joined as a root mean square, each measured by its median in a pilot.

References:
    | Sampling-based inference on summary statistics: the scale of each by its median absolute deviation (Csilléry et al., 2012)
    | Adapting the ABC distance function (Prangle, 2017)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ppl.errors import QueryError

__all__ = ["KINDS", "Distance", "scales"]

#: Names that `distance=` takes; a function of simulated values `(n, cells)` and seen ones `(cells,)` will do as well.
KINDS = ("scaled", "mahalanobis")


class Distance:
    """A distance that was fitted to simulations.

    Args:
        parts: For each group of columns: a function of their differences to what was seen, and its size.
    """

    def __init__(self, parts: list[tuple[slice, Callable[[Tensor, Tensor], Tensor], float]]):
        self._parts = parts

    @classmethod
    def fitted(
        cls, chosen: Any, groups: Mapping[str, slice], statistics: Tensor, seen: Tensor
    ) -> Distance:
        """The distance that the user chose, with scales from simulations.

        Args:
            chosen: A name, a function, or one of these by node.
            groups: The columns of each node.
            statistics: Simulated, `(n, columns)`.
            seen: `(columns,)`.

        Raises:
            QueryError: For a name that is none, or a node that is not compared.
        """
        if not isinstance(chosen, Mapping):
            whole = {"": slice(0, len(seen))}
            return cls(
                [_part(chosen, columns, statistics, seen, False) for columns in whole.values()]
            )
        for name in chosen:
            if name not in groups:
                raise QueryError(
                    f"distance= names '{name}', which is not compared; there are {', '.join(groups)}."
                )
        return cls(
            [
                _part(chosen.get(name, "scaled"), columns, statistics, seen, len(groups) > 1)
                for name, columns in groups.items()
            ]
        )

    def __call__(self, statistics: Tensor, seen: Tensor) -> Tensor:
        """The distance of each row, `(n,)`; infinite where something is no number."""
        if len(self._parts) == 1 and self._parts[0][2] == 1.0:
            columns, measure, _ = self._parts[0]
            found = measure(statistics[:, columns], seen[columns])
        else:
            total = torch.zeros(len(statistics), dtype=torch.float64)
            for columns, measure, size in self._parts:
                total += (measure(statistics[:, columns], seen[columns]) / size) ** 2
            found = (total / len(self._parts)).sqrt()
        return found.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _part(
    chosen: Any, columns: slice, statistics: Tensor, seen: Tensor, sized: bool
) -> tuple[slice, Callable[[Tensor, Tensor], Tensor], float]:
    """One group's distance, and its median over the simulations."""
    mine = statistics[:, columns]
    if chosen == "scaled":
        # A product with a vector is several times faster than a mean over a short axis.
        weights = 1 / (scales(mine) ** 2 * max(mine.shape[1], 1))

        def measure(x: Tensor, y: Tensor) -> Tensor:
            return ((x - y).square_() @ weights).sqrt_()

    elif chosen == "mahalanobis":
        root = _whitener(mine)

        def measure(x: Tensor, y: Tensor) -> Tensor:
            return (((x - y) @ root) ** 2).mean(dim=1).sqrt()

    elif callable(chosen):

        def measure(x: Tensor, y: Tensor) -> Tensor:
            found = torch.as_tensor(chosen(x, y), dtype=torch.float64)
            if found.shape != (len(x),):
                raise QueryError(
                    f"The distance function returned the shape {tuple(found.shape)} for {len(x)} rows; it returns one number a row."
                )
            return found

    else:
        raise QueryError(f"distance={chosen!r} is neither {' nor '.join(KINDS)} nor a function.")
    size = 1.0
    if sized:
        found = measure(mine, seen[columns])
        size = float(found[torch.isfinite(found)].median().clamp(min=1e-12))
    return columns, measure, size


def scales(cells: Tensor) -> Tensor:
    """A robust scale of each column: 1.4826 · MAD, the standard deviation where that is zero, 1 for constants.

    Args:
        cells: Simulated data, `(draws, cells)`.
    """
    centre = cells.median(dim=0).values
    mad = 1.4826 * (cells - centre).abs().median(dim=0).values
    sd = cells.std(dim=0)
    scale = torch.where(mad > 0, mad, sd)
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _whitener(cells: Tensor) -> Tensor:
    """A root of the inverse covariance; columns that others determine count once."""
    scale = scales(cells)
    # What lies far out would decide the covariance alone.
    x = ((cells - cells.median(dim=0).values) / scale).clamp(-10, 10)
    values, vectors = torch.linalg.eigh(torch.cov(x.T).reshape(cells.shape[1], -1))
    kept = values > 1e-9 * values.max().clamp(min=1e-300)
    root = vectors[:, kept] / values[kept].sqrt()
    return root / scale[:, None] * (cells.shape[1] / int(kept.sum())) ** 0.5
