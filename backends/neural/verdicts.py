"""What the neural estimators say alike when they are asked whether they can answer."""

from __future__ import annotations

from collections.abc import Sequence

from ppl.compiler import Budget, Query, Verdict

__all__ = ["DEAR", "EXPLICIT", "FORCED", "cannot", "dear", "far", "opaque"]

#: Simulations are dear when the user allows fewer than this.
DEAR = 5_000
EXPLICIT = "every density is explicit, and a net would only approximate what can be computed"
FORCED = "Forced by method= it runs all the same."


def cannot(method: str, row: int, reason: str, remedy: str = "") -> Verdict:
    """The verdict of an estimator that cannot serve."""
    return Verdict(method, False, row, reason, remedy=remedy)


def dear(query: Query, budget: Budget) -> bool:
    """Whether there is one observation, and simulations are so few that they should be made where it matters."""
    one = query.observation is not None and query.observation.datasets == 1
    return one and budget.simulations is not None and budget.simulations < DEAR


def opaque(query: Query) -> str:
    """Which nodes have no density, in words; empty where all have one."""
    names = [n for n in (*query.free, *query.evidence) if query.mechanism.facts[n].kind == "opaque"]
    names = list(dict.fromkeys(names))
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'} opaque"


def far(found: Sequence[tuple[float, list[str]]], what: str) -> tuple[str, ...]:
    """A warning about an observation outside what was simulated, by its distance and the most extreme nodes."""
    away = max((f[0] for f in found), default=0.0)
    if not away:
        return ()
    names = [n for _, some in sorted(found, key=lambda f: -f[0]) for n in some]
    shown = ", ".join(dict.fromkeys(names[:3]))
    return (
        f"the observation lies outside the simulated range by {away:.1f} standard deviations, most of all {shown}: the {what} extrapolates",
    )
