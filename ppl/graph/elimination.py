"""Elimination orders and their cost: what summing out a set of finite variables will take.

Finding the best order is NP-hard; greedy heuristics on the interaction graph do well (Koller and Friedman 2009, §9.4), so several are tried as
long as the cost that may be saved is worth the search, and the cheapest order is kept.

References:
    | Triangulation of graphs: algorithms giving small total state space (Kjærulff, 1990)
    | A complete anytime algorithm for treewidth (Gogate and Dechter, 2004), for breaking ties at random
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2, prod
from typing import Any

__all__ = ["Elimination", "elimination", "rounds"]

Variable = Any

#: A variable with more neighbours than this is eliminated late; its fill is not worth counting.
HUB = 128
#: Orders that cost less than this many cells, or this many times what the factors hold, are not searched further.
CHEAP, NEAR = 2**13, 4
#: Cells that one more search has to be able to save for each variable to be worth its while.
WORTH = 2**13
#: Beyond this many cells no search will make an order that can be paid for.
HOPELESS = 2**36
#: Searches with ties broken at random.
TRIALS = 16


@dataclass(frozen=True)
class Elimination:
    """An order in which to sum variables out, and what it costs.

    Args:
        buckets: For each variable, first eliminated first: itself, and the later ones that it is tied to by then.
        cells: The total size of the factors that are made on the way.
        largest: The size of the largest of them.
        heuristic: Which rule found the order.
        kept: The variables that are not summed out.
    """

    buckets: tuple[tuple[Variable, ...], ...]
    cells: int
    largest: int
    heuristic: str
    kept: tuple[Variable, ...] = ()

    @cached_property
    def order(self) -> tuple[Variable, ...]:
        """The variables, first eliminated first."""
        return tuple(bucket[0] for bucket in self.buckets)

    @property
    def width(self) -> int:
        """The number of variables in the largest bucket, less one: the induced width of the order."""
        return max((len(bucket) for bucket in self.buckets), default=1) - 1

    @property
    def log2_cells(self) -> float:
        """The cost in the unit of the decision table."""
        return log2(max(self.cells, 1))


def elimination(
    scopes: Iterable[Sequence[Variable]],
    sizes: Mapping[Variable, int] | Sequence[int],
    keep: Iterable[Variable] = (),
    last: Iterable[Variable] = (),
) -> Elimination:
    """The cheapest order that the heuristics find.

    Args:
        scopes: The variables of each factor.
        sizes: The number of values of each variable.
        keep: Variables that are not to be summed out.
        last: Variables that are eliminated after all others.

    Example:
        >>> chain = [("a",), ("a", "b"), ("b", "c")]
        >>> elimination(chain, {"a": 2, "b": 3, "c": 4}, keep="c").cells
        22
    """
    graph = _Interaction(scopes, sizes, keep, last)
    best = graph.greedy("min-fill")
    if best.cells <= max(CHEAP, NEAR * graph.held):
        return best
    best = min(best, graph.greedy("min-weight"), key=_cells)
    worth = best.cells // (WORTH * len(graph.near)) if best.cells < HOPELESS else 0
    if worth:
        best = min(best, graph.greedy("weighted min-fill"), key=_cells)
    for trial in range(min(TRIALS, worth)):
        best = min(best, graph.greedy("min-fill", random.Random(trial)), key=_cells)
    return best


def rounds(
    scopes: Iterable[Sequence[Variable]],
    sizes: Mapping[Variable, int] | Sequence[int],
    keep: Iterable[Variable] = (),
    limit: int = 2**10,
) -> Elimination:
    """An order of few steps: in each round all variables go that cost at most `limit` cells and are not tied to one another.

    A chain of n members takes about log2(n) rounds (odd-even reduction), so that engines which work on a whole round at once need no loop
    along it. It costs more cells than the cheapest order.
    """
    return _Interaction(scopes, sizes, keep, ()).rounds(limit)


def _cells(found: Elimination) -> int:
    return found.cells


class _Interaction:
    """The interaction graph: variables are tied when they share a factor.

    Neighbours are kept as sets, to walk over them, and as the bits of an integer, to count them.
    """

    def __init__(self, scopes, sizes, keep, last):
        number: dict[Variable, int] = {}
        near: list[set[int]] = []
        self.held = 0
        seen: set[tuple] = set()
        for scope in scopes:
            scope = tuple(scope)
            self.held += prod(sizes[v] for v in scope)
            if scope in seen:
                continue
            seen.add(scope)
            mine = []
            for v in scope:
                if v not in number:
                    number[v] = len(near)
                    near.append(set())
                mine.append(number[v])
            for v in mine:
                near[v].update(mine)
        for v, found in enumerate(near):
            found.discard(v)
        self.names = list(number)
        self.near = near
        self.sizes = [sizes[name] for name in self.names]
        self.kept = {number[v] for v in keep if v in number}
        self.late = {number[v] for v in last if v in number}

    def _copy(self) -> tuple[list[set[int]], list[int]]:
        near = [set(found) for found in self.near]
        return near, [_bits(found) for found in near]

    def greedy(self, heuristic: str, rng: random.Random | None = None) -> Elimination:
        """One variable at a time, the best by the heuristic first."""
        near, bits = self._copy()
        sizes, late = self.sizes, self.late
        filling = heuristic != "min-weight"

        def score(v: int) -> tuple:
            found = near[v]
            weight = sizes[v]
            for u in found:
                weight *= sizes[u]
            if not filling:
                first: float = weight
            elif len(found) > HUB:
                first = len(found) ** 2
            elif heuristic == "min-fill":
                mine = bits[v]
                first = sum([(mine & ~bits[u]).bit_count() for u in found]) - len(found)
            else:
                mine, first = bits[v], 0
                for u in found:
                    missing = mine & ~bits[u] & ~(1 << u)
                    while missing:
                        low = missing & -missing
                        first += sizes[u] * sizes[low.bit_length() - 1]
                        missing ^= low
            if rng is not None:
                return v in late, first * rng.uniform(1, 1.2), weight, rng.random(), v
            return v in late, first, weight, 0, v

        current = {v: score(v) for v in range(len(near)) if v not in self.kept}
        heap = list(current.values())
        heapq.heapify(heap)
        buckets: list[tuple[int, ...]] = []
        while current:
            best = heapq.heappop(heap)
            v = best[-1]
            if current.get(v) != best:
                continue
            del current[v]
            found = near[v]
            buckets.append((v, *found))
            touched = set(found)
            off = ~(1 << v)
            mine = bits[v]
            for u in found:
                near[u].discard(v)
                bits[u] &= off
            for u in found:
                missing = mine & ~bits[u] & ~(1 << u)
                if not missing:
                    continue
                if filling and len(near[u]) <= HUB:
                    # A new edge changes the fill of whoever knows both its ends.
                    for w in near[u]:
                        if bits[w] & missing:
                            touched.add(w)
                near[u].update(_members(missing))
                bits[u] |= missing
            for u in touched:
                if u in current:
                    new = score(u)
                    if new != current[u]:
                        current[u] = new
                        heapq.heappush(heap, new)
        return self._result(buckets, heuristic if rng is None else f"randomised {heuristic}")

    def rounds(self, limit: int) -> Elimination:
        """Independent sets of cheap variables at a time."""
        near, _ = self._copy()
        sizes = self.sizes
        weight = {
            v: prod([sizes[u] for u in near[v]]) * sizes[v]
            for v in range(len(near))
            if v not in self.kept
        }
        buckets: list[tuple[int, ...]] = []
        while weight:
            bound = max(min(weight.values()), limit)
            blocked: set[int] = set()
            touched: set[int] = set()
            for v in sorted(
                (v for v, w in weight.items() if w <= bound), key=lambda v: (weight[v], v)
            ):
                if v in blocked:
                    continue
                del weight[v]
                found = near[v]
                blocked |= found
                buckets.append((v, *found))
                for u in found:
                    near[u].discard(v)
                    near[u].update(found)
                    near[u].discard(u)
                touched |= found
            for u in touched:
                if u in weight:
                    weight[u] = prod([sizes[w] for w in near[u]]) * sizes[u]
        return self._result(buckets, "rounds")

    def _result(self, buckets: list[tuple[int, ...]], heuristic: str) -> Elimination:
        costs = [prod([self.sizes[u] for u in bucket]) for bucket in buckets]
        final = prod(self.sizes[v] for v in self.kept)
        names = self.names
        return Elimination(
            tuple(tuple([names[u] for u in bucket]) for bucket in buckets),
            sum(costs) + (final if self.kept else 0),
            max(costs, default=1) if not self.kept else max(*costs, final),
            heuristic,
            tuple(names[v] for v in self.kept),
        )


def _bits(found: Iterable[int]) -> int:
    result = 0
    for u in found:
        result |= 1 << u
    return result


def _members(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
