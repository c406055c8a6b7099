"""What is compared with what was seen: which cells, summarised how, at which distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.graph import Graph
from ppl.mechanism import Data

from .adjust import KINDS as ADJUSTMENTS
from .distance import KINDS as DISTANCES
from .distance import Distance
from .summaries import KINDS as SUMMARIES
from .summaries import Summary, learned

__all__ = ["OPTIONS", "Comparison", "Seen", "checked"]

#: What every engine of this package lets one choose.
OPTIONS = ("distance", "summaries", "adjust", "kernel", "tolerance")
KERNELS = ("uniform", "epanechnikov", "gaussian")
#: Data of at most this many cells for each parameter are compared as they are.
SMALL = 2
#: Nets of which the last summary is the mean.
NETS = 3


@dataclass(frozen=True, eq=False)
class Seen:
    """What is compared of an observation, flattened; missing cells are left out.

    Args:
        query: The component; it knows the summaries.
        masks: Which entries of each compared node's flattened value are there, `(entries,)`.
        cells: The entries that are there, `(cells,)`.
    """

    query: Query
    masks: Mapping[str, Tensor]
    cells: Tensor

    @classmethod
    def of(cls, query: Query, data: Data, i: int) -> Seen:
        """What observation `i` of a batch shows."""
        observed, present = data.observed, data.present
        if query.summaries is not None:
            observed, present = query.summaries.seen(data)
        masks, parts = {}, []
        for name in query.compared:
            value, there = observed[name][i], present[name][i]
            masks[name] = (
                there.reshape((*there.shape, *[1] * (value.dim() - there.dim())))
                .expand(value.shape)
                .reshape(-1)
            )
            parts.append(value.reshape(-1)[masks[name]].to(torch.float64))
        return cls(query, masks, torch.cat(parts))

    @classmethod
    def like(cls, query: Query, values: Mapping[str, Tensor], draws: int) -> Seen:
        """What a complete observation shows, the first of some simulated ones."""
        if query.summaries is not None:
            values = query.summaries(values, draws)
        first = {name: values[name][0].reshape(-1) for name in query.compared}
        masks = {name: torch.ones(len(v), dtype=torch.bool) for name, v in first.items()}
        return cls(query, masks, torch.cat([v.to(torch.float64) for v in first.values()]))

    def of_draws(self, values: Mapping[str, Tensor], draws: int) -> Tensor:
        """The same cells of simulated data, `(draws, cells)`."""
        if self.query.summaries is not None:
            values = self.query.summaries(values, draws)
        parts = []
        for name, mask in self.masks.items():
            value = values[name]
            flat = value.expand((draws, *value.shape[1:])).reshape(draws, -1)
            parts.append((flat if bool(mask.all()) else flat[:, mask]).to(torch.float64))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    @property
    def columns(self) -> dict[str, slice]:
        """The columns of each node."""
        found, start = {}, 0
        for name, mask in self.masks.items():
            found[name] = slice(start, start + int(mask.sum()))
            start = found[name].stop
        return found


class Comparison:
    """Cells, their summaries, and the distance of these to what was seen; fitted to a pilot.

    Args:
        query: The component, with the user's options.
        seen: What is to be matched.
        cells: Of the pilot's simulations, `(n, cells)`, those that failed left out.
        u: The parameters of the pilot on unbounded scales, `(n, parameters)`.
    """

    def __init__(self, query: Query, seen: Seen, cells: Tensor, u: Tensor):
        self.query, self.seen = query, seen
        self._summary: Summary | None = None
        self._finer: Summary | None = None
        self.kind = _kind(query, len(seen.cells), u)
        self.target = seen.cells
        self.learn(cells, u)
        self.rescale(self.statistics(cells))

    def learn(self, cells: Tensor, u: Tensor) -> None:
        """Learn the summaries, if any, from these simulations; the distance is to be rescaled then."""
        if self.kind in ("linear", "net"):
            groups = _groups(self.query, self.seen)
            self._summary = learned(self.kind, cells, u, groups, self.query.seed)
            self.target = self.statistics(self.seen.cells[None])[0]

    def settle(self, cells: Tensor, u: Tensor) -> None:
        """Learn the summaries for the last time, with all care, and what tells how the spread of the parameters changes; rescale the distance."""
        chosen = self.query.options.get("summaries", "auto")
        self.kind = "net" if chosen == "auto" else chosen
        groups, most = _groups(self.query, self.seen), u.shape[1]
        finer = learned(self.kind, cells, u, groups, self.query.seed, NETS, spread=True)
        self._summary, self._finer = (lambda new: finer(new)[:, :most]), finer
        self.target = self.statistics(self.seen.cells[None])[0]
        self.rescale(self.statistics(cells))

    def explaining(self, cells: Tensor) -> Tensor:
        """What parameters are regressed on when they are adjusted, `(n, columns)`: what is compared, and more if it was learned."""
        return self.statistics(cells) if self._finer is None else self._finer(cells)

    def statistics(self, cells: Tensor) -> Tensor:
        """What is compared, `(n, columns)`."""
        return cells if self._summary is None else self._summary(cells)

    def rescale(self, statistics: Tensor) -> None:
        """Take the distance's scales from other simulations."""
        groups = self.seen.columns if self._summary is None else {"": slice(0, len(self.target))}
        chosen = self.query.options.get("distance", "scaled")
        self._distance = Distance.fitted(chosen, groups, statistics, self.target)

    def distance(self, statistics: Tensor) -> Tensor:
        """To what was seen, `(n,)`."""
        return self._distance(statistics, self.target)


