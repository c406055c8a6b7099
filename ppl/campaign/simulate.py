"""Many simulations: in batches whose size is a power of two, each with a seed of its own.

Batch *i* is seeded by (seed, i), so that the numbers depend on nothing but the seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError
from ..graph import Graph
from ..mechanism import Batch, Mechanism, forward, probe, read_data

__all__ = ["Simulations", "batch_size", "batches", "simulate"]

#: A batch holds about this many numbers, so that memory does not grow with the number of simulations.
CELLS = 2**23


@dataclass(frozen=True, eq=False)
class Simulations(Mapping):
    """Draws of nodes by name, `(n, *plates, *event)`.

    Args:
        draws: By node.
        failed: Which draws failed, `(n,)`.
        failures: How many failed at each node.
    """

    draws: Mapping[str, Tensor]
    failed: Tensor
    failures: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.draws[name]

    def __iter__(self):
        return iter(self.draws)

    def __len__(self) -> int:
        return len(self.draws)

    def __str__(self) -> str:
        rows = [f"  {name:<16} {tuple(value.shape)}" for name, value in self.draws.items()]
        failed = int(self.failed.sum())
        rows += (
            [f"  {failed} of {len(self.failed)} draws failed: {dict(self.failures)}"]
            if failed
            else []
        )
        return "\n".join(["simulations", *rows])


def simulate(
    graph: Graph,
    n: int,
    *,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    of: Collection[str] | str | None = None,
    sizes: Mapping[str, int] | None = None,
    failures: str = "raise",
) -> Simulations:
    """Draws from the prior predictive; see `Model.simulate`."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise QueryError(f"simulate({n!r}): the number of draws is a positive integer.")
    if failures not in ("raise", "record"):
        raise QueryError(f"failures={failures!r}: say 'raise' or 'record'.")
    names = (
        [n.name for n in graph.nodes.values() if not n.outputs]
        if of is None
        else [of]
        if isinstance(of, str)
        else list(of)
    )
    needed = graph.ancestors_of(names)
    part = graph.subgraph(needed)
    data = read_data(
        part,
        {k: v for k, v in (inputs or {}).items() if k in part or k in graph.plates},
        sizes=sizes,
    )
    mechanism = probe(part, data, record=failures == "record")
    pieces: dict[str, list[Tensor]] = {name: [] for name in names}
    failed, counts, done = [], dict[str, int](), 0
    size = batch_size(mechanism, n)
    for batch in batches(mechanism, seed, size):
        take = min(size, n - done)
        for name in names:
            value = batch.values[name]
            pieces[name].append(
                value[:take] if len(value) == size else value[:1].expand((take, *value.shape[1:]))
            )
        failed.append(batch.failed[:take])
        for name, count in batch.failures.items():
            counts[name] = counts.get(name, 0) + count
        done += take
        if done == n:
            break
    whole = {k: v[0] if len(v) == 1 else torch.cat(v) for k, v in pieces.items()}
    return Simulations(whole, torch.cat(failed), counts)


def batches(
    mechanism: Mechanism,
    seed: int,
    size: int,
    fixed: Mapping[str, Tensor] | None = None,
    only: Collection[str] | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """Batches without end; the consumer stops when it has enough.

    Args:
        mechanism: How the bodies are called; probed.
        seed: The campaign's seed.
        size: Draws in a batch.
        fixed: Values that are taken, not drawn.
        only: The nodes to draw; all by default.
        first: The number of the first batch.
    """
    number = first
    while True:
        yield forward(mechanism, size, (seed, number), fixed=fixed, only=only)
        number += 1


def batch_size(mechanism: Mechanism, n: int) -> int:
    """How many draws fill about `CELLS` numbers, as a power of two; all that are wanted, if they fit."""
    cells = sum(
        mechanism.count(node)
        for node in mechanism.graph.nodes.values()
        if node.name in mechanism.facts
    )
    fit = max(CELLS // max(cells, 1), 64)
    return min(2 ** (fit.bit_length() - 1), 2**17, n)
