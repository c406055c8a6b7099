"""Exact answers: marginals, joints, draws, probabilities and most probable values, read off a finished propagation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.graph import Node
from ppl.mechanism import Data
from ppl.posterior import Answer, Certificate, TableMarginal

from .prepared import Prepared, Result
from .walk import draw, values_of

if TYPE_CHECKING:
    from .backend import ExactSolver

__all__ = ["ExactAnswer", "ExactAnswers"]

EXACT = Certificate("A", "exact by elimination")


class ExactAnswers(Sequence):
    """The answers for a batch of observations, made one by one when they are looked at.

    Args:
        solver: What made them.
        prepared: The tree.
        result: Log-evidence and marginals of the whole batch.
        data: The observations, or a function that reads them when they are wanted.
    """

    def __init__(
        self, solver: ExactSolver, prepared: Prepared, result: Result, data: Data | Callable
    ):
        self.solver, self.prepared, self.result, self._data = solver, prepared, result, data
        self.names = solver.query.ask
        # A belief is no event, so it has no probability.
        believed = isinstance(data, Data) and data.beliefs
        self.log_evidence = None if believed else result.log_evidence

    @property
    def data(self) -> Data:
        """The observations."""
        if callable(self._data):
            self._data = self._data()
        return self._data  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.result.log_evidence)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(len(self))[i]]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return ExactAnswer(self, i % len(self))

    def marginal(self, name: str) -> TableMarginal:
        """The marginal of one node for all observations, `probs` `(datasets, *plates, cardinality)`."""
        probs = self.probs(name, slice(None))
        node = self.solver.query.graph[name]
        return TableMarginal(
            name,
            self.domain(name),
            torch.from_numpy(probs),
            ("observation", *node.plates),
            node.states,
        )

    def domain(self, name: str) -> Tensor:
        """The values of a node."""
        return self.prepared.network.domains[name]

    def shown(self, name: str) -> tuple[Node, Tensor, tuple[int, int] | None]:
        """A node, its domain, and where its probabilities lie if it is one variable that can reach all of its values."""
        known = self.prepared.shown
        if name not in known:
            network = self.prepared.network
            span = None if network.grids[name] else self.prepared.spans.get((network.first[name],))
            if span is not None and span[1] - span[0] != len(network.domains[name]):
                span = None
            known[name] = self.solver.query.graph[name], network.domains[name], span
        return known[name]

    def probs(self, name: str, which: Any) -> ndarray:
        """Probabilities for some of the observations, `(datasets, *plates, cardinality)`."""
        network, marginals = self.prepared.network, self.result.marginals
        card, grid = len(network.domains[name]), network.grids[name]
        if not grid:
            v = network.first[name]
            if (v,) in marginals.spans:
                found = marginals[(v,)]
                if len(found) == card:
                    return found[:, which].T
        count = len(range(len(self))[which])
        probs = numpy.zeros((count, prod(grid), card))
        for m, v in enumerate(network.variables(name)):
            reach = network.reach[v]
            probs[:, m, reach] = marginals[(v,)][:, which].T if len(reach) > 1 else 1.0
        return probs.reshape((count, *grid, card))


class ExactAnswer(Answer):
    """The exact posterior of a component.

    Args:
        answers: The batch that it is one of.
        dataset: Which of them.
    """

    certificate = EXACT

    def __init__(self, answers: ExactAnswers, dataset: int):
        self._answers, self._dataset = answers, dataset
        self.names = answers.names
        known = answers.log_evidence
        self.log_evidence = None if known is None else float(known[dataset])
        self._log_sum = float(answers.result.log_evidence[dataset])
        self.notes = answers.solver.notes

    @property
    def _network(self):
        return self._answers.prepared.network

    @property
    def _query(self):
        return self._answers.solver.query

    @cached_property
    def _data(self) -> Data:
        """The one observation."""
        return self._answers.data.one(self._dataset)

    def marginal(self, name: str) -> TableMarginal:
        answers, i = self._answers, self._dataset
        node, domain, span = answers.shown(name)
        if span is not None:
            probs = answers.result.marginals.flat[span[0] : span[1], i]
        else:
            probs = answers.probs(name, slice(i, i + 1))[0]
        return TableMarginal(name, domain, torch.from_numpy(probs), node.plates, node.states)

    def joint(self, cells: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[Tensor], Tensor]:
        network = self._network
        variables = tuple(
            network.first[name]
            + (int(numpy.ravel_multi_index(at, network.grids[name])) if at else 0)
            for name, at in cells
        )
        sizes = [len(network.reach[v]) for v in variables]
        free = tuple(v for v, size in zip(variables, sizes, strict=True) if size > 1)
        if not free:
            found = numpy.ones((1, 1))
        else:
            prepared = Prepared(network, [free], self._answers.solver.order(network, [free]))
            found = prepared.run(self._data).marginals[free]
        probs = numpy.zeros([len(network.domains[name]) for name, _ in cells])
        probs[numpy.ix_(*(network.reach[v] for v in variables))] = found[:, 0].reshape(sizes)
        return [network.domains[name] for name, _ in cells], torch.from_numpy(probs)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        network, prepared = self._network, self._answers.prepared
        variables = {name: list(network.variables(name)) for name in self.names}
        states = draw(prepared, self._data, [v for vs in variables.values() for v in vs], n, seed)
        return {name: values_of(network, name, states) for name in self.names}

    def most_probable(self, names: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        """The jointly most probable values of some nodes, the others summed out, and the log of their probability."""
        return self._answers.solver.most_probable(self._data, names, self._log_sum)

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p(values | observation), `(batch,)`: the log-evidence with the values added, less that without."""
        query, data, network = self._query, self._data, self._network
        count = max(len(v) for v in values.values())
        possible = numpy.ones(count, dtype=bool)
        observed, present = dict(data.observed), dict(data.present)
        for name in self.names:
            domain, grid = network.domains[name], network.grids[name]
            value = values[name].expand((count, *values[name].shape[1:]))
            lead = 1 + len(grid)
            same = (
                (value.unsqueeze(lead) == domain).flatten(lead + 1).all(-1)
                if domain.dim() > 1
                else value.unsqueeze(-1) == domain
            )
            known = same.any(-1)
            if name in observed:
                agrees = value == data.observed[name]
                agrees = agrees.flatten(lead).all(-1) if agrees.dim() > lead else agrees
                known = known & (agrees | ~data.present[name])
            possible &= known.reshape(count, -1).all(-1).numpy()
            observed[name] = domain[same.to(torch.int8).argmax(-1)]
            present[name] = torch.ones((count, *grid), dtype=torch.bool)
        whole = Data(
            {n: v.expand((count, *v.shape[1:])) for n, v in observed.items()},
            {n: v.expand((count, *v.shape[1:])) for n, v in present.items()},
            data.inputs,
            data.columns,
            data.sizes,
            data.likelihoods,
            datasets=count,
        )
        asked = set(self.names)
        inner = replace(
            query,
            given=tuple(dict.fromkeys((*query.given, *self.names))),
            free=tuple(n for n in query.free if n not in asked),
            evidence=tuple(dict.fromkeys((*query.evidence, *self.names))),
            partial=query.partial - asked,
            ask=(),
            task="evidence",
            observation=None,
        )
        logs = self._answers.solver.like(inner).log_evidence(whole) - self._log_sum
        return torch.from_numpy(numpy.where(possible, logs, -numpy.inf))
