"""The posterior predictive."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import QueryError
from ..mechanism import forward, probe, read_data

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["predict"]


def predict(
    posterior: Posterior,
    of: Collection[str] | str | None,
    n: int,
    seed: int,
    model: Any,
    inputs: Mapping[str, Any],
) -> dict[str, Tensor]:
    """Draw reported nodes from the posterior and the rest from the model; see `Posterior.predict`."""
    graph = posterior.graph if model is None else model.graph
    for name in inputs:
        if name not in graph.plates and (name not in graph or not graph[name].is_input):
            raise QueryError(f"predict: '{name}' is no input of {graph.name}.")
    if of is None:
        names = [x.name for x in graph.nodes.values() if x.role == "observed" and not x.outputs]
    else:
        names = [of] if isinstance(of, str) else list(of)
    part = graph.subgraph(graph.ancestors_of(names))
    given: dict[str, Any] = {k: v[0] for k, v in posterior.data.inputs.items() if k in part}
    for columns in posterior.data.columns.values():
        given.update(columns)
    given.update(inputs)
    given = {k: v for k, v in given.items() if k in part or k in part.plates}
    # A plate takes the size of its new inputs, and keeps its old one where nothing new says otherwise.
    resized = {p for k in inputs if k in part for p in part[k].axes}
    resized |= {p.name for p in part.plates.values() if any(q in inputs for q in p.of)}
    kept = {p: s for p, s in posterior.data.sizes.items() if p in part.plates and p not in resized}
    data = read_data(part, given, sizes=kept)
    mechanism = probe(part, data)
    draws = posterior.sample(n, seed)
    fixed = {}
    for name, value in draws.items():
        if name not in part or (name in names and part[name].role == "observed"):
            continue
        if part[name].intervened:
            continue
        sizes = [mechanism.sizes[p] for p in part[name].axes]
        if list(value.shape[1 : 1 + len(sizes)]) == sizes:
            fixed[name] = value
        elif not set(part[name].axes) & resized:
            raise QueryError(
                f"predict: '{name}' has the shape {tuple(value.shape[1:])} and its plates {sizes}."
            )
    batch = forward(mechanism, n, (seed, 1), fixed=fixed)
    return {name: batch.values[name].expand((n, *batch.values[name].shape[1:])) for name in names}
