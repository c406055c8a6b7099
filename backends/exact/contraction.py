"""Tensor contraction: the evidence of a wide network as one contraction of all its factors, whose gradients are the marginals.

Where cliques are large and factors few, pairwise contraction never makes a clique's whole table. The derivative of the sum with respect to a factor,
times the factor, is the factor's share of the joint (Darwiche 2003); automatic differentiation gives all of them for the price of about one more
contraction.

References:
    | A differential approach to inference in Bayesian networks (Darwiche, 2003)
    | opt_einsum: a Python package for optimizing contraction order (Smith and Gray, 2018), for the path
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy
import torch
from numpy import ndarray
from opt_einsum.path_random import RandomGreedy
from torch import Tensor

from .tree import Source

__all__ = ["Contraction", "Path", "path", "worth"]

#: Paths that are tried.
TRIALS = 8
#: Measured on one core: a pairwise contraction with its gradient beside its arithmetic, and one multiplication, in nanoseconds.
PAIR, FLOP = 200_000, 1.0
#: Nanoseconds for one pair of factors that share a variable, in one trial of the search.
CANDIDATE = 25_000


class Path:
    """In which order factors are contracted.

    Args:
        steps: Pairs of positions in the list of what is left; the result goes to its end.
        flops: Multiplications.
    """

    def __init__(self, steps: Sequence[tuple[int, ...]], flops: float):
        self.steps, self.flops = steps, flops

    @property
    def predicted(self) -> float:
        """Nanoseconds that the contraction and its gradient should take."""
        return PAIR * len(self.steps) + FLOP * self.flops


def path(scopes: Sequence[Sequence[int]], sizes: Sequence[int]) -> Path:
    """The best of a few random greedy paths; the same for equal networks."""
    state = random.getstate()  # opt_einsum seeds Python's generator
    try:
        search = RandomGreedy(max_repeats=TRIALS)
        inputs = [frozenset(scope) for scope in scopes]
        steps = search(inputs, frozenset(), dict(enumerate(sizes)))  # type: ignore[arg-type]
    finally:
        random.setstate(state)
    return Path(steps, float(search.best["flops"]))


class Contraction:
    """The arithmetic of a contraction for one observation; the same questions as `Propagation`.

    Args:
        sources: The factors' scopes and shapes.
        fixed: For each source its table, or `None` where every observation has its own.
        wanted: Sets of variables whose joint marginals are to be found; each lies in one factor, or is one variable.
        found: The path.
        buffers: Sources that somebody else allocates, and under -1 the array that they are slices of.
    """

    scaled = False

    def __init__(
        self,
        sources: Sequence[Source],
        fixed: Sequence[ndarray | None],
        wanted: Sequence[tuple[int, ...]],
        found: Path,
        buffers: Mapping[int, ndarray],
    ):
        self.buffer = buffers[-1]
        self.log_scale, self.logs = numpy.zeros(1), numpy.zeros(1)
        self.sources = [
            table[..., None]
            if table is not None
            else buffers[i]
            if i in buffers
            else numpy.empty((len(s.scopes), *s.shape, 1))
            for i, (s, table) in enumerate(zip(sources, fixed, strict=True))
        ]
        # Each member of a source is a tensor of its own, in the order in which the path was made.
        self._scopes: list[tuple[int, ...]] = []
        self._leaves: list[Tensor] = []
        for source, array in zip(sources, self.sources, strict=True):
            for m, scope in enumerate(source.scopes):
                if scope:
                    self._scopes.append(tuple(scope))
                    self._leaves.append(torch.from_numpy(array[m if len(array) > 1 else 0][..., 0]))
        self._steps = self._lay_out(found)
        self._wanted = [self._place(v) for v in dict.fromkeys(wanted)]
        self._gradients: list[Tensor] = []
        self._values: list[Tensor] = []
        self.evidence = numpy.ones(1)

    def _lay_out(self, found: Path) -> list[tuple]:
        """Each step as an einsum over letters of its own."""
        left = list(self._scopes)
        counts: dict[int, int] = {}
        for scope in left:
            for v in scope:
                counts[v] = counts.get(v, 0) + 1
        steps = []
        for pair in found.steps:
            scopes = [left[i] for i in sorted(pair, reverse=True)]
            for i in sorted(pair, reverse=True):
                del left[i]
            for scope in scopes:
                for v in scope:
                    counts[v] -= 1
            union = list(dict.fromkeys(v for scope in scopes for v in scope))
            out = tuple(v for v in union if counts[v])
            for v in out:
                counts[v] += 1
            left.append(out)
            letter = {v: k for k, v in enumerate(union)}
            steps.append(
                (
                    sorted(pair, reverse=True),
                    [[letter[v] for v in scope] for scope in scopes],
                    [letter[v] for v in out],
                )
            )
        return steps

    def _place(self, variables: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The smallest factor that holds some variables, and their axes."""
        holding = [f for f, scope in enumerate(self._scopes) if set(variables) <= set(scope)]
        best = min(holding, key=lambda f: self._leaves[f].numel())
        return best, tuple(self._scopes[best].index(v) for v in variables)

    def run(self, down: bool = True) -> None:
        """The contraction, and its gradients where marginals are wanted."""
        down = down and bool(self._wanted)
        with torch.enable_grad() if down else torch.no_grad():
            self._values = [leaf.detach().requires_grad_(down) for leaf in self._leaves]
            left = list(self._values)
            for places, inputs, out in self._steps:
                operands: list = []
                for i, letters in zip(places, inputs, strict=True):
                    operands += [left.pop(i), letters]
                left.append(torch.einsum(*operands, out))
            total = torch.stack([t.reshape(()) for t in left]).prod()
            self.evidence = total.detach().numpy().reshape(1)
            if down:
                needed = sorted({f for f, _ in self._wanted})
                grads = torch.autograd.grad(
                    total, [self._values[f] for f in needed], allow_unused=True
                )
                self._gradients = dict(zip(needed, grads, strict=True))  # type: ignore[assignment]

    def marginals(self) -> ndarray:
        """Every wanted table of the last run, one after the other, `(cells, 1)`."""
        found = []
        for f, axes in self._wanted:
            value, gradient = self._values[f].detach(), self._gradients[f]
            share = value if gradient is None else value * gradient
            gone = [a for a in range(share.dim()) if a not in axes]
            table = share.sum(dim=gone) if gone else share
            table = table.permute([sorted(axes).index(a) for a in axes]).reshape(-1)
            found.append(table / table.sum().clamp(min=1e-300))
        return torch.cat(found).numpy()[:, None] if found else numpy.empty((0, 1))


def worth(
    scopes: Sequence[tuple[int, ...]], sizes: Sequence[int], nanoseconds: float
) -> Path | None:
    """A path, if contraction should take less time than this, and the search for one no longer."""
    shared = Counter(v for scope in scopes for v in scope)
    search = TRIALS * CANDIDATE * sum(n * (n - 1) // 2 for n in shared.values())
    if len(scopes) < 2 or PAIR * len(scopes) > nanoseconds or search > nanoseconds:
        return None
    found = path(scopes, sizes)
    return found if found.predicted < nanoseconds else None
