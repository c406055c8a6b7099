"""Gaps: missing cells of observations, and what a net must be shown of them while it is trained.

Members of a set, and of a series that is not known yet, are left out at random, so that any of them may be missing. Of other nodes the missing cells are
those of the observation, the same in every simulation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ppl.compiler import Query

from .members import axes_of
from .posterior_net import Scheme
from .variables import Unsuitable

__all__ = ["any_size", "blank_cells", "blanked", "check_gaps", "masks", "pooled", "thinned"]


def check_gaps(query: Query, method: str) -> None:
    """Refuse missing cells whose pattern is not known.

    Raises:
        Unsuitable: It names the nodes.
    """
    unknown = [n for n in query.partial if not pooled(query, n)]
    if unknown and query.observation is None:
        raise Unsuitable(
            f"{', '.join(sorted(unknown))} has missing cells, and the net must know which when it is trained",
            "Compile with the observation in hand: ppl.infer(model, observation).",
        )
    if query.partial and query.summaries is not None:
        raise Unsuitable(f"{', '.join(sorted(query.partial))} has missing cells, and summaries")


def pooled(query: Query, name: str) -> bool:
    """Whether missing cells of a node are missing members of a set, or of a series that is not yet known: nets are trained for any of them to be missing."""
    axes = axes_of(query, name)
    if len(axes) != 1 or name not in query.graph:
        return False
    return not query.graph.plates[axes[0]].ordered or query.observation is None


def any_size(query: Query, name: str) -> bool:
    """Whether a node is in a set whose size nobody declared, and the plan is made for observations to come: the net is trained for all sizes up to
    that which the plan was made with."""
    if query.observation is not None or name not in query.graph or not pooled(query, name):
        return False
    plate = query.graph.plates[axes_of(query, name)[0]]
    return plate.size is None and not plate.ordered and not plate.of


def thinned(data: Sequence[Tensor], masks: Sequence[int]) -> list[Tensor]:
    """Data without some of the members that may be missing."""
    return [d * _some(d) if place in masks else d for place, d in enumerate(data)]


def _some(mask: Tensor) -> Tensor:
    """Members that are there: from one to all, each number as likely in logarithm."""
    draws, count = mask.shape
    kept = torch.exp(torch.rand(draws, 1) * torch.tensor(count + 1.0).log()).floor()
    place = torch.rand(draws, count).argsort(dim=1).argsort(dim=1)
    return (place < kept).to(mask.dtype)


def masks(query: Query, scheme: Scheme) -> list[int]:
    """Places of the masks of plates whose members may be missing."""
    return [
        2 + 2 * k
        for k, features in enumerate(scheme.groups.sets.values())
        if set(features.names) & set(scheme.groups.masked)
    ]


def blank_cells(query: Query) -> dict[str, Tensor]:
    """Missing cells of the observation that are the same in all simulations, `(1, *plates)` by node."""
    if query.observation is None:
        return {}
    return {
        n: ~query.observation.present[n][:1]
        for n in query.partial
        if not pooled(query, n) and n in query.observation.present
    }


def blanked(values: Mapping[str, Tensor], blank: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values with one number in the cells that are never seen: columns that do not vary are no features."""
    found = dict(values)
    for name, gone in blank.items():
        value = found[name]
        shape = (*gone.shape, *[1] * (value.dim() - gone.dim()))
        found[name] = torch.where(gone.reshape(shape), torch.zeros_like(value), value)
    return found
