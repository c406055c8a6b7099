"""From a question to a plan: query, passes, verdicts of the backends, ranking."""

from .compile import compile
from .plan import Plan, Route
from .protocol import Backend, Budget, Solver, Verdict
from .query import Query

__all__ = ["Backend", "Budget", "Plan", "Query", "Route", "Solver", "Verdict", "compile"]
