"""A caller: how one body is called for many draws, and proof that it was called rightly.

The four ways, in order of preference (each body "describes one draw"):

- **table**: every parent is a whole number, so one call for each distinct combination is all there is to know;
- **vmap**: real parents go under nested `torch.vmap`, draws first, then plate members;
- **single**: one call a draw, for bodies that draw random numbers themselves or that vmap cannot follow;
- **batch**: the body promised `vectorized=True`.

Every body is first called twice under one seed, and every production batch is audited against single calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor

from ..distributions import Distribution
from ..errors import GaltonError, ModelError, SimulationError
from ..graph import Body, Node
from .branches import follow
from .calling import (
    Result,
    call,
    checked,
    moved,
    read_result,
    same_result,
    seed_globals,
)
from .lifting import TooMixed, Unfit, lift
from .outcome import Outcome, assemble, judged, merge, raised
from .promise import ROWS, complain, prove
from .rows import distinct_rows, first_line, flattened, fresh, plain
from .singly import Calls, Moving, singly
from .status import Status

__all__ = ["Caller", "Outcome"]

#: Up to this many combinations of whole-number parents are bound one by one when real parents are there too.
BOUND = 1
#: Up to this many combinations every one is called singly, or compared with a single call; beyond, a sample of them.
SINGLY = 4096
#: What vmap says of a tensor that is asked for its truth value.
BRANCHING = "data-dependent control flow"
#: Rows that an audit calls singly.
AUDITED = 4


class Caller:
    """Calls one body, remembers how, and caches what it tabulated.

    Args:
        node: The node that the body belongs to.
        body: The function.
        record: Whether exceptions become failed rows, instead of being raised.
    """

    def __init__(self, node: Node, body: Body, record: bool = False):
        self.node, self.body, self.record = node, body, record
        self.mode: str | None = None
        self.reason = ""
        self.seen: Result | None = None
        self.calls = Calls()  # how single calls are made
        self._fresh = True  # whether no batch was called singly so far
        self._auditing = True
        self._moves = False  # whether the body draws from a global generator
        self._audited: set[tuple[int, ...]] = (
            set()
        )  # combinations that were compared with single calls
        self._lost: set[int] = set()  # rows of the table for which the body raised
        self._proved = False  # whether a vectorized body kept its promise on draws that differ
        self._carried: dict[
            tuple[int, ...], bool
        ] = {}  # which whole-number parents vmap can carry as tensors
        self._rows: dict[tuple[int, ...], int] = {}
        self._results: list[Result] = []
        self._stacked: tuple[int, Outcome] | None = None
        self._branches = False  # whether it decides something by its arguments
        self._gaps = True  # whether the look-up has codes that were not met yet
        self._lookup: tuple[list[int], list[int], Tensor] | None = None

    # -- the door --------------------------------------------------------------------------------

    def __call__(
        self, arguments: Sequence[Tensor], shape: tuple[int, ...], seed: int, audit: bool = True
    ) -> Outcome:
        """The outcome for a batch.

        Args:
            arguments: One for each parent, `(*batch, *rest)`; batch axes that it does not vary along have size 1.
            shape: The batch: draws first, then the node's own plates.
            seed: Decides every random number that the body draws.
            audit: Whether lifted calls are compared with single ones; a chain does so for some of its steps.
        """
        arguments = list(arguments)
        self._auditing = audit
        if self.mode is None:
            self._meet(arguments, shape, seed)
        if self.body.vectorized:
            if not self._proved:
                self._prove(arguments, shape, seed)
            return self._batch(arguments, shape, seed)
        if self.body.rng or self._moves or self.mode == "single":
            return self._single(arguments, shape, seed)
        whole = [
            i
            for i, a in enumerate(arguments)
            if a.dim() == len(shape) and not a.is_floating_point()
        ]
        if len(whole) == len(arguments):
            return self._table(arguments, shape, seed)
        try:
            return self._vmap(arguments, shape, seed, whole)
        except TooMixed:
            return self._single(arguments, shape, seed)
        except Unfit as reason:
            self.mode, self.reason = "single", str(reason)
            return self._single(arguments, shape, seed)

    # -- first acquaintance ----------------------------------------------------------------------

    def _meet(self, arguments, shape, seed) -> None:
        """Call the first row twice under one seed: two answers mean randomness that no seed reaches."""
        node, body = self.node, self.body
        if body.rng and node.determined:
            raise ModelError(
                f"'{node.name}' ({body.where}) is declared deterministic and asks for rng; it cannot be both."
            )
        if body.vectorized:
            self.mode, self.reason = "batch", "the body promised vectorized=True"
            self._prove(arguments, shape, seed)
            return
        row = self._healthy_row(arguments, shape, seed)
        seed_globals(seed)
        first = self._call(row, seed)
        self._moves = moved(seed)
        seed_globals(seed)
        second = self._call(row, seed)
        if not same_result(first, second):
            raise ModelError(
                f"'{node.name}' ({body.where}) gave two answers under one seed: it hides randomness or keeps state between "
                "calls. Ask for randomness by an argument named rng, a seeded numpy.random.Generator."
            )
        if node.determined:
            seed_globals(seed + 1)
            if not same_result(first, self._call(row, seed + 1)):
                raise ModelError(
                    f"'{node.name}' ({body.where}) is declared deterministic, but another seed gave another value. Declare it "
                    "latent or observed, and ask for randomness by an argument named rng."
                )
        self.seen = first
        if first.distribution is not None:
            checked(node, body, first.distribution)
        if body.rng:
            self.mode, self.reason = "single", "the body asks for rng, one generator for each draw"
        elif self._moves:
            self.mode, self.reason = "single", "the body draws from a global random generator"
        elif not arguments:
            self.mode, self.reason = "table", "it has no parents: one call serves all draws"
        elif all(a.dim() == len(shape) and not a.is_floating_point() for a in arguments):
            self.mode, self.reason = (
                "table",
                "whole-number parents: one call for each distinct combination",
            )
        else:
            self.mode, self.reason = "vmap", "real parents are lifted over draws and members"

    def _healthy_row(self, arguments, shape, seed) -> list:
        """The first row for which the body does not raise, when failures are recorded; else the first."""
        for i in range(min(prod(shape), 32) if self.record else 0):
            row = self._row(arguments, shape, i, python=self.body.rng)
            seed_globals(seed)
            try:
                self._call(row, seed)
            except (SimulationError, ModelError):
                continue
            return self._row(arguments, shape, i, python=self.body.rng)
        return self._row(arguments, shape, 0, python=self.body.rng)

    def _prove(self, arguments, shape, seed) -> None:
        """Try the promise of whole batches, again once there are enough draws that differ."""
        self.seen = prove(self.node, self.body, self._call, arguments, shape, seed)
        self._proved = not arguments or prod(shape) >= ROWS

    # -- the four ways ---------------------------------------------------------------------------

    def _table(self, arguments, shape, seed) -> Outcome:
        """One call for each distinct combination of whole numbers, remembered for later batches."""
        rows = self._looked_up(arguments) if self._lookup is not None else None
        if rows is None:
            varying = (
                numpy.broadcast_shapes(*(a.shape for a in arguments))
                if arguments
                else (1,) * len(shape)
            )
            if not arguments:
                keys, index = [()], torch.zeros(varying, dtype=torch.int64)
            else:
                columns = torch.stack([a.expand(varying).reshape(-1) for a in arguments], dim=-1)
                distinct, index = distinct_rows(columns)
                keys, index = list(map(tuple, distinct.tolist())), index.reshape(varying)
            missing = [key for key in keys if key not in self._rows]
            every = tuple(range(len(arguments)))
            # Whether to lift depends on this batch alone, not on what was tabulated before: its bits must not.
            if len(keys) > SINGLY and self._carried.get(every, True):
                try:
                    return self._vmap(arguments, shape, seed, list(every))
                except Unfit:
                    self._carried[every] = False
            if missing:
                self._fill(missing, seed)
            rows = torch.tensor([self._rows[key] for key in keys])[index]
        table = self._stack_results()
        lost = None
        if self._lost:
            lost = torch.isin(rows, torch.tensor(sorted(self._lost))).expand(shape).reshape(-1)
            lost = lost.to(torch.uint8) * int(Status.RAISED)
        if table.distribution is not None:
            return Outcome(distribution=table.distribution.select(rows).expand(shape), status=lost)
        assert table.value is not None
        return judged(self.node, replace(table, value=table.value[rows], status=lost), shape)

    def _looked_up(self, arguments) -> Tensor | None:
        """Rows of the table for whole-number arguments that were all met before; `None` when one is new."""
        low, spans, lookup = self._lookup  # type: ignore[misc]
        code: Tensor | int = 0
        for a, least, span in zip(arguments, low, spans, strict=True):
            smallest, largest = (int(a), int(a)) if a.numel() == 1 else map(int, a.aminmax())
            if smallest < least or largest >= least + span:
                return None
            code = code * span + (smallest - least if a.numel() == 1 else a - least)
        if isinstance(code, int):
            code = torch.full((1,) * arguments[0].dim(), code)
        rows = lookup[code]
        return None if self._gaps and int(rows.min()) < 0 else rows

    def _index(self) -> None:
        """Build the look-up from codes of whole numbers to rows, while it stays small."""
        keys = torch.tensor(list(self._rows))
        low = keys.amin(dim=0)
        spans = (keys.amax(dim=0) - low + 1).tolist()
        if prod(spans) > 2**20:
            self._lookup = None
            return
        code = torch.zeros(len(keys), dtype=torch.int64)
        for k, span in enumerate(spans):
            code = code * span + keys[:, k] - low[k]
        lookup = torch.full((prod(spans),), -1)
        lookup[code] = torch.tensor(list(self._rows.values()))
        self._gaps = bool((lookup < 0).any())
        self._lookup = low.tolist(), spans, lookup

    def _fill(self, keys, seed) -> None:
        """Call the body for new combinations; a sample of them twice."""
        seed_globals(seed)
        for key in keys:
            self._rows[key] = len(self._results)
            try:
                self._results.append(self._call(key, seed))
            except SimulationError:
                if not self.record or self.seen is None:
                    raise
                # A good answer stands in, so that bodies further down never see nonsense; the row is marked.
                self._lost.add(len(self._results))
                self._results.append(self.seen)
        if moved(seed):
            raise ModelError(
                f"'{self.node.name}' ({self.body.where}) draws from a global random generator for some values of "
                "its parents only. Ask for an argument named rng, so that it is called once for each draw."
            )
        for key in keys[:: max(len(keys) // 64, 1)]:
            row = self._rows[key]
            if row not in self._lost and not same_result(self._results[row], self._call(key, seed)):
                raise ModelError(
                    f"'{self.node.name}' ({self.body.where}) changed its answer between two equal calls: it keeps "
                    "state or hides randomness. A body must depend on its arguments only."
                )
        self._stacked = None
        if keys[0]:
            self._index()

    def _stack_results(self) -> Outcome:
        if self._stacked is None or self._stacked[0] != len(self._results):
            self._stacked = (len(self._results), assemble(self.node, self.body, self._results))
        return self._stacked[1]

    def _vmap(self, arguments, shape, seed, whole) -> Outcome:
        """Lift the body over the batch; whole-number parents are bound combination by combination while they are few."""
        seed_globals(seed)
        whole = [i for i in whole if arguments[i].numel() > 1]
        if not whole:
            outcome = self._lifted(arguments, shape)
        elif self._carried.get(tuple(whole)):
            outcome = self._lifted(arguments, shape)
            self._audit_each(outcome, arguments, shape, whole)
        else:
            outcome = self._narrowed(arguments, shape, whole)
        if moved(seed):
            raise Unfit("the body draws from a global random generator")
        if outcome.distribution is not None:
            checked(self.node, self.body, outcome.distribution)  # type: ignore[arg-type]
        if self._auditing:
            self._audit(outcome, arguments, shape, seed)
        return judged(self.node, outcome, shape)

    def _lifted(self, arguments, shape) -> Outcome:
        """The body under vmap; path by path where it branches on its arguments."""
        if not self._branches:
            try:
                return lift(self.node, self.body, arguments, shape, {})
            except Unfit as reason:
                if BRANCHING not in str(reason):
                    raise
        narrow = numpy.broadcast_shapes(*(a.shape[: len(shape)] for a in arguments))
        outcome = merge(
            self.node, self.body, follow(self.node, self.body, arguments, narrow), narrow
        )
        self._branches = True
        if outcome.distribution is None:
            return outcome
        return replace(outcome, distribution=outcome.distribution.expand(shape))

    def _narrowed(self, arguments, shape, whole) -> Outcome:
        """Combinations over the axes that arguments vary along; the others are spread afterwards."""
        lead = len(shape)
        narrow = numpy.broadcast_shapes(*(a.shape[:lead] for a in arguments))
        outcome = self._vmap_combinations(arguments, narrow, whole)
        if outcome.distribution is None or tuple(narrow) == tuple(shape):
            return outcome
        return replace(outcome, distribution=outcome.distribution.expand(shape))

    def _vmap_combinations(self, arguments, shape, whole) -> Outcome:
        varying = numpy.broadcast_shapes(*(arguments[i].shape for i in whole))
        columns = torch.stack([arguments[i].expand(varying).reshape(-1) for i in whole], dim=-1)
        distinct, index = distinct_rows(columns)
        if len(distinct) > BOUND and tuple(whole) not in self._carried:
            try:
                outcome = self._lifted(arguments, shape)
                self._audit_each(outcome, arguments, shape, whole)
                self._carried[tuple(whole)] = True
                return outcome
            except Unfit:
                self._carried[tuple(whole)] = False
        if len(distinct) > BOUND and len(whole) > 1:
            rest = [i for i in whole if not self._carries(i, arguments, whole, shape)]
            if 0 < len(rest) < len(whole):
                outcome = self._vmap_combinations(arguments, shape, rest)
                self._audit_each(outcome, arguments, shape, whole)
                return outcome
        if len(distinct) > max(BOUND, prod(shape) // 8):
            raise TooMixed(
                f"{len(distinct)} combinations of whole-number parents for {prod(shape)} calls"
            )
        constant = {
            i: int(a)
            for i, a in enumerate(arguments)
            if a.dim() == len(shape) and a.numel() == 1 and not a.is_floating_point()
        }
        flat = [flattened(a, shape) for a in arguments]
        owner = index.reshape(varying).expand(shape).reshape(-1)
        counts = torch.bincount(owner, minlength=len(distinct)).tolist()
        grouped = torch.argsort(owner, stable=True).split(counts)
        parts = []
        for rows, combination in zip(grouped, distinct.tolist(), strict=True):
            bound = constant | dict(zip(whole, combination, strict=True))
            parts.append(
                (rows, lift(self.node, self.body, [a[rows] for a in flat], (len(rows),), bound))
            )
        return merge(self.node, self.body, parts, shape)

    def _carries(self, i: int, arguments, whole, shape) -> bool:
        """Whether vmap can carry one whole-number argument as a tensor, while the others are bound to their first values."""
        if (i,) not in self._carried:
            others = {k: int(arguments[k].reshape(-1)[0]) for k in whole if k != i}
            try:
                lift(self.node, self.body, arguments, shape, others)
                self._carried[i,] = True
            except Unfit:
                self._carried[i,] = False
        return self._carried[i,]

    def _single(self, arguments, shape, seed) -> Outcome:
        """One call a draw and member; exceptions are raised with a seed that replays them, or recorded."""
        first, self._fresh = self._fresh, False
        try:
            outcome = singly(
                self.node,
                self.body,
                arguments,
                shape,
                seed,
                moves=self._moves,
                record=self.record,
                calls=self.calls,
                seen=self.seen,
                first=first,
            )
        except Moving:
            if self.node.determined:
                raise ModelError(
                    f"'{self.node.name}' ({self.body.where}) is declared deterministic and draws from a global random "
                    "generator for some draws. Declare it latent or observed, and ask for rng."
                ) from None
            self._moves, self.mode, self._fresh = True, "single", first
            self.reason = "the body draws from a global random generator, for some draws"
            return self._single(arguments, shape, seed)
        if first and outcome.value is not None:
            # What was met first may have been the odd one.
            good = (
                0 if outcome.status is None else int((outcome.status == 0).to(torch.uint8).argmax())
            )
            flat = outcome.value.reshape((-1, *outcome.value.shape[len(shape) :]))
            self.seen = Result(value=flat[good], packing=outcome.packing)
        return outcome

    def _batch(self, arguments, shape, seed) -> Outcome:
        flat = [flattened(a, shape) for a in arguments]
        count = prod(shape)
        if seed in self.calls.avoid:
            return self._none(shape, self.calls.avoid[seed], "")
        if self.calls.told is not None:
            self.calls.told(seed)
        seed_globals(seed)
        named: dict[str, Any] = {
            e.argument: (a.numpy().copy() if self.body.rng else a.clone())
            for e, a in zip(self.body.parents, flat, strict=True)
        }
        if self.body.rng:
            named["rng"] = numpy.random.default_rng(seed)
        try:
            result = read_result(self.node, self.body, self.body.function(**named))
        except GaltonError:
            raise
        except Exception as error:
            said = (
                f"'{self.node.name}' ({self.body.where}) raised {type(error).__name__}: {first_line(error)}, for a batch of "
                f"{count} draws with seed {seed}."
            )
            if not self.record:
                raise SimulationError(said, self.node.name, seed) from error
            return self._none(shape, Status.RAISED, said)
        if result.distribution is not None:
            tensors = result.distribution.parameters
            if any(t.dim() == 0 or len(t) != count for t in tensors.values()):
                if flat:
                    sizes = ", ".join(str(tuple(t.shape)) for t in tensors.values())
                    complain(
                        self.node,
                        self.body,
                        f"for {count} draws its parameters need a leading axis of {count}; they have {sizes}",
                    )
                return Outcome(
                    distribution=result.distribution.lift(
                        {k: t[(None,) * len(shape)] for k, t in tensors.items()}, len(shape)
                    ).expand(shape)
                )
            d = result.distribution.lift(dict(tensors), 1)
            checked(self.node, self.body, d)
            tensors = {k: v.reshape((*shape, *v.shape[1:])) for k, v in d.parameters.items()}
            return Outcome(distribution=d.lift(tensors, len(shape)))
        value = result.value
        assert value is not None
        if value.dim() == 0 or len(value) != count:
            raise ModelError(
                f"'{self.node.name}' ({self.body.where}) promises vectorized=True: for {count} draws it returned the shape "
                f"{tuple(value.shape)}; the leading axis must be {count}."
            )
        value = value.reshape((*shape, *value.shape[1:]))
        return judged(self.node, Outcome(value=value, packing=result.packing), shape)

    def _none(self, shape: tuple[int, ...], status: int, said: str) -> Outcome:
        """A whole batch without a value; what was seen first stands in."""
        assert self.seen is not None
        count = prod(shape)
        row = torch.zeros(count, dtype=torch.int64)
        marked = torch.full((count,), int(status), dtype=torch.uint8)
        errors = ((0, said),) if said else ()
        if self.seen.distribution is not None:
            whole = self.seen.distribution.lift(dict(self.seen.distribution.parameters), 1)
            d = whole.select(row.reshape(shape))
            return Outcome(distribution=d, status=marked, errors=errors)
        assert self.seen.value is not None
        value = self.seen.value[row].reshape((*shape, *self.seen.value.shape[1:]))
        return Outcome(value=value, status=marked, packing=self.seen.packing, errors=errors)

    # -- audit and single calls ------------------------------------------------------------------

    def _audit(self, outcome: Outcome, arguments, shape, seed) -> None:
        """A few random rows and the extreme ones, called singly, must agree with the batch."""
        count = prod(shape)
        rows = set(numpy.random.default_rng(seed).integers(0, count, size=2).tolist())
        for a in arguments[:2]:
            if a.numel():
                flat = a.reshape((*a.shape[: len(shape)], -1))[..., 0]
                for extreme in (flat.argmin(), flat.argmax()):
                    where = numpy.unravel_index(int(extreme), tuple(flat.shape))
                    rows.add(int(numpy.ravel_multi_index(where, shape)))
        self._compare(outcome, arguments, shape, sorted(rows)[: AUDITED + 2])

    def _audit_each(self, outcome: Outcome, arguments, shape, whole) -> None:
        """One row for each combination of whole numbers that was not met before; a sample of very many."""
        varying = numpy.broadcast_shapes(*(arguments[i].shape for i in whole))
        columns = torch.stack([arguments[i].expand(varying).reshape(-1) for i in whole], dim=-1)
        distinct, index = distinct_rows(columns)
        keys = list(map(tuple, distinct.tolist()))
        new = [c for c, key in enumerate(keys) if key not in self._audited]
        if not new:
            return
        owner = index.reshape(varying).expand(shape).reshape(-1)
        first = torch.zeros(len(keys), dtype=torch.int64).scatter_(
            0, owner, torch.arange(len(owner))
        )
        new = new[:: len(new) // SINGLY + 1]
        self._compare(outcome, arguments, shape, first[new].tolist())
        self._audited.update(keys[c] for c in new)

    def _compare(self, outcome: Outcome, arguments, shape, rows) -> None:
        for i in rows:
            where = tuple(int(k) for k in numpy.unravel_index(i, shape))
            single = self._call(self._row(arguments, shape, i, python=False), None)
            if outcome.distribution is None:
                assert outcome.value is not None
                lead = len(shape)
                at = tuple(
                    k if outcome.value.shape[ax] != 1 else 0 for ax, k in enumerate(where[:lead])
                )
                batch = Result(value=outcome.value[at])
            elif isinstance(outcome.distribution, Distribution):
                tensors = {
                    k: v.expand((*shape, *v.shape[len(shape) :]))[where]
                    for k, v in outcome.distribution.parameters.items()
                }
                batch = Result(distribution=outcome.distribution.lift(tensors, 0))
            else:
                continue  # each part of Cases was lifted and is compared by family below it
            if not same_result(single, batch, exactly=False):
                raise Unfit(f"the lifted call disagreed with a single call at draw {where[0]}")

    def _call(self, arguments, seed: int | None) -> Result:
        try:
            return call(self.node, self.body, [fresh(v) for v in arguments], seed)
        except GaltonError:
            raise
        except Exception as error:
            raise raised(self.node, self.body, arguments, error, seed, moves=self._moves) from error

    def _row(self, arguments, shape, i: int, python: bool) -> list:
        """The arguments of one call, as the body expects them."""
        where = numpy.unravel_index(i, shape) if shape else ()
        row = []
        for a in arguments:
            at = tuple(int(k) if a.shape[ax] != 1 else 0 for ax, k in enumerate(where))
            row.append(plain(a[at], python))
        return row
