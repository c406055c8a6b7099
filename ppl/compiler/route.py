"""A route: which engine answers for one component, and what all of them said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from . import registry
from .protocol import Budget, Verdict
from .query import Query

__all__ = ["Route"]


@dataclass(frozen=True, eq=False)
class Route:
    """How one component is answered.

    Args:
        query: The component.
        verdict: The verdict that was followed, or `None` when no engine can serve.
        judged: What the engines said that were asked.
        budget: For the engines that have not been asked, because a row above theirs fits; `None` when there are none.
    """

    query: Query
    verdict: Verdict | None
    judged: tuple[Verdict, ...]
    budget: Budget | None = None

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What every engine says, in the order of the decision table."""
        said = {v.method: v for v in self.judged}
        if self.budget is not None:
            for name in registry.methods():
                if name not in said:
                    said[name] = registry.judge(name, self.query, self.budget)
        return tuple(sorted(said.values(), key=lambda v: v.row))

    @property
    def refused(self) -> dict[tuple[str, str], list[Verdict]]:
        """What speaks against the routes that were not taken: verdicts by reason and remedy."""
        said: dict[tuple[str, str], list[Verdict]] = {}
        for verdict in self.verdicts:
            if self.verdict is None or verdict.method != self.verdict.method:
                said.setdefault((verdict.reason, verdict.remedy), []).append(verdict)
        return said

    @property
    def ask(self) -> tuple[str, ...]:
        """The asked nodes of the component."""
        return self.query.ask

    @property
    def method(self) -> str:
        """The method's name, or `"none"`."""
        return "none" if self.verdict is None else self.verdict.method
