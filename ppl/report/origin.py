"""Where a report comes from: everything that is needed to have the same answer again."""

from __future__ import annotations

from typing import Any

from ..versions import versions

__all__ = ["origin"]


def origin(plan: Any, certificate: Any) -> dict[str, str]:
    """Seed, budget and versions, by name, in words."""
    told: dict[str, str] = {}
    query, budget = getattr(plan, "query", None), getattr(plan, "budget", None)
    seed = query.seed if query is not None else getattr(certificate, "seed", None)
    if seed is not None:
        told["seed"] = str(seed)
    if query is not None and query.options:
        told["options"] = ", ".join(f"{name}={value!r}" for name, value in query.options.items())
    if budget is not None:
        simulations = (
            "as many simulations as each engine takes by itself"
            if budget.simulations is None
            else f"{budget.simulations:,} simulations"
        )
        told["budget"] = (
            f"{simulations}; {budget.seconds:g} seconds; {budget.memory / 2**30:.3g} GiB of memory; "
            f"{budget.cells:,} cells of exact elimination"
        )
    # Of the programs that found the answer, if it says so; else of those that are here.
    return told | dict(getattr(certificate, "versions", None) or versions())
