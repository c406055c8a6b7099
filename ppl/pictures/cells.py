"""Single numbers of a posterior: which are drawn, and what is true of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..errors import QueryError, closest
from ..posterior.joint import named
from ..posterior.marginal import member_name

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Marginal, Posterior

__all__ = ["Cell", "cells", "drawn", "few", "truths"]

#: Finite nodes with more values than this are curves: a bar for each would be a comb.
MOST_BARS = 24


@dataclass(frozen=True)
class Cell:
    """One member of a node, or one entry of a vector.

    Args:
        name: The node.
        at: Where in it.
    """

    name: str
    at: tuple[int, ...]

    @property
    def label(self) -> str:
        """As it is written: `z[3]`."""
        return member_name(self.name, self.at)

    @property
    def rows(self) -> Any:
        """Where it is behind an axis of draws."""
        return (slice(None), *self.at)


def cells(posterior: Posterior, of: str | Sequence[str] | None) -> list[Cell]:
    """All single numbers of some nodes, or of members such as `z[3]`.

    Raises:
        QueryError: If the posterior is not about one of them.
    """
    found = []
    for text in posterior.of if of is None else [of] if isinstance(of, str) else of:
        name, at = named(posterior, text)
        inside = [Cell(name, place) for place in _places(posterior[name])]
        chosen = [cell for cell in inside if cell.at[: len(at)] == at]
        if not chosen:
            raise QueryError(
                f"plot: '{name}' has no member {list(at)}; its last is {inside[-1].label}."
            )
        found += chosen
    return found


def few(marginal: Marginal) -> bool:
    """Whether a node is drawn as bars."""
    return marginal.finite and marginal.domain.dim() == 1 and len(marginal.domain) <= MOST_BARS


def drawn(values: Mapping[str, Tensor], which: Sequence[Cell]) -> dict[Cell, Tensor]:
    """Each number's column of joint draws, `(draws,)`."""
    return {cell: values[cell.name][cell.rows].to(torch.float64) for cell in which}


def truths(
    posterior: Posterior, which: Sequence[Cell], truth: Mapping[str, Any] | None
) -> dict[Cell, float]:
    """The true values that are known, by number; labels become the values that they stand for.

    Raises:
        QueryError: For a node that the posterior has not, or a value of another shape.
    """
    found: dict[Cell, float] = {}
    for text, value in (truth or {}).items():
        try:
            name, at = named(posterior, text)
        except QueryError:
            raise QueryError(
                f"truth: the posterior has no '{text}'.{closest(text, posterior.of)}"
            ) from None
        array = numpy.asarray(value)
        for cell in which:
            if cell.name == name and cell.at[: len(at)] == at:
                try:
                    one = array[cell.at[len(at) :]]
                    if one.ndim:
                        raise IndexError
                except IndexError:
                    shape = tuple(posterior[name].mean.shape)[len(at) :]
                    raise QueryError(
                        f"truth: '{text}' has the shape {array.shape}, and its posterior {shape}."
                    ) from None
                found[cell] = _number(posterior[name], one.item())
    return found


def _number(marginal: Marginal, value: Any) -> float:
    if isinstance(value, str):
        states = list(marginal.states or ())
        if value not in states:
            raise QueryError(
                f"truth: '{marginal.name}' has no state '{value}'.{closest(value, states)}"
            )
        return float(marginal.domain[states.index(value)])
    return float(value)


def _places(marginal: Marginal) -> list[tuple[int, ...]]:
    finite = marginal.finite and marginal.domain.dim() == 1
    return list(numpy.ndindex(*(marginal.probs.shape[:-1] if finite else marginal.mean.shape)))
