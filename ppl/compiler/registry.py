"""Which engines there are.

Ours are named in one literal table and loaded on first use; other people's arrive by the entry-point group `ppl.backends`, as `method =
"package.module"`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from ..errors import QueryError, closest
from .protocol import Backend, Budget, Verdict
from .query import Query

__all__ = ["backend", "judge", "methods", "ranked"]

OURS = {
    "exact": "backends.exact.backend",
    "prior": "backends.prior",
    "closed": "backends.density.closed",
    "quadrature": "backends.density.quadrature",
    "nuts": "backends.density.nuts",
    "smc": "backends.density.smc",
    "rejection": "backends.abc.rejection",
    "abc-smc": "backends.abc.smc",
    "abc-mcmc": "backends.abc.mcmc",
    "nle": "backends.neural.nle",
    "snl": "backends.neural.snl",
    "npe": "backends.neural.npe",
    "apt": "backends.neural.apt",
    "nre": "backends.neural.nre",
    "snre": "backends.neural.snre",
}


@cache
def _others() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="ppl.backends")}


def ranked() -> tuple[str, ...]:
    """Our methods in the order of their rows, as far as a row that fits makes the later ones idle: other people's engines come first, because
    nobody knows their rows before they are asked."""
    ours = ("exact", "prior", "closed", "quadrature", "nuts", "smc")
    return (*(name for name in _others() if name not in OURS), *ours)


def methods() -> tuple[str, ...]:
    """The names that `method=` takes."""
    return (*OURS, *(name for name in _others() if name not in OURS))


def judge(method: str, query: Query, budget: Budget) -> Verdict:
    """What an engine says of a query; one that does not prepare for ranges of inputs (`RANGES`) is not asked about these."""
    engine = backend(method)
    if query.ranges and not getattr(engine, "RANGES", False):
        listed = ", ".join(query.ranges)
        return Verdict(
            method,
            False,
            9,
            f"it needs the value of {listed}, and the plan is to be prepared for the whole range",
            remedy="Pass inputs= or compile with the observation.",
        )
    return engine.judge(query, budget)


@cache
def backend(method: str) -> Backend:
    """The engine of this name.

    Raises:
        QueryError: If there is none.
    """
    if method in OURS:
        return import_module(OURS[method])  # type: ignore[return-value]
    if method in _others():
        module, _, attribute = _others()[method].partition(":")
        loaded = import_module(module)
        return getattr(loaded, attribute) if attribute else loaded  # type: ignore[return-value]
    raise QueryError(f"There is no method '{method}'.{closest(method, methods())}")
