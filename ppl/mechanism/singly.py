"""Single calls: one for each draw and member, under a seed of its own, each allowed to fail.

What came back is put together all at once where it is uniform, since converting one value costs more than many a simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import GaltonError, ModelError, SimulationError
from ..graph import Body, Node
from .calling import Packing, Result, moved, read_result, same_result, seed_globals
from .cases import Cases
from .generators import generators
from .outcome import Outcome, assemble, judged, raised
from .rows import fresh
from .status import Status

__all__ = ["Calls", "Moving", "singly"]

#: Calls that are repeated in a first batch to see whether a body keeps state, and for how many calls one is repeated later.
REPEATED, LATER = 16, 64
#: Errors that are kept of a batch.
TOLD = 8


class Moving(Exception):
    """The body drew from a global random generator."""


@dataclass
class Calls:
    """How single calls are made.

    Args:
        avoid: Seeds of calls that are not made, with the status that they get: what hung or died before.
        told: Is told the seed of every call before it is made.
        draws: Only so many draws are called, when only they count.
        only: Only this draw is called.
    """

    avoid: Mapping[int, int] = field(default_factory=dict)
    told: Callable[[int], None] | None = None
    draws: int | None = None
    only: int | None = None


@dataclass(frozen=True, eq=False)
class _Batch:
    """The calls of one batch.

    Args:
        node: The node.
        body: Its body.
        columns: One for each parent, `(calls, *rest)`: a list of numbers, an array or a tensor.
        seeds: One for each call.
        moves: Whether the body draws from global generators, which are seeded for every call then.
    """

    node: Node
    body: Body
    columns: Sequence[Any]
    seeds: numpy.ndarray
    moves: bool

    @property
    def names(self) -> list[str]:
        """Of the arguments."""
        return [edge.argument for edge in self.body.parents]

    def rows(self) -> Iterable[Sequence[Any]]:
        """The arguments of every call; what a body does to them in place reaches no other call."""
        columns: list[Iterable[Any]] = []
        for column in self.columns:
            if isinstance(column, list):
                columns.append(column)
            else:
                columns.append(
                    column.clone().unbind() if isinstance(column, Tensor) else column.copy()
                )
        return zip(*columns, strict=True) if columns else repeat(())

    def row(self, i: int) -> list[Any]:
        """The arguments of one call."""
        return [fresh(column[i]) for column in self.columns]

    def again(self, i: int) -> Result:
        """One call, from its seed."""
        if self.moves:
            seed_globals(int(self.seeds[i]))
        named = dict(zip(self.names, self.row(i), strict=True))
        if self.body.rng:
            named["rng"] = numpy.random.default_rng(int(self.seeds[i]))
        return read_result(self.node, self.body, self.body.function(**named))


def singly(
    node: Node,
    body: Body,
    arguments: Sequence[Tensor],
    shape: tuple[int, ...],
    seed: int,
    *,
    moves: bool,
    record: bool,
    calls: Calls,
    seen: Result | None,
    first: bool,
) -> Outcome:
    """The outcome of one call for each row of a batch.

    Args:
        node: The node.
        body: Its body.
        arguments: One for each parent, `(*batch, *rest)`.
        shape: The batch.
        seed: Decides the seed of every call.
        moves: Whether the body is known to draw from global generators.
        record: Whether failures are counted, instead of raised.
        calls: What is left out.
        seen: What a good call returned before; it tells the shape of a value, and stands in where all calls of a batch fail.
        first: Whether this is the body's first batch, which is watched more closely.

    Raises:
        Moving: If the body turns out to draw from a global generator.
        SimulationError: If a call raises and failures are not recorded, or if all of them do and no good one is known.
    """
    count = prod(shape)
    seeds = numpy.random.default_rng(seed).integers(0, 2**62, size=count)
    batch = _Batch(node, body, [_column(a, shape, body.rng) for a in arguments], seeds, moves)
    seed_globals(seed)
    members = max(prod(shape[1:]), 1)
    rows = range(min(calls.draws or shape[0], shape[0]) * members)
    if calls.only is not None:
        rows = range(calls.only * members, (calls.only + 1) * members)
    returned, status, errors = _called(batch, rows, record, calls)
    if not moves and moved(seed):
        raise Moving
    good = [i for i in rows if not status[i]]
    together = _together(node, [returned[i] for i in good]) if good else None
    results: list[Result] = []
    if together is None:
        known = None if first else seen
        good, results = _read(node, body, returned, good, status, record, known, errors)
        if not results:
            if seen is None or not record:
                raise SimulationError(
                    f"'{node.name}' ({body.where}) failed for every one of {len(rows)} draws; the first: {errors[0][1]}",
                    node.name,
                )
            results = [seen]
        outcome = assemble(node, body, results)
    else:
        outcome = together
    if good:
        _repeat(batch, outcome, results, good, first)
    outcome = _spread(node, outcome, results, good, status, shape, body)
    return replace(outcome, errors=tuple(errors))


def _column(a: Tensor, shape: tuple[int, ...], python: bool) -> list | numpy.ndarray | Tensor:
    """An argument for every call of the batch, in order."""
    lead = len(shape)
    flat = a.expand((*shape, *a.shape[lead:])).reshape((-1, *a.shape[lead:]))
    if a.dim() == lead and (python or not a.is_floating_point()):
        return flat.tolist()
    return flat.numpy() if python else flat


def _called(
    batch: _Batch, wanted: range, record: bool, calls: Calls
) -> tuple[list[Any], numpy.ndarray, list[tuple[int, str]]]:
    """What every call returned, how it ended, and the first errors."""
    node, body, names = batch.node, batch.body, batch.names
    status = numpy.zeros(len(batch.seeds), dtype=numpy.uint8)
    returned: list[Any] = [None] * len(status)
    errors: list[tuple[int, str]] = []
    seeds = batch.seeds.tolist()
    sources = generators(batch.seeds[wanted.start : wanted.stop]) if body.rng else None
    function, told, avoid = body.function, calls.told, calls.avoid
    for i, row in zip(wanted, islice(batch.rows(), wanted.start, wanted.stop), strict=True):
        named = dict(zip(names, row, strict=True))
        if sources is not None:
            named["rng"] = next(sources)
        if avoid and seeds[i] in avoid:
            status[i] = avoid[seeds[i]]
            continue
        if told is not None:
            told(seeds[i])
        if batch.moves:
            seed_globals(seeds[i])
        try:
            returned[i] = function(**named)
        except GaltonError:
            raise
        except Exception as problem:
            told_user = raised(node, body, batch.row(i), problem, seeds[i], i, batch.moves)
            if not record:
                raise told_user from problem
            if len(errors) < TOLD:
                errors.append((i, str(told_user)))
            status[i] = Status.RAISED
    return returned, status, errors


def _together(node: Node, values: list[Any]) -> Outcome | None:
    """Plain values of one kind and shape as one tensor; `None` where each must be looked at."""
    if not node.outputs:
        value = _stacked(values)
        return None if value is None else Outcome(value=value)
    keys = set(node.outputs)
    if not all(type(v) is dict and v.keys() == keys for v in values):
        return None
    parts = []
    for key in node.outputs:
        part = _stacked([v[key] for v in values])
        if part is None:
            return None
        parts.append(part)
    packing = Packing(
        tuple(tuple(p.shape[1:]) for p in parts), tuple(not p.is_floating_point() for p in parts)
    )
    flat = [p.reshape((len(p), -1)).to(torch.float64) for p in parts]
    return Outcome(value=torch.cat(flat, dim=1), packing=packing)


def _stacked(values: list[Any]) -> Tensor | None:
    """Numbers, or arrays or tensors of one shape, as one tensor, `(n, *event)`."""
    kinds = set(map(type, values))
    if all(
        issubclass(k, int | float | numpy.integer | numpy.floating | numpy.bool_) for k in kinds
    ):
        array = numpy.array(values)
    elif len(kinds) == 1 and len({v.shape for v in values if hasattr(v, "shape")}) == 1:
        if isinstance(values[0], Tensor):
            if any(v.is_complex() for v in values):
                return None
            value = torch.stack(values)
            return value.to(torch.float64 if value.is_floating_point() else torch.int64)
        if not isinstance(values[0], numpy.ndarray):
            return None
        array = numpy.stack(values)
    else:
        return None
    if array.dtype.kind not in "fiub":
        return None
    value = torch.from_numpy(array)
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)


def _read(
    node: Node,
    body: Body,
    returned: list[Any],
    good: list[int],
    status: numpy.ndarray,
    record: bool,
    seen: Result | None,
    errors: list[tuple[int, str]],
) -> tuple[list[int], list[Result]]:
    """Each returned object by itself; where failures are recorded, what is no value of this node is one."""
    results: dict[int, Result] = {}
    for i in good:
        try:
            result = read_result(node, body, returned[i])
        except ModelError as problem:
            if not record:
                raise
            errors.append((i, str(problem)))
            status[i] = Status.MALFORMED
            continue
        results[i] = result
    shapes = [tuple(r.value.shape) for r in results.values() if r.value is not None]
    if record and shapes and not node.outputs:
        known = seen is not None and seen.value is not None
        event = tuple(seen.value.shape) if known else max(shapes, key=shapes.count)  # type: ignore[union-attr]
        for i, result in list(results.items()):
            if result.value is not None and tuple(result.value.shape) != event:
                errors.append(
                    (i, f"'{node.name}' gave the shape {tuple(result.value.shape)}, not {event}.")
                )
                status[i] = Status.MALFORMED
                del results[i]
    del errors[TOLD:]
    return list(results), list(results.values())


def _repeat(
    batch: _Batch, outcome: Outcome, results: list[Result], good: list[int], first: bool
) -> None:
    """Call some rows again: a body that answers otherwise keeps state."""
    n = len(good)
    if first and n <= REPEATED:
        places = list(range(n))
    else:
        some = REPEATED if first else max(n // LATER, 1)
        rng = numpy.random.default_rng(int(batch.seeds[0]) + 1)
        places = rng.integers(0, n, size=some).tolist()
        places += [0, n - 1] if first else []
    for k in sorted(set(places)):
        if results:
            before = results[k]
        else:
            assert outcome.value is not None
            before = Result(value=outcome.value[k])
        try:
            again = batch.again(good[k])
        except Exception as error:
            raise _stateful(batch) from error
        if again.value is not None and before.value is not None:
            again = Result(value=again.value.to(before.value.dtype))
        if not same_result(before, again):
            raise _stateful(batch)


def _stateful(batch: _Batch) -> ModelError:
    return ModelError(
        f"'{batch.node.name}' ({batch.body.where}) changed its answer between two equal calls under one seed: it "
        "keeps state or hides randomness. Ask for an argument named rng."
    )


def _spread(
    node: Node,
    outcome: Outcome,
    results: list[Result],
    good: list[int],
    status: numpy.ndarray,
    shape: tuple[int, ...],
    body: Body,
) -> Outcome:
    """The outcome over the whole batch: a row without a value borrows the first one's, so that bodies further down never see nonsense; the status tells."""
    count = prod(shape)
    if len(good) < count:
        source = numpy.zeros(count, dtype=numpy.int64)
        source[good] = numpy.arange(len(good))
        if results:
            outcome = assemble(node, body, [results[k] for k in source.tolist()])
        else:
            assert outcome.value is not None
            outcome = replace(outcome, value=outcome.value[torch.from_numpy(source)])
    marked = torch.from_numpy(status)
    if isinstance(outcome.distribution, Cases):
        cases = Cases(shape, outcome.distribution.parts)
        return Outcome(distribution=cases, status=marked if bool(marked.any()) else None)
    if outcome.distribution is not None:
        tensors = {
            k: v.reshape((*shape, *v.shape[1:])) for k, v in outcome.distribution.parameters.items()
        }
        d = outcome.distribution.lift(tensors, len(shape))
        return Outcome(distribution=d, status=marked if bool(marked.any()) else None)
    assert outcome.value is not None
    value = outcome.value.reshape((*shape, *outcome.value.shape[1:]))
    return judged(node, replace(outcome, value=value, status=marked), shape)
