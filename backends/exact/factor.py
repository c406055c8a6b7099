"""A factor: a table over variables of the unrolled graph, with a batch axis for observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy import ndarray
from opt_einsum import contract

from ppl.mechanism.tables import Cell

__all__ = ["Factor", "product", "summed"]

#: Above this size a product that is summed at once goes to opt_einsum, which never makes the whole product.
EINSUM = 2**14


@dataclass(frozen=True, eq=False)
class Factor:
    """Non-negative numbers over some variables.

    Args:
        scope: The variables, in the order of the axes.
        table: `(datasets or 1, *cardinalities)`.
    """

    scope: tuple[Cell, ...]
    table: ndarray

    def at(self, values: Mapping[Cell, ndarray]) -> Factor:
        """The factor with some variables set, one index an observation, `(datasets,)` each."""
        hit = [v for v in self.scope if v in values]
        if not hit:
            return self
        count = max(len(self.table), *(len(values[v]) for v in hit))
        rows = numpy.arange(count) if len(self.table) > 1 else numpy.zeros(count, dtype=int)
        order = [1 + self.scope.index(v) for v in hit]
        rest = [1 + i for i, v in enumerate(self.scope) if v not in values]
        turned = self.table.transpose(0, *order, *rest)
        index = (rows, *(numpy.broadcast_to(values[v], (count,)) for v in hit))
        return Factor(tuple(v for v in self.scope if v not in values), turned[index])

    def aligned(self, scope: Sequence[Cell]) -> ndarray:
        """The table with an axis for every variable of a larger scope."""
        order = sorted(range(len(self.scope)), key=lambda i: scope.index(self.scope[i]))
        turned = self.table.transpose(0, *(1 + i for i in order))
        mine = {self.scope[i] for i in order}
        sizes = iter(turned.shape[1:])
        return turned.reshape((len(turned), *(next(sizes) if v in mine else 1 for v in scope)))


def product(factors: Sequence[Factor], scope: Sequence[Cell]) -> ndarray:
    """The product of factors over a scope, `(datasets or 1, *cardinalities)`; axes in no factor have size 1."""
    result = factors[0].aligned(scope)
    for factor in factors[1:]:
        result = result * factor.aligned(scope)
    return result


def summed(factors: Sequence[Factor], scope: Sequence[Cell], variable: Cell, cells: int) -> ndarray:
    """The product of factors over `scope`, summed over one of its variables; axes in the order of the others."""
    others = [v for v in scope if v != variable]
    if cells < EINSUM or len(scope) > 40:
        axis = 1 + list(scope).index(variable)
        return product(factors, scope).sum(axis=axis)
    number = {v: i + 1 for i, v in enumerate(scope)}
    operands: list = []
    batched = any(len(f.table) > 1 for f in factors)
    for f in factors:
        many = len(f.table) > 1
        operands += [
            f.table if many else f.table[0],
            ([0] if many else []) + [number[v] for v in f.scope],
        ]
    out = ([0] if batched else []) + [number[v] for v in others]
    result = contract(*operands, out)
    return result if batched else result[None]
