"""Elimination orders and their cost: what summing out a set of finite variables will take.

Finding the best order is NP-hard; greedy heuristics on the interaction graph do well (Koller and Friedman 2009, §9.4). Two are tried, and
the cheaper order is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod
from typing import Any

__all__ = ["Elimination", "elimination"]

Variable = Any

#: A variable with more neighbours than this is eliminated late; its fill is not worth counting.
HUB = 64


@dataclass(frozen=True)
class Elimination:
    """An order in which to sum variables out, and what it costs.

    Args:
        order: The variables, first eliminated first.
        cells: The total size of the factors that are made on the way.
        largest: The size of the largest of them.
        heuristic: Which rule found the order.
    """

    order: tuple[Variable, ...]
    cells: int
    largest: int
    heuristic: str

    @property
    def log2_cells(self) -> float:
        """The cost in the unit of the decision table."""
        return log2(max(self.cells, 1))


def elimination(
    scopes: Iterable[Sequence[Variable]],
    sizes: Mapping[Variable, int],
    keep: Iterable[Variable] = (),
) -> Elimination:
    """The cheapest order that the heuristics find.

    Args:
        scopes: The variables of each factor.
        sizes: The number of values of each variable.
        keep: Variables that are not to be summed out.

    Example:
        >>> chain = [("a",), ("a", "b"), ("b", "c")]
        >>> elimination(chain, {"a": 2, "b": 3, "c": 4}, keep="c").cells
        22
    """
    scopes = [tuple(scope) for scope in scopes]
    kept = set(keep)
    found = [_greedy(scopes, sizes, kept, heuristic) for heuristic in ("min-fill", "min-weight")]
    return min(found, key=lambda result: result.cells)


def _greedy(scopes, sizes, kept, heuristic) -> Elimination:
    # Insertion-ordered dicts stand for sets, so that equal inputs give equal orders.
    neighbours: dict = {}
    for scope in scopes:
        for v in scope:
            near = neighbours.setdefault(v, {})
            near.update((u, None) for u in scope if u != v)

    def score(v):
        near = neighbours[v]
        weight = prod(sizes[u] for u in near) * sizes[v]
        if heuristic == "min-weight":
            return weight, 0
        if len(near) > HUB:
            return len(near) ** 2, weight
        names = list(near)
        fill = sum(1 for i, a in enumerate(names) for b in names[i + 1 :] if b not in neighbours[a])
        return fill, weight

    remaining = {v: score(v) for v in neighbours if v not in kept}
    order, cells, largest = [], 0, 1
    while remaining:
        best = min(remaining, key=remaining.__getitem__)
        near = neighbours.pop(best)
        size = prod(sizes[u] for u in near) * sizes[best]
        cells, largest = cells + size, max(largest, size)
        order.append(best)
        del remaining[best]
        touched = dict(near)
        for u in near:
            del neighbours[u][best]
            new = [w for w in near if w != u and w not in neighbours[u]]
            neighbours[u].update(dict.fromkeys(new))
            if heuristic == "min-fill":
                # A new edge changes the fill of whoever knows both its ends.
                small = neighbours[u] if len(neighbours[u]) <= HUB else ()
                touched.update((w, None) for w in small if any(w in neighbours[x] for x in new))
        for u in touched:
            if u in remaining:
                remaining[u] = score(u)
    final = prod(sizes[v] for v in neighbours)
    return Elimination(tuple(order), cells + (final if kept else 0), max(largest, final), heuristic)
