"""A plan for eyes and for other programs: as text, as data, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .route import Route

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["data", "picture", "refusal", "text"]

#: Fill colours of the routes in the plan's picture (Okabe and Ito's colour-blind safe palette, lightened).
COLOURS = ("#8fd3f4", "#f5d08a", "#9be3c8", "#e7b3d3", "#f2b48a", "#b7c7f2")
#: What is given is grey, as in all pictures of graphs; more pruned nodes than this are folded into one.
GIVEN, FADED = "#d0d0d0", 15


def text(plan: Plan) -> str:
    """The plan as it prints."""
    given = ", ".join(plan.query.given) or "nothing"
    rows = [
        f"plan for {plan.model.name}",
        f"  given   {given}",
        f"  asked   {', '.join(plan.query.ask)}",
    ]
    if plan.query.observation is not None:
        data = plan.query.observation
        gaps = {n: data.missing(n) for n in sorted(plan.query.partial - data.soft)}
        if data.soft:
            rows.append(f"  soft    {', '.join(sorted(data.soft))}: weighed, not fixed")
        if gaps:
            listed = ", ".join(f"{n} {count}" for n, count in gaps.items())
            rows.append(f"  missing {listed} cells; assumed ignorable, summed or integrated out")
    for route in plan.routes:
        if route.ask:
            rows += ["", *_route(plan, route)]
    unasked = [r for r in plan.routes if not r.ask and r.query.free]
    if plan.pruned:
        reasons: dict[str, list[str]] = {}
        for p in plan.pruned:
            reasons.setdefault(p.reason, []).append(p.name)
        rows += ["", "  pruned"] + [
            f"    {', '.join(names)}: {reason}" for reason, names in reasons.items()
        ]
    if unasked:
        rows.append(
            "    (what is d-separated still counts in the log-evidence, where it can be had exactly)"
        )
    rows += ["", "  bodies"]
    width = max((len(name) for name in plan.modes), default=0)
    rows += [
        f"    {name:<{width}}  {mode:<6}  {reason}" for name, (mode, reason) in plan.modes.items()
    ]
    return "\n".join(rows)


def _route(plan: Plan, route: Route) -> list[str]:
    title = ", ".join(route.ask)
    if route.verdict is None:
        rows = [f"  {title}  →  no engine can answer"]
    else:
        v = route.verdict
        how = (
            "forced by method=" if plan.forced == v.method else f"row {v.row} of the decision table"
        )
        rows = [
            f"  {title}  →  {v.method}   ({how}; grade {v.grade})",
            f"    why        {v.reason}",
        ]
        rows += [f"    guarantee  {v.guarantee}"] if v.guarantee else []
        rows += (
            [f"    cost       {'; '.join(f'{what} {_count(n)}' for what, n in v.cost.items())}"]
            if v.cost
            else []
        )
        if plan.forced == v.method and not v.fits:
            better = next(
                (w for w in route.verdicts if w.able and w.fits and w.method != v.method), None
            )
            rows.append(
                "    objection  "
                + (
                    f"{better.method} would serve: {better.reason}"
                    if better
                    else "the plan would not choose this by itself"
                )
            )
    apart = {p.name for p in plan.pruned}
    hidden = [n for n in route.query.free if n not in route.ask and n not in apart]
    if hidden:
        rows.append(f"    unseen     {', '.join(hidden)}")
    rows.append("    not taken")
    for (reason, remedy), group in route.refused.items():
        named = ", ".join(w.method for w in group)
        numbers = ", ".join(dict.fromkeys(str(w.row) for w in group))
        text = reason + (f". {remedy}" if remedy else "")
        rows.append(f"      row{'s' if ',' in numbers else ''} {numbers} {named}: {text}")
    return rows


def refusal(plan: Plan, route: Route) -> str:
    """Why no engine can answer for a component."""
    rows = [
        f"No engine answers for {', '.join(route.ask)} given {', '.join(plan.query.given) or 'nothing'}:"
    ]
    for (reason, remedy), group in route.refused.items():
        text = f"{reason.rstrip('.')}." + (f" {remedy}" if remedy else "")
        rows.append(f"  {', '.join(v.method for v in group)}: {text}")
    return "\n".join(rows)


def data(plan: Plan) -> dict[str, Any]:
    """The plan as data; see `Plan.to_dict`."""
    return {
        "model": plan.model.name,
        "given": list(plan.query.given),
        "ask": list(plan.query.ask),
        "missing": sorted(plan.query.partial),
        "forced": plan.forced,
        "seed": plan.query.seed,
        "budget": {
            "simulations": plan.budget.simulations,
            "seconds": plan.budget.seconds,
            "memory": plan.budget.memory,
        },
        "routes": [
            {
                "ask": list(r.ask),
                "free": list(r.query.free),
                "evidence": list(r.query.evidence),
                "method": r.method,
                "verdicts": [
                    {
                        "method": v.method,
                        "row": v.row,
                        "able": v.able,
                        "fits": v.fits,
                        "reason": v.reason,
                        "guarantee": v.guarantee,
                        "grade": v.grade,
                        "cost": dict(v.cost),
                        "remedy": v.remedy,
                    }
                    for v in r.verdicts
                ],
            }
            for r in plan.routes
        ],
        "pruned": [{"name": p.name, "reason": p.reason} for p in plan.pruned],
        "bodies": {
            name: {"mode": mode, "reason": reason} for name, (mode, reason) in plan.modes.items()
        },
    }


def picture(plan: Plan, options: dict[str, Any]) -> Any:
    """The plan as a picture; see `Plan.draw`."""
    from ..graph.drawing import draw

    colours: dict[str, str] = {}
    notes: dict[str, str] = {}
    key: dict[str, str] = {}
    for i, route in enumerate(r for r in plan.routes if r.ask):
        colour = COLOURS[i % len(COLOURS)]
        colours |= dict.fromkeys(route.query.free, colour)
        notes |= dict.fromkeys(route.ask, f"asked: {route.method}")
        grade = "" if route.verdict is None else f", grade {route.verdict.grade}"
        key[colour] = f"{_listed(route.ask)} by {route.method}{grade}"
    if plan.query.given:
        colours |= dict.fromkeys(plan.query.given, GIVEN)
        key[GIVEN] = "given"
    pruned = [p.name for p in plan.pruned if p.name not in plan.query.given]
    look: dict[str, Any] = {"colours": colours, "notes": notes, "key": key, "faded": pruned}
    look["folded"] = pruned if len(pruned) > FADED else ()
    return draw(plan.model, kinds=plan.query.mechanism.kinds, **{**look, **options})


def _listed(names: Sequence[str]) -> str:
    """Three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(n: int | float) -> str:
    return f"{n:,}" if isinstance(n, int) else f"{n:.4g}"
