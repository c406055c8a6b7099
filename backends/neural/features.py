"""Features: nodes as standardised numbers that a net is conditioned on, categories as indicators.

Bounded parameters are taken as they are, one-sided ones by their logarithm; heavy tails are drawn together. Columns that never vary are left out, and
of columns that are copies of one another one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ppl.compiler import Query
from ppl.mechanism.laws import fixed_support

from .members import aligned, facts_of, find, members
from .variables import heavy

__all__ = ["INDEX", "Column", "Features", "distinct"]

#: Categories with more values than this stay numbers; other whole numbers with so few values are indicators besides.
MOST_INDICATORS, FEW_VALUES = 32, 16
#: The index of a plate's member is a name of its own among the columns.
INDEX = "index of "


@dataclass(frozen=True, eq=False)
class Column:
    """How one node becomes columns.

    Args:
        name: The node.
        levels: Its values, where they become indicators.
        number: Whether it is a number, too.
        low, high: A bound on one side only, whose distance is taken by its logarithm.
        squash: Middle and width of heavy-tailed values.
    """

    name: str
    levels: tuple[int, ...] = ()
    number: bool = True
    low: float | None = None
    high: float | None = None
    squash: tuple[float, float] | None = None

    def __call__(self, value: Tensor) -> Tensor:
        """`(draws, members, columns)` of values `(draws, members, entries)`."""
        if self.levels:
            hot = value.unsqueeze(-1) == torch.tensor(self.levels)
            hot = hot.flatten(2).to(torch.float64)
            return torch.cat([value.to(torch.float64), hot], dim=2) if self.number else hot
        value = value.to(torch.float64)
        if self.low is not None:
            value = (value - self.low).clamp(min=1e-300).log()
        elif self.high is not None:
            value = (self.high - value).clamp(min=1e-300).log()
        if self.squash is not None:
            value = torch.asinh((value - self.squash[0]) / self.squash[1])
        return value


@dataclass(frozen=True, eq=False)
class Features:
    """Nodes as rows of features for each member of a plate.

    Args:
        columns: The nodes, in order.
        plate: The plate over whose members rows run, or `None`.
        kept: Which of the raw columns are features, `(features,)`.
        mean: Of every feature, `(features,)`.
        scale: Standard deviation of every feature.
        low, high: The range that was simulated, standardised, `(features,)`.
        labels: The node of every feature.
    """

    columns: tuple[Column, ...]
    plate: str | None
    kept: Tensor
    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    labels: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many features there are."""
        return len(self.kept)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes."""
        return tuple(c.name for c in self.columns)

    @property
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data."""
        names = ("kept", "mean", "scale", "low", "high")
        facts = {
            "columns": [asdict(c) for c in self.columns],
            "plate": self.plate,
            "labels": self.labels,
        }
        return {n: getattr(self, n) for n in names}, facts

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Features:
        """The way back."""
        columns = tuple(
            Column(
                c["name"],
                tuple(c["levels"]),
                c["number"],
                c["low"],
                c["high"],
                None if c["squash"] is None else tuple(c["squash"]),
            )
            for c in facts["columns"]
        )
        return cls(columns=columns, plate=facts["plate"], labels=tuple(facts["labels"]), **tensors)

    @classmethod
    def fit(
        cls,
        query: Query,
        names: Sequence[str],
        values: Mapping[str, Tensor],
        plate: str | None = None,
        indexed: bool = False,
    ) -> Features:
        """Learn the columns from simulations.

        Args:
            names: The nodes.
            values: `(draws or 1, *plates, *event)` by node.
            plate: The plate over whose members rows run.
            indexed: Whether the number of the member is a feature too.
        """
        columns = [_column(query, name, values[name]) for name in names]
        if indexed and plate is not None:
            size = query.sizes[plate]
            levels = tuple(range(size)) if size <= MOST_INDICATORS else ()
            columns.append(Column(INDEX + plate, levels, number=not levels))
        raw, labels = _raw(query, columns, values, plate)
        flat = raw.flatten(0, 1)
        kept = distinct(flat)
        mean = flat.mean(dim=0)
        spread = flat.std(dim=0) if len(kept) else mean
        z = (flat[:, kept] - mean[kept]) / spread[kept]
        edges = (z.amin(dim=0), z.amax(dim=0)) if len(kept) else (mean[kept], mean[kept])
        return cls(
            tuple(columns),
            plate,
            kept,
            mean[kept],
            spread[kept],
            *edges,
            tuple(labels[int(k)] for k in kept),
        )

    def __call__(self, query: Query, values: Mapping[str, Tensor]) -> Tensor:
        """`(draws, members or 1, features)`, single precision."""
        raw, _ = _raw(query, self.columns, values, self.plate)
        return ((raw[..., self.kept] - self.mean) / self.scale).to(torch.float32)

    def direct(self, values: Mapping[str, Tensor]) -> Tensor:
        """`(rows, 1, features)` of values of one member, `(rows, *event)` by node."""
        parts = [c(values[c.name].reshape((len(values[c.name]), 1, -1))) for c in self.columns]
        raw = torch.cat(parts, dim=2)
        return ((raw[..., self.kept] - self.mean) / self.scale).to(torch.float32)

    def outside(self, rows: Tensor) -> tuple[float, list[str]]:
        """How far rows `(members, features)` lie outside what was simulated, in standard deviations, and the nodes that do, the most extreme first."""
        if not self.size:
            return 0.0, []
        away = torch.maximum(self.low - rows, rows - self.high).amax(dim=0).clamp(min=0)
        order = away.argsort(descending=True)
        names = [self.labels[int(i)] for i in order if float(away[i]) > 0]
        return float(away.max()), list(dict.fromkeys(names))


