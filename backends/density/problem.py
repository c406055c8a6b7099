"""What the density engines share: the target of a query, built once, and what can be said about it before any long work."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Budget, Query
from ppl.errors import BackendError, DistributionError, GaltonError
from ppl.mechanism import Data, forward

from .layout import NotExplicit
from .target import Target
from .truncation import truncated

__all__ = ["Problem", "differentiable", "problem", "stand_in", "starts", "target_of"]

#: Points at which differentiability is looked at, and how far the gradient may be from differences.
PROBES, AGREES = 6, 1e-3
#: A jump is sought between draws: pieces that a line is cut in, how often the worst piece is cut again, the nats that it may differ in the end,
#: and the nats below the best draw that are of no interest.
PIECES, ROUNDS, JUMP, FAR = 12, 6, 2e-4, 50.0
#: Draws from the prior among which the starts of chains are chosen.
CANDIDATES = 256

_BUILT: WeakKeyDictionary[Query, Problem] = WeakKeyDictionary()
_ROUGH: WeakKeyDictionary[Target, str] = WeakKeyDictionary()


class Problem(NamedTuple):
    """The target of a query, or why there is none.

    Args:
        target: With the finite part summed out; `None` where that cannot be.
        reason: Why there is none.
        remedy: What change to the model would help.
        explicit: Whether every density is known, though the finite part may be too much to sum out.
    """

    target: Target | None
    reason: str = ""
    remedy: str = ""
    explicit: bool = False


def problem(query: Query, budget: Budget) -> Problem:
    """The target for the query's own observation, or for a draw of one where it has none yet."""
    if query not in _BUILT:
        _BUILT[query] = _built(query, budget)
    return _BUILT[query]


def _built(query: Query, budget: Budget) -> Problem:
    data = query.observation or stand_in(query)
    try:
        query = truncated(query, budget, query.observation)
        return Problem(Target(query, data.one(0), budget.cells), explicit=True)
    except NotExplicit as error:
        return Problem(None, str(error), error.remedy, error.finite)
    except (DistributionError, GaltonError) as error:
        return Problem(None, str(error).rstrip("."))


def stand_in(query: Query) -> Data:
    """A draw of what will be observed."""
    values = forward(query.mechanism, 1, query.seed).values
    names = [n for n in query.given if n in query.graph]
    observed = {n: values[n][:1] for n in names}
    present = {
        n: torch.ones((1, *(query.sizes[p] for p in query.graph[n].axes)), dtype=torch.bool)
        for n in names
    }
    return replace(query.mechanism.data, observed=observed, present=present, datasets=1)


def target_of(query: Query, budget: Budget, data: Data) -> Target:
    """The target for one observation.

    Raises:
        BackendError: If there is none.
    """
    if data is query.observation and data.datasets == 1:
        found = problem(query, budget)
        if found.target is not None:
            return found.target
    try:
        return Target(truncated(query, budget, data), data, budget.cells)
    except NotExplicit as error:
        raise BackendError(f"{error}. {error.remedy}".rstrip()) from error


def starts(target: Target, count: int, seed: int) -> tuple[ndarray, ndarray]:
    """Draws from the prior with positive densities, `(n, dimensions)`, and their log densities.

    Raises:
        BackendError: If no draw has one.
    """
    for attempt in range(4):
        u = target.start(count * 4**attempt, seed + attempt)
        lp = target.log_prob(u)
        alive = numpy.isfinite(lp)
        if alive.any():
            return u[alive], lp[alive]
    raise BackendError(
        f"The density is zero or no number at {len(u):,} draws from the prior of {', '.join(target.layout.free[:4])}: no place to begin "
        "was found. The observation may be impossible, or its scale far from what the prior can reach."
    )


def differentiable(target: Target) -> str:
    """Why the density cannot be differentiated; empty where it can."""
    if target not in _ROUGH:
        _ROUGH[target] = _rough(target)
    return _ROUGH[target]


def _rough(target: Target) -> str:
    try:
        u, lp = starts(target, 32, 5)
    except BackendError as error:
        return str(error)
    best_first = numpy.argsort(-lp)
    pairs = u[best_first][:PROBES], u[::-1][:PROBES]
    u = u[:PROBES]
    try:
        _, slope = target.gradient(u)
    except (RuntimeError, TypeError, ValueError, GaltonError) as error:
        text = str(error).splitlines()[0]
        return f"its gradient cannot be had ({text[:160]})"
    along = numpy.random.default_rng(3).normal(size=u.shape)
    best = numpy.full(len(u), numpy.inf)
    for step in (1e-4, 1e-5, 1e-6):
        ends = [target.log_prob(u + sign * step * along) for sign in (1, -1)]
        with numpy.errstate(invalid="ignore"):
            slopes = (ends[0] - ends[1]) / (2 * step)
        gap = numpy.abs(slopes - (slope * along).sum(axis=1))
        best = numpy.fmin(best, gap / (1 + numpy.abs(slopes)))
    wrong = numpy.isfinite(best) & (best > AGREES)
    if wrong.mean() > 0.5:
        return "its gradient is not that of the density: some body works outside torch"
    if not target.row_by_row and _jumps(target, *pairs, lp.max()):
        return "it jumps, or its slope is infinite: some body has a threshold or a root, or the data bound a support"
    return ""


def _jumps(target: Target, begin: ndarray, end: ndarray, top: float) -> bool:
    """Whether the density jumps between some points: what its gradient does not explain is followed into ever shorter pieces.

    Args:
        target: The density.
        begin, end: Coordinates, `(lines, dimensions)`.
        top: The log density of the best draw.
    """
    steps = numpy.linspace(0, 1, PIECES + 1)[None, :, None]
    for _ in range(ROUNDS):
        points = begin[:, None] + steps * (end - begin)[:, None]
        flat, slope = target.gradient(points.reshape((-1, points.shape[2])))
        lp = flat.reshape(points.shape[:2])
        along = (slope.reshape(points.shape) * (end - begin)[:, None]).sum(axis=2) / PIECES
        with numpy.errstate(invalid="ignore", over="ignore"):
            gap = numpy.abs(numpy.diff(lp, axis=1) - (along[:, 1:] + along[:, :-1]) / 2)
        upper = numpy.maximum(lp[:, 1:], lp[:, :-1])
        gap[~(upper > top - FAR)] = 0.0
        gap[numpy.isnan(gap)] = 0.0
        worst = gap.argmax(axis=1)
        rows = numpy.arange(len(points))
        begin, end = points[rows, worst], points[rows, worst + 1]
    return bool((gap.max(axis=1) > JUMP + 1e-9 * numpy.abs(top)).any())
