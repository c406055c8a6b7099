"""Simulations for one observation: those that parameters were proposed for, and the pilot from the prior that sets scales and summaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backends.kernels.parameters import Coordinates
from ppl.campaign import Campaign, Progress, Running, Workers, batch_size, drive, hired
from ppl.compiler import Query
from ppl.errors import BackendError
from ppl.mechanism import Data

from .comparison import Comparison, Seen

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
        # Proposals are for one observation: a store of draws from the prior has no use for them.
        self._running = replace(query.running or Running(), store=None, progress=False)
        self._workers: Workers | None = None
        self._silent = Progress(0, False)
        self.done = self.failed = self._calls = 0
        #: Simulations of the pilot that did not fail.
        self.first = 0

    @contextmanager
    def hired(self) -> Iterator[Simulator]:
        """With workers that stay for all the simulations."""
        with hired(self._running) as self._workers:
            yield self

    def __call__(self, n: int, given: Mapping[str, Tensor] | None = None) -> Simulated:
        """Simulate, with the values of some nodes given, `(n, *plates, *event)`."""
        self._calls += 1
        campaign = Campaign(
            self.query.mechanism,
            (self.query.seed, 91, self._calls),
            batch_size(self.query.mechanism, n, parts=2),
            self.nodes,
            {**self.fixed, **(given or {})},
        )
        places, cells = [], []
        values: dict[str, list[Tensor]] = {name: [] for name in self.names}
        source = drive(campaign, n, self._running, progress=self._silent, workers=self._workers)
        for number, batch in enumerate(source):
            begin = number * campaign.size
            ok = (~batch.failed[: n - begin]).nonzero()[:, 0]
            self.failed += len(batch.failed[: n - begin]) - len(ok)
            for name, parts in values.items():
                value = batch.values[name]
                parts.append(value.expand((campaign.size, *value.shape[1:]))[ok])
            cells.append(self.seen.of_draws(batch.values, campaign.size)[ok])
            places.append(ok + begin)
        self.done += n
        whole = {name: torch.cat(parts) for name, parts in values.items()}
        return Simulated(whole, torch.cat(cells), torch.cat(places))

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
        """How many simulations failed, and what was not kept."""
        found = []
        if self.failed:
            found.append(
                f"{self.failed:,} of {self.done:,} simulations failed and were never accepted"
            )
        if self.query.running is not None and self.query.running.store is not None:
            found.append(
                "store= keeps draws from the prior; these were proposed for one observation and are not kept"
            )
        return found
