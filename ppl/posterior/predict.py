"""The posterior predictive: new data from the posterior, under the same model or under another one, such as after `do`."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import QueryError, SimulationError, closest
from ..graph import Graph
from ..mechanism import Batch, Mechanism, forward, probe, read_data
from .further import QUICK

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["Predictive", "predict", "predicted", "prior_draws"]

#: How many times as many draws are tried as are wanted, where bodies fail.
PATIENCE = 20
#: Engines that are asked again for what they integrated out, where predictions need it: they simulate nothing and train nothing.
CHEAP = frozenset({*QUICK, "nuts", "smc", "prior"})


class Predictive(dict):
    """Predicted draws by node, `(n, *plates, *event)`.

    Attributes:
        failed: How many draws were left out because a body failed at them; others took their places.
    """

    failed: int = 0


def predict(
    posterior: Posterior,
    of: Collection[str] | str | None,
    n: int,
    seed: int,
    model: Any,
    inputs: Mapping[str, Any],
) -> Predictive:
    """Draw reported nodes from the posterior and the rest from the model; see `Posterior.predict`."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise QueryError(f"predict(n={n!r}): the number of draws is a positive integer.")
    scene = _Scene(posterior, of, model, inputs)
    posterior = _informed(posterior, scene)
    parts: list[dict[str, Tensor]] = []
    have = failed = 0
    for attempt in range(PATIENCE):
        own = seed if not attempt else seed + 0x9E3779B1 * attempt
        batch = scene.draw(posterior.sample(n, own), n, own)
        good = ~batch.failed
        parts.append({name: value[good] for name, value in scene.wanted(batch, n).items()})
        have, failed = have + int(good.sum()), failed + int((~good).sum())
        if have >= n:
            break
    else:
        node, _, said = batch.errors[0] if batch.errors else (next(iter(batch.culprits)), 0, "NaN")
        raise SimulationError(
            f"predict: '{node}' failed for {failed:,} of {failed + have:,} draws ({said}); too few are left of {n:,}.",
            node=node,
        )
    found = Predictive({name: torch.cat([part[name] for part in parts])[:n] for name in parts[0]})
    found.failed = failed
    return found


def predicted(
    posterior: Posterior,
    of: Collection[str] | str | None,
    draws: Mapping[str, Tensor],
    seed: int,
) -> dict[str, Tensor]:
    """What belongs to given draws of the posterior, `(draws, *plates, *event)`; NaN where a body fails at them."""
    scene = _Scene(posterior, of, None, {})
    n = len(next(iter(draws.values())))
    batch = scene.draw(draws, n, seed)
    found = scene.wanted(batch, n)
    if bool(batch.failed.any()):
        found = {name: value.to(torch.float64) for name, value in found.items()}
        for value in found.values():
            value[batch.failed] = torch.nan
    return found


def prior_draws(posterior: Posterior, n: int, seed: int) -> dict[str, Tensor]:
    """Draws from the model alone, of the asked and the observed nodes, `(n, *plates, *event)`; what fails is left out."""
    names = [*posterior.of, *(x for x in posterior.data.observed if x not in posterior.of)]
    scene = _Scene(posterior, names, None, {})
    batch = scene.draw({}, n, seed)
    return {name: value[~batch.failed] for name, value in scene.wanted(batch, n).items()}


