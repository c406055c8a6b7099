"""Embeddings: what a net sees of the data, by the shape that the graph gives them.

Plain nodes are columns. A plate of exchangeable members is a set: every member goes through one net, and what comes out is averaged, with the number of
members beside it, so that sets of any size look alike. An ordered plate is a series, for a convolution. A node may have a net of the user's own.

References:
    | Deep sets (Zaheer et al., 2017)
    | Mining for Dark Matter Substructure (Brehmer et al., 2019): sets of observations in simulation-based inference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppl.compiler import Query
from ppl.errors import QueryError

from .densities import mlp
from .features import INDEX, Features
from .members import axes_of, members, present_members
from .packing import packed, unpacked

__all__ = ["Embedding", "Groups", "own_sizes"]

#: A plate with so many numbers or fewer is plain columns: nothing is gained by pooling them.
FEW = 6
#: A series of so many numbers or fewer is plain columns.
SHORT = 32
#: Up to so many features of a member their products are averaged, too: the moments of a set say much of it.
PAIRED = 6
#: The length of what a set or a series becomes.
WIDTH = 32


class Groups:
    """The observed nodes, by the kind of net that sees them.

    Args:
        query: The component.
        plain: Features of plain nodes.
        sets: Features of the members of plates.
        own: The user's nets by node.
        masked: Nodes of which members may be missing.
    """

    def __init__(
        self,
        query: Query,
        plain: Features,
        sets: Mapping[str, Features],
        own: Mapping[str, nn.Module],
        masked: frozenset[str] = frozenset(),
    ):
        self.query, self.plain, self.sets = query, plain, dict(sets)
        self.own, self.masked = dict(own), masked
        inputs = query.mechanism.data.inputs
        inside = [n for f in (plain, *self.sets.values()) for n in f.names if n not in inputs]
        self.names = tuple(n for n in (*inside, *own) if not n.startswith(INDEX))

    @classmethod
    def fit(
        cls,
        query: Query,
        names: Sequence[str],
        values: Mapping[str, Tensor],
        own: Mapping[str, nn.Module] | None = None,
        masked: frozenset[str] = frozenset(),
    ) -> Groups:
        """Learn scales from simulations.

        Args:
            names: The observed nodes, or their summaries.
            values: Simulations of them, `(draws, *plates, *event)`.
            own: The user's nets by node.
            masked: Nodes of which members may be missing.
        """
        own = {n: net for n, net in (own or {}).items() if n in names}
        plain: list[str] = []
        plates: dict[str, list[str]] = {}
        for name in names:
            if name in own:
                continue
            plate = _pooled(query, name, values[name], name in masked)
            if plate is None:
                plain.append(name)
            else:
                plates.setdefault(plate, []).append(name)
        sets = {}
        for plate, inside in plates.items():
            inputs = _inputs(query, inside, plate)
            known = {**values, **{n: query.mechanism.data.inputs[n] for n in inputs}}
            sets[plate] = Features.fit(
                query, [*inside, *inputs], known, plate, _indexed(query, inside, plate)
            )
        return cls(query, Features.fit(query, plain, values), sets, own, masked)

    @property
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data."""
        tensors: dict[str, Tensor] = {}
        facts = {}
        for key, features in (("", self.plain), *self.sets.items()):
            own, facts[key] = features.state
            tensors |= packed(**{key: own})
        return tensors, {
            "features": facts,
            "own": sorted(self.own),
            "masked": sorted(self.masked),
        }

    @classmethod
    def of(
        cls,
        query: Query,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        own: Mapping[str, nn.Module],
    ) -> Groups:
        """The way back.

        Raises:
            QueryError: If a net of the user's is not handed in again.
        """
        lacking = [n for n in facts["own"] if n not in own]
        if lacking:
            raise QueryError(
                f"This plan was trained with a net of your own for '{lacking[0]}': hand it in again, "
                f"method=ppl.Method(..., embed={{'{lacking[0]}': net}})."
            )
        found = {
            key: Features.of(unpacked(tensors, key), plain)
            for key, plain in facts["features"].items()
        }
        plain = found.pop("")
        return cls(
            query, plain, found, {n: own[n] for n in facts["own"]}, frozenset(facts["masked"])
        )

    def rows(
        self, values: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> list[Tensor]:
        """What `Embedding` takes, each with a leading axis of draws: plain features, sets with their masks, raw values of nodes with nets of their own."""
        draws = max(len(values[n]) for n in self.names)
        found = [self.plain(self.query, values)[:, 0].expand((draws, -1))]
        for plate, features in self.sets.items():
            known = {**values, **self.query.mechanism.data.inputs}
            part = features(self.query, known)
            found.append(part.expand((draws, *part.shape[1:])))
            names = tuple(n for n in features.names if n in values)
            here = present_members(self.query, names, present or {}, plate)
            found.append(here.expand((draws, part.shape[1])).to(torch.float32))
        for name in self.own:
            found.append(values[name].expand((draws, *values[name].shape[1:])).to(torch.float32))
        return found

    def outside(self, rows: Sequence[Tensor], i: int) -> tuple[float, list[str]]:
        """How far observation `i` lies outside what was simulated, in standard deviations, and the nodes, the most extreme first."""
        parts = [self.plain.outside(rows[0][i : i + 1])]
        for k, features in enumerate(self.sets.values()):
            there = rows[2 + 2 * k][i] > 0
            if bool(there.any()):
                parts.append(features.outside(rows[1 + 2 * k][i][there]))
        parts.sort(key=lambda p: -p[0])
        return parts[0][0], list(dict.fromkeys(n for _, names in parts for n in names))


class Embedding(nn.Module):
    """Rows of data as one vector, `(draws, size)`.

    Args:
        groups: The nodes by kind.
        own: The lengths of what the user's nets return.
    """

    def __init__(self, groups: Groups, own: Sequence[int] = ()):
        super().__init__()
        self.size = groups.plain.size + sum(own)
        self.sets = nn.ModuleList()
        for plate, features in groups.sets.items():
            ordered = groups.query.graph.plates[plate].ordered
            length = members(groups.query, plate)
            short = length * features.size <= SHORT
            net: nn.Module = _Set(features.size)
            if ordered:
                net = _Short(features.size, length) if short else _Series(features.size)
            self.sets.append(net)
            self.size += net.size if isinstance(net, _Set) else WIDTH
        self.own = nn.ModuleList(groups.own.values())

    def forward(self, rows: Sequence[Tensor]) -> Tensor:
        parts = [rows[0]]
        for k, net in enumerate(self.sets):
            parts.append(net(rows[1 + 2 * k], rows[2 + 2 * k]))
        begin = 1 + 2 * len(self.sets)
        parts += [net(raw) for net, raw in zip(self.own, rows[begin:], strict=True)]
        return torch.cat(parts, dim=-1)


def own_sizes(groups: Groups, rows: Sequence[Tensor]) -> list[int]:
    """The lengths of what the user's nets return for rows of data.

    Raises:
        QueryError: If one fails, or does not return one vector a draw.
    """
    sizes = []
    begin = 1 + 2 * len(groups.sets)
    for (name, net), raw in zip(groups.own.items(), rows[begin:], strict=True):
        try:
            with torch.no_grad():
                out = net(raw[:2])
        except Exception as error:
            raise QueryError(
                f"embed['{name}'] fails on a batch of shape {tuple(raw[:2].shape)}: {error}"
            ) from error
        if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(raw[:2]):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise QueryError(
                f"embed['{name}'] must return one vector a draw, (draws, numbers); for {tuple(raw[:2].shape)} it returned {shape}."
            )
        sizes.append(out.shape[1])
    return sizes


class _Set(nn.Module):
    """Exchangeable members: means of what a net makes of each, of their features, and of products of these; and how many there are."""

    def __init__(self, features: int):
        super().__init__()
        self.each = mlp(features, WIDTH, 64, 2)
        pairs = torch.triu_indices(features, features) if features <= PAIRED else torch.zeros(2, 0)
        self.register_buffer("_pairs", pairs.to(torch.int64), persistent=False)
        moments = features + pairs.shape[1] + 1
        self.all = mlp(WIDTH + moments, WIDTH, 64, 2)
        self.size = WIDTH + moments

    def forward(self, members: Tensor, there: Tensor) -> Tensor:
        weight = there.unsqueeze(-1)
        count = weight.sum(dim=-2).clamp(min=1.0)
        one, two = self._pairs  # type: ignore[misc]
        seen = [self.each(members), members, members[..., one] * members[..., two]]
        pooled = [(part * weight).sum(dim=-2) / count for part in seen]
        # The spread of an average falls with the root of the count.
        pooled.append(count.log())
        return torch.cat([self.all(torch.cat(pooled, dim=-1)), *pooled[1:]], dim=-1)


class _Short(nn.Module):
    """A few members in order, of which some may be missing: all of them side by side."""

    def __init__(self, features: int, length: int):
        super().__init__()
        self.all = mlp(length * (features + 1), WIDTH, 64, 2)

    def forward(self, members: Tensor, there: Tensor) -> Tensor:
        weight = there.unsqueeze(-1)
        return self.all(torch.cat([members * weight, weight], dim=-1).flatten(1))


class _Series(nn.Module):
    """Members in order: convolutions of growing reach, averaged over the series, beside its last state."""

    def __init__(self, features: int):
        super().__init__()
        self.steps = nn.Sequential(
            nn.Conv1d(features + 1, WIDTH, 5, padding=2),
            nn.SiLU(),
            nn.Conv1d(WIDTH, WIDTH, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv1d(WIDTH, WIDTH, 5, stride=2, padding=2),
            nn.SiLU(),
        )
        self.all = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, members: Tensor, there: Tensor) -> Tensor:
        weight = there.unsqueeze(-1)
        inside = torch.cat([members * weight, weight], dim=-1).movedim(-1, -2)
        out = self.steps(inside)
        return self.all(torch.cat([out.mean(dim=-1), out[..., -1]], dim=-1))


def _pooled(query: Query, name: str, value: Tensor, masked: bool) -> str | None:
    """The plate over which a node's values are pooled, or `None` for plain columns."""
    axes = axes_of(query, name)
    if not axes:
        return None
    # The plate with most members.
    plate = max(axes, key=lambda p: members(query, p))
    numbers = value[0].numel()
    if query.graph.plates[plate].ordered:
        return plate if masked or numbers > SHORT else None
    # Members with inputs that differ from one observation to the next are each to be seen beside their own.
    varied = any(plate in axes_of(query, n) for n in query.ranges)
    return plate if masked or varied or numbers > FEW else None


def _inputs(query: Query, names: Sequence[str], plate: str) -> list[str]:
    """The known inputs that differ from member to member, above some nodes."""
    above = query.graph.ancestors_of([n for n in names if n in query.graph])
    pointed = {plate, *query.graph.plates[plate].of}
    return [
        n
        for n in query.graph.nodes
        if n in above and n in query.mechanism.data.inputs and pointed & set(axes_of(query, n))
    ]


def _indexed(query: Query, names: Sequence[str], plate: str) -> bool:
    """Whether some body above these nodes looks at the member's number, so that members are not exchangeable."""
    if query.graph.plates[plate].of:
        return True
    above = query.graph.ancestors_of([n for n in names if n in query.graph]) | set(names)
    return any(
        edge.kind == "index" and edge.source == plate
        for n in above
        if n in query.graph
        for body in query.graph[n].bodies
        for edge in body.parents
    )
