"""A posterior conditioned further: on values of nodes that it was about.

Exact routes are compiled again with one more observation. Of draws those are kept that have the value, which only finite nodes can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..errors import BackendError, QueryError, closest
from .answer import COUNTED, Answer, Draws
from .certificate import Certificate
from .joint import Cell, cell
from .marginal import member_name

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["QUICK", "given"]

#: Methods that answer anew in next to no time.
QUICK = ("exact", "closed", "quadrature")
#: Fewer draws say nothing.
FEWEST = 10


def given(posterior: Posterior, values: Mapping[str, Any]) -> Posterior:
    """The posterior given more; see `Posterior.given`."""
    if not values:
        raise QueryError("given() was given no value.")
    cells = {_where(posterior, text): value for text, value in values.items()}
    whole = {name for name, at in cells if not at}
    rest = tuple(name for name in posterior.of if name not in whole)
    if not rest:
        raise QueryError(
            f"given() fixes everything that was asked for ({', '.join(posterior.of)}); nothing is left to be uncertain about."
        )
    methods = _methods(posterior)
    if not posterior.saved and all(method in QUICK for method in methods.values()):
        return posterior.plan.further(posterior.observation, _observed(posterior, cells), rest)
    answers: list[Answer] = []
    for answer in posterior.answers:
        mine = {(name, at): v for (name, at), v in cells.items() if name in answer.names}
        left = tuple(name for name in answer.names if name not in whole)
        if not mine:
            answers.append(answer)
        elif left and methods.get(answer.names[0]) in QUICK and not posterior.saved:
            more = _observed(posterior, mine)
            answers += posterior.plan.further(posterior.observation, more, left).answers
        elif left:
            answers.append(_kept(posterior, answer, mine, left))
    return posterior.like(answers, rest, None)


def _methods(posterior: Posterior) -> dict[str, str]:
    """By asked node, the method that answers for it."""
    if posterior.saved:
        return {}
    return {name: route.method for route in posterior.plan.routes for name in route.ask}


def _where(posterior: Posterior, text: str) -> Cell:
    """A whole node without plates, or a member."""
    graph, methods = posterior.graph, _methods(posterior)
    quick = methods and all(method in QUICK for method in methods.values())
    if text in graph and text not in posterior and quick:
        node = graph[text]
        if node.is_input or node.intervened in ("value", "policy"):
            raise QueryError(f"'{text}' is known already; given() is for what is uncertain.")
        if text in posterior.data.observed and bool(posterior.observation.present[text].all()):
            raise QueryError(f"'{text}' was observed; given() is for what is uncertain.")
        if not node.axes:
            return text, ()
    if text in posterior.data.observed and text not in posterior:
        raise QueryError(f"'{text}' was observed; given() is for what is uncertain.")
    return cell(posterior, text)


def _observed(posterior: Posterior, cells: Mapping[Cell, Any]) -> dict[str, Any]:
    """The values as an observation: of members, with gaps elsewhere."""
    found: dict[str, Any] = {}
    for (name, at), value in cells.items():
        if not at:
            found[name] = value
            continue
        sizes = [posterior.data.sizes[p] for p in posterior.graph[name].axes]
        if name not in found:
            found[name] = numpy.full(sizes, None, dtype=object)
        if numpy.ndim(value):
            raise QueryError(f"given(): '{member_name(name, at)}' takes one number or label.")
        found[name][at] = value
    return found


def _kept(
    posterior: Posterior, answer: Answer, cells: Mapping[Cell, Any], left: tuple[str, ...]
) -> Draws:
    """The draws that have the values, of what is left."""
    draws = answer.values if isinstance(answer, Draws) else answer.sample(COUNTED, 0)
    n = len(next(iter(draws.values())))
    rows, size, said = torch.ones(n, dtype=torch.bool), float(n), []
    for (name, at), value in cells.items():
        marginal = answer.marginal(name)
        text = member_name(name, at)
        said.append(f"{text}={value}")
        if not marginal.finite:
            raise BackendError(
                f"'{name}' is continuous and its posterior is known by draws, none of which is exactly {value}. Condition from the start: "
                f"ppl.infer(model, {{..., '{name}': {value}}})."
            )
        marginal.prob(value)  # a value that it never takes is refused by name
        size = min(size, getattr(marginal, "effective_size", size))
        picked: Any = (slice(None), *at)
        rows &= _equal(draws[name][picked], marginal.domain, marginal.states, value)
    count, condition = int(rows.sum()), ", ".join(said)
    if count < FEWEST:
        raise BackendError(
            f"Of {n:,} draws {count} have {condition}: too few to say anything. Condition from the start, with ppl.infer, or take more draws."
        )
    old = answer.certificate
    kept = f"the {count:,} of {n:,} draws with {condition} were kept"
    certificate = (
        Certificate("A", f"{old.statement}; then conditioned on {condition}")
        if old.grade == "A"
        else Certificate(
            "U", f"draws of grade {old.grade}, then conditioned on {condition}; not checked again"
        )
    )
    domains = {name: answer.marginal(name).domain for name in left if answer.marginal(name).finite}
    return Draws(
        posterior.graph,
        {name: draws[name][rows] for name in left},
        certificate,
        domains,
        (*answer.notes, kept),
        size * count / n,
    )


def _equal(draws: Tensor, domain: Tensor, states: tuple | None, value: Any) -> Tensor:
    """Which draws have the value, or the value of the label."""
    if isinstance(value, str):
        labels = list(states or ())
        if value not in labels:
            raise QueryError(f"There is no state '{value}'.{closest(value, labels)}")
        value = domain[labels.index(value)]
    target = torch.as_tensor(value, dtype=draws.dtype)
    return (draws == target).reshape((len(draws), -1)).all(dim=1)
