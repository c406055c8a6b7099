"""Bodies that branch on their arguments, lifted all the same: every path that some row takes is followed once, for the rows that take it.

Under vmap a tensor has no truth value of its own. Here it gets the one that a script says, and what it would have been for each row is noted; rows
that the script does not fit follow a script of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..graph import Body, Node
from .lifting import Unfit, lift
from .outcome import Outcome
from .rows import flattened

__all__ = ["follow"]

#: Paths through one body, and decisions on one path.
PATHS, DECISIONS = 16, 64


class Scripted(TorchFunctionMode):
    """Truth values of batched tensors come from a script, and are true beyond its end.

    Args:
        script: The first decisions.
    """

    def __init__(self, script: Sequence[bool]):
        super().__init__()
        self.script, self.met = tuple(script), []  # type: tuple[bool, ...], list[Tensor]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__bool__ and torch._C._functorch.is_batchedtensor(args[0]):
            if len(self.met) >= DECISIONS:
                raise Unfit(f"the body takes more than {DECISIONS} decisions")
            self.met.append(args[0].to(torch.bool))
            return self.decision(len(self.met) - 1)
        return func(*args, **(kwargs or {}))

    def decision(self, i: int) -> bool:
        """The truth value that the i-th tensor got."""
        return self.script[i] if i < len(self.script) else True


def follow(
    node: Node, body: Body, arguments: Sequence[Tensor], shape: tuple[int, ...]
) -> list[tuple[Tensor, Outcome]]:
    """Rows of the flattened batch, and their outcome, by path.

    Raises:
        Unfit: If vmap cannot call the body for another reason, or there are too many paths.
    """
    flat = [flattened(a, shape) for a in arguments]
    parts: list[tuple[Tensor, Outcome]] = []
    waiting: list[tuple[Tensor, tuple[bool, ...]]] = [(torch.arange(len(flat[0])), ())]
    while waiting:
        rows, script = waiting.pop()
        mine = [a[rows] for a in flat]
        mode = Scripted(script)
        outcome = lift(node, body, mine, (len(rows),), {}, mode)
        taken = tuple(mode.decision(i) for i in range(len(mode.met)))
        fits = torch.ones(len(rows), dtype=torch.bool)
        for i, met in enumerate(mode.met):
            other = fits & (met.reshape(-1) != taken[i])
            if bool(other.any()):
                waiting.append((rows[other], (*taken[:i], not taken[i])))
                fits = fits & ~other
        if bool(fits.all()):
            parts.append((rows, outcome))
        elif bool(fits.any()):
            # Once more for the rows of this path alone: what it computes for others may be no number, and so would be its derivative.
            waiting.append((rows[fits], taken))
        if len(parts) + len(waiting) > PATHS:
            raise Unfit(f"the body takes more than {PATHS} paths")
    return parts
