"""A learned density as a distribution: what one model's simulator taught, for the body of another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ppl.distributions.distribution import Distribution, Family
from ppl.errors import QueryError, closest

from .likelihood import LearnedDensity

__all__ = ["learned"]


def learned(density: LearnedDensity) -> Callable[..., Distribution]:
    """p(a node | its parents) as a function of the parents, of one member where it is in a plate.

    Args:
        density: Of a single node.

    Raises:
        QueryError: If it is of several nodes, or looks at the number of its member.
    """
    names = density.factor.names
    if len(names) > 1:
        raise QueryError(f"What was learned is the density of {', '.join(names)} together.")
    if density.factor.indexed:
        raise QueryError(f"The density of '{names[0]}' differs from member to member.")
    if len(density.kept) < density.variables.size:
        raise QueryError(
            f"'{names[0]}' has entries that never vary, or repeat one another: it has no density as a whole."
        )
    name, parents = names[0], density.factor.parents
    facts = density.query.mechanism.facts
    graph = density.query.graph
    shapes: dict[str, tuple[int, ...]] = {}
    for parent in parents:
        plates = [p for p in graph[parent].axes if p != density.factor.plate]
        shapes[parent] = (
            *(density.query.sizes[p] for p in plates),
            *facts[parent].event_shape,
        )
    (part,) = density.variables.parts
    # Whoever differentiates the density does so in its parents; the weights are what they are.
    nets = [copy.deepcopy(net).requires_grad_(False) for net in density.nets]

    def rows(q: Mapping[str, Tensor]) -> tuple[Tensor, torch.Size]:
        lead = next(iter(q.values())).shape
        rank = len(shapes[parents[0]])
        lead = lead[: len(lead) - rank]
        flat = {p: q[p].reshape((-1, *shapes[p])) for p in parents}
        return density.features.direct(flat)[:, 0], torch.Size(lead)

    def score(q: Mapping[str, Tensor], x: Tensor) -> Tensor:
        c, lead = rows(q)
        event = len(part.shape)
        batch = torch.broadcast_shapes(lead, x.shape[: x.dim() - event])
        c = c.reshape((*lead, -1)).expand((*batch, c.shape[-1])).reshape((-1, c.shape[-1]))
        value = x.expand((*batch, *part.shape)).reshape((-1, *part.shape))
        none = torch.zeros(len(value), 0)
        codes = part.codes(value) if part.coded else none.to(torch.int64)
        numbers = none.to(torch.float64) if part.coded else part.numbers(value)
        logs = []
        for net in nets:
            found = net.log_prob(codes, net.scaled(numbers[:, density.kept]), c).to(torch.float64)
            logs.append(found if part.coded else found + part.log_slope(numbers))
        total = torch.stack(logs).logsumexp(dim=0) - float(torch.tensor(float(len(logs))).log())
        return total.reshape(batch)

    def draw(q: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        c, lead = rows(q)
        shape = (*shape, *lead)
        c = c.reshape((*lead, -1)).expand((*shape, c.shape[-1])).reshape((-1, c.shape[-1]))
        net = nets[int(torch.randint(len(nets), ()))]
        with torch.no_grad():
            codes, numbers = net.sample(c)
        return part.values(codes if part.coded else numbers).reshape((*shape, *part.shape))

    family = Family(
        f"learned {name}",
        {p: len(shapes[p]) for p in parents},
        discrete=part.kind != "real",
        score=score,
        draw=draw,
        support=lambda q: (
            torch.distributions.constraints.integer_interval(-(2**53), 2**53)
            if part.kind != "real"
            else part.support
        ),
        event=lambda q: part.shape,
    )

    def distribution(*values: Any, **named: Any) -> Distribution:
        given = dict(zip(parents, values, strict=False)) | named
        wrong = [n for n in given if n not in parents]
        lacking = [p for p in parents if p not in given]
        if wrong or lacking or len(values) > len(parents):
            what = f"no '{wrong[0]}'{closest(wrong[0], parents)}" if wrong else "no more"
            what = f"also '{lacking[0]}'" if lacking else what
            raise QueryError(
                f"The learned density of '{name}' takes {', '.join(parents)}, and {what}."
            )
        tensors = {p: torch.as_tensor(given[p]).to(torch.float64) for p in parents}
        return Distribution(family, tensors)

    return distribution
