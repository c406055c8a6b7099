"""From a question to a plan: query, passes, verdicts of the backends, ranking."""

from .compile import compile
from .plan import Plan
from .protocol import Backend, Budget, Method, Solver, Verdict
from .query import Query
from .route import Route
from .saved import load

__all__ = [
    "Backend",
    "Budget",
    "Method",
    "Plan",
    "Query",
    "Route",
    "Solver",
    "Verdict",
    "compile",
    "load",
]
