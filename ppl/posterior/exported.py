"""A posterior as other libraries read it: ArviZ's DataTree, a pandas DataFrame, an xarray DataArray."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..errors import BackendError, QueryError
from ..graph import Graph
from .answer import Chains
from .marginal import Marginal, member_name
from .predict import predicted, prior_draws

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["draws_as_xarray", "library", "to_arviz", "to_pandas"]

#: What libraries are called where they are installed from.
EXTRAS = {"arviz_base": "galton[arviz]", "xarray": "galton[arviz]", "pandas": "pandas"}


def library(name: str, wish: str) -> Any:
    """Another library, which only this wish needs.

    Raises:
        BackendError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(
            f'{wish} needs the library {name}, which is not installed: pip install "{EXTRAS[name]}".'
        ) from error


def to_arviz(posterior: Posterior, n: int, seed: int, predictive: bool, prior: bool) -> Any:
    """The posterior as ArviZ's DataTree; see `Posterior.to_arviz`."""
    base = library("arviz_base", "to_arviz()")
    graph = posterior.graph
    chains, stats = _chains(posterior)
    if chains is None:
        draws = posterior.sample(n, seed)
        chains = {name: value.unsqueeze(0) for name, value in draws.items()}
    groups: dict[str, dict[str, Tensor]] = {"posterior": chains}
    if stats:
        groups["sample_stats"] = stats
    if predictive:
        flat = {name: value.flatten(0, 1) for name, value in chains.items()}
        lead = next(iter(chains.values())).shape[:2]
        drawn = predicted(posterior, None, flat, seed)
        groups["posterior_predictive"] = {
            name: value.reshape((*lead, *value.shape[1:])) for name, value in drawn.items()
        }
    if prior:
        before = prior_draws(posterior, n, seed)
        groups["prior"] = {k: v[None] for k, v in before.items() if k in posterior.of}
        seen = {k: v[None] for k, v in before.items() if k in posterior.data.observed}
        groups |= {"prior_predictive": seen} if seen else {}
    data = posterior.data
    observed = {name: _gaps(posterior, name) for name in data.observed}
    known = {name: value[0] for name, value in data.inputs.items()}
    content: dict[str, dict[str, Any]] = {
        name: {k: v.numpy() for k, v in values.items()} for name, values in groups.items()
    }
    content |= {"observed_data": observed} if observed else {}
    content |= {"constant_data": {k: v.numpy() for k, v in known.items()}} if known else {}
    everything = {k for values in content.values() for k in values if k in graph}
    plates = {plate for name in everything for plate in graph[name].axes}
    tree = base.from_dict(
        content,
        dims={name: list(graph[name].axes) for name in everything if graph[name].axes},
        coords={plate: numpy.arange(data.sizes[plate]) for plate in plates},
    )
    for name in content:
        for node in tree[name].data_vars:
            states = graph[node].states if node in graph else None
            if states is not None:
                tree[name][node].attrs["states"] = [str(s) for s in states]
    tree.attrs |= {
        "model": graph.name,
        "method": posterior.method,
        "grade": posterior.certificate.grade,
        "inference_library": "galton",
    }
    return tree


def _chains(posterior: Posterior) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
    """The chains of all nodes, `(chains, draws, *plates, *event)`, and what the sampler says of each draw, if the posterior consists of chains."""
    answers = posterior.answers
    if not answers or not all(isinstance(answer, Chains) for answer in answers):
        return None, {}
    found: dict[str, Tensor] = {}
    for answer in answers:
        found.update(answer.chains)  # type: ignore[attr-defined]
    if len({value.shape[:2] for value in found.values()}) > 1:
        return None, {}
    stats = answers[0].stats if len(answers) == 1 else {}  # type: ignore[attr-defined]
    return {name: found[name] for name in posterior.of}, dict(stats)


def _gaps(posterior: Posterior, name: str) -> Any:
    """An observed node as it was given, with NaN where a cell is missing."""
    data = posterior.observation
    value, there = data.observed[name][0], data.present[name][0]
    if bool(there.all()):
        return value.numpy()
    there = there.reshape((*there.shape, *[1] * (value.dim() - there.dim())))
    return torch.where(there, value.to(torch.float64), torch.nan).numpy()


def to_pandas(posterior: Posterior, n: int, seed: int) -> Any:
    """Draws as a table; see `Posterior.to_pandas`."""
    pandas = library("pandas", "to_pandas()")
    columns = {}
    for name, value in posterior.sample(n, seed).items():
        states = _labels(posterior.graph, name, value)
        for at in numpy.ndindex(*value.shape[1:]):
            picked: Any = (slice(None), *at)
            column = value[picked].numpy()
            if states is not None:
                column = pandas.Categorical.from_codes(column, states)
            columns[member_name(name, at)] = column
    return pandas.DataFrame(columns)


def _labels(graph: Graph, name: str, value: Tensor) -> list[str] | None:
    """The labels of a node whose values count them, from 0."""
    states = graph[name].states
    if states is None or value.is_floating_point() or int(value.max()) >= len(states):
        return None
    labels = [str(s) for s in states]
    return labels if int(value.min()) >= 0 and len(set(labels)) == len(labels) else None


def draws_as_xarray(marginal: Marginal, n: int, seed: int) -> Any:
    """Draws of one node; see `Marginal.to_xarray`."""
    xarray = library("xarray", "to_xarray()")
    if n < 1:
        raise QueryError(f"to_xarray({n}): the number of draws is a positive integer.")
    value = marginal.draws(n, seed)
    event = value.dim() - 1 - len(marginal.plates)
    dims = ["draw", *marginal.plates, *(f"{marginal.name}_dim_{i}" for i in range(event))]
    coords: Mapping[str, Any] = {d: numpy.arange(s) for d, s in zip(dims, value.shape, strict=True)}
    states: Any = {"states": [str(s) for s in marginal.states]} if marginal.states else {}
    return xarray.DataArray(
        value.numpy(), dims=dims, coords=coords, name=marginal.name, attrs=states
    )
