"""Many simulations: draws from the prior predictive, in batches that are decided by the seed and their number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError, StoreError
from ..graph import Graph
from ..mechanism import Mechanism, Status, read_data
from .campaign import Campaign, batch_size
from .driver import Workers, drive, hired
from .export import to_numpy, to_parquet
from .manifest import Manifest
from .replay import replay
from .running import Running
from .store import Store
from .trial import tried

__all__ = ["Simulations", "joined", "simulate"]


@dataclass(frozen=True, eq=False)
class Simulations(Mapping):
    """Draws of nodes by name, `(n, *plates, *event)`.

    Args:
        draws: By node; those of a store are read when they are asked for.
        status: How each draw ended (`Status`), `(n,)`.
        failures: How many failed at each node.
        campaign: Which simulations these are.
        store: Where they are kept, if anywhere.
    """

    draws: Mapping[str, Tensor]
    status: Tensor
    failures: Mapping[str, int] = field(default_factory=dict)
    campaign: Campaign | None = None
    store: Store | None = None

    @property
    def failed(self) -> Tensor:
        """Which draws have no value, `(n,)`."""
        return self.status != 0

    def replay(self, draw: int) -> Any:
        """Simulate one draw again, with its own seed and parents: what failed fails here, under a debugger if you like.

        Args:
            draw: Its row.

        Returns:
            The values of the draw, or of the node at which it had failed, if it does not fail this time.
        """
        if not 0 <= draw < len(self.status):
            raise QueryError(f"replay({draw}): there are draws 0 to {len(self.status) - 1}.")
        assert self.campaign is not None
        return replay(self.campaign, draw // self.campaign.size, draw % self.campaign.size)

    def parts(self) -> Iterator[dict[str, Tensor]]:
        """The draws, some at a time: what is in a store is never all in memory."""
        if isinstance(self.draws, _Kept):
            yield from self.draws.parts()
        else:
            yield dict(self.draws)

    def to_numpy(self, folder: str | PathLike[str]) -> None:
        """A folder of `.npy` files, one a node, and `status.npy`."""
        to_numpy(self, folder)

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """A Parquet table: one row a draw, one column a number, and the status."""
        to_parquet(self, path)

    def __getitem__(self, name: str) -> Tensor:
        return self.draws[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.draws)

    def __len__(self) -> int:
        return len(self.draws)

    def __str__(self) -> str:
        title = "simulations" if self.store is None else f"simulations in {self.store.path}"
        lines = [title, *(f"  {name:<16} {tuple(v.shape)}" for name, v in self.draws.items())]
        failed = int(self.failed.sum())
        if failed:
            kinds = self.status.bincount(minlength=len(Status)).tolist()
            how = ", ".join(f"{kinds[s]:,} {s.words}" for s in Status if s and kinds[s])
            where = ", ".join(f"{n:,} at {name}" for name, n in self.failures.items() if name)
            lines.append(f"  {failed:,} of {len(self.failed):,} draws failed: {how}; {where}")
        return "\n".join(lines)


def simulate(
    graph: Graph,
    n: int,
    *,
    seed: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    of: Collection[str] | str | None = None,
    sizes: Mapping[str, int] | None = None,
    failures: str = "raise",
    **running: Any,
) -> Simulations:
    """Draws from the prior predictive; see `Model.simulate`."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise QueryError(f"simulate({n!r}): the number of draws is a positive integer.")
    how = Running(failures=failures, **running)
    names = _names(graph, of)
    store = None if how.store is None else Store(how.store)
    kept = [] if store is None or store.manifest is None else [*store.manifest.nodes]
    part = graph.subgraph(graph.ancestors_of([*names, *(k for k in kept if k in graph)]))
    given = {k: v for k, v in (inputs or {}).items() if k in part or k in graph.plates}
    data, record = read_data(part, given, sizes=sizes), failures == "record"
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store.lock())
        # What is in the store is read, and whoever reads needs no workers.
        complete = store is not None and store.holds(n)
        workers = None if complete else stack.enter_context(hired(how))
        mechanism = tried(part, data, record, workers, how.timeout)
        size = batch_size(mechanism, n, graph)
        if store is None:
            campaign = Campaign(mechanism, seed or 0, size, kept=names)
            return _gathered(campaign, n, how, names, workers)
        campaign = joined(store, mechanism, seed, size, {})
        for batch in drive(replace(campaign, kept=None), n, how, store, workers=workers):
            del batch  # it is in the store now
    return _stored(store, replace(campaign, kept=names), n)


def _names(graph: Graph, of: Collection[str] | str | None) -> list[str]:
    if of is None:
        return [node.name for node in graph.nodes.values() if not node.outputs]
    return [of] if isinstance(of, str) else list(of)