class _Scene:
    """What is predicted with: the part of a model that matters, its inputs and its sizes.

    Args:
        posterior: Where draws and data come from.
        of: The nodes to predict.
        model: Another model, or `None`.
        inputs: New inputs, columns, or sizes of plates.
    """

    def __init__(
        self,
        posterior: Posterior,
        of: Collection[str] | str | None,
        model: Any,
        inputs: Mapping[str, Any],
    ):
        graph = _graph(posterior, model)
        sizes = {k: v for k, v in inputs.items() if k in graph.plates and isinstance(v, int)}
        inputs = {k: v for k, v in inputs.items() if k not in sizes}
        _check(graph, inputs)
        self.names = _names(graph, of)
        part = graph.subgraph(graph.ancestors_of(self.names))
        data = posterior.data
        given: dict[str, Any] = {k: v[0] for k, v in data.inputs.items() if k in part}
        for columns in data.columns.values():
            given.update(columns)
        given.update(inputs)
        given = {k: v for k, v in given.items() if k in part or k in part.plates}
        # A plate takes the size of its new inputs, and keeps its old one where nothing new says otherwise.
        resized = {p for k in inputs if k in part for p in part[k].axes} | set(sizes)
        resized |= {p.name for p in part.plates.values() if any(q in inputs for q in p.of)}
        kept = {p: s for p, s in data.sizes.items() if p in part.plates and p not in resized}
        read = read_data(part, given, sizes={**kept, **sizes})
        self.mechanism: Mechanism = probe(part, read)
        self._resized = resized
        changed = [
            name
            for name, node in part.nodes.items()
            if node.intervened
            and not (name in posterior.graph and posterior.graph[name].intervened)
        ]
        #: What an intervention changes has another law than the one that was inferred.
        self.changed = part.descendants_of(changed) if changed else set()

    def draw(self, draws: Mapping[str, Tensor], n: int, seed: int) -> Batch:
        """Everything that matters, given draws of the reported nodes."""
        part, fixed = self.mechanism.graph, {}
        for name, value in draws.items():
            if name not in part or name in self.changed or part[name].intervened:
                continue
            if name in self.names and part[name].role == "observed":
                continue
            sizes = [self.mechanism.sizes[p] for p in part[name].axes]
            if list(value.shape[1 : 1 + len(sizes)]) == sizes:
                fixed[name] = value
            elif not set(part[name].axes) & self._resized:
                raise QueryError(
                    f"predict: '{name}' has the shape {tuple(value.shape[1:])} and its plates {sizes}."
                )
        return forward(self.mechanism, n, (seed, 1), fixed=fixed)

    def wanted(self, batch: Batch, n: int) -> dict[str, Tensor]:
        """The nodes that were asked for, `(n, *plates, *event)`."""
        return {k: batch.values[k].expand((n, *batch.values[k].shape[1:])) for k in self.names}


def _informed(posterior: Posterior, scene: _Scene) -> Posterior:
    """The posterior, with what it integrated out and the data tell something of, as far as predictions depend on it.

    A nuisance that all data share is no other one tomorrow. Members of plates are: theirs are drawn anew.
    """
    if posterior.saved:
        return posterior
    part = scene.mechanism.graph
    inferred = {n for route in posterior.plan.routes if route.ask for n in route.query.free}
    hidden = [
        name
        for name, node in part.nodes.items()
        if name in inferred
        and name not in posterior.of
        and not node.axes
        and scene.mechanism.facts[name].kind in ("explicit", "opaque")
        and name not in scene.changed
        and not node.intervened
    ]
    if not hidden:
        return posterior
    asked = (*posterior.of, *hidden)
    if {r.method for r in posterior.plan.routes if r.ask} <= CHEAP:
        return posterior.plan.further(posterior.observation, {}, asked)
    warnings.warn(
        f"predict: {', '.join(hidden)} was integrated out by {posterior.method}, so that predictions draw it from its prior. "
        f"To predict with what the data say of it, infer of={list(asked)}.",
        stacklevel=4,
    )
    return posterior


def _graph(posterior: Posterior, model: Any) -> Graph:
    """The graph to predict with.

    Raises:
        QueryError: If there is none, or it has nothing to do with the posterior.
    """
    if model is None:
        if posterior.saved:
            raise QueryError(
                "A posterior that was loaded knows no functions of the model: say predict(..., model=model)."
            )
        return posterior.graph
    graph = getattr(model, "graph", None)
    if not isinstance(graph, Graph):
        raise QueryError(f"predict(model=...) takes a model; it was given {model!r}.")
    if not any(name in graph for name in posterior.of):
        raise QueryError(
            f"predict: the model '{graph.name}' has none of the nodes that the posterior is about: {', '.join(posterior.of)}."
        )
    return graph


def _names(graph: Graph, of: Collection[str] | str | None) -> list[str]:
    if of is None:
        names = [x.name for x in graph.nodes.values() if x.role == "observed" and not x.outputs]
        if not names:
            raise QueryError(f"predict: {graph.name} observes nothing; name the nodes to predict.")
        return names
    names = [of] if isinstance(of, str) else list(of)
    if not names:
        raise QueryError("predict was given no node.")
    for name in names:
        if name not in graph:
            raise QueryError(
                f"predict: {graph.name} has no node '{name}'.{closest(name, graph.nodes)}"
            )
    return names


def _check(graph: Graph, inputs: Mapping[str, Any]) -> None:
    known = [name for name, node in graph.nodes.items() if node.is_input]
    for name in inputs:
        if name not in graph.plates and name not in known:
            what = "no input" if name in graph else "no node"
            hint = closest(name, [*known, *graph.plates])
            raise QueryError(
                f"predict: '{name}' is {what} of {graph.name}.{hint}"
                + (" To set a node, predict with model.do(...)." if name in graph else "")
            )
