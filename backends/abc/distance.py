"""The distance between simulated data and what was seen, cell by cell on the scale of the simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Target", "scales"]


@dataclass(frozen=True, eq=False)
class Target:
    """The seen values of some nodes, flattened; missing cells are left out.

    Args:
        names: The nodes.
        masks: Which entries of each node's flattened value are there, `(entries,)`.
        seen: The entries that are there, `(cells,)`.
    """

    names: tuple[str, ...]
    masks: tuple[Tensor, ...]
    seen: Tensor

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        observed: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        i: int,
    ) -> Target:
        """The target that observation `i` of a batch sets."""
        masks, parts = [], []
        for name in names:
            value, there = observed[name][i], present[name][i]
            full = (
                there.reshape((*there.shape, *[1] * (value.dim() - there.dim())))
                .expand(value.shape)
                .reshape(-1)
            )
            masks.append(full)
            parts.append(value.reshape(-1)[full].to(torch.float64))
        return cls(tuple(names), tuple(masks), torch.cat(parts))

    def cells(self, values: Mapping[str, Tensor], draws: int) -> Tensor:
        """The same cells of simulated data, `(draws, cells)`."""
        parts = []
        for name, mask in zip(self.names, self.masks, strict=True):
            value = values[name]
            flat = value.expand((draws, *value.shape[1:])).reshape(draws, -1)
            parts.append((flat if bool(mask.all()) else flat[:, mask]).to(torch.float64))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def matches(self, values: Mapping[str, Tensor], draws: int) -> Tensor:
        """Which draws equal the seen data in every cell, `(draws,)`."""
        return (self.cells(values, draws) == self.seen).all(dim=1)

    def distance(self, values: Mapping[str, Tensor], draws: int, scale: Tensor) -> Tensor:
        """Root mean square of the scaled differences, `(draws,)`."""
        return (((self.cells(values, draws) - self.seen) / scale) ** 2).mean(dim=1).sqrt()


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
