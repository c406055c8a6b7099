"""A part of a posterior: some of its nodes, with everything else summed or integrated out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from ..errors import BackendError, QueryError, closest
from .answer import Answer, Draws
from .marginal import Marginal

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["only"]


class Part(Answer):
    """Some nodes of an answer.

    Args:
        whole: The answer.
        names: Which of its nodes.
    """

    def __init__(self, whole: Answer, names: tuple[str, ...]):
        self.names, self.certificate, self.notes = names, whole.certificate, whole.notes
        self.log_evidence = whole.log_evidence
        self._whole = whole

    def marginal(self, name: str) -> Marginal:
        return self._whole.marginal(name)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        found = self._whole.sample(n, seed)
        return {name: found[name] for name in self.names}

    def joint(self, cells: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[Tensor], Tensor]:
        return self._whole.joint(cells)

    def most_probable(self, names: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        return self._whole.most_probable(names)

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        marginals = {name: self._whole.marginal(name) for name in self.names}
        if all(m.finite and m.exact for m in marginals.values()):
            return self._table(marginals, values)
        alone = marginals[self.names[0]]
        density = getattr(alone, "density", None)
        if len(self.names) == 1 and density is not None and not alone.mean.dim():
            value = values[self.names[0]].reshape(-1).to(torch.float64)
            return torch.stack([density(float(v)) for v in value]).log()
        raise BackendError(
            f"The density of {', '.join(self.names)} alone is not known by this route; it is known for {', '.join(self._whole.names)} together, "
            "if at all."
        )

    def _table(self, marginals: Mapping[str, Marginal], values: Mapping[str, Tensor]) -> Tensor:
        """Off the joint table of all members."""
        cells = [
            (name, at)
            for name, marginal in marginals.items()
            for at in numpy.ndindex(*marginal.probs.shape[:-1])
        ]
        domains, probs = self._whole.joint(cells)
        batch = len(values[self.names[0]])
        inside, places = torch.ones(batch, dtype=torch.bool), []
        for (name, at), domain in zip(cells, domains, strict=True):
            value = values[name][(slice(None), *at)].unsqueeze(1)
            same = (value == domain).reshape((batch, len(domain), -1)).all(dim=2)
            inside &= same.any(dim=1)
            places.append(same.to(torch.int8).argmax(dim=1))
        return torch.where(inside, probs[tuple(places)].log(), -torch.inf)


def only(posterior: Posterior, names: Sequence[str]) -> Posterior:
    """The posterior of some nodes; see `Posterior.only`."""
    if not names:
        raise QueryError("only() was given no node.")
    wrong = [name for name in names if name not in posterior]
    if wrong:
        raise QueryError(
            f"The posterior has no '{wrong[0]}'; it was not asked for.{closest(wrong[0], posterior.of)}"
        )
    wanted = tuple(dict.fromkeys(names))
    answers, rest = [], posterior.unasked
    for answer in posterior.answers:
        mine = tuple(name for name in wanted if name in answer.names)
        if mine:
            answers.append(_narrowed(answer, mine))
        elif rest is not None:
            rest = None if answer.log_evidence is None else rest + answer.log_evidence
    return posterior.like(answers, wanted, rest)


def _narrowed(answer: Answer, names: tuple[str, ...]) -> Answer:
    if set(names) == set(answer.names):
        return answer
    if isinstance(answer, Draws):
        return answer.only(names)
    return Part(answer, names)
