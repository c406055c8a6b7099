"""Reports: everything about an answer, or about a plan, in one self-contained HTML file.

The file needs no network and runs no script. Equal inputs give equal files, so that no clock is in it.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..files.whole import free, write_whole
from .answer import answered
from .number import listed, number
from .origin import origin
from .page import page
from .prediction import predicted
from .routing import routing
from .scene import scene
from .trust import trust

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["of_plan", "of_posterior"]


def of_posterior(
    posterior: Posterior, path: str | PathLike[str], *, force: bool = False, draws: int = 200
) -> Path:
    """Write the report of a posterior; see `Posterior.report`."""
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 0:
        raise QueryError(
            f"report(draws={draws!r}): how many draws the predictive check simulates; 0 leaves it out."
        )
    place = free(path, force, "report.html")
    name, certificate = posterior.graph.name, posterior.certificate
    facts = {
        "asked": listed(posterior.of),
        "given": listed(posterior.data.observed) or "nothing",
        "found by": posterior.method,
    }
    evidence = getattr(posterior, "log_evidence", None)
    if evidence is not None and posterior.data.observed:
        facts["log-evidence"] = number(evidence)
    told = {
        "kind": "Posterior",
        "name": name,
        "label": certificate.label,
        "facts": facts,
        "scene": scene(posterior.graph, posterior.plan),
        "routing": routing(posterior.plan),
        "answer": answered(posterior),
        "prediction": predicted(posterior, draws),
        "trust": trust(posterior),
        "origin": origin(posterior.plan, certificate),
    }
    return write_whole(place, page(told).encode())


def of_plan(plan: Any, path: str | PathLike[str], *, force: bool = False) -> Path:
    """Write the report of a plan; see `Plan.report`."""
    place = free(path, force, "report.html")
    told = {
        "kind": "Plan",
        "name": plan.model.name,
        "label": None,
        "facts": {
            "asks for": listed(plan.query.ask),
            "given": listed(plan.query.given) or "nothing",
            "by": " + ".join(dict.fromkeys(r.method for r in plan.routes if r.ask)) or "none",
        },
        "scene": scene(plan.model, plan),
        "routing": routing(plan),
        "answer": None,
        "prediction": None,
        "trust": None,
        "origin": origin(plan, None),
    }
    return write_whole(place, page(told).encode())
