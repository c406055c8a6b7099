"""What ABC samplers move: parameters near earlier ones, with the density of how they were proposed.

Continuous parameters take a Gaussian step on unbounded scales; finite ones stay, or jump to any of their values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backends.kernels.parameters import Parameters, Unmovable
from ppl.compiler import Budget, Query, Verdict

from .accepted import EXPLICIT, FORCED, explicit

__all__ = ["Moves", "verdict"]

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


class Moves(Parameters):
    """The parameters of the asked nodes, and how they step.

    Args:
        query: The component.

    Raises:
        Unmovable: If one is a simulator, or counts without end.
    """

    def __init__(self, query: Query):
        super().__init__(query)
        self.jump = JUMP if self.coordinates.size else ALONE

    def propose(
        self, u: Tensor, codes: Tensor, root: Tensor, cards: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A step from every row."""
        noise = torch.randn(u.shape, generator=generator, dtype=torch.float64)
        other = (torch.rand(codes.shape, generator=generator) * cards).long()
        jumps = torch.rand(codes.shape, generator=generator) < self.jump
        return u + noise @ root.T, torch.where(jumps, other, codes)

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
