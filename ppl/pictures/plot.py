"""One picture of a posterior, by its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import QueryError, closest
from . import calibration, history, marginals, pairs, predictive, trace
from .cells import cells
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
#: Those that show several posteriors.
OVERLAID = ("marginals", "pairs")


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
        of: Some of the nodes, or members such as `"z[3]"`; by default all. Of predictions: which nodes are predicted.
        truth: True values by node or member, `(*plates, *event)`; labels where it has labels.
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
    if kind not in KINDS:
        every = ", ".join(f"'{name}'" for name in KINDS)
        raise QueryError(
            f"plot: there is no kind '{kind}'.{closest(kind, KINDS)} There are {every}."
        )
    if not many:
        raise QueryError("plot: there is no posterior to draw.")
    if other is not None:
        extra = dict(other) if isinstance(other, Mapping) else {"other": other}
        many = {("this" if label == "" else label): one for label, one in many.items()} | extra
    first = next(iter(many.values()))
    if len(many) > 1 and kind not in OVERLAID:
        raise QueryError(
            f"plot: '{kind}' shows one posterior, not {len(many)}; {' and '.join(OVERLAID)} show several."
        )
    if kind in ("predictive", "prior") and first.saved:
        raise QueryError(
            f"plot: '{kind}' simulates the model, and this posterior came from a file, without it. Infer it anew."
        )
    if kind == "predictive":
        return saved(predictive.draw(first, of, seed), path)
    which = cells(first, of)
    for label, one in many.items():
        lacking = [cell.name for cell in which if cell.name not in one]
        if lacking:
            raise QueryError(
                f"plot: '{label}' is not about '{lacking[0]}'; of= chooses what both know."
            )
    if kind == "marginals":
        figure = marginals.draw(many, which, truth)
    elif kind == "pairs":
        figure = pairs.draw(many, which, truth, seed)
    elif kind == "prior":
        figure = marginals.beside_prior(first, which, truth, seed)
    elif kind == "trace":
        figure = trace.draw(first, which)
    elif kind == "training":
        figure = history.training(first)
    elif kind == "tolerance":
        figure = history.tolerance(first)
    else:
        figure = calibration.draw(first, kind)
    return saved(figure, path)
