"""A part of a posterior that is checked: one independent component, its engine and its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..compiler import registry
from ..compiler.protocol import Budget
from ..mechanism import Data
from ..posterior import Answer
from .simulated import Simulated

__all__ = ["Component"]


@dataclass(frozen=True, eq=False)
class Component:
    """One component.

    Args:
        query: What was asked.
        method: Who answered.
        solver: The prepared engine.
        answer: What it answered.
        data: The observation.
        budget: Of the answer.
        seed: Of the checks.
        until: When the checks must end, as `time.monotonic` tells it.
    """

    query: Any
    method: str
    solver: Any
    answer: Answer
    data: Data
    budget: Budget
    seed: int
    until: float

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.until

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self.until - time.monotonic(), 0.0)

    @property
    def seconds(self) -> float | None:
        """What one more observation costs, where the engine begins anew for each and says how long it took."""
        return getattr(self.solver, "seconds", None)

    @property
    def explicit(self) -> bool:
        """Whether every density is known."""
        facts = self.query.mechanism.facts
        return all(facts[n].kind != "opaque" for n in (*self.query.free, *self.query.evidence))

    @property
    def random(self) -> list[str]:
        """The asked nodes that are no functions of others."""
        facts = self.query.mechanism.facts
        return [n for n in self.answer.names if facts[n].kind != "deterministic"]

    def answers(self, simulated: Simulated, draws: int) -> Iterator[Answer]:
        """The engine's answers to simulated observations, one after the other, each with about so many draws."""
        for i in range(len(simulated)):
            data = simulated.data.one(i)
            if self.seconds is not None:
                query = replace(self.query, observation=data)
                solver = registry.backend(self.method).prepare(query, self.budget)
                yield solver.condition(data)[0]
            elif hasattr(self.solver, "brief"):
                yield self.solver.brief(data, draws)
            else:
                yield self.solver.condition(data)[0]
