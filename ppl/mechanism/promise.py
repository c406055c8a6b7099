"""The promise `vectorized=True`: a body takes whole batches, and every draw gets its own noise.

It is tried on eight rows before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NoReturn

import torch
from torch import Tensor

from ..errors import ModelError
from ..graph import Body, Node
from .calling import Result, seed_globals
from .rows import alike, flattened

__all__ = ["ROWS", "complain", "prove"]

#: Rows of a trial.
ROWS = 8

Call = Callable[[list, int], Result]


def prove(
    node: Node, body: Body, call: Call, arguments, shape: tuple[int, ...], seed: int
) -> Result:
    """Refuse a body whose draws depend on one another or share their noise; what it gave for a few rows.

    Args:
        node: The node.
        body: Its body.
        call: Calls the body with a batch, under a seed.
        arguments: One for each parent, `(*batch, *rest)`.
        shape: The batch.
        seed: Of the trials.

    Raises:
        ModelError: It says which part of the promise is broken.
    """
    n, count = ROWS, prod(shape)
    flat = [flattened(a, shape) for a in arguments]
    rows = torch.arange(n) * count // n % count
    if flat and count >= n:
        # The extremes are among the rows, so that a rare value is met too.
        first = flat[0].reshape((count, -1))[:, 0]
        rows[0], rows[-1] = first.argmin(), first.argmax()
    mixed = [a[rows].clone() for a in flat]
    same = [a[:1].expand((n, *a.shape[1:])).clone() for a in flat]
    result = _try(body, call, mixed, seed)
    whole = _tensors(result)
    if any(t.dim() == 0 or t.shape[0] != n for t in whole) and flat:
        complain(
            node,
            body,
            f"for {n} draws it must return a leading axis of {n}, but returned the shape "
            f"{tuple(whole[0].shape)}",
        )
    if not all(map(alike, whole, _tensors(_try(body, call, mixed, seed)))):
        raise ModelError(
            f"'{node.name}' ({body.where}) gave two answers under one seed: it hides "
            "randomness. Ask for an argument named rng."
        )
    for keep, change in ((slice(n // 2), slice(n // 2, n)), (slice(n // 2, n), slice(n // 2))):
        other = [a.clone() for a in mixed]
        for a in other:
            a[change] = a[keep].flip(0)
        found = _tensors(_try(body, call, other, seed))
        if flat and not all(alike(a[keep], b[keep]) for a, b in zip(whole, found, strict=True)):
            complain(
                node, body, "but mixes draws: changing some draws of the batch changed the others"
            )
    one, two = (_tensors(_try(body, call, same, s)) for s in (seed, seed + 1))
    for a, b in zip(one, two, strict=True):
        if node.determined and not alike(a, b):
            raise ModelError(
                f"'{node.name}' ({body.where}) is declared deterministic, but another seed "
                "gave another value."
            )
        if not alike(a, b) and bool((a == a[:1]).all()):
            complain(node, body, "but shares its noise between draws: draw one number for each")
    return result


def _try(body: Body, call: Call, rows: Sequence[Tensor], seed: int) -> Result:
    seed_globals(seed)
    return call([r.numpy().copy() if body.rng else r.clone() for r in rows], seed)


def _tensors(result: Result) -> list[Tensor]:
    if result.distribution is not None:
        return list(result.distribution.parameters.values())
    assert result.value is not None
    return [result.value]


def complain(node: Node, body: Body, what: str) -> NoReturn:
    """Raise what is wrong with the promise."""
    raise ModelError(f"'{node.name}' ({body.where}) promises vectorized=True: {what}.")
