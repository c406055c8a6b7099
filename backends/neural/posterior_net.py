"""A posterior net: an embedding of the data, a conditional law of the global parameters, and one for each plate of local ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppl.compiler import Query

from .conditional import Conditional
from .embedding import Embedding, Groups
from .features import Features
from .members import present_members
from .structure import Structure
from .variables import Variables

__all__ = ["PosteriorNet", "Scheme"]


@dataclass(frozen=True, eq=False)
class Scheme:
    """How values become the rows that a posterior net is trained on, and back.

    Args:
        query: The component.
        structure: Of the parameters.
        groups: Of the data.
        top: The global parameters.
        local: The local ones, plate by plate.
        seen: Of each plate, features of a member's data and of the global parameters.
    """

    query: Query
    structure: Structure
    groups: Groups
    top: Variables
    local: tuple[Variables, ...]
    seen: tuple[Features, ...]

    @classmethod
    def fit(cls, query: Query, structure: Structure, groups: Groups, values) -> Scheme:
        """Learn locations and scales from simulations."""
        known = {**query.mechanism.data.inputs, **values}
        names = [v.name for v in structure.top]
        seen = []
        for one in structure.local:
            inputs = [
                n
                for n in query.graph.ancestors_of(one.data)
                if query.graph[n].is_input and one.plate in query.graph[n].axes
            ]
            seen.append(Features.fit(query, [*one.data, *inputs, *names], known, one.plate))
        return cls(
            query,
            structure,
            groups,
            Variables(query, structure.top),
            tuple(Variables(query, one.parts, one.plate) for one in structure.local),
            tuple(seen),
        )

    def parameters(
        self, values: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Codes and numbers of the global parameters `(draws, …)`, then of each plate `(draws, members, …)`."""
        rows = []
        if self.top.parts:
            codes, numbers = self.top.encode(values, generator)
            rows += [codes[:, 0], numbers[:, 0]]
        for one in self.local:
            rows += one.encode(values, generator)
        return rows

    def members(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Of each plate what a member's parameters are conditioned on, `(draws, members, features + 1)`: the last says whether its data are there."""
        rows = []
        known = {**self.query.mechanism.data.inputs, **values}
        for one, features in zip(self.structure.local, self.seen, strict=True):
            part = features(self.query, known)
            here = present_members(self.query, one.data, present, one.plate)
            count = self.query.sizes[one.plate]
            part = part.expand((len(part), count, part.shape[2]))
            flag = here.expand((len(part), count)).unsqueeze(-1).to(part.dtype)
            rows.append(torch.cat([part, flag], dim=-1))
        return rows


class PosteriorNet(nn.Module):
    """q(parameters | data).

    Args:
        scheme: The rows.
        data: Rows of the data of a few simulations.
        parameters: Rows of the parameters of the simulations.
        members: Rows of the members of the simulations.
        simulations: How many there are.
        kind: The density, where the user chooses it.
    """

    def __init__(
        self,
        scheme: Scheme,
        data: Sequence[Tensor],
        parameters: Sequence[Tensor],
        members: Sequence[Tensor],
        simulations: int,
        kind: str | None = None,
    ):
        super().__init__()
        self.embed = Embedding(scheme.groups, data)
        self.global_count = 2 if scheme.top.parts else 0
        self.head: Conditional | None = None
        if scheme.top.parts:
            kind_top = kind or ("spline" if scheme.top.size else None)
            self.head = Conditional(
                scheme.top.cards, scheme.top.size, self.embed.size, simulations, kind_top
            )
            codes, numbers = parameters[:2]
            self.head.standardise(numbers)
            with torch.no_grad():
                some = slice(0, 5_000)
                c = self.embed([d[some] for d in data])
            self.head.fit_line(codes[some], self.head.scaled(numbers)[some], c)
        self.locals = nn.ModuleList()
        for k, one in enumerate(scheme.local):
            codes, numbers = parameters[self.global_count + 2 * k :][:2]
            c = members[k]
            law = Conditional(
                one.cards,
                one.size,
                c.shape[2],
                simulations,
                kind or ("spline" if one.size else None),
            )
            flat = numbers.flatten(0, 1)
            law.standardise(flat)
            law.fit_line(codes.flatten(0, 1), law.scaled(flat), c.flatten(0, 1))
            self.locals.append(law)

    def laws(self) -> list[Conditional]:
        """The law of the global parameters, if there are any, then those of the plates."""
        return [*([self.head] if self.head is not None else []), *self.locals]  # type: ignore[list-item]

    def scaled(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Parameters with standardised numbers, in single precision."""
        found = []
        for k, law in enumerate(self.laws()):
            found += [parameters[2 * k], law.scaled(parameters[2 * k + 1])]
        return found

    def log_prob(
        self, data: Sequence[Tensor], parameters: Sequence[Tensor], members: Sequence[Tensor]
    ) -> Tensor:
        """Of scaled parameters, `(draws,)`; the density is that of the numbers before scaling."""
        total = torch.zeros(())
        if self.head is not None:
            total = self.head.log_prob(parameters[0], parameters[1], self.embed(data))
        for k, law in enumerate(self.locals):
            codes, z = parameters[self.global_count + 2 * k :][:2]
            # A member without data counts as little as it tells.
            total = total + law.log_prob(codes, z, members[k]).sum(dim=-1)  # type: ignore[operator]
        return total

    @torch.no_grad()
    def sample_top(self, embedded: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Codes and numbers of the global parameters, `(n, …)`, given one embedded observation."""
        assert self.head is not None
        return self.head.sample(embedded.expand((n, embedded.shape[-1])))
