"""Rounds: for one observation, parameters are proposed from the posterior that the rounds before found, so that simulations are made where it matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ppl.compiler import Budget, Query, Solver, Verdict
from ppl.errors import QueryError
from ppl.mechanism import Data
from ppl.posterior import Answer

from .simulations import SIMULATIONS
from .verdicts import cannot, dear

__all__ = ["OneObservation", "after_first", "rounds", "sequential", "too_early"]

#: Rounds when the user does not say, and simulations in one at least.
ROUNDS, LEAST = 10, 100


def too_early(method: str, row: int, query: Query) -> Verdict | None:
    """The verdict on a plan that is made before its observation is known; `None` where there is one."""
    _number(query, method)
    if query.observation is not None and query.observation.datasets == 1:
        return None
    return cannot(
        method, row, "rounds close in on one observation, and the plan is made before it is known"
    )


def sequential(found: Verdict, query: Query, budget: Budget, amortised: str) -> Verdict:
    """The verdict of a method in rounds, from that of its amortised form: it fits where simulations are dear."""
    if not found.able:
        return found
    few = dear(query, budget)
    text = found.reason.replace(", once for all observations", ", in rounds for this observation")
    if found.fits and not few:
        text = (
            f"{text}; simulations are not dear, and {amortised} answers for other observations too"
        )
    guarantee = f"{found.guarantee.replace(', for any observation', '')}; for this observation only"
    return replace(found, fits=found.fits and few, reason=text, guarantee=guarantee)


def _number(query: Query, method: str) -> int:
    chosen = query.options.get("rounds", ROUNDS)
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 1 <= chosen <= 1000:
        raise QueryError(f"{method}: rounds={chosen!r}: a whole number from 1 on.")
    return chosen


def rounds(query: Query, budget: Budget, method: str) -> list[int]:
    """How many simulations each round has; the first gets the rest."""
    total = budget.simulations or SIMULATIONS
    count = max(min(_number(query, method), total // LEAST), 1)
    each = total // count
    return [total - each * (count - 1), *[each] * (count - 1)]


def after_first(sizes: Sequence[int], until: float) -> Iterator[tuple[int, int, bool]]:
    """The rounds after the first: number, simulations, whether it is the last; they end early when the clock does."""
    for turn, size in enumerate(sizes[1:], start=1):
        if time.monotonic() > until:
            return
        yield turn, size, turn == len(sizes) - 1


class OneObservation:
    """The solver of a method in rounds: it has one answer.

    Args:
        method: Who answers.
        query: The component, with its observation.
        run: Does the work, when the answer is wanted: a solver.
    """

    def __init__(self, method: str, query: Query, run: Callable[[], Solver]):
        self.method, self.query, self._run = method, query, run
        self._answer: Answer | None = None
        #: How long the rounds took; checks would have to run them again for each simulated data set.
        self.seconds = 0.0

    @cached_property
    def solver(self) -> Any:
        """What the rounds found."""
        begun = time.monotonic()
        found = self._run()
        self.seconds = time.monotonic() - begun
        return found

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Tensors, and plain data."""
        return self.solver.state()

    def condition(self, data: Data) -> list[Answer]:
        """The answer for the observation with which the plan was made.

        Raises:
            QueryError: For any other.
        """
        assert self.query.observation is not None
        mine = self.query.observation
        nodes = (*self.query.evidence, *self.query.clamped)
        if data.datasets != 1 or any(not _same(data, mine, n) for n in nodes):
            amortised = {"apt": "npe", "snl": "nle", "snre": "nre"}[self.method]
            raise QueryError(
                f"{self.method} simulates for one observation and is not amortised: this plan answers for the observation that it was made with. "
                f"Compile again with this one, or prepare for all with method='{amortised}'."
            )
        if self._answer is None:
            self._answer = self.solver.condition(mine)[0]
        return [self._answer]


def _same(one: Data, other: Data, name: str) -> bool:
    a, b = one.observed[name], other.observed[name]
    there: Tensor = one.present[name]
    if a.shape != b.shape or not torch.equal(there, other.present[name]):
        return False
    return torch.equal(a[there], b[there])
