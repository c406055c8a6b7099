"""What a body gave for a whole batch, put together from single calls or from parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..distributions import Distribution
from ..errors import ModelError, SimulationError
from ..graph import Body, Node
from .calling import Packing, Result, checked
from .cases import Cases, stack
from .rows import first_line, short
from .status import Status

__all__ = ["Outcome", "assemble", "judged", "merge", "raised"]


@dataclass(frozen=True)
class Outcome:
    """What a body gave for a whole batch.

    Args:
        distribution: With `batch_shape` equal to the batch, or `None` for a value.
        value: `(*batch, *event)`, where axes that nothing varies along may have size 1.
        status: Of the rows of the batch, flattened (`Status`); `None` when every one is well.
        errors: The first exceptions: the row of the batch, and what was said.
        packing: How the outputs of a dict lie in the value.
    """

    distribution: Distribution | Cases | None = None
    value: Tensor | None = None
    status: Tensor | None = None
    errors: tuple[tuple[int, str], ...] = ()
    packing: Packing | None = None


def raised(
    node: Node,
    body: Body,
    arguments: Sequence[Any],
    error: Exception,
    seed: int | None = None,
    draw: int | None = None,
    moves: bool = False,
) -> SimulationError:
    """What to say of a call that raised: where, with which arguments, and how to replay it."""
    given = ", ".join(
        f"{e.argument}={short(v)}" for e, v in zip(body.parents, arguments, strict=True)
    )
    at = "" if draw is None else f" at draw {draw}"
    replay = ""
    if seed is not None and body.rng:
        replay = f" Replay it with rng=numpy.random.default_rng({seed})."
    elif seed is not None and moves:
        replay = f" Replay it after numpy.random.seed({seed % 2**32})."
    return SimulationError(
        f"'{node.name}' ({body.where}) raised {type(error).__name__}: {first_line(error)}{at}, called with "
        f"({given}).{replay}",
        node.name,
        seed,
    )


def judged(node: Node, outcome: Outcome, shape: tuple[int, ...]) -> Outcome:
    """The outcome of a simulator, with its rows that are NaN or infinite marked."""
    value, status = outcome.value, outcome.status
    if value is not None and not node.determined and value.is_floating_point():
        bad = ~torch.isfinite(value)
        if bool(bad.any()):
            rows = bad.reshape((*bad.shape[: len(shape)], -1)).any(dim=-1)
            rows = rows.expand(shape).reshape(-1)
            if status is None:
                status = torch.zeros(len(rows), dtype=torch.uint8)
            status = torch.where(rows & (status == 0), int(Status.NOT_FINITE), status)
            status = status.to(torch.uint8)
    if status is not None and not bool(status.any()):
        status = None
    return replace(outcome, status=status)


def assemble(node: Node, body: Body, results: Sequence[Result]) -> Outcome:
    """One outcome with one batch axis from single results."""
    kinds = {r.distribution is not None for r in results}
    if len(kinds) > 1:
        raise ModelError(
            f"'{node.name}' ({body.where}) returns a distribution for some parents and a value for others; "
            "wrap the value as Delta(value)."
        )
    if kinds == {True}:
        try:
            batch = stack([r.distribution for r in results])  # type: ignore[misc]
        except ModelError as error:
            raise ModelError(f"'{node.name}' ({body.where}): {error}.") from error
        checked(node, body, batch)  # type: ignore[arg-type]
        return Outcome(distribution=batch)
    values = [r.value for r in results if r.value is not None]
    shapes = {tuple(v.shape) for v in values}
    if len(shapes) > 1:
        raise ModelError(
            f"'{node.name}' ({body.where}) returns values whose shape changes from draw to draw: "
            f"{', '.join(str(s) for s in sorted(shapes))}."
        )
    floating = any(v.is_floating_point() for v in values)
    value = torch.stack([v.to(torch.float64) if floating else v for v in values])
    return Outcome(value=value, packing=one_packing(node, body, [r.packing for r in results]))


def one_packing(node: Node, body: Body, packings: Sequence[Packing | None]) -> Packing | None:
    """One packing for all draws: equal shapes, whole numbers only where every draw has them."""
    distinct = list(dict.fromkeys(packings))
    if len(distinct) == 1:
        return distinct[0]
    known = [p for p in distinct if p is not None]
    if len({p.shapes for p in known}) > 1:
        raise ModelError(
            f"'{node.name}' ({body.where}) returns outputs whose shapes change from draw to draw."
        )
    return Packing(known[0].shapes, tuple(map(all, zip(*(p.integral for p in known), strict=True))))


def merge(
    node: Node, body: Body, parts: Sequence[tuple[Tensor, Outcome]], shape: tuple[int, ...]
) -> Outcome:
    """Parts that each serve some rows, as one outcome over the batch."""
    distributions = [o.distribution for _, o in parts if isinstance(o.distribution, Distribution)]
    values = [o.value for _, o in parts if o.value is not None]
    rows = [index for index, _ in parts]
    if distributions and values:
        raise ModelError(
            f"'{node.name}' ({body.where}) returns a distribution for some parents and a value for "
            "others; wrap the value as Delta(value)."
        )
    order = torch.argsort(torch.cat(rows))

    def joined(pieces: list[Tensor]) -> Tensor:
        """Pieces for some rows each, put in order and given the shape of the batch."""
        full = [
            piece.expand((len(index), *piece.shape[1:]))
            for index, piece in zip(rows, pieces, strict=True)
        ]
        whole = torch.cat(full)[order]
        return whole.reshape((*shape, *whole.shape[1:]))

    if values:
        if len({v.shape[1:] for v in values}) > 1:
            raise ModelError(
                f"'{node.name}' ({body.where}) returns values whose shape depends on its parents."
            )
        floating = any(v.is_floating_point() for v in values)
        packing = one_packing(node, body, [o.packing for _, o in parts])
        return Outcome(
            value=joined([v.to(torch.float64) if floating else v for v in values]), packing=packing
        )
    first = distributions[0]
    same = all(
        d.family == first.family
        and all(d.parameters[k].shape[1:] == v.shape[1:] for k, v in first.parameters.items())
        for d in distributions
    )
    if not same:
        try:
            return Outcome(distribution=Cases(shape, list(zip(rows, distributions, strict=True))))
        except ModelError as error:
            raise ModelError(f"'{node.name}' ({body.where}): {error}.") from error
    tensors = {k: joined([d.parameters[k] for d in distributions]) for k in first.parameters}
    return Outcome(distribution=first.lift(tensors, len(shape)))
