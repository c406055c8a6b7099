"""The marginal of one node under a mixture of laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.posterior import ContinuousMarginal

__all__ = ["LawMarginal"]


class LawMarginal(ContinuousMarginal):
    """The marginal of one node as a mixture of named laws, entry by entry.

    Args:
        name: The node.
        parts: SciPy's frozen laws, each over the shape of one value.
        weights: Of each part.
        plates: Names of the leading axes.
    """

    exact = True

    def __init__(self, name: str, parts: Sequence[Any], weights: ndarray, plates: tuple[str, ...]):
        self.name, self.plates, self.states = name, plates, None
        kept = weights > 1e-15
        self._parts = [p for p, k in zip(parts, kept, strict=True) if k]
        self._weights = weights[kept] / weights[kept].sum()

    @property
    def mean(self) -> Tensor:
        total = sum(w * p.mean() for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    @property
    def sd(self) -> Tensor:
        mean = self.mean.numpy()
        total = sum(
            w * (p.var() + (p.mean() - mean) ** 2)
            for w, p in zip(self._weights, self._parts, strict=True)
        )
        return torch.as_tensor(numpy.sqrt(total), dtype=torch.float64)

    @property
    def standard_error(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def cdf(self, value: Any) -> Tensor:
        total = sum(w * p.cdf(value) for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    def density(self, value: Any) -> Tensor:
        """The posterior density, entry by entry."""
        total = sum(w * p.pdf(value) for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    def quantile(self, q: float) -> Tensor:
        return self._quantiles(numpy.array([q]))[0]

    def _quantiles(self, levels: ndarray) -> Tensor:
        q = levels.reshape((-1, *[1] * self.mean.dim()))
        ends = [numpy.asarray(p.ppf(q), dtype=float) for p in self._parts]
        low, high = numpy.minimum.reduce(ends), numpy.maximum.reduce(ends)
        while True:
            # The mixture's quantile lies between those of its parts; halve until no number is left in between.
            with numpy.errstate(invalid="ignore"):  # both ends may be the same infinity
                middle = numpy.where(low == high, low, low + (high - low) / 2)
            if not ((low < middle) & (middle < high)).any():
                return torch.as_tensor(middle)
            below = self.cdf(middle).numpy() < q
            low, high = numpy.where(below, middle, low), numpy.where(below, high, middle)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        rng = numpy.random.default_rng(seed)
        shape = self.mean.shape
        chosen = rng.choice(len(self._parts), n, p=self._weights)
        out = numpy.empty((n, *shape))
        for k, part in enumerate(self._parts):
            rows = chosen == k
            out[rows] = part.rvs(size=(int(rows.sum()), *shape), random_state=rng)
        return torch.from_numpy(out)
