"""A look-up: a body that is nothing but a table of probabilities, as networks read from files and fitted models have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy import ndarray
from torch import from_numpy

from ..distributions import Categorical, Distribution

__all__ = ["Lookup"]


class Lookup:
    """p(node | parents) as a table; called like any body, and read off by the finite engines without a call.

    Args:
        table: `(*parents, own)` in float64; every row sums to one.
        domains: For each parent the values along its axis, where they are not 0, 1, 2, …

    Example:
        >>> wet = Lookup([[0.9, 0.1], [0.2, 0.8]])
        >>> wet(1).log_prob(0).exp()
        tensor(0.2000, dtype=torch.float64)
    """

    def __init__(self, table: ndarray | Sequence, domains: Sequence[Sequence | None] = ()):
        self.table = numpy.array(table, dtype=numpy.float64)
        self.table.flags.writeable = False
        self.positive = bool(self.table.min() > 0)
        #: Whether every value is possible for some parents.
        self.onto = self.positive or bool(
            (self.table > 0).reshape((-1, self.table.shape[-1])).any(axis=0).all()
        )
        self.domains = tuple(domains) or (None,) * (self.table.ndim - 1)
        self._places = [
            None if values is None else {value: i for i, value in enumerate(values)}
            for values in self.domains
        ]

    def __call__(self, *parents: int, **named: int) -> Distribution:
        at = tuple(
            int(value) if place is None else place[value]
            for value, place in zip((*parents, *named.values()), self._places, strict=True)
        )
        return Categorical(from_numpy(self.table[at].copy()))
