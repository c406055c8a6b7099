"""A posterior net: an embedding of the data, a conditional law of the global parameters, and one for each plate of local ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppl.compiler import Query

from .conditional import Conditional
from .densities import COUPLED
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
        return cls.of(query, structure, groups, seen)

    @classmethod
    def of(
        cls, query: Query, structure: Structure, groups: Groups, seen: Sequence[Features]
    ) -> Scheme:
        """From features that are known."""
        local = tuple(Variables(query, one.parts, one.plate) for one in structure.local)
        return cls(query, structure, groups, Variables(query, structure.top), local, tuple(seen))

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
        simulations: By how many it is trained.
        own: The lengths of what the user's nets return.
        kind: The density, where the user chooses it.
    """

    def __init__(
        self, scheme: Scheme, simulations: int, own: Sequence[int] = (), kind: str | None = None
    ):
        super().__init__()
        #: What it was made with, to make it again.
        self.made = {"simulations": simulations, "own": list(own), "kind": kind}
        self.embed = Embedding(scheme.groups, own)
        self.global_count = 2 if scheme.top.parts else 0

        def law(variables: Variables, features: int) -> Conditional:
            # Posteriors are oftener bent, and have more modes, than densities of data.
            own_kind = kind or ("coupling" if variables.size > COUPLED else "spline")
            return Conditional(variables.cards, variables.size, features, simulations, own_kind)

        self.head = law(scheme.top, self.embed.size) if scheme.top.parts else None
        self.locals = nn.ModuleList(
            law(one, features.size + 1)
            for one, features in zip(scheme.local, scheme.seen, strict=True)
        )

    def begin(
        self, data: Sequence[Tensor], parameters: Sequence[Tensor], members: Sequence[Tensor]
    ) -> None:
        """Begin with scales and linear regressions, from rows of simulations."""
        some = slice(0, 5_000)
        for k, law in enumerate(self.laws()):
            codes, numbers = parameters[2 * k : 2 * k + 2]
            if law is self.head:
                with torch.no_grad():
                    c = self.embed([d[some] for d in data])
                codes, z_of = codes[some], numbers[some]
            else:
                c = members[k - self.global_count // 2].flatten(0, 1)
                codes, z_of = codes.flatten(0, 1), numbers.flatten(0, 1)
            law.standardise(numbers if law is self.head else z_of)
            law.fit_line(codes, law.scaled(z_of), c)

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
