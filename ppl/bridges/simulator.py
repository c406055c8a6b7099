"""A simulator over flat vectors: rows of θ in, rows of data out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError, closest
from ..graph import Graph
from ..mechanism import forward, probe
from .layout import Layout
from .prior import Prior, ready, rowed

__all__ = ["Simulator"]

#: Rows that are simulated at once.
ROWS = 2**13


class Simulator:
    """Draws the data of a model for rows of its θ; torch's global generator decides the noise.

    Args:
        graph: The model's graph.
        prior: Says what a row of θ is. Random nodes that are neither in it nor data are drawn afresh for every row: they are integrated out.
        given: The nodes whose values are data; by default the observed ones. Summaries may be named, and inputs that have a range.
        sizes: Sizes of plates that the model does not tell.
        inputs: Values of the inputs.

    Raises:
        QueryError: If a node is unknown or is θ, a plate has no size, or an input no value.
    """

    def __init__(
        self,
        graph: Graph,
        prior: Prior,
        given: Collection[str] | str | None = None,
        sizes: Mapping[str, int] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ):
        self.prior = prior
        names = _data(graph, prior, given)
        self._needed = _below(graph, names, prior.names)
        part = graph.subgraph(graph.ancestors_of({*names, *prior.names}))
        drawn = {n for n in names if graph[n].is_input and graph[n].body is not None}
        data = ready(graph, part, sizes, inputs, f"The data ({', '.join(names[:4])})", drawn)
        self._mechanism = probe(part, data)
        self.layout = Layout(self._mechanism, names)

    def __repr__(self) -> str:
        return f"Simulator({', '.join(self.prior.names)} -> {', '.join(self.layout.names)}; rows of {self.layout.size})"

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes in a row of data, in order."""
        return self.layout.names

    @property
    def labels(self) -> list[str]:
        """What each number of a row of data is, such as `"y[2]"`."""
        return self.layout.labels

    def named(self, rows: Tensor) -> dict[str, Tensor]:
        """The values in rows of data `(*lead, size)`, by node: `(*lead, *plates, *event)`."""
        return self.layout.named(rows)

    def flat(self, observation: Mapping[str, Any]) -> Tensor:
        """An observation as a row, `(size,)` in float32, as a library takes it; summaries that are data are computed.

        Raises:
            QueryError: If a node is missing or unknown, or has missing cells.
        """
        return rowed(self._mechanism, self.layout, observation).to(torch.float32)

    def __call__(self, theta: Tensor) -> Tensor:
        """One row of data for each row of θ.

        Args:
            theta: `(n, size of the prior)`, or one row without the first axis. Whole numbers are rounded.

        Returns:
            `(n, size)` in float32, or one row. NaN where the simulation failed, or θ is outside the prior's support.
        """
        theta = torch.as_tensor(theta)
        rows = theta.unsqueeze(0) if theta.dim() == 1 else theta
        self.prior.named(rows)  # says what is wrong with its shape
        seed = int(torch.randint(2**62, ()))
        pieces = enumerate(rows.split(ROWS) if len(rows) else ())
        found = [self._simulated(piece, (seed, i)) for i, piece in pieces]
        data = torch.cat(found) if found else torch.zeros(0, self.layout.size)
        return data[0] if theta.dim() == 1 else data

    def _simulated(self, rows: Tensor, seed: tuple[int, int]) -> Tensor:
        data = torch.full((len(rows), self.layout.size), torch.nan)
        inside = self._inside(rows).nonzero()[:, 0]
        if len(inside):
            n = len(inside)
            fixed = self.prior.named(rows[inside])
            batch = forward(self._mechanism, n, seed, fixed=fixed, only=self._needed)
            drawn = self.layout.flat(batch.values).expand((n, -1)).to(torch.float32)
            data[inside] = torch.where(batch.failed.unsqueeze(1), torch.nan, drawn)
        return data

    def _inside(self, rows: Tensor) -> Tensor:
        """Rows of θ that can be, `(n,)`."""
        # Whole numbers are rounded, and so may be their neighbours.
        tidy = self.prior.layout.flat(self.prior.named(rows.nan_to_num()))
        inside = torch.isfinite(rows).all(dim=1)
        try:
            return inside & self.prior.support.check(tidy)
        except NotImplementedError:  # it depends on other nodes
            if not self.prior._explicit:
                return inside
            return inside & torch.isfinite(self.prior.log_prob(tidy))


def _data(graph: Graph, prior: Prior, given: Collection[str] | str | None) -> tuple[str, ...]:
    """The nodes that are data."""
    if given is None:
        names = tuple(
            n.name
            for n in graph.nodes.values()
            if n.role == "observed"
            and not n.outputs
            and n.intervened not in ("value", "policy")
            and n.name not in prior.names
        )
        if not names:
            raise QueryError(
                f"{graph.name} observes nothing: name the data with model.vectors(given=[...])."
            )
        return names
    names = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
    if not names:
        raise QueryError("given= is empty: name at least one node.")
    for name in names:
        if name not in graph:
            raise QueryError(
                f"given= names '{name}', which {graph.name} has not.{closest(name, graph.nodes)}"
            )
        if name in prior.names:
            raise QueryError(
                f"'{name}' is in the rows of θ, and cannot be data too. Leave it out of given= or of=."
            )
        if graph[name].outputs:
            listed = ", ".join(f"{name}.{o}" for o in graph[name].outputs)
            raise QueryError(f"'{name}' is a group; name {listed}.")
    return names


def _below(graph: Graph, names: Collection[str], fixed: Collection[str]) -> set[str]:
    """The nodes that must be called for these, when others are fixed."""
    stack, found = list(names), set()
    while stack:
        name = stack.pop()
        if name not in found and name not in fixed:
            found.add(name)
            stack += [p for p in (*graph[name].parents, *graph[name].lags) if p in graph]
    return found
