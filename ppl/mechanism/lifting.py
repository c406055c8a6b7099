"""Lifting: one draw's body under nested vmap, draws first, then plate members.

The tensors of the distribution that it builds are taken out of vmap and batched afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from ..errors import GaltonError
from ..graph import Body, Node
from .calling import Result, call
from .outcome import Outcome
from .rows import first_line
from .writing import FORBIDDEN, Writable

__all__ = ["TooMixed", "Unfit", "lift"]


#: Bodies that were seen to write into tensors of their own.
_WRITING: WeakSet[Body] = WeakSet()


class Unfit(Exception):
    """vmap cannot call this body; the reason is the message."""


class TooMixed(Unfit):
    """For this batch single calls are cheaper; the next batch may be another matter."""


def lift(
    node: Node,
    body: Body,
    arguments: Sequence[Tensor],
    shape: tuple[int, ...],
    bound: dict[int, int],
    script: Any = None,
) -> Outcome:
    """Nested vmap over the batch axes that any argument varies along.

    Args:
        node: The node.
        body: Its function.
        arguments: One for each parent.
        shape: The batch.
        bound: Whole numbers that the body gets as they are.
        script: Decides what batched tensors are worth as truth values (`branches.Scripted`), and learns what they were.
    """
    lead = len(shape)
    # What does not vary over the batch is bound too: whole numbers that are one number stay plain.
    bound = dict(bound)
    for i, a in enumerate(arguments):
        if i not in bound and a.dim() == lead and a.numel() == 1 and not a.is_floating_point():
            bound[i] = int(a)
    free = [i for i in range(len(arguments)) if i not in bound]
    mapped = [ax for ax in range(lead) if any(arguments[i].shape[ax] != 1 for i in free)]
    box: dict[str, Result] = {}

    def once(*tensors: Tensor) -> tuple[Tensor, ...]:
        values = [bound.get(i) for i in range(len(arguments))]
        for i, tensor in zip(free, tensors, strict=True):
            values[i] = tensor  # type: ignore[call-overload]
        with ExitStack() as modes:
            if script:
                modes.enter_context(script)
            if body in _WRITING:
                modes.enter_context(Writable(tensors))
            result = box["result"] = call(node, body, values)
        conditions = tuple(script.met) if script else ()
        if result.distribution is None:
            return (result.value, *conditions)  # type: ignore[return-value]
        if not result.distribution.family.liftable:
            raise Unfit(f"{result.distribution.family.name} keeps no tensors that could be lifted")
        return (*result.distribution.parameters.values(), *conditions)

    function: Callable = once
    for ax in reversed(mapped):
        dims = tuple(0 if arguments[i].shape[ax] != 1 else None for i in free)
        function = torch.vmap(function, in_dims=dims)
    inputs = []
    for i in free:
        keep = [ax for ax in range(lead) if arguments[i].shape[ax] != 1]
        rest = arguments[i].shape[lead:]
        # A copy: what a body does to its argument in place must not reach the parent's draws.
        inputs.append(
            arguments[i].reshape((*(arguments[i].shape[ax] for ax in keep), *rest)).clone()
        )
    try:
        outputs = function(*inputs)
    except Unfit:
        raise
    except GaltonError:
        raise
    except (
        Exception
    ) as error:  # whatever a user's function raises under vmap, a single call may not
        if body not in _WRITING and any(text in str(error) for text in FORBIDDEN):
            _WRITING.add(body)
            if script:
                script.met.clear()
            return lift(node, body, arguments, shape, bound, script)
        raise Unfit(f"vmap cannot follow it ({first_line(error)})") from error
    result = box["result"]
    sizes = [shape[ax] if ax in mapped else 1 for ax in range(lead)]
    outputs = [o.reshape((*sizes, *o.shape[len(mapped) :])) for o in outputs]
    if script is not None:
        kept = len(outputs) - len(script.met)
        outputs, script.met = outputs[:kept], [o.expand(shape) for o in outputs[kept:]]
    if result.distribution is None:
        return Outcome(value=outputs[0], packing=result.packing)
    tensors = dict(zip(result.distribution.parameters, outputs, strict=True))
    return Outcome(distribution=result.distribution.lift(tensors, lead).expand(shape))
