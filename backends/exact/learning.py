"""Learning tables: counting where every cell is seen, expectation-maximisation where cells are missing.

The expected counts of all families come out of the two passes over the junction tree, for a batch of rows at a time.

References:
    | Maximum likelihood from incomplete data via the EM algorithm (Dempster, Laird and Rubin, 1977)
    | Simple and globally convergent methods for accelerating the convergence of any EM algorithm (Varadhan and Roland, 2008)
    | The EM algorithm for graphical association models with missing data (Lauritzen, 1995)
    | Learning Bayesian networks: the combination of knowledge and statistical data (Heckerman, Geiger and Chickering, 1995), for BDeu
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Budget, Query
from ppl.compiler.passes import check_observation
from ppl.errors import BackendError, QueryError, closest
from ppl.graph import Body, Graph, Node, elimination
from ppl.mechanism import Data, Lookup, probe, read_data
from ppl.mechanism.tables import NotFinite, Tables, TooLarge
from ppl.posterior.fitted import Fitted

from .expectation import Enumerated, Propagated, rows_of
from .network import Network
from .prepared import Prepared

__all__ = ["fit"]

#: What a random table is mixed with the observed one by, so that symmetric latent nodes part.
JITTER = 0.05


@dataclass(frozen=True, eq=False)
class Learned:
    """A table to be learned.

    Args:
        node: The node.
        part: `"body"` or `"start"`.
        initial: What the model says, `(1, *parents, own)`.
        prior: Pseudo-counts, of the same shape.
    """

    node: Node
    part: str
    initial: ndarray
    prior: ndarray

    @property
    def key(self) -> tuple[str, str]:
        return self.node.name, self.part

    @property
    def name(self) -> str:
        return self.node.name if self.part == "body" else f"{self.node.name} (start)"


def fit(
    model: Any,
    data: Any,
    *,
    learn: Collection[str] | None,
    pseudo_counts: float | Mapping[str, Any],
    bdeu: float | None,
    restarts: int,
    tolerance: float,
    iterations: int,
    seed: int,
    nan: str,
    inputs: Mapping[str, Any] | None,
    budget: Budget,
) -> Fitted:
    """See `ppl.fit`."""
    graph: Graph = model.graph
    given = read_data(graph, {**_columns(graph, data), **(inputs or {})}, nan=nan, batch=True)
    if not given.observed:
        raise QueryError("There is nothing in the data to learn from.")
    mechanism = probe(graph, given)
    given = check_observation(graph, mechanism, given)
    gaps = frozenset(n for n in given.observed if given.missing(n))
    sure = set(given.observed) - gaps
    names = tuple(n for n in graph.nodes if n in given.observed)
    free = tuple(
        n.name
        for n in graph.nodes.values()
        if n.name not in sure and not n.is_input and n.intervened != "value"
    )
    query = Query(graph, mechanism, names, (), free, names, partial=gaps, task="evidence")
    tables = Tables(mechanism, {n: given.observed[n] for n in sure})
    try:
        learned = _learned(graph, tables, learn, pseudo_counts, bdeu)
        engine = _Engine(query, tables, learned, given, budget)
        starts = [
            engine.run(_start(learned, engine, r, seed), tolerance, iterations)
            for r in range(restarts)
        ]
    except (NotFinite, TooLarge) as reason:
        raise BackendError(
            f"{graph.name} cannot be fitted by the exact engine: {reason}."
        ) from reason
    best = max(starts, key=lambda run: run.history[-1])
    latent = {n: len(range(given.datasets)) for n in free if n not in gaps}
    return Fitted(
        model=type(model)(graph.name, _with_tables(graph, tables, learned, best.tables)),
        tables={item.name: best.tables[item.key][0] for item in learned},
        history=tuple(best.history),
        log_likelihood=best.log_likelihood,
        converged=best.converged,
        rows=given.datasets,
        missing={**{n: given.missing(n) for n in names}, **latent},
        unseen={name: n for name, n in best.unseen.items() if n},
        runs=tuple(run.history[-1] for run in starts),
    )


def _columns(graph: Graph, data: Any) -> dict[str, Any]:
    if hasattr(data, "columns"):
        data = {str(name): data[name] for name in data.columns}
    if not isinstance(data, Mapping):
        raise QueryError("data is a data frame, or a mapping from node to its values, one a row.")
    for name in data:
        if name not in graph and name not in graph.plates:
            raise QueryError(
                f"The data have a column '{name}', which {graph.name} has not.{closest(name, graph.nodes)}"
            )
    return dict(data)


# -- what is learned -----------------------------------------------------------------------------


def _learned(graph, tables: Tables, wanted, pseudo_counts, bdeu) -> list[Learned]:
    if wanted is not None:
        for name in wanted:
            graph[name]
            reason = _obstacle(graph[name], tables)
            if reason:
                raise QueryError(f"The table of '{name}' cannot be learned: {reason}.")
    found = []
    for node in graph.nodes.values():
        if (
            node.name in wanted
            if wanted is not None
            else (node.role in ("latent", "observed") and not _obstacle(node, tables))
        ):
            for part in ("start", "body") if node.start is not None else ("body",):
                if len(tables.members(node, part)):
                    initial = tables.probabilities(node, part)
                    prior = _prior(node, part, initial.shape, pseudo_counts, bdeu)
                    found.append(Learned(node, part, initial, prior))
    if not found:
        raise QueryError(
            f"{graph.name} has no table to learn: no latent or observed node is finite with finite parents."
        )
    return found


def _obstacle(node: Node, tables: Tables) -> str:
    """Why a node has no table that could be learned; empty if it has one."""
    if node.is_input or node.outputs or node.picks is not None:
        return "it is no random node of its own"
    if node.determined or node.intervened:
        return "it is determined"
    if tables.mechanism.facts[node.name].kind != "explicit":
        return "it has no density"
    try:
        domain = tables.domain(node.name)
        if domain.dim() > 1 or domain.tolist() != list(range(len(domain))):
            return "its values are not 0, 1, 2, …"
        for part in ("start", "body") if node.start is not None else ("body",):
            body = node.start if part == "start" else node.body
            slots = tables.slots(node, part)
            if len(slots) != len(body.parents) or any(slot.extra for slot in slots):  # type: ignore[union-attr]
                return "it depends on inputs, indices, whole plates, or on what is not finite"
            if tables.size(node, part) * len(domain) > tables.limit:
                return "its table is too large"
    except (NotFinite, TooLarge) as reason:
        return str(reason)
    return ""


def _prior(node, part, shape, pseudo_counts, bdeu) -> ndarray:
    if bdeu is not None:
        return numpy.full(shape, bdeu / numpy.prod(shape))
    if isinstance(pseudo_counts, Mapping):
        given = numpy.asarray(pseudo_counts.get(node.name, 0.0), dtype=float)
    else:
        given = numpy.asarray(pseudo_counts, dtype=float)
    if (given < 0).any() or not numpy.isfinite(given).all():
        raise QueryError(f"The pseudo-counts of '{node.name}' are not all finite and non-negative.")
    try:
        return numpy.broadcast_to(given, shape).copy()
    except ValueError:
        raise QueryError(
            f"The pseudo-counts of '{node.name}' have the shape {given.shape}; its table has {shape[1:]}."
        ) from None


def _with_tables(graph: Graph, tables: Tables, learned: list[Learned], found) -> Graph:
    """The graph with look-ups in place of the learned bodies."""
    nodes = dict(graph.nodes)
    for item in learned:
        node = nodes[item.node.name]
        body: Body = node.start if item.part == "start" else node.body  # type: ignore[assignment]
        domains = []
        for slot in tables.slots(item.node, item.part):
            values = tables.domain(slot.edge.source)
            plain = values.tolist()
            if values.dim() > 1:
                raise QueryError(f"The table of '{node.name}' has a vector among its parents.")
            domains.append(None if plain == list(range(len(plain))) else plain)
        new = replace(
            body,
            function=Lookup(found[item.key][0], domains),
            rng=False,
            vectorized=False,
            remembered=(),
        )
        start = item.part == "start"
        nodes[node.name] = replace(node, start=new) if start else replace(node, body=new)
    return replace(graph, nodes=nodes)


# -- EM ------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Run:
    tables: dict[tuple[str, str], ndarray]
    history: list[float]
    log_likelihood: float
    converged: bool
    unseen: dict[str, int]


class _Engine:
    """EM for given rows: rows with small gaps are enumerated, the others go through the junction tree."""

    def __init__(
        self, query: Query, tables: Tables, learned: list[Learned], data: Data, budget: Budget
    ):
        self.learned = {item.key: item for item in learned}
        self.keys = list(self.learned)
        for item in learned:
            # Tables without zeros, so that every value can be reached whatever is learned.
            shape = item.initial.shape
            tables.replace(item.node, item.part, numpy.full(shape, 1 / shape[-1]))
        self.network = network = Network(query, tables)
        if tables.contextual:
            raise BackendError(
                "Tables that depend on observed values without a finite set of values cannot be learned in one pass over the rows."
            )
        tabulated = all(family.tabulated for family in network.families)
        rows = numpy.arange(data.datasets)
        self.data, self.weights = data, numpy.ones(data.datasets)
        self.parts: list[Enumerated | Propagated] = []
        if tabulated:
            self.data, self.weights = _distinct(data)
            easy = Enumerated(network, self.data, self.weights)
            self.parts.append(easy)
            rows = easy.hard
        if len(rows):
            prepared = self._prepared(budget)
            part = Propagated(prepared, rows_of(self.data, rows), self.weights[rows], self.keys)
            self.parts.append(part)
        self.complete = not query.free or bool(tabulated and not len(rows) and easy.there.all())

    def _prepared(self, budget: Budget) -> Prepared:
        network = self.network
        if any(b.table is not None and not b.turn for b in network.bundles):
            raise BackendError(
                "A body that asks for one variable twice cannot be learned from rows with these gaps."
            )
        scopes = [s for b in network.bundles for s in b.source.scopes if s]
        order = elimination(scopes, network.sizes())
        if order.cells > budget.cells:
            raise BackendError(
                f"Each row would take factors of 2^{order.log2_cells:.1f} cells, and {budget.cells:,} is the limit; allow it with "
                f"budget=Budget(cells={order.cells})."
            )
        mixed = [
            scope
            for b in network.bundles
            if (b.family.node.name, b.family.part) in self.learned and b.terms
            for scope in b.source.scopes
            if scope
        ]
        return Prepared(network, list(dict.fromkeys(mixed)), order, learning=True)

    def expect(self, tables) -> tuple[float, dict[tuple[str, str], ndarray]]:
        """The log-likelihood of tables, and the expected counts under them."""
        total, whole = (
            0.0,
            {key: numpy.zeros(item.initial.shape) for key, item in self.learned.items()},
        )
        for part in self.parts:
            logs, counts = part.expect(tables, self.keys)
            total += logs
            for key, found in counts.items():
                whole[key] += found
        return total, whole

    def run(
        self, tables: dict[tuple[str, str], ndarray], tolerance: float, iterations: int
    ) -> _Run:
        """EM from these tables until it comes to rest; counting, where nothing is missing."""
        history: list[float] = []

        def look(tables):
            """The objective and the expected counts of some tables."""
            log_likelihood, counts = self.expect(tables)
            return log_likelihood + self._log_prior(tables), log_likelihood, counts

        if self.complete:
            tables = self._better(self.expect(tables)[1], tables)
        objective, log_likelihood, counts = look(tables)
        history.append(objective)
        converged = self.complete
        while not converged and len(history) < iterations:
            before, tables = tables, self._better(counts, tables)
            objective, log_likelihood, counts = look(tables)
            history.append(objective)
            # Only a plain step tells how near the end is; a leap may land anywhere.
            converged = history[-1] - history[-2] <= tolerance * abs(history[-1])
            if converged or len(history) >= iterations:
                break
            far = self._leap(before, tables, self._better(counts, tables))
            found = look(far)
            if found[0] > objective:
                tables, (objective, log_likelihood, counts) = far, found
                history.append(objective)
        unseen = {
            item.name: int(((counts[key] + item.prior).sum(axis=-1) == 0).sum())
            for key, item in self.learned.items()
        }
        return _Run(tables, history, log_likelihood, converged, unseen)

    def _leap(self, zero, one, two):
        """Where two steps seem to lead: squared extrapolation (Varadhan and Roland 2008, SqS3), kept inside the simplex."""
        steps = [(one[k] - zero[k], two[k] - 2 * one[k] + zero[k]) for k in self.keys]
        bent = sum(float((v**2).sum()) for _, v in steps) ** 0.5
        length = sum(float((r**2).sum()) for r, _ in steps) ** 0.5
        alpha = -max(length / bent, 1.0) if bent > 0 else -1.0
        found = {}
        for key, (r, v) in zip(self.keys, steps, strict=True):
            far = numpy.maximum(zero[key] - 2 * alpha * r + alpha**2 * v, 0.1 * two[key])
            found[key] = far / far.sum(axis=-1, keepdims=True)
        return found

    def _better(self, counts, before):
        """The most probable tables for these counts; rows that nothing speaks of stay as they are."""
        found = {}
        for key, item in self.learned.items():
            whole = counts[key] + item.prior
            total = whole.sum(axis=-1, keepdims=True)
            safe = numpy.where(total > 0, total, 1.0)
            found[key] = numpy.where(total > 0, whole / safe, before[key])
        return found

    def _log_prior(self, tables) -> float:
        """sum alpha log theta: the log density of Dirichlet(alpha + 1), up to a constant."""
        total = 0.0
        for key, item in self.learned.items():
            some = item.prior > 0
            if some.any():
                with numpy.errstate(divide="ignore"):
                    total += float((item.prior[some] * numpy.log(tables[key][some])).sum())
        return total


def _distinct(data: Data) -> tuple[Data, ndarray]:
    """Each different row once, and how often it occurs."""
    columns = []
    for name, value in data.observed.items():
        there = data.present[name].reshape((data.datasets, -1))
        flat = value.reshape((data.datasets, there.shape[1], -1)).to(torch.float64)
        flat = torch.where(there.unsqueeze(-1), flat, 0.0)
        columns += [flat.flatten(1), there.to(torch.float64)]
    rows = torch.cat(columns, dim=1).numpy()
    _, first, counts = numpy.unique(rows, axis=0, return_index=True, return_counts=True)
    order = first.argsort()
    return rows_of(data, first[order]), counts[order].astype(float)


def _start(
    learned: list[Learned], engine: _Engine, restart: int, seed: int
) -> dict[tuple[str, str], ndarray]:
    """Where EM begins: what the rows say in which a whole family is seen, or random tables."""
    rng = numpy.random.default_rng([seed, restart])
    found = {}
    for item in learned:
        random = rng.dirichlet(numpy.ones(item.initial.shape[-1]), size=item.initial.shape[:-1])
        if restart:
            found[item.key] = random
            continue
        counts = _available(engine, item)
        total = counts.sum(axis=-1, keepdims=True)
        # A little of everything, so that no value is excluded before EM has looked.
        model = item.initial * (1 - JITTER) + JITTER * random
        found[item.key] = (counts + model) / (total + 1)
    return found


def _available(engine: _Engine, item: Learned) -> ndarray:
    """Counts over the rows in which the node and all its parents are seen."""
    data, weights = engine.data, engine.weights
    family = next(f for f in engine.network.families if (f.node.name, f.part) == item.key)
    cells = [(slot.edge.source, at) for slot, at in zip(family.slots, family.parents, strict=True)]
    cells.append((item.node.name, family.members))
    counts = numpy.zeros(item.initial.shape)
    if any(name not in data.observed for name, _ in cells):
        return counts
    entry = numpy.zeros((len(family.members), data.datasets), dtype=int)
    there = numpy.ones(entry.shape, dtype=bool)
    for (name, at), size in zip(cells, item.initial.shape[1:], strict=True):
        entry = entry * size + engine.network.places(name, data)[at]
        there &= data.present[name].numpy().reshape((data.datasets, -1)).T[at]
    share = numpy.broadcast_to(weights, entry.shape) * there
    flat = numpy.bincount(entry.reshape(-1), share.reshape(-1), minlength=counts.size)
    return flat.reshape(counts.shape)
