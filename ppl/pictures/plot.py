"""One picture of a posterior, by its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import QueryError, closest
from . import calibration, marginals, pairs, predictive, progress, trace
from .style import saved

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["KINDS", "plot"]

#: What each kind shows.
KINDS = {
    "marginals": "each node: bars, or a density; others overlaid, true values as lines",
    "pairs": "numbers two by two",
    "prior": "posterior beside prior",
    "predictive": "data that the posterior predicts, with the data that were seen",
    "trace": "chains, draw by draw, and the ranks of each",
    "training": "held-out loss of the nets, epoch by epoch",
    "tolerance": "distance and acceptance of sequential ABC, generation by generation",
    "ranks": "ranks of the truth in the check's simulated data sets, with a simultaneous band",
    "coverage": "how often regions of each size hold the truth, with a simultaneous band",
}


def plot(
    posterior: Posterior | Mapping[str, Posterior],
    kind: str = "marginals",
    path: str | PathLike[str] | None = None,
    *,
    of: str | Sequence[str] | None = None,
    truth: Mapping[str, Any] | None = None,
    other: Posterior | Mapping[str, Posterior] | None = None,
    seed: int = 0,
) -> Any:
    """A figure.

    Args:
        posterior: The posterior, or posteriors by label, which are overlaid where the kind allows it.
        kind: One of `KINDS`.
        path: Where to save it; the suffix decides the format.
        of: Some of the nodes; by default all. Of predictions: which nodes are predicted.
        truth: True values by node.
        other: Another posterior of the same nodes, overlaid, or several by label.
        seed: Of draws and predictions.

    Returns:
        A `matplotlib.figure.Figure`, which notebooks show.

    Raises:
        QueryError: If there is no such kind, or this posterior cannot have one.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent(states=("dry", "rain"))
        ... def weather(): return Bernoulli(0.2)
        >>> [len(axes.patches) for axes in plot(ppl.infer(m, {})).axes]
        [2]
    """
    many = dict(posterior) if isinstance(posterior, Mapping) else {"": posterior}
    if other is not None:
        extra = dict(other) if isinstance(other, Mapping) else {"other": other}
        many = {("this" if label == "" else label): one for label, one in many.items()} | extra
    first = next(iter(many.values()))
    names = _names(first, of, kind)
    if kind == "marginals":
        figure = marginals.draw(many, names, truth or {}, seed)
    elif kind == "pairs":
        figure = pairs.draw(many, names, truth or {}, seed)
    elif kind == "prior":
        figure = marginals.beside_prior(first, names, truth or {}, seed)
    elif kind == "predictive":
        figure = predictive.draw(first, None if of is None else names, seed)
    elif kind == "trace":
        figure = trace.draw(first, names)
    elif kind in ("training", "tolerance"):
        figure = progress.draw(first, kind)
    elif kind in ("ranks", "coverage"):
        figure = calibration.draw(first, kind)
    else:
        raise QueryError(f"plot: there is no kind '{kind}'.{closest(kind, KINDS)}")
    return saved(figure, path)


def _names(posterior: Posterior, of: str | Sequence[str] | None, kind: str) -> list[str]:
    names = list(posterior.of) if of is None else [of] if isinstance(of, str) else list(of)
    known = posterior.graph.nodes if kind == "predictive" else posterior.of
    for name in names:
        if name not in known:
            raise QueryError(f"plot: the posterior has no '{name}'.{closest(name, list(known))}")
    return names
