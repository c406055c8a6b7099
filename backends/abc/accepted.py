"""Accepted simulations made into an answer: kernel weights, regression adjustment, equally weighted draws."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backends.kernels.parameters import Coordinates
from ppl.compiler import Query
from ppl.mechanism.tables import NotFinite, Tables, TooLarge
from ppl.posterior import Certificate, Draws

from .adjust import adjusted
from .comparison import Comparison

__all__ = [
    "EXPLICIT",
    "FORCED",
    "answer",
    "discrete",
    "domains",
    "effective",
    "explicit",
    "systematic",
]

#: Why an engine of this package is not for models whose densities are known, and that it serves them all the same.
EXPLICIT = "every density is explicit, and comparing simulations throws the likelihood away"
FORCED = "Forced by method= it runs all the same."
#: Adjustment where the user does not say.
ADJUST = "heteroscedastic"


def answer(
    query: Query,
    comparison: Comparison,
    values: Mapping[str, Tensor],
    statistics: Tensor,
    distances: Tensor,
    weights: Tensor,
    checks: dict[str, float | int | str],
    notes: list[str],
    said: str,
    adjustable: bool = True,
    target: Tensor | None = None,
) -> Draws:
    """The posterior that accepted simulations stand for.

    Args:
        query: The component.
        comparison: What was compared.
        values: Of the asked nodes, `(n, *plates, *event)`.
        statistics: What was compared, `(n, columns)`, or whatever explains the parameters.
        distances: To what was seen, `(n,)`.
        weights: Importance weights, `(n,)`.
        checks: Figures of the certificate, to which tolerance and sizes are added.
        notes: What the user should know, to which an adjustment is added.
        said: The certificate's statement.
        adjustable: Whether the draws may be moved; those of chains may not be weighted.
        target: The statistics of what was seen, where they are not what was compared.
    """
    target = comparison.target if target is None else target
    tolerance = float(distances.max())
    checks["tolerance"] = f"{tolerance:.3g}"
    kind = query.options.get("adjust", ADJUST) if adjustable else "none"
    coordinates = Coordinates(query.mechanism, query.ask)
    adjusting = kind != "none" and coordinates.size > 0 and tolerance > 0
    kernel = query.options.get("kernel", "epanechnikov" if adjusting else "uniform")
    weights = weights * _kernel(kernel, distances / max(tolerance, 1e-300))
    weights = weights / weights.sum()
    found = dict(values)
    if adjusting:
        u = coordinates.join(values)
        u = adjusted(kind, u, statistics, target, weights, query.seed)
        found.update(coordinates.split(u))
        notes = [*notes, f"adjusted by regression ({kind}) to the data that were seen"]
    size = effective(weights)
    checks["effective draws"] = round(size)
    if float(weights.max()) > (1 + 1e-9) / len(weights):
        rows = systematic(weights, len(weights), query.seed)
        found = {n: v[rows] for n, v in found.items()}
    return Draws(
        query.graph,
        {n: found[n] for n in query.ask},
        Certificate("U", said, checks),
        domains(query),
        tuple(notes),
        size=size,
    )


def effective(weights: Tensor) -> float:
    """How many equally weighted draws some weights are worth."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _kernel(kind: str, ratio: Tensor) -> Tensor:
    """The weight of a draw by its distance, as a share of the tolerance."""
    if kind == "uniform":
        return torch.ones_like(ratio)
    if kind == "gaussian":
        return torch.exp(-0.5 * (2 * ratio) ** 2)
    # The farthest draw would weigh nothing.
    return (1 - (ratio / 1.0001) ** 2).clamp(min=0)


def systematic(weights: Tensor, count: int, seed: int) -> Tensor:
    """Rows in proportion to their weights, with the least noise."""
    start = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    places = (torch.arange(count, dtype=torch.float64) + start) / count
    edges = weights.cumsum(dim=0)
    return torch.searchsorted(edges / edges[-1], places).clamp(max=len(weights) - 1)


def explicit(query: Query) -> bool:
    """Whether every density is known."""
    facts = query.mechanism.facts
    return all(facts[n].kind != "opaque" for n in (*query.free, *query.evidence))


def discrete(query: Query) -> bool:
    """Whether all data are whole numbers, compared as they are, which can be matched exactly."""
    return query.compared == query.evidence and all(
        query.mechanism.facts[n].discrete for n in query.evidence
    )


def domains(query: Query) -> dict[str, Tensor]:
    """The values of the asked nodes that are finite, so that their probabilities line up with an exact answer's."""
    tables, found = Tables(query.mechanism), {}
    for name in query.ask:
        try:
            found[name] = tables.domain(name)
        except (NotFinite, TooLarge):
            continue
    return found
