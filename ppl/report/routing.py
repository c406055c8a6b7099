"""The plan in a report: the route of each component, and what spoke against the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .image import Image, of_drawing
from .number import listed

__all__ = ["Refused", "Routing", "Taken", "routing"]


@dataclass(frozen=True)
class Refused:
    """Routes that were not taken for the same reason."""

    methods: str
    rows: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Taken:
    """How one component is answered.

    Args:
        title: The asked nodes, or some of them.
        ask: All of them.
        method: `"none"` where nothing can serve.
        how: Why this row, and the grade it can have.
        why: The reason of the engine.
        guarantee: What kind of answer it is.
        cost: What it costs, by name.
        unseen: Nodes that are summed or integrated out.
        refused: The other routes.
    """

    title: str
    ask: str
    method: str
    how: str
    why: str
    guarantee: str
    cost: Mapping[str, str]
    unseen: str
    refused: tuple[Refused, ...]


@dataclass(frozen=True)
class Routing:
    """A plan.

    Args:
        text: What the plan printed, where it came from a file and is no more than that.
        routes: Of each component that was asked for.
        pruned: Nodes, by the reason for which they were left out.
        bodies: By node, how its body is called, and why.
        picture: The graph, coloured by route.
    """

    text: str = ""
    routes: tuple[Taken, ...] = ()
    pruned: Mapping[str, str] | None = None
    bodies: Mapping[str, tuple[str, str]] | None = None
    picture: Image | None = None


def routing(plan: Any) -> Routing:
    """What a plan says, as data for a page."""
    if getattr(plan, "routes", None) is None:
        return Routing(text="" if plan is None else str(plan))
    pruned: dict[str, list[str]] = {}
    for left in plan.pruned:
        pruned.setdefault(left.reason, []).append(left.name)
    apart = {left.name for left in plan.pruned}
    return Routing(
        routes=tuple(_taken(plan, route, apart) for route in plan.routes if route.ask),
        pruned={reason: ", ".join(names) for reason, names in pruned.items()},
        bodies=plan.modes,
        picture=of_drawing(
            plan.draw(), f"The graph of {plan.model.name}, coloured by how it is answered"
        ),
    )


def _taken(plan: Any, route: Any, apart: set[str]) -> Taken:
    verdict, title, ask = route.verdict, listed(route.ask), ", ".join(route.ask)
    unseen = ", ".join(n for n in route.query.free if n not in route.ask and n not in apart)
    refused = _refused(route)
    if verdict is None:
        return Taken(title, ask, "none", "no engine can answer", "", "", {}, unseen, refused)
    forced = plan.forced == verdict.method
    how = "forced by method=" if forced else f"row {verdict.row} of the decision table"
    if forced and not verdict.fits:
        how += "; the plan would not choose it by itself"
    return Taken(
        title,
        ask,
        verdict.method,
        f"{how}; grade {verdict.grade}",
        verdict.reason,
        verdict.guarantee,
        {name: f"{n:,}" if isinstance(n, int) else f"{n:.4g}" for name, n in verdict.cost.items()},
        unseen,
        refused,
    )


def _refused(route: Any) -> tuple[Refused, ...]:
    return tuple(
        Refused(
            ", ".join(v.method for v in group),
            ", ".join(dict.fromkeys(str(v.row) for v in group)),
            reason,
            remedy,
        )
        for (reason, remedy), group in route.refused.items()
    )
