"""Contradictory evidence: which of the observed values cannot be together."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, islice
from math import comb

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Budget, Query
from ppl.errors import GaltonError, ImpossibleError
from ppl.mechanism import Data
from ppl.mechanism.tables import NotFinite, TooLarge

__all__ = ["impossible"]

#: Subsets of the evidence that are tried in one go, and in all.
AT_ONCE, TRIED = 512, 20_000


def impossible(query: Query, budget: Budget, data: Data, which: int) -> ImpossibleError:
    """The error for an observation of probability zero, naming a smallest part of it that is already impossible."""
    many = f" {which}" if data.datasets > 1 else ""
    text = f"The observation{many} has probability zero under the model"
    try:
        cells = _smallest(query, budget, data, which)
    except (GaltonError, NotFinite, TooLarge):
        cells = None
    if cells is None:
        return ImpossibleError(
            f"{text}: no state of {', '.join(query.free[:8]) or 'the model'} can produce "
            f"{', '.join(query.evidence)}."
        )
    said = [_said(query, data, which, name, at) for name, at in cells]
    if len(said) == 1:
        return ImpossibleError(f"{text}: {said[0]} is already impossible.")
    return ImpossibleError(f"{text}: {', '.join(said[:-1])} and {said[-1]} cannot be together.")


def _smallest(query: Query, budget: Budget, data: Data, which: int) -> list | None:
    """The smallest set of observed cells that has probability zero; a smallest one cannot lose any cell."""
    from .backend import ExactSolver

    names = [n for n in query.graph.nodes if n in data.observed and n in query.given]
    cells = [
        (name, tuple(at)) for name in names for at in data.present[name][which].nonzero().tolist()
    ]
    free = tuple(n for n in query.graph.nodes if n in query.free or n in names)
    loose = replace(
        query,
        free=free,
        ask=(),
        partial=frozenset(names),
        evidence=tuple(dict.fromkeys((*query.evidence, *names))),
        observation=None,
        task="evidence",
    )
    solver = ExactSolver(loose, budget)

    def zero(subsets: list[tuple[int, ...]]) -> ndarray:
        """Whether each subset of the cells has probability zero."""
        present = {
            name: torch.zeros((len(subsets), *data.present[name].shape[1:]), dtype=torch.bool)
            for name in names
        }
        for row, subset in enumerate(subsets):
            for c in subset:
                name, at = cells[c]
                present[name][(row, *at)] = True
        observed = {
            n: data.observed[n][which : which + 1].expand(
                (len(subsets), *data.observed[n].shape[1:])
            )
            for n in names
        }
        part = replace(data, observed=observed, present=present, datasets=len(subsets))
        return numpy.isneginf(solver.log_evidence(part))

    # Leaving out one cell after the other gives a set that cannot lose any; smaller ones may exist elsewhere.
    kept = list(range(len(cells)))
    if not zero([tuple(kept)])[0]:
        return None
    for c in list(kept):
        fewer = tuple(k for k in kept if k != c)
        if zero([fewer])[0]:
            kept = list(fewer)
    tried = 0
    for size in range(1, len(kept)):
        if tried + comb(len(cells), size) > TRIED:
            break
        tried += comb(len(cells), size)
        subsets = combinations(range(len(cells)), size)
        while part := list(islice(subsets, AT_ONCE)):
            found = zero(part)
            if found.any():
                return [cells[c] for c in part[int(found.argmax())]]
    return [cells[c] for c in kept]


def _said(query: Query, data: Data, which: int, name: str, at: tuple[int, ...]) -> str:
    """`name = value`, in the user's labels."""
    node, value = query.graph[name], data.observed[name][(which, *at)]
    text = (
        str(node.states[int(value)])
        if node.states is not None and value.dim() == 0 and int(value) < len(node.states)
        else str(value.tolist())
    )
    place = f"[{', '.join(map(str, at))}]" if at else ""
    return f"{name}{place} = {text}"
