"""A campaign: which batches of simulations there are, each decided by the seed and its number and by nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..graph import Graph
from ..mechanism import Batch, Calls, Mechanism, forward

__all__ = ["Campaign", "batch_size", "batches"]

#: A batch holds at most about this many numbers, so that memory does not grow with the number of simulations.
CELLS, LARGEST = 2**23, 2**15
#: A campaign of simulators that are called singly has about so many batches, of sizes within these bounds.
BATCHES, SMALL, LARGE = 64, 16, 1024
#: One whose bodies take whole batches has so many, since the last is simulated whole; and no smaller ones.
FEW, LEAST = 8, 64


@dataclass(frozen=True, eq=False)
class Campaign:
    """Batches of draws of some nodes.

    Args:
        mechanism: How the bodies are called; probed.
        seed: Decides everything, with the number of the batch.
        size: Draws in a batch.
        only: The nodes to draw; all by default.
        fixed: Values that are taken, not drawn, `(1 or draws of all batches, *plates, *event)`.
        kept: The nodes whose values are handed on; all by default.
    """

    mechanism: Mechanism
    seed: int | tuple[int, ...]
    size: int
    only: Collection[str] | None = None
    fixed: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Collection[str] | None = None

    def batch(self, number: int, calls: Calls | None = None) -> Batch:
        """One batch, `size` draws.

        Args:
            number: Which.
            calls: What is left out, where bodies are called singly.
        """
        callers = self.mechanism.callers.values()
        modes = [caller.mode for caller in callers]
        for caller in callers:
            caller.calls = calls or Calls()
        words = (self.seed,) if isinstance(self.seed, int) else tuple(self.seed)
        try:
            batch = forward(
                self.mechanism,
                self.size,
                (*words, number),
                fixed=self._part(number),
                only=self.only,
            )
        finally:
            for caller, mode in zip(callers, modes, strict=True):
                # What one batch teaches must not change the bits of another.
                caller.calls, caller.mode = Calls(), mode or caller.mode
        if self.kept is not None:
            batch.values = {name: batch.values[name] for name in self.kept}
        return batch

    def completed(self, batch: Batch, number: int, names: Collection[str]) -> Batch:
        """A batch with the values of more nodes, computed from those that it has."""
        graph = self.mechanism.graph
        wanted = [name for name in names if name not in batch.values]
        if not wanted:
            return batch
        missing = graph.ancestors_of(wanted) - set(batch.values)
        words = (self.seed,) if isinstance(self.seed, int) else tuple(self.seed)
        more = forward(
            self.mechanism, self.size, (*words, number), fixed=batch.values, only=missing
        )
        return replace(batch, values=more.values)

    def _part(self, number: int) -> dict[str, Tensor]:
        """The fixed values of one batch; the last row stands in for those beyond the end."""
        found = {}
        for name, value in self.fixed.items():
            if len(value) > 1:
                rows = torch.arange(number * self.size, (number + 1) * self.size)
                value = value[rows.clamp(max=len(value) - 1)]
            found[name] = value
        return found


def batches(
    mechanism: Mechanism,
    seed: int | tuple[int, ...],
    size: int,
    fixed: Mapping[str, Tensor] | None = None,
    only: Collection[str] | None = None,
) -> Iterator[Batch]:
    """Batches without end; the consumer stops when it has enough."""
    campaign = Campaign(mechanism, seed, size, only, fixed or {})
    number = 0
    while True:
        yield campaign.batch(number)
        number += 1


def batch_size(mechanism: Mechanism, n: int, graph: Graph | None = None, parts: int = FEW) -> int:
    """Draws in a batch of a campaign of `n`: a power of two.

    Simulators that are called singly make small batches, which many workers share and an interruption hardly costs; what takes whole batches makes large ones.

    Args:
        mechanism: How the bodies are called; probed.
        n: How many draws are wanted.
        graph: The whole model, where the mechanism is that of a part: so that asking for fewer nodes changes none of them.
        parts: Into how many batches work is divided at least, where bodies take whole ones.
    """
    graph = graph or mechanism.graph
    if any(b.rng and not b.vectorized for node in graph.nodes.values() for b in node.bodies):
        return _between(n, BATCHES, SMALL, LARGE)
    cells = sum(
        mechanism.count(node)
        for node in mechanism.graph.nodes.values()
        if node.name in mechanism.facts
    )
    most = min(max(CELLS // max(cells, 1), LEAST), LARGEST)
    return _between(n, parts, LEAST, most)


def _between(n: int, parts: int, least: int, most: int) -> int:
    """The power of two below a share of `n`, within bounds; for few draws, the one above `n`."""
    if n <= least:
        return 1 << (n - 1).bit_length()
    size = 1 << (max(n // parts, 1).bit_length() - 1)
    return min(max(size, least), 1 << (most.bit_length() - 1))
