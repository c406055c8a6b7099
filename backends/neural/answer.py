"""The answer of a posterior net at one observation: independent draws, and a density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ppl.errors import BackendError
from ppl.posterior import Answer, Certificate, DrawnMarginal, Marginal, TableMarginal

from .surrogate import climb, follow
from .variables import POINTS, Variable

if TYPE_CHECKING:
    from .npe import NPESolver

__all__ = ["FlowAnswer"]


class FlowAnswer(Answer):
    """A trained posterior at one observation.

    Args:
        solver: The trained nets and their rows.
        embedded: The observation as each net sees it, `(features,)`.
        values: The observation, `(1, *plates, *event)` by node.
        present: Which of its cells are there.
        draws: How many draws marginals are read from.
        notes: What the user should know.
    """

    def __init__(
        self,
        solver: NPESolver,
        embedded: Sequence[Tensor],
        values: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        draws: int,
        notes: tuple[str, ...],
    ):
        self.names, self.notes = solver.query.ask, notes
        self._solver, self._embedded, self.history = solver, embedded, solver.history
        self._values, self._present, self._count = dict(values), dict(present), draws
        self.certificate = Certificate("U", "a neural posterior", dict(solver.facts))

    def proposed(self, n: int, seed: int) -> dict[str, Tensor]:
        """Values of all parameters, `(n, *plates, *event)`, to simulate from."""
        return self._draw(n, seed)

    def _draw(self, n: int, seed: int) -> dict[str, Tensor]:
        """Values of the parameters, `(n, *plates, *event)`."""
        scheme, nets = self._solver.scheme, self._solver.nets
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            shares = torch.bincount(torch.randint(len(nets), (n,)), minlength=len(nets))
            parts = [self._draw_from(k, int(count)) for k, count in enumerate(shares) if int(count)]
            order = torch.randperm(n) if len(parts) > 1 else torch.arange(n)
        return {
            v.name: torch.cat([p[v.name] for p in parts])[order] for v in scheme.structure.parts
        }

    def _draw_from(self, k: int, n: int) -> dict[str, Tensor]:
        scheme, net = self._solver.scheme, self._solver.nets[k]
        found: dict[str, Tensor] = {}
        if net.head is not None:
            codes, numbers = net.sample_top(self._embedded[k], n)
            found |= scheme.top.decode(codes.unsqueeze(1), numbers.unsqueeze(1))
        rows = scheme.members({**self._values, **found}, self._present)
        for variables, law, c in zip(scheme.local, net.locals, rows, strict=True):
            c = c.expand((n, *c.shape[1:]))
            codes, numbers = law.sample(c.flatten(0, 1))  # type: ignore[operator]
            found |= variables.decode(
                *(t.reshape((n, c.shape[1], t.shape[1])) for t in (codes, numbers))
            )
        return found

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        return follow(self._solver.query, self._draw(n, seed), n)

    @cached_property
    def _cached(self) -> dict[str, Tensor]:
        return self.sample(self._count, self._solver.query.seed)

    def marginal(self, name: str) -> Marginal:
        node = self._solver.query.graph[name]
        table = self._table(name)
        if table is not None:
            return table
        parts = {v.name: v for v in self._solver.scheme.structure.parts}
        part = parts.get(name)
        domain = part.domain if part is not None and part.kind in ("codes", "line") else None
        return DrawnMarginal(name, self._cached[name], node.axes, node.states, domain)

    def _table(self, name: str) -> Marginal | None:
        """With one finite parameter, probabilities come from the net itself, value by value; `None` with more."""
        parts = self._solver.scheme.structure.parts
        if len(parts) != 1 or parts[0].size != 1 or self._solver.scheme.structure.local:
            return None
        part: Variable = parts[0]
        if part.domain is None:
            return None
        count = len(part.domain)
        if part.coded:
            codes = torch.arange(count).reshape((count, 1))
            mass = self._log_density([codes, torch.zeros(count, 0, dtype=torch.float64)]).exp()
        else:
            inside = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
            u = (torch.arange(count).unsqueeze(1) + inside).reshape(-1) / count
            flat = torch.logit(u).unsqueeze(1)
            none = torch.zeros(len(flat), 0, dtype=torch.int64)
            logs = self._log_density([none, flat]) + part.log_slope(flat)
            mass = logs.exp().reshape((count, POINTS)).mean(dim=1)
        mass = mass / mass.sum()
        query = self._solver.query
        values = follow(query, {part.name: part.domain.reshape((count, *part.shape))}, count)[name]
        if values.dim() > 1:
            return None
        domain, where = torch.unique(values, return_inverse=True)
        probs = torch.zeros(len(domain), dtype=torch.float64).index_add(0, where, mass)
        return TableMarginal(name, domain, probs, (), query.graph[name].states, exact=False)

    def _log_density(
        self, parameters: Sequence[Tensor], values: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """log q of codes and numbers, `(rows,)`."""
        scheme, logs = self._solver.scheme, []
        rows = scheme.members({**self._values, **(values or {})}, self._present)
        with torch.no_grad():
            for k, net in enumerate(self._solver.nets):
                total: Tensor = torch.zeros(len(parameters[0]), dtype=torch.float64)
                scaled = net.scaled(parameters)
                if net.head is not None:
                    c = self._embedded[k].expand((len(scaled[0]), -1))
                    total = total + net.head.log_prob(scaled[0], scaled[1], c)
                for j, law in enumerate(net.locals):
                    codes, z = scaled[net.global_count + 2 * j :][:2]
                    c = rows[j].expand((len(codes), *rows[j].shape[1:]))
                    total = total + law.log_prob(codes, z, c).sum(dim=-1)  # type: ignore[operator]
                logs.append(total)
        if len(logs) == 1:
            return logs[0]
        count = torch.tensor(float(len(logs)), dtype=torch.float64)
        return torch.logsumexp(torch.stack(logs), dim=0) - count.log()

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        scheme = self._solver.scheme
        names = scheme.structure.names
        lacking = [n for n in names if n not in values]
        if lacking:
            raise BackendError(
                f"{self._solver.method} knows the density of {', '.join(names)} together; give '{lacking[0]}' too, and leave out what follows from them."
            )
        parameters = scheme.parameters({n: values[n] for n in names})
        total = self._log_density(parameters, {n: values[n] for n in names})
        begin = 0
        if scheme.top.parts:
            total = total + scheme.top.log_slope(parameters[1].unsqueeze(1))[:, 0]
            begin = 2
        for k, one in enumerate(scheme.local):
            total = total + one.log_slope(parameters[begin + 2 * k + 1]).sum(dim=1)
        return total

    def most_probable(self, names: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        """The jointly most probable values of all parameters, by climbing from the best draws."""
        return climb(self, names, self._solver.scheme.structure.names, self._jump)

    def _jump(self, generator: torch.Generator, values: dict[str, Tensor], size: float):
        """Values near some others, on unbounded scales; codes stay."""
        scheme = self._solver.scheme
        found: dict[str, Tensor] = {}
        for variables in (scheme.top, *scheme.local):
            if not variables.parts:
                continue
            codes, numbers = variables.encode(values)
            spread = variables.encode(self._cached)[1].flatten(0, 1).std(dim=0)
            noise = torch.randn(numbers.shape, generator=generator, dtype=torch.float64)
            found |= variables.decode(codes, numbers + size * spread * noise)
        return found
