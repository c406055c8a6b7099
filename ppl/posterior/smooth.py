"""A continuous marginal that is known as an integral: moments from weighted points, quantiles from a fine table of equally likely values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .marginal import ContinuousMarginal

__all__ = ["Line", "SmoothMarginal"]


class Line(Protocol):
    """The law of one number."""

    def cdf(self, value: float) -> float:
        """P(number ≤ value)."""
        ...

    def quantiles(self, levels: ndarray) -> ndarray:
        """Where the cdf has these values, `(levels,)`."""
        ...


class SmoothMarginal(ContinuousMarginal):
    """A marginal found by integration.

    Args:
        name: The node.
        points: Its values at the points of a rule, `(points, *plates, *event)`.
        weights: The posterior weight of each point, `(points,)`.
        table: Equally likely values, in no order, `(n, *plates, *event)`: strata of the posterior rather than draws.
        plates: Names of the leading axes.
        exact: Whether the numbers are closed forms.
        lines: For each entry its own cdf and quantile function, where integration gives them; otherwise the table does.
    """

    def __init__(
        self,
        name: str,
        points: Tensor,
        weights: Tensor,
        table: Tensor,
        plates: tuple[str, ...] = (),
        exact: bool = False,
        lines: Sequence[Line] = (),
    ):
        self.name, self.plates, self.states, self.exact = name, plates, None, exact
        self._points, self._weights, self._table = points.to(torch.float64), weights, table
        self._sorted: Tensor | None = None
        self._lines = tuple(lines)

    def _expect(self, values: Tensor) -> Tensor:
        return torch.tensordot(self._weights, values, dims=1)

    @property
    def mean(self) -> Tensor:
        return self._expect(self._points)

    @property
    def sd(self) -> Tensor:
        return self._expect((self._points - self.mean) ** 2).sqrt()

    @property
    def standard_error(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def _ordered(self) -> Tensor:
        if self._sorted is None:
            self._sorted = self._table.sort(dim=0).values
        return self._sorted

    def quantile(self, q: float) -> Tensor:
        if self._lines:
            return self._quantiles(numpy.array([q]))[0]
        ordered = self._ordered()
        place = min(max(q * len(ordered) - 0.5, 0.0), len(ordered) - 1.0)
        low = min(int(place), len(ordered) - 2)
        return torch.lerp(ordered[low], ordered[low + 1], place - low)

    def _quantiles(self, levels: ndarray) -> Tensor:
        if not self._lines:
            return super()._quantiles(levels)
        found = numpy.stack([line.quantiles(levels) for line in self._lines], axis=1)
        return torch.from_numpy(found).reshape((len(levels), *self.mean.shape))

    def cdf(self, value: float) -> Tensor:
        if self._lines:
            found = [line.cdf(value) for line in self._lines]
            return torch.tensor(found, dtype=torch.float64).reshape(self.mean.shape)
        ordered = self._ordered()
        below = (ordered <= value).to(torch.float64).sum(dim=0)
        k = below.long().clamp(1, len(ordered) - 1)
        low = ordered.gather(0, (k - 1)[None])[0]
        high = ordered.gather(0, k[None])[0]
        part = ((value - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
        inside = (k - 0.5 + part) / len(ordered)
        return torch.where(below == 0, 0.0, torch.where(below == len(ordered), 1.0, inside))

    def draws(self, n: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return self._table[torch.randint(len(self._table), (n,), generator=generator)]
