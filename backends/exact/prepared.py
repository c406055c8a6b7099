"""A network made ready: an order, a tree, and the arithmetic for batches; conditioning fills in the observations and runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import inf, log, prod
from typing import Any

import numpy
from numpy import ndarray

from ppl.graph import Elimination, elimination, rounds
from ppl.mechanism import Data

from .contraction import Contraction, Path, worth
from .network import Network
from .propagation import SAFE, Propagation
from .tree import Tree

__all__ = ["Prepared", "Result"]

#: Cells times observations that one run works on, so that it stays within the processor's cache.
RUN = 2**18
#: The longest batch of a run.
LONGEST = 512
#: Measured on one core: what a step costs beside its cells, and a cell in both passes, in nanoseconds.
STEP, CELL = 6000, 5
#: A clique joins its parent where this costs no more cells than so many, for one observation: fewer steps.
SPARE = 100
#: Trees with more cells than this are compared with contraction; there a cell takes longer, in nanoseconds.
WIDE, WIDE_CELL = 2**19, 9
#: Trees with fewer groups than this are not tried again with an order of few rounds.
MANY = 48
#: Only where so many factors are alike can an order of few rounds work on many at once.
ALIKE = 16


class Marginals:
    """Tables that were asked for, end to end.

    Args:
        spans: Where each lies.
        flat: `(cells, datasets)`.
    """

    def __init__(self, spans: Mapping[tuple[int, ...], tuple[int, int]], flat: ndarray):
        self.spans, self.flat = spans, flat

    def __getitem__(self, variables: tuple[int, ...]) -> ndarray:
        start, end = self.spans[variables]
        return self.flat[start:end]

    def at(self, variables: tuple[int, ...], dataset: int) -> ndarray | None:
        """The table for one observation, or `None` if it was not asked for."""
        span = self.spans.get(variables)
        return None if span is None else self.flat[span[0] : span[1], dataset]


class Result:
    """What one run over a batch of observations found.

    Args:
        log_evidence: `(datasets,)`; minus infinity where the observation is impossible.
        marginals: By set of variables, `(cells, datasets)` over their reachable values.
    """

    def __init__(self, log_evidence: ndarray, marginals: Marginals):
        self.log_evidence, self.marginals = log_evidence, marginals


class Prepared:
    """The tree of a network and its arithmetic.

    Args:
        network: Variables and factors.
        wanted: The sets of variables whose marginals are asked for; each of several is to lie in one clique.
        order: The elimination order, if it is known already.
        maximise: Variables that are maximised over, after all others are summed out.
        learning: Whether tables will be changed, and the belief of every clique is wanted.
        walking: Whether the tree's tables are wanted, to walk down it.
    """

    def __init__(
        self,
        network: Network,
        wanted: Sequence[tuple[int, ...]] = (),
        order: Elimination | None = None,
        maximise: frozenset[int] = frozenset(),
        learning: bool = False,
        walking: bool = False,
    ):
        self.network, self.learning, self.walking = network, learning, walking
        self.bundles = network.bundles
        self.sizes = network.sizes()
        self.wanted = [v for v in wanted if all(self.sizes[u] > 1 for u in v)]
        #: Where each wanted table lies among the answers.
        self.spans: dict[tuple[int, ...], tuple[int, int]] = {}
        self._answered = 0
        for v in dict.fromkeys(self.wanted):
            cells = prod([self.sizes[u] for u in v])
            self.spans[v] = self._answered, self._answered + cells
            self._answered += cells
        sources = [b.source for b in self.bundles]
        self.scopes = [scope for s in sources for scope in s.scopes if scope]
        self.scopes += [v for v in self.wanted if len(v) > 1]
        if order is None:
            order = elimination(self.scopes, self.sizes, last=maximise)
        self.order = order
        self.sources, self.maximise = sources, maximise
        self._trees: dict[bool, Tree] = {}
        self._programs: dict[tuple[int, bool], Propagation | Contraction] = {}
        self.shown: dict = {}  # what answers show of each node
        self.last: Any = None  # the program of the last run
        self._moves: tuple[ndarray, ndarray] | None = None
        self._scaled = False
        self._still = self._fixed()
        self._constant = sum(
            float(numpy.log(t).sum()) * (len(b.which) if len(t) == 1 else 1)
            for t, b in zip(self._still, self.bundles, strict=True)
            if t is not None and not b.source.shape
        )
        self._pool()

    # -- the observed entries --------------------------------------------------------------------

    def _pool(self) -> None:
        """One gather for all tables that observations look up.

        Every cell of a factor is `offset + entry * width`, and the entry a sum of observed positions times strides.
        """
        self._tabled = [
            i for i, b in enumerate(self.bundles) if b.table is not None and not b.fixed
        ]
        self.loose = [i for i, b in enumerate(self.bundles) if b.table is None]
        # Factors without a variable come first: they are constants.
        self._tabled.sort(key=lambda i: bool(self.bundles[i].source.shape))
        names = list(dict.fromkeys(t[0] for i in self._tabled for t in self.bundles[i].terms))
        self._names = names
        start, column = 0, {}
        for name in names:
            column[name] = start
            size = 1
            for n in self.network.grids[name]:
                size *= n
            start += size
        tables, pool = [], 0
        # One entry for each factor: where its table lies, how wide its entries are, and what moves the entry.
        begins: list[int] = []
        widths: list[int] = []
        bases: list[ndarray] = []
        columns: list[list[int]] = []
        strides: list[list[int]] = []
        depth = max((len(self.bundles[i].terms) for i in self._tabled), default=0)
        self._spans: dict[int, tuple[int, int]] = {}
        self._inside: dict[int, int] = {}  # where a bundle's table lies in the pool
        cells = 0
        self.constants = 0
        for i in self._tabled:
            bundle = self.bundles[i]
            count, width = len(bundle.which), bundle.table[0].size  # type: ignore[index]
            begins += [pool] * count
            widths += [width] * count
            bases.append(
                bundle.base.T if len(bundle.base.T) == count else bundle.base.T.repeat(count, 0)
            )
            at = [(column[name] + cell).tolist() for name, cell, _ in bundle.terms]
            empty = [0] * (depth - len(at))
            columns += [[*row, *empty] for row in zip(*at, strict=True)] if at else [empty] * count
            strides += [[stride for _, _, stride in bundle.terms] + empty] * count
            tables.append(bundle.table.reshape(-1))  # type: ignore[union-attr]
            self._inside[i] = pool
            self._spans[i] = cells, cells + count * width
            if not bundle.source.shape:
                self.constants = cells + count * width
            pool, cells = pool + tables[-1].size, cells + count * width
        self._gathered = cells
        if not cells:
            return
        datasets = max(b.shape[1] for b in bases)
        self._table = numpy.concatenate(tables)
        wide = numpy.array(widths)
        self._owner = numpy.repeat(numpy.arange(len(wide)), wide)
        own = numpy.arange(cells) - (wide.cumsum() - wide)[self._owner]
        self._offset = (numpy.array(begins)[self._owner] + own)[:, None]
        if datasets > 1:
            bases = [numpy.broadcast_to(b, (len(b), datasets)) for b in bases]
        self._base = numpy.concatenate(bases)
        self._column = numpy.array(columns, dtype=int).reshape((len(wide), depth))
        self._stride = numpy.array(strides, dtype=int).reshape((len(wide), depth, 1))
        self._width = wide[:, None]

    def _fixed(self) -> list[ndarray | None]:
        found: list[ndarray | None] = []
        for b in self.bundles:
            if not b.fixed:
                found.append(None)
            elif (b.base == b.base[0, 0]).all():
                found.append(b.table[b.base[0, :1]])  # type: ignore[index]
            else:
                found.append(b.table[b.base[0]])  # type: ignore[index]
        return found

    def tree(self, single: bool) -> Tree:
        """The junction tree, for one observation or for batches: with one, steps cost more than cells, and small cliques are joined."""
        if single not in self._trees:
            spare = SPARE if single else 0
            tree = Tree(self.order, self.sizes, self.sources, self.maximise, spare)
            alike = any(len(b.which) > ALIKE for b in self.bundles)
            if alike and len(tree.groups) > MANY and not self.maximise:
                order = rounds(self.scopes, self.sizes)
                other = Tree(order, self.sizes, self.sources, spare=spare)
                tree = min(tree, other, key=predicted)
            self._trees[single] = tree
        return self._trees[single]

    @cached_property
    def _path(self) -> Path | None:
        """How to contract, where one observation takes less time that way than through the tree."""
        tree = self.tree(True)
        if tree.cells < WIDE or self.learning or self.maximise or self.walking:
            return None
        joint = [v for v in self.wanted if len(v) > 1]
        scopes = [scope for s in self.sources for scope in s.scopes if scope]
        if any(not any(set(v) <= set(scope) for scope in scopes) for v in joint):
            return None
        return worth(scopes, self.sizes, WIDE_CELL * tree.cells)

    def program(self, batch: int, scaled: bool) -> Propagation | Contraction:
        """The arithmetic for batches of this length."""
        key = batch, scaled
        if key not in self._programs and batch == 1 and not scaled and self._path is not None:
            self._programs[key] = Contraction(
                self.sources, self._still, self.wanted, self._path, self._buffers(1)
            )
        if key not in self._programs:
            program = Propagation(
                self.tree(batch == 1 and not self.learning),
                self._still,
                self.wanted,
                batch,
                scaled,
                self._buffers(batch),
                self.learning,
            )
            self._programs[key] = program
        return self._programs[key]

    def _buffers(self, batch: int) -> dict[int, ndarray]:
        """Sources that are slices of the one buffer that the gather fills, and the buffer itself as number -1."""
        whole = numpy.empty((self._gathered, batch))
        found = {-1: whole}
        for i, (start, end) in self._spans.items():
            source = self.bundles[i].source
            found[i] = whole[start:end].reshape((len(source.scopes), *source.shape, batch))
        return found

    def learn(self, i: int, probabilities: ndarray) -> None:
        """Change the table of one bundle's family."""
        table = self.bundles[i].arranged(probabilities)
        if i in self._inside:
            start = self._inside[i]
            self._table[start : start + table.size] = table.reshape(-1)
        elif self.bundles[i].source.shape:
            base, still = self.bundles[i].base, self._still[i]
            assert still is not None
            still[...] = table[base[0, : len(still)]]

    # -- running ---------------------------------------------------------------------------------

    def run(self, data: Data, down: bool = True) -> Result:
        """Both passes over all observations; only the first, for the log-evidence, without `down`."""
        count = data.datasets
        logs = numpy.zeros(count)
        marginals = Marginals(self.spans if down else {}, numpy.empty((self._answered, count)))
        for part, program in self.runs(data, down):
            logs[part] = program.logs
            if down and self.spans:
                marginals.flat[:, part] = program.marginals()
        return Result(logs, marginals)

    def run_at(self, places: Mapping[str, int], down: bool = True) -> Result:
        """Both passes over one observation of plain nodes, given as places in their domains."""
        program = self.run_one(places, down)
        flat = program.marginals() if self.spans and down else numpy.empty((0, 1))
        return Result(program.logs, Marginals(self.spans, flat))

    def run_one(self, places: Mapping[str, int], down: bool) -> Any:
        """What `_run` does, for one observation of plain nodes."""
        program = self.program(1, self._scaled)
        constant = self._constant
        if self._gathered:
            self._fill_one([places[name] for name in self._names], program.buffer[:, 0])
            for factor in program.buffer[: self.constants, 0].tolist():
                constant += log(factor) if factor > 0 else -inf
        program.run(down and not self.maximise)
        self.last = program
        evidence = float(program.evidence[0])
        if not self._scaled and not SAFE < evidence < inf:
            self._scaled = True
            return self.run_one(places, down)
        total = log(evidence) if evidence > 0 else -inf
        program.logs = numpy.array([total + program.log_scale[0] + constant])
        return program

    def _fill_one(self, places: list[int], buffer: ndarray) -> None:
        """The gathered entries of one observation: the flat places that they would have at zero, plus what each value moves them."""
        if self._moves is None:
            moves = numpy.zeros((self._gathered, len(self._names)), dtype=int)
            for k in range(self._column.shape[1]):
                moves[numpy.arange(self._gathered), self._column[self._owner, k]] += (
                    self._stride[self._owner, k, 0] * self._width[self._owner, 0]
                )
            still = self._offset[:, 0] + (self._base[:, 0] * self._width[:, 0])[self._owner]
            self._moves = still, moves
        still, moves = self._moves
        self._table.take(still + moves.dot(places), out=buffer, mode="clip")

    def runs(self, data: Data, down: bool = True) -> Iterator[tuple[slice, Any]]:
        """Run over the observations a batch at a time; each is to be read before the next is run."""
        positions, count = self.network.positions(data), data.datasets
        batch = 1
        if count > 1:
            batch = max(min(RUN // max(self.tree(False).cells, 1), LONGEST, count), 1)
        loose = [(i, *self._outside(i, data, positions)) for i in self.loose]
        where = self._where(positions, count)
        for start in range(0, count, batch):
            # The last batch is filled up with observations of the one before.
            part = slice(min(start, count - batch), min(start, count - batch) + batch)
            yield part, self._run(part, where, loose, down)

    def _where(self, positions, count: int) -> ndarray | None:
        """Observed positions, `(cells of all observed nodes, datasets)`."""
        if not self._names:
            return None
        if count == 1:
            return numpy.concatenate([positions[name][:, 0] for name in self._names])[:, None]
        return numpy.concatenate([positions[name] for name in self._names])

    def _outside(self, i: int, data: Data, positions) -> tuple[ndarray, ndarray | float]:
        """A source that is no table, for all observations, and its constants."""
        bundle = self.bundles[i]
        if bundle.family.part != "seen":
            table, logs = self.network.scored(bundle, data, positions)
            return table, logs.sum(axis=0)
        allowed = self.network.allowed(bundle, data, positions)
        return allowed.reshape((len(allowed), *bundle.source.shape, data.datasets)), 0.0

    def _run(self, part: slice, where, loose, down: bool) -> Any:
        size = part.stop - part.start
        while True:
            program = self.program(size, self._scaled)
            constant = self._fill(program, part, where, loose)
            program.run(down and not self.maximise)
            self.last = program
            evidence = program.evidence
            if not self._scaled and not (evidence.min() > SAFE and evidence.max() < numpy.inf):
                # Too small for plain numbers, or impossible: scaled messages tell.
                self._scaled = True
                continue
            with numpy.errstate(divide="ignore"):
                program.logs = numpy.log(evidence) + program.log_scale + constant
            return program

    def _fill(self, program: Any, part: slice, where, loose) -> ndarray | float:
        """Put the observations into the program's sources; the log of what is no variable's."""
        constant: ndarray | float = self._constant
        if self._gathered:
            buffer = program.buffer
            base = self._base if self._base.shape[1] == 1 else self._base[:, part]
            entry = base
            if where is not None:
                entry = base + (where[:, part][self._column] * self._stride).sum(axis=1)
            entry = entry * self._width
            numpy.take(self._table, entry[self._owner] + self._offset, out=buffer, mode="clip")
            if self.constants:
                with numpy.errstate(divide="ignore"):
                    constant = constant + numpy.log(buffer[: self.constants]).sum(axis=0)
        for i, table, logs in loose:
            shared = table.shape[-1] == 1
            mine = table if shared else table[..., part]
            if not self.bundles[i].source.shape:
                with numpy.errstate(divide="ignore"):
                    constant = constant + numpy.log(mine).reshape((-1, mine.shape[-1])).sum(axis=0)
            else:
                program.sources[i][...] = mine
            constant = constant + (logs if numpy.ndim(logs) == 0 or len(logs) == 1 else logs[part])
        return constant


def predicted(tree: Tree, batch: int = 1) -> float:
    """Nanoseconds that both passes should take."""
    return STEP * len(tree.groups) + CELL * tree.cells * batch
