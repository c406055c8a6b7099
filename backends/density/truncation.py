"""Countable nodes under continuous ones: cut where the posterior, as a quick tempered SMC sees it, no longer reaches."""

from __future__ import annotations

import time
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy
from numpy import ndarray
from torch import Tensor

from ppl.compiler import Budget, Query
from ppl.errors import BackendError
from ppl.mechanism import Data
from ppl.mechanism.tables import NotFinite
from ppl.mechanism.truncation import OMITTED, countable, cut

from .layout import NotExplicit
from .target import Target

__all__ = ["notes_of", "truncated"]

#: Particles that look for the posterior, rounds of their moves, and the seconds they may take.
SCOUTS, HASTE, SECONDS = 128, 6, 20.0
#: Queries that were cut for their own observation, for as long as they live.
_CUT: WeakKeyDictionary[Query, Query] = WeakKeyDictionary()


def truncated(query: Query, budget: Budget, data: Data | None) -> Query:
    """The query with its countable nodes cut: where the observation lets it, or the prior when there is none yet.

    Raises:
        NotExplicit: If there is no end of what matters, or following a node so far is too much.
    """
    names = countable(query.mechanism, query.free)
    if not names or query.cuts:
        return query
    own = data is not None and data is query.observation
    if own and query in _CUT:
        return _CUT[query]
    if not all(query.mechanism.facts[n].kind != "opaque" for n in (*query.free, *query.evidence)):
        return query
    fixed = {} if data is None else {n: data.observed[n] for n in query.given if n in data.observed}

    def look(values: dict[str, Tensor]) -> tuple[float, dict[str, ndarray]]:
        from .smc import tempered

        assert data is not None
        target = Target(replace(query, cuts=values), data, budget.cells)
        if not target.dimensions:
            raise NotExplicit("nothing continuous is unobserved")
        until = time.monotonic() + SECONDS
        try:
            cloud = tempered(
                target, 1, SCOUTS, query.seed, until, last=1, rounds=HASTE, slopes=False
            )
        except BackendError:
            return -numpy.inf, {}  # no particle has a positive density: larger values may have one
        # Missing cells that nothing depends on are in no sum: they have no end to look at.
        found = {} if target.summation is None else target.marginals(cloud.u[0])
        return float(cloud.log_evidence[0]), {
            n: found[n].mean(dim=0)[..., -2:].numpy() for n in names if n in found
        }

    try:
        found = cut(query.mechanism, names, fixed, query.seed, look if data is not None else None)
    except NotFinite as error:
        raise NotExplicit(str(error), "Bound it: Truncated(..., high=).", finite=True) from error
    result = replace(query, cuts=found)
    if own:
        _CUT[query] = result
    return result


def notes_of(query: Query) -> tuple[str, ...]:
    """Where countable nodes were cut, in words."""
    return tuple(
        f"{name} was followed to {int(values[-1]):,}: what lies beyond is about {OMITTED:g} of the evidence at most"
        for name, values in query.cuts.items()
    )
