"""Bucket elimination: sum variables out one by one, then answer from the buckets.

Forward, each variable's bucket sends a normalised message to the bucket of the next variable in its scope; the scales add up to the log-evidence.
Backward, conditionals p(variable | the rest of its bucket) give marginals and exact draws.

References:
    | Bucket elimination: A unifying framework for reasoning (Dechter, 1999)
    | Probabilistic Graphical Models, chapter 9 (Koller and Friedman, 2009)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy
from numpy import ndarray

from ppl.mechanism.tables import Cell

from .factor import Factor, product, summed

__all__ = ["Bucket", "Elimination", "eliminate"]


@dataclass(frozen=True, eq=False)
class Bucket:
    """A variable, the later variables that it is tied to, and the factors that tie them."""

    variable: Cell
    separator: tuple[Cell, ...]
    factors: tuple[Factor, ...]

    def joint(self) -> ndarray:
        """The unnormalised table, `(datasets or 1, variable, *separator)`."""
        return product(self.factors, (self.variable, *self.separator))


class Elimination:
    """A finished elimination: log-evidence at once, marginals and draws on request.

    Args:
        buckets: In the order of elimination.
        log_evidence: `(datasets,)`.
        sizes: Cardinality of each variable.
    """

    def __init__(self, buckets: Sequence[Bucket], log_evidence: ndarray, sizes: Mapping[Cell, int]):
        self.buckets = {b.variable: b for b in buckets}
        self.log_evidence, self.sizes = log_evidence, sizes
        self._order = {b.variable: i for i, b in enumerate(buckets)}
        self._conditionals: dict[Cell, ndarray] = {}
        self._beliefs: dict[Cell, ndarray] = {}

    def conditional(self, variable: Cell) -> ndarray:
        """p(variable | separator, observation), `(datasets or 1, variable, *separator)`; zero where the separator is impossible."""
        if variable not in self._conditionals:
            joint = self.buckets[variable].joint()
            total = joint.sum(axis=1, keepdims=True)
            self._conditionals[variable] = numpy.divide(
                joint, total, out=numpy.zeros_like(joint), where=total > 0
            )
        return self._conditionals[variable]

    def belief(self, variable: Cell) -> ndarray:
        """p(variable, separator | observation), `(datasets or 1, variable, *separator)`."""
        stack = [variable]
        while (
            stack
        ):  # an explicit stack: a chain of thousands of members is deeper than Python's recursion
            v = stack[-1]
            separator = self.buckets[v].separator
            if v in self._beliefs:
                stack.pop()
            elif not separator:
                self._beliefs[v] = self.conditional(v)
                stack.pop()
            else:
                parent = min(separator, key=self._order.__getitem__)
                if parent not in self._beliefs:
                    stack.append(parent)
                    continue
                self._beliefs[v] = self.conditional(v) * self._marginal(parent, separator)[:, None]
                stack.pop()
        return self._beliefs[variable]

    def _marginal(self, parent: Cell, scope: tuple[Cell, ...]) -> ndarray:
        """A bucket's belief summed down to some of its variables, in their order."""
        held = (parent, *self.buckets[parent].separator)
        belief = self._beliefs[parent]
        gone = tuple(1 + i for i, v in enumerate(held) if v not in scope)
        small = belief.sum(axis=gone) if gone else belief
        left = [v for v in held if v in scope]
        return small.transpose(0, *(1 + left.index(v) for v in scope))

    def marginal(self, variable: Cell) -> ndarray:
        """p(variable | observation), `(datasets or 1, cardinality)`."""
        belief = self.belief(variable)
        return belief.reshape((*belief.shape[:2], -1)).sum(axis=2)

    def draw(
        self, wanted: Sequence[Cell], dataset: int, n: int, rng: numpy.random.Generator
    ) -> dict[Cell, ndarray]:
        """Exact joint draws of some variables, `(n,)` indices each."""
        needed: set[Cell] = set()
        stack = list(wanted)
        while stack:
            v = stack.pop()
            if v not in needed:
                needed.add(v)
                stack.extend(self.buckets[v].separator)
        drawn: dict[Cell, ndarray] = {}
        for v in sorted(needed, key=self._order.__getitem__, reverse=True):
            table = self.conditional(v)
            table = table[dataset if len(table) > 1 else 0]
            rows = table[(slice(None), *(drawn[u] for u in self.buckets[v].separator))]
            cdf = rows.T.cumsum(axis=-1) if rows.ndim > 1 else rows.cumsum()[None]
            u = rng.random((n, 1)) * cdf[..., -1:]
            drawn[v] = (cdf <= u).sum(axis=-1).clip(max=cdf.shape[-1] - 1)
        return drawn


def eliminate(
    factors: Sequence[Factor], order: Sequence[Cell], sizes: Mapping[Cell, int], datasets: int = 1
) -> Elimination:
    """Sum all variables out, in this order.

    Args:
        factors: Their product is the unnormalised joint.
        order: Every variable of the factors, once.
        sizes: Cardinality of each variable.
        datasets: The length of the batch.

    Returns:
        The elimination; `log_evidence` is minus infinity where the observation is impossible.
    """
    log_evidence = numpy.zeros(datasets)
    live = dict(enumerate(factors))
    touching: dict[Cell, set[int]] = {v: set() for v in order}
    for i, factor in live.items():
        for v in factor.scope:
            touching[v].add(i)
    position = {v: i for i, v in enumerate(order)}
    buckets = []

    def scaled(table: ndarray) -> ndarray:
        nonlocal log_evidence
        scale = table.reshape((len(table), -1)).max(axis=1)
        with numpy.errstate(divide="ignore"):
            log_evidence = log_evidence + numpy.log(scale)
        safe = numpy.where(scale > 0, scale, 1.0)
        return table / safe.reshape((-1, *[1] * (table.ndim - 1)))

    for i in [i for i, f in live.items() if not f.scope]:
        scaled(live.pop(i).table)
    for v in order:
        mine = [live.pop(i) for i in sorted(touching[v])]
        separator = tuple(
            sorted({u for f in mine for u in f.scope if u != v}, key=position.__getitem__)
        )
        for i, f in zip(sorted(touching[v]), mine, strict=True):
            for u in f.scope:
                touching[u].discard(i)
        cells = prod(sizes[u] for u in separator) * sizes[v]
        message = Factor(separator, scaled(summed(mine, (v, *separator), v, cells)))
        buckets.append(Bucket(v, separator, tuple(mine)))
        if separator:
            key = len(factors) + len(buckets)
            live[key] = message
            for u in separator:
                touching[u].add(key)
    return Elimination(buckets, log_evidence, sizes)
