"""A prior over one flat vector: what libraries of simulation-based inference, sbi above all, take a prior to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..errors import QueryError, SimulationError, closest
from ..graph import Graph
from ..mechanism import Data, Mechanism, forward, probe, quiet, read_data
from ..mechanism.joint import log_density
from .layout import Layout
from .support import Varying, support_of

__all__ = ["Prior", "ready"]

#: Draws from which mean and standard deviation are estimated.
DRAWS = 10_000


class Prior(Distribution):
    """The joint prior of the θ of a model, over rows of numbers, `(n, size)` in float32.

    The row holds the θ, side by side in order of declaration, and the random nodes that they depend on, since only all of these together have
    a density that can be written down. What the θ do not depend on belongs to the simulator.

    Args:
        graph: The model's graph.
        of: The nodes of the row; by default the θ, or the latents of a model without.
        sizes: Sizes of plates that the model does not tell.
        inputs: Values of inputs that the prior depends on.

    Raises:
        QueryError: If a node is unknown, a plate has no size or an input no value, or the prior depends on what is observed.
    """

    arg_constraints: dict = {}
    has_rsample = False

    def __init__(
        self,
        graph: Graph,
        of: Collection[str] | str | None = None,
        sizes: Mapping[str, int] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ):
        names = _named(graph, of)
        above = graph.subgraph(graph.ancestors_of(names))
        data = ready(graph, above, sizes, inputs, f"The prior of {', '.join(names[:4])}")
        self._mechanism = probe(above, data)
        random = [n for n in above.nodes if _random(self._mechanism, n)]
        for name in random:
            if above[name].role == "observed" and name not in names:
                child = next((n for n in names if name in above.ancestors_of(n)), names[0])
                raise QueryError(
                    f"'{child}' depends on '{name}', which is observed: it has no prior without it. Declare '{name}' as an input, or put it "
                    f"into the row: model.vectors(of={[*names, name]})."
                )
        if not random:
            raise QueryError(f"Nothing among {', '.join(names)} is random: there is no prior.")
        self.layout = Layout(self._mechanism, random)
        self._support: Any = None
        self._audited = False  # whether lifted calls were compared with single ones
        super().__init__(torch.Size(), torch.Size([self.layout.size]), validate_args=False)

    def __repr__(self) -> str:
        return f"Prior({', '.join(self.layout.names)}; rows of {self.layout.size})"

    # -- rows and names --------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes in a row, in order."""
        return self.layout.names

    @property
    def labels(self) -> list[str]:
        """What each number of a row is, such as `"level[2]"`."""
        return self.layout.labels

    def named(self, rows: Tensor) -> dict[str, Tensor]:
        """The values in rows `(*lead, size)`, by node: `(*lead, *plates, *event)`."""
        return self.layout.named(rows)

    def flat(self, values: Mapping[str, Any]) -> Tensor:
        """One row, `(size,)`, from one value for each node; labels are accepted.

        Raises:
            QueryError: If a node is missing or unknown.
        """
        return rowed(self._mechanism, self.layout, values).to(torch.float32)

    # -- the distribution ------------------------------------------------------------------------

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draws, `(*sample_shape, size)`; torch's global generator decides them.

        Raises:
            SimulationError: If the body of an opaque prior fails.
        """
        shape = torch.Size(sample_shape)
        n, seed = prod(shape), int(torch.randint(2**62, ()))
        rows = self._drawn(n, seed) if n else torch.zeros(0, self.layout.size)
        return rows.reshape((*shape, self.layout.size))

    def _drawn(self, n: int, seed: int) -> Tensor:
        batch = forward(self._mechanism, n, seed)
        if bool(batch.failed.any()):
            where = next(iter(batch.culprits), self.names[0])
            said = f": {batch.errors[0][2]}" if batch.errors else ""
            raise SimulationError(
                f"The prior could not be drawn: '{where}' failed in {int(batch.failed.sum())} of {n} draws{said}.",
                where,
            )
        exact = self.layout.flat(batch.values).expand((n, -1))
        rows = exact.to(torch.float32)
        try:
            inside = self.support.check(rows)
        except Varying:
            inside = torch.isfinite(self._scored(rows)) if self._explicit else True
        if inside is not True and not bool(inside.all()):
            # Rounded onto an edge that does not belong to the support: one step back.
            back = torch.where(rows > exact, -torch.inf, torch.inf).to(torch.float32)
            stepped = torch.where(rows == exact, rows, torch.nextafter(rows, back))
            rows = torch.where(inside.unsqueeze(1), rows, stepped)
        return rows

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of rows `(*lead, size)`, in their dtype, `(*lead,)`; minus infinity outside the support. Differentiable.

        Raises:
            QueryError: If a node of the row can only be sampled.
        """
        for name in self.names:
            if not self._has_density(name):
                raise QueryError(
                    f"'{name}' ({self._mechanism.graph[name].where}) is a prior that can only be sampled: it has no log_prob. Methods that "
                    "learn from pairs alone do without; sbi's NPE takes prior=None."
                )
        value = torch.as_tensor(value)
        if not value.dim() or value.shape[-1] != self.layout.size:
            self.layout.named(value)  # says what is wrong
        scores = self._scored(value.reshape((-1, self.layout.size)))
        return scores.to(value.dtype).reshape(value.shape[:-1])

    def _has_density(self, name: str) -> bool:
        return self._mechanism.facts[name].kind == "explicit"

    @property
    def _explicit(self) -> bool:
        return all(map(self._has_density, self.names))

    def _scored(self, rows: Tensor) -> Tensor:
        """Of rows `(n, size)`, in float64."""
        mechanism, n = self._mechanism, len(rows)
        values: dict[str, Tensor] = dict(mechanism.data.inputs)
        total = torch.zeros(n, dtype=torch.float64)
        alive = torch.isfinite(rows).all(dim=1)
        with quiet():
            for name, node in mechanism.graph.nodes.items():
                block = next((b for b in self.layout if b.name == name), None)
                if block is None:
                    if name not in values:
                        values.update(_followed(mechanism, name, values, n))
                    continue
                # A row that is out already goes on with a good value, so that no body sees nonsense.
                part = rows[:, block.columns].to(torch.float64).reshape((n, *block.shape))
                mask = alive.reshape((n, *[1] * len(block.shape)))
                values[name] = torch.where(mask, part, self._good[name].to(torch.float64))
                score = log_density(mechanism, node, values, n, not self._audited)
                score = score.reshape((n, -1)).sum(dim=1)
                inside = alive & ~torch.isneginf(score) & ~torch.isnan(score)
                if bool((alive & ~inside).any()):
                    alive = inside
                    mask = alive.reshape((n, *[1] * len(block.shape)))
                    values[name] = torch.where(
                        mask, values[name], self._good[name].to(torch.float64)
                    )
                if block.discrete:
                    values[name] = values[name].to(torch.int64)
                total = total + torch.where(alive, score, torch.zeros(()).to(score))
        self._audited = True
        return torch.where(alive, total, torch.full_like(total, -torch.inf))

    @cached_property
    def _good(self) -> dict[str, Tensor]:
        """One draw, `(1, *plates, *event)` by node."""
        return forward(self._mechanism, 1, 0).values

    @property
    def support(self) -> Any:
        """The constraint of a row.

        Raises:
            NotImplementedError: If that of a node depends on its parents; libraries then ask whether `log_prob` is finite.
        """
        if self._support is None:
            try:
                self._support = support_of(self._mechanism, self.layout)
            except Varying as reason:
                self._support = reason
        if isinstance(self._support, Varying):
            raise self._support
        return self._support

    @property
    def mean(self) -> Tensor:
        """Of each number of a row, `(size,)`, estimated from ten thousand draws: libraries use it to standardise."""
        return self._moments[0]

    @property
    def variance(self) -> Tensor:
        """Of each number of a row, `(size,)`, estimated from ten thousand draws."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        draws = self._drawn(DRAWS, 0)
        return draws.mean(dim=0), draws.var(dim=0)


def ready(
    graph: Graph,
    part: Graph,
    sizes: Mapping[str, int] | None,
    inputs: Mapping[str, Any] | None,
    what: str,
    drawn: Collection[str] = (),
) -> Data:
    """Inputs and sizes for a part of a graph, all there.

    Args:
        graph: The whole graph.
        part: What will be called.
        sizes: As the user said.
        inputs: As the user said.
        what: For whom, in words.
        drawn: Inputs that may be drawn from their range.

    Raises:
        QueryError: If an input has no value, a plate no size, or `inputs` holds what is no input.
    """
    data = read_data(graph, inputs or {}, sizes=sizes)
    for name in (*data.observed, *data.soft):
        raise QueryError(
            f"inputs= holds '{name}', which is no input; it belongs to the observation."
        )
    for node in part.nodes.values():
        for plate in node.axes:
            if plate not in data.sizes:
                raise QueryError(
                    f"{what} needs the size of plate '{plate}', which the model leaves to the data: "
                    f"prior, simulator = model.vectors(sizes={{'{plate}': 10}})."
                )
        if node.is_input and node.name not in data.inputs and node.name not in drawn:
            raise QueryError(
                f"{what} depends on the input '{node.name}', which has no value here: "
                f"prior, simulator = model.vectors(inputs={{'{node.name}': ...}})."
            )
    return data


def rowed(mechanism: Mechanism, layout: Layout, values: Mapping[str, Any]) -> Tensor:
    """One flat row, float64, `(size,)`, from what a user says of each node; functions of what is said are computed."""
    data = read_data(mechanism.graph, values, sizes=mechanism.sizes)
    for name in data.observed:
        if data.missing(name):
            raise QueryError(f"'{name}' has missing cells, which a row of numbers cannot hold.")
    known = {**mechanism.data.inputs, **data.inputs, **data.observed}
    for name in mechanism.graph.nodes:
        node = mechanism.graph[name]
        if (
            name not in known
            and node.determined
            and {*node.parents, *node.lags} - {name} <= {*known}
        ):
            known.update(forward(mechanism, 1, 0, fixed=known, only={name}).values)
    for name in layout.names:
        if name not in known:
            raise QueryError(
                f"A row holds {', '.join(layout.names)}; '{name}' is missing.{closest(name, values)}"
            )
    return layout.flat({name: known[name] for name in layout.names})[0]


def _named(graph: Graph, of: Collection[str] | str | None) -> tuple[str, ...]:
    """The nodes that a row is about."""
    if of is not None:
        names = (of,) if isinstance(of, str) else tuple(dict.fromkeys(of))
        for name in names:
            if graph[name].is_input or graph[name].outputs:
                raise QueryError(f"of= names '{name}', which is no random variable by itself.")
        if names:
            return names
        raise QueryError("of= is empty: name at least one node.")
    for role in ("theta", "latent", "nuisance"):
        names = tuple(
            n.name
            for n in graph.nodes.values()
            if n.role == role and not n.outputs and n.intervened not in ("value", "policy")
        )
        if names:
            return names
    raise QueryError(
        f"{graph.name} has no θ and nothing latent: there is no prior. Name the nodes with model.vectors(of=[...])."
    )


def _random(mechanism: Mechanism, name: str) -> bool:
    """Whether a node has a place in the row: random, and no carrier of several outputs."""
    node = mechanism.graph[name]
    if node.picks is not None:
        return mechanism.facts[node.parents[0]].kind == "opaque"
    return mechanism.facts[name].kind in ("explicit", "opaque") and not node.outputs


def _followed(
    mechanism: Mechanism, name: str, values: dict[str, Tensor], n: int
) -> dict[str, Tensor]:
    """The values with that of a deterministic node, `(n or 1, *plates, *event)`, so that gradients flow through it."""
    node = mechanism.graph[name]
    if node.picks is None and not node.lags and node.body is not None:
        outcome = mechanism.outcome(node, values, n, 0)
        if outcome.value is not None:
            shape = mechanism.shape(node, n)
            value = outcome.value
            return {name: value.expand((value.shape[0], *shape[1:], *value.shape[len(shape) :]))}
    return {name: forward(mechanism, n, 0, fixed=values, only={name}).values[name]}
