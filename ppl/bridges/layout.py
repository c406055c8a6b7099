"""A layout: where each node lies in a flat row of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from ..errors import QueryError
from ..mechanism import Mechanism

__all__ = ["Block", "Layout"]


@dataclass(frozen=True)
class Block:
    """The place of one node.

    Args:
        name: The node.
        start: Its first column.
        shape: Of its value, `(*plates, *event)`.
        discrete: Whether its values are whole numbers.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    discrete: bool

    @property
    def size(self) -> int:
        """How many columns it has."""
        return prod(self.shape)

    @property
    def columns(self) -> slice:
        """Which ones."""
        return slice(self.start, self.start + self.size)


class Layout:
    """Nodes side by side, each flattened with its last axis fastest.

    Args:
        mechanism: Knows their shapes.
        names: The nodes, in order.
    """

    def __init__(self, mechanism: Mechanism, names: Iterable[str]):
        self.blocks: list[Block] = []
        self.size = 0
        for name in names:
            node, facts = mechanism.graph[name], mechanism.facts[name]
            # The event of a block (over=) has its plate's axis already.
            shape = (*(mechanism.sizes[p] for p in node.plates), *facts.event_shape)
            self.blocks.append(Block(name, self.size, shape, facts.discrete))
            self.size += prod(shape)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes."""
        return tuple(block.name for block in self.blocks)

    @property
    def labels(self) -> list[str]:
        """What each column is, such as `"level[2]"`."""
        return [
            block.name + (f"[{', '.join(map(str, at))}]" if at else "")
            for block in self.blocks
            for at in product(*map(range, block.shape))
        ]

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Rows of numbers, float64, `(n, size)`, from values `(n or 1, *plates, *event)` by node."""
        n = max((len(values[b.name]) for b in self.blocks), default=1)
        parts = [
            values[b.name].expand((n, *values[b.name].shape[1:])).reshape((n, b.size))
            for b in self.blocks
        ]
        return torch.cat([part.to(torch.float64) for part in parts], dim=1)

    def named(self, rows: Tensor) -> dict[str, Tensor]:
        """Values by node, `(*lead, *plates, *event)`, from rows `(*lead, size)`: whole numbers as int64, others as float64.

        Raises:
            QueryError: If a row has another length.
        """
        rows = torch.as_tensor(rows)
        if not rows.dim() or rows.shape[-1] != self.size:
            raise QueryError(
                f"A row of {', '.join(self.names)} has {self.size} numbers; it was given the shape {tuple(rows.shape)}."
            )
        found = {}
        for block in self.blocks:
            part = rows[..., block.columns].to(torch.float64)
            if block.discrete:
                part = part.round().to(torch.int64)
            found[block.name] = part.reshape((*rows.shape[:-1], *block.shape))
        return found