def _kind(query: Query, cells: int, u: Tensor) -> str:
    chosen = query.options.get("summaries", "auto")
    if chosen != "auto":
        return chosen
    if query.compared != query.evidence:
        return "raw"  # the model says how
    few = cells <= max(SMALL * u.shape[1], 2)
    # Somebody who chose distances by node means the nodes as they are.
    by_node = isinstance(query.options.get("distance"), Mapping)
    return "raw" if few or by_node or not u.shape[1] or len(u) < 4 * u.shape[1] else "linear"


def _groups(query: Query, seen: Seen) -> dict[str, tuple[slice, str]]:
    """The columns of each node, and what they are: `"numbers"`; a `"row"` of like ones, where places may tell something; or a `"sample"`, where they tell nothing."""
    found = {}
    for name, columns in seen.columns.items():
        mechanism = query.mechanism
        if query.summaries is not None and name in query.summaries.sources:
            mechanism = query.summaries.mechanism
        node, facts = mechanism.graph[name], mechanism.facts[name]
        row = len(node.plates) + len(facts.event_shape) == 1
        kind = "sample" if row and _exchangeable(mechanism.graph, name) else "row"
        found[name] = columns, kind if row else "numbers"
    return found


def _exchangeable(graph: Graph, name: str) -> bool:
    """Whether the members of a node are alike but for chance: they are in an unordered plate, and nothing known tells them apart."""
    if len(graph[name].axes) != 1 or graph.plates[graph[name].axes[0]].ordered:
        return False
    (plate,) = graph[name].axes
    above = [graph[n] for n in {name, *graph.ancestors_of([name])} if n in graph]
    inside = [node for node in above if plate in node.axes or node.name == name]
    return not graph.plates[plate].of and not any(
        node.is_input or plate in node.parents or not node.plates for node in inside
    )


def checked(query: Query) -> None:
    """The options that every engine here shares.

    Raises:
        QueryError: For a value that is none of those that there are.
    """
    for option, known in (("summaries", SUMMARIES), ("adjust", ADJUSTMENTS), ("kernel", KERNELS)):
        value = query.options.get(option, known[0])
        if value not in known:
            raise QueryError(f"{option}={value!r} is none of {', '.join(known)}.")
    distance = query.options.get("distance", "scaled")
    for one in distance.values() if isinstance(distance, Mapping) else [distance]:
        if one not in DISTANCES and not callable(one):
            raise QueryError(
                f"distance={one!r} is neither {' nor '.join(DISTANCES)} nor a function."
            )
    tolerance = query.options.get("tolerance")
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):
        raise QueryError(f"tolerance={tolerance!r}: a tolerance is a number, zero or more.")