def joined(
    store: Store,
    mechanism: Mechanism,
    seed: int | None,
    size: int,
    fixed: Mapping[str, Tensor],
    draws: int | None = None,
) -> Campaign:
    """The campaign of a store, which begins or goes on with it.

    Nodes that depend on others by computation alone may have changed since: they are computed from what is kept.

    Args:
        store: Where the batches are; locked.
        mechanism: Of the model that is asked now.
        seed: `None` for the one that the store has.
        size: Of a batch, for a new store.
        fixed: Values that are not drawn.
        draws: How many will be wanted; a store that has them may hold nodes that the model has not.

    Raises:
        StoreError: If it holds simulations of another model; it says what differs.
    """
    graph = mechanism.graph
    if store.manifest is None:
        manifest = Manifest.of(mechanism, graph.nodes, seed or 0, size, fixed)
        store.begin(manifest)
        return Campaign(mechanism, manifest.seed, manifest.batch, fixed=fixed)
    store.recover()
    kept = store.manifest
    changed = kept.changed(graph)
    asked = Manifest.of(mechanism, graph.nodes, kept.seed if seed is None else seed, size, fixed)
    different = kept.differences(asked)
    random = [
        name for name in changed if mechanism.facts[name].kind not in ("deterministic", "input")
    ]
    for name in random:
        if name not in kept.nodes:
            different.append(f"it has no '{name}'")
        elif all(p not in changed for p in kept.nodes[name]["parents"]):
            different.append(f"'{name}' has another body or other parents")
        else:
            above = [p for p in kept.nodes[name]["parents"] if p in changed]
            different.append(f"'{name}' depends on '{above[0]}', which has changed")
    gone = [
        k
        for k, told in kept.nodes.items()
        if k not in graph and told["kind"] in ("opaque", "explicit")
    ]
    wanted = range(-(-(draws or 0) // kept.batch))
    if draws is None or any(number not in store.entries for number in wanted):
        different += [
            f"the model, or the part of it that is asked, has no '{name}'" for name in gone
        ]
    if different:
        python = kept.versions.get("python", "?")
        now = asked.versions["python"]
        note = (
            ""
            if python.split(".")[:2] == now.split(".")[:2]
            else f" (It was written by Python {python}; a body without a source is known by what it is compiled to, which {now} does otherwise.)"
        )
        raise StoreError(
            f"{store.path} holds simulations of another model: {'; '.join(different)}. Take another folder, or the model that it was begun with.{note}"
        )
    stored = frozenset(graph.nodes) - frozenset(changed)
    return Campaign(mechanism, kept.seed, kept.batch, only=stored, fixed=fixed)


# -- results -------------------------------------------------------------------------------------


def _gathered(
    campaign: Campaign, n: int, running: Running, names: list[str], workers: Workers | None
) -> Simulations:
    """All draws, in memory."""
    pieces: dict[str, list[Tensor]] = {name: [] for name in names}
    status, counts, done = [], dict[str, int](), 0
    for batch in drive(campaign, n, running, workers=workers):
        take = min(campaign.size, n - done)
        for name in names:
            pieces[name].append(_rows(batch.values[name], campaign.size, take))
        status.append(batch.status[:take])
        _count(counts, batch.culprits, take)
        done += take
    whole = {k: v[0] if len(v) == 1 else torch.cat(v) for k, v in pieces.items()}
    return Simulations(whole, torch.cat(status), counts, campaign)


def _stored(store: Store, campaign: Campaign, n: int) -> Simulations:
    """Draws that are read when they are asked for."""
    counts: dict[str, int] = {}
    status, done = [], 0
    for number in range(-(-n // campaign.size)):
        batch = store.read(number, [])
        take = min(campaign.size, n - done)
        status.append(batch.status[:take])
        _count(counts, batch.culprits, take)
        done += take
    draws = _Kept(store, campaign, n)
    return Simulations(draws, torch.cat(status), counts, campaign, store)


def _count(counts: dict[str, int], culprits: Mapping[str, Tensor], take: int) -> None:
    for name, rows in culprits.items():
        failed = int((rows < take).sum())
        if failed:
            counts[name] = counts.get(name, 0) + failed


def _rows(value: Tensor, size: int, take: int) -> Tensor:
    """The first rows of a batch; what nothing random decides has one row for all."""
    return value[:take] if len(value) == size else value[:1].expand((take, *value.shape[1:]))


class _Kept(Mapping):
    """Draws of a store by node, read on demand."""

    def __init__(self, store: Store, campaign: Campaign, n: int):
        self._store, self._campaign, self._n = store, campaign, n
        self._names = list(campaign.kept or ())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        pieces = [values[name] for values in self.parts([name])]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def parts(self, names: list[str] | None = None) -> Iterator[dict[str, Tensor]]:
        """The draws of some nodes, all by default, batch by batch."""
        size, names = self._campaign.size, names or self._names
        for number in range(-(-self._n // size)):
            take = min(size, self._n - number * size)
            batch = self._campaign.completed(self._store.read(number), number, names)
            yield {name: _rows(batch.values[name], size, take) for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
