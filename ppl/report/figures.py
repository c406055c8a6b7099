"""The figures of a posterior: which of its pictures a report shows."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from ..errors import GaltonError
from ..posterior import Posterior
from .picture import Picture, of_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure"]


def figure(posterior: Posterior, kind: str, words: str, of: str | None = None) -> Picture | None:
    """One picture of a posterior, or `None` where its route cannot have it.

    Args:
        posterior: The posterior.
        kind: As `posterior.plot(kind=...)` takes it.
        words: What there is to see.
        of: One node, if the picture is of one.
    """
    try:
        drawn = _drawn(posterior, kind, of)
    except GaltonError:  # no chains, no training: it says so itself where it is asked for by name
        return None
    return None if drawn is None else of_figure(drawn, words)


def _drawn(posterior: Posterior, kind: str, of: str | None) -> Figure | None:
    if "kind" in signature(posterior.plot).parameters:
        chosen: dict[str, Any] = {"kind": kind} if of is None else {"kind": kind, "of": [of]}
        return posterior.plot(**chosen)
    if kind != "marginals":
        return None
    shown = posterior.of if of is None else (of,)
    return Posterior(
        posterior.graph, posterior.answers, shown, posterior.plan, lambda: posterior.data
    ).plot()
