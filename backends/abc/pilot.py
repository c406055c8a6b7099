"""Simulations for one observation: those that parameters were proposed for, and the pilot from the prior that sets scales and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ppl.compiler import Query
from ppl.errors import BackendError
from ppl.mechanism import Data, forward

from .comparison import Comparison, Seen
from .parameters import Coordinates

__all__ = ["Simulated", "Simulator"]

#: Simulations of the pilot, at most this share of all.
PILOT, SHARE, LARGEST = 2_048, 0.1, 20_000


@dataclass(eq=False)
class Simulated:
    """Simulations that did not fail.

    Args:
        values: Of the asked and the moved nodes, `(n, *plates, *event)`.
        cells: Of the data, `(n, cells)`.
        rows: Their places among those that were asked for.
    """

    values: dict[str, Tensor]
    cells: Tensor
    rows: Tensor


class Simulator:
    """Simulates for one observation, and counts.

    Args:
        query: The component.
        data: One observation.
        names: The nodes whose values are kept.
    """

    def __init__(self, query: Query, data: Data, names: set[str]):
        self.query, self.names = query, names | set(query.ask)
        self.fixed = {name: data.observed[name][:1] for name in query.clamped}
        self.seen = Seen.of(query, data, 0)
        self.nodes = set(query.graph.nodes)
        self.done = self.failed = self._calls = 0
        #: Simulations of the pilot that did not fail.
        self.first = 0

    def __call__(self, n: int, given: Mapping[str, Tensor] | None = None) -> Simulated:
        """Simulate, with the values of some nodes given, `(n, *plates, *event)`."""
        self._calls += 1
        seed = (self.query.seed, 91, self._calls)
        fixed = {**self.fixed, **(given or {})}
        batch = forward(self.query.mechanism, n, seed, fixed=fixed, only=self.nodes)
        self.done += n
        self.failed += int(batch.failed.sum())
        ok = (~batch.failed).nonzero()[:, 0]
        values = {
            name: batch.values[name].expand((n, *batch.values[name].shape[1:]))[ok]
            for name in self.names
        }
        return Simulated(values, self.seen.of_draws(batch.values, n)[ok], ok)

    def pilot(self, simulations: int) -> tuple[Simulated, Comparison]:
        """Draws from the prior, and the comparison that they set.

        Raises:
            BackendError: If all of them failed.
        """
        n = min(max(PILOT, min(int(SHARE * simulations), LARGEST)), simulations)
        found = self(n)
        if not len(found.rows):
            raise BackendError(f"Every one of {n:,} simulations of the pilot failed.")
        self.first = len(found.rows)
        u = Coordinates(self.query.mechanism, self.query.ask).targets(found.values)
        u = u.expand((len(found.cells), u.shape[1]))
        return found, Comparison(self.query, self.seen, found.cells, u)

    @property
    def notes(self) -> list[str]:
        """How many simulations failed."""
        if not self.failed:
            return []
        return [f"{self.failed:,} of {self.done:,} simulations failed and were never accepted"]
