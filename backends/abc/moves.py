"""What ABC samplers move: parameters near earlier ones, with the density of how they were proposed.

Continuous parameters take a Gaussian step on unbounded scales; finite ones stay, or jump to any of their values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.mechanism.tables import NotFinite, Tables, TooLarge

from .accepted import EXPLICIT, FORCED, explicit
from .parameters import Coordinates, Prior

__all__ = ["Moves", "Unmovable", "verdict"]

#: The chance that a finite parameter jumps, where there are others that move, and where it is alone.
JUMP, ALONE = 0.2, 0.5


#: Simulations when the budget does not say.
SIMULATIONS = 100_000


def verdict(method: str, query: Query, budget: Budget, reason: str, guarantee: str) -> Verdict:
    """That of an engine which moves parameters: able when there is something to compare and every parameter has a prior density; never chosen by itself.

    Args:
        method: The engine.
        query: The component.
        budget: Simulations.
        reason: Why it is not chosen for opaque models.
        guarantee: What its draws are.
    """
    if not query.evidence:
        return Verdict(method, False, 6, "there is no data to compare with")
    try:
        moves = Moves(query)
    except Unmovable as error:
        remedy = "method='rejection' only samples it."
        return Verdict(method, False, 6, str(error), remedy=remedy)
    cost = {
        "simulations": budget.simulations or SIMULATIONS,
        "parameters": moves.coordinates.size + len(moves.domains),
    }
    return Verdict(
        method,
        True,
        6,
        EXPLICIT if explicit(query) else reason,
        fits=False,
        guarantee=guarantee,
        grade="U",
        cost=cost,
        remedy=FORCED,
    )


class Unmovable(Exception):
    """Some parameter has no prior density; the reason is the message."""


class Moves:
    """The random nodes that the asked ones are, or are made of.

    Args:
        query: The component.

    Raises:
        Unmovable: If one is a simulator, or counts without end.
    """

    def __init__(self, query: Query):
        graph, facts = query.graph, query.mechanism.facts
        above = graph.ancestors_of(query.ask) | set(query.ask)
        free = [n for n in graph.nodes if n in above and n in query.free]
        self.names = [n for n in free if facts[n].kind != "deterministic"]
        for name in self.names:
            if facts[name].kind != "explicit":
                raise Unmovable(f"the prior of '{name}' can only be sampled, so it cannot be moved")
            if name in query.partial:
                raise Unmovable(f"'{name}' is observed in part")
        self.coordinates = Coordinates(query.mechanism, self.names)
        self.prior = Prior(query.mechanism, self.names)
        tables = Tables(query.mechanism)
        self.domains: dict[str, Tensor] = {}
        for name in self.names:
            if facts[name].discrete:
                try:
                    self.domains[name] = tables.domain(name)
                except (NotFinite, TooLarge) as error:
                    raise Unmovable(f"'{name}' is discrete and cannot be listed") from error
                if self.domains[name].dim() > 1:
                    raise Unmovable(f"'{name}' is a discrete vector")
        self.jump = JUMP if self.coordinates.size else ALONE

    def codes(self, values: Mapping[str, Tensor]) -> Tensor:
        """Positions of the finite nodes in their domains, `(n, members)`."""
        parts = [
            torch.searchsorted(self.domains[n].sort().values, values[n].contiguous()).reshape(
                (len(values[n]), -1)
            )
            for n in self.domains
        ]
        rows = max((len(v) for v in values.values()), default=0)
        return torch.cat(parts, dim=1) if parts else torch.zeros(rows, 0, dtype=torch.long)

    def values(self, u: Tensor, codes: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values of the moved nodes; `like` tells the shapes of the finite ones."""
        found, start = self.coordinates.split(u), 0
        for name, domain in self.domains.items():
            shape = like[name].shape[1:]
            stop = start + shape.numel()
            found[name] = domain.sort().values[codes[:, start:stop]].reshape((len(codes), *shape))
            start = stop
        return found

    def log_prior(
        self, u: Tensor, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]
    ) -> Tensor:
        """The prior's log density on unbounded scales, `(n,)`."""
        return self.prior.log_prob(values, fixed) + self.coordinates.stretch(u)

    def propose(
        self, u: Tensor, codes: Tensor, root: Tensor, cards: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A step from every row."""
        noise = torch.randn(u.shape, generator=generator, dtype=torch.float64)
        other = (torch.rand(codes.shape, generator=generator) * cards).long()
        jumps = torch.rand(codes.shape, generator=generator) < self.jump
        return u + noise @ root.T, torch.where(jumps, other, codes)

    def cards(self, like: Mapping[str, Tensor]) -> Tensor:
        """How many values each finite member has."""
        sizes = [[len(d)] * like[n].shape[1:].numel() for n, d in self.domains.items()]
        return torch.tensor([s for part in sizes for s in part], dtype=torch.float64)

    def log_kernel(
        self,
        u: Tensor,
        codes: Tensor,
        centres: Tensor,
        centre_codes: Tensor,
        root: Tensor,
        cards: Tensor,
    ) -> Tensor:
        """The log density of the mixture of steps from equally likely centres, `(n,)`."""
        # Single precision, relative to the middle of the centres: the weights that come of it are right to a thousandth.
        constant = -math.log(len(centres))
        if not u.shape[1]:
            share = torch.zeros(len(u), len(centres), dtype=torch.float32)
        else:
            inverse, middle = torch.linalg.inv(root), centres.mean(dim=0)
            a, b = (((x - middle) @ inverse.T).to(torch.float32) for x in (u, centres))
            # -|a - b|²/2 = a·b - |a|²/2 - |b|²/2
            share = torch.addmm(-0.5 * (b * b).sum(dim=1), a, b.T)
            share -= 0.5 * (a * a).sum(dim=1, keepdim=True)
            constant -= float(root.diagonal().abs().log().sum())
            constant -= 0.5 * u.shape[1] * math.log(2 * math.pi)
        share = share.exp_()
        for k in range(codes.shape[1]):
            same = codes[:, k, None] == centre_codes[None, :, k]
            off = self.jump / float(cards[k])
            share *= torch.where(same, 1 - self.jump + off, off)
        return share.sum(dim=1).to(torch.float64).log() + constant
