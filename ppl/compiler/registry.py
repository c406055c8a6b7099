"""Which engines there are.

Ours are named in one literal table and loaded on first use; other people's arrive by the entry-point group `ppl.backends`, as `method =
"package.module"`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from ..errors import QueryError, closest
from .protocol import Backend

__all__ = ["ABSENT", "backend", "methods"]

OURS = {
    "exact": "backends.exact.backend",
    "prior": "backends.prior",
    "rejection": "backends.abc.rejection",
    "npe": "backends.neural.npe",
}

#: Rows of the decision table whose engines are not built yet: method, row, when it would serve.
ABSENT = (
    ("closed form", 2, "conjugate pairs and linear-Gaussian graphs"),
    ("quadrature", 3, "at most two continuous dimensions beside a finite part"),
    ("nuts", 4, "explicit and differentiable densities"),
    ("smc", 5, "explicit densities that are not differentiable, or have several modes"),
    ("nle", 7, "simulators with at most ten data dimensions an item"),
)


@cache
def _others() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="ppl.backends")}


def methods() -> tuple[str, ...]:
    """The names that `method=` takes."""
    return (*OURS, *(name for name in _others() if name not in OURS))


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
    absent = [name for name, _, _ in ABSENT]
    if method in absent:
        raise QueryError(
            f"method='{method}' has no engine in this version. There are: {', '.join(methods())}."
        )
    raise QueryError(f"There is no method '{method}'.{closest(method, methods())}")