def _raw(
    query: Query, columns: Sequence[Column], values: Mapping[str, Tensor], plate: str | None
) -> tuple[Tensor, list[str]]:
    count, parts, labels = members(query, plate), [], []
    for column in columns:
        if column.name.startswith(INDEX):
            part = column(torch.arange(count).reshape((1, count, 1)))
        else:
            part = column(aligned(query, column.name, values[column.name], plate))
        parts.append(part)
        labels += [column.name] * part.shape[2]
    draws = max((len(p) for p in parts), default=1)
    # Where nothing differs from member to member the axis stays 1, and nets are evaluated once for all of them.
    count = max((p.shape[1] for p in parts), default=1)
    parts = [p.expand((draws, count, p.shape[2])) for p in parts]
    return (
        torch.cat(parts, dim=2) if parts else torch.zeros(draws, 1, 0, dtype=torch.float64),
        labels,
    )


def _column(query: Query, name: str, value: Tensor) -> Column:
    facts, node = facts_of(query, name), find(query, name)
    whole = not value.is_floating_point()
    if whole:
        seen = torch.unique(value)
        nominal = facts.family == "Categorical"
        if 2 < len(seen) <= (MOST_INDICATORS if nominal else FEW_VALUES):
            return Column(name, tuple(seen.tolist()), number=not nominal)
    support = node.support if node.support is not None else facts.support
    explicit = facts.kind == "explicit" and name in query.graph and not whole
    low = high = None
    if explicit and support is not None and fixed_support(query.mechanism, name):
        bounds = [_bound(support, k) for k in ("lower_bound", "upper_bound")]
        if None in bounds:
            low, high = bounds
    plain = Column(name, low=low, high=high)
    return Column(name, low=low, high=high, squash=heavy(plain(value.reshape((1, 1, -1)))))


def _bound(support, key: str) -> float | None:
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    bound = getattr(support, key, None)
    return None if bound is None else float(torch.as_tensor(bound).reshape(-1)[0])


def distinct(rows: Tensor) -> Tensor:
    """Columns of `(rows, columns)` that vary, without copies of earlier ones."""
    if len(rows) < 2 or not rows.shape[1]:
        return torch.zeros(0, dtype=torch.int64)
    mean, spread = rows.mean(dim=0), rows.std(dim=0)
    least = 1e-9 * rows.abs().amax(dim=0).clamp(min=1e-9)
    kept = (spread > least).nonzero()[:, 0]
    # Of what is a multiple of an earlier column nothing is new, but for rounding.
    z = ((rows[:1000, kept] - mean[kept]) / spread[kept]).T
    z = (z * z[:, :1].sign()).to(torch.float32).contiguous()
    first: dict[bytes, int] = {}
    for place, column in enumerate((z * 2**16).round().numpy()):
        first.setdefault(column.tobytes(), place)
    return kept[list(first.values())]
