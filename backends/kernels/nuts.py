"""The no-U-turn sampler, many chains at once.

Every step is one leapfrog of every chain, so that the density is evaluated for all of them in one call; a chain whose trajectory ends begins the
next one at once and waits for nobody. Trees are built iteratively with checkpoints at the left ends of subtrees. During warm-up the chains share one
step size and one mass matrix, estimated from all of them.

References:
    | The No-U-Turn Sampler (Hoffman and Gelman, 2014)
    | A conceptual introduction to Hamiltonian Monte Carlo (Betancourt, 2017): multinomial weights and the generalised criterion
    | Composable effects for flexible and accelerated probabilistic programming in NumPyro (Phan, Pradhan and Jankowiak, 2019): the iterative tree
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy
from numpy import ndarray

from .mass import Mass, StepSize

__all__ = ["Gradient", "Trace", "nuts"]

#: log p and its gradient of points `(chains, dimensions)`: `(chains,)` and `(chains, dimensions)`.
Gradient = Callable[[ndarray], tuple[ndarray, ndarray]]
#: Trajectories of each chain in warm-up: before the mass matrix is looked at, in each window that renews it, and after the last.
FIRST, WINDOWS, LAST = 20, (10, 20, 40, 80), 20
#: The acceptance statistic that the step size aims at.
TARGET = 0.8
#: A trajectory whose energy errs by more than this has diverged.
ERROR = 1000.0


@dataclass(eq=False)
class Trace:
    """What the chains did after warm-up.

    Args:
        draws: `(chains, draws, dimensions)`.
        energy: The energy at the start of each trajectory, `(chains, draws)`.
        divergences: How many trajectories diverged.
        depths: The depth of each tree, `(chains, draws)`.
        step_size: After warm-up.
        seconds: Of warm-up, and of sampling.
        evaluations: Gradients of single points.
        complete: Whether the budget sufficed for all draws.
    """

    draws: ndarray
    energy: ndarray
    depths: ndarray
    divergences: int
    step_size: float
    seconds: tuple[float, float]
    evaluations: int
    complete: bool = True
    saturated: int = 0
    notes: list[str] = field(default_factory=list)


class _Chains:
    """The state of all chains' trajectories, one row each."""

    def __init__(self, gradient: Gradient, start: ndarray, rng: numpy.random.Generator, depth: int):
        chains, dim = start.shape
        self.gradient, self.rng, self.depth_limit = gradient, rng, depth
        self.q = start.copy()  # where each chain stands between trajectories
        self.lp, self.g = gradient(self.q)
        shape = (chains, dim)
        self.mass = Mass(dim)
        self.step = StepSize(TARGET)
        # Both ends of the tree, and the end that moves.
        self.left, self.right = [numpy.zeros((3, *shape)) for _ in range(2)]
        self.move = numpy.zeros((3, *shape))  # position, momentum, gradient
        self.direction, self.size = numpy.ones(chains), numpy.ones(chains)
        self.h0 = numpy.zeros(chains)
        self.depth = numpy.zeros(chains, dtype=int)
        self.leaf = numpy.zeros(chains, dtype=int)
        self.weight, self.sub_weight = numpy.zeros(chains), numpy.zeros(chains)
        self.rho, self.sub_rho = numpy.zeros(shape), numpy.zeros(shape)
        self.best = [self.q.copy(), self.lp.copy(), self.g.copy()]
        self.sub = [self.q.copy(), self.lp.copy(), self.g.copy()]
        self.check_p = numpy.zeros((chains, depth + 1, dim))
        self.check_rho = numpy.zeros((chains, depth + 1, dim))
        self.accept, self.leaves = numpy.zeros(chains), numpy.zeros(chains)
        self.rows = numpy.arange(chains)
        self.begin(numpy.ones(chains, dtype=bool))

    def begin(self, which: ndarray) -> None:
        """New momenta, and trees of one leaf."""
        rows = which.nonzero()[0]
        p = self.mass.momentum(self.rng, len(rows))
        self.h0[rows] = -self.lp[rows] + self.mass.kinetic(p)
        state = numpy.stack([self.q[rows], p, self.g[rows]])
        self.left[:, rows] = self.right[:, rows] = state
        self.depth[rows] = 0
        self.weight[rows] = 0.0
        self.rho[rows] = p
        for kept, now in zip(self.best, (self.q, self.lp, self.g), strict=True):
            kept[rows] = now[rows]
        self.accept[rows] = self.leaves[rows] = 0.0
        self.size[rows] = self.step.now
        self.extend(rows)

    def extend(self, rows: ndarray) -> None:
        """Start a subtree at one end, chosen at random."""
        forward = self.rng.random(len(rows)) < 0.5
        self.direction[rows] = numpy.where(forward, 1.0, -1.0)
        self.move[:, rows] = numpy.where(forward[:, None], self.right[:, rows], self.left[:, rows])
        self.leaf[rows] = 0
        self.sub_weight[rows] = -numpy.inf
        self.sub_rho[rows] = 0.0

    def leapfrog(self) -> tuple[ndarray, ndarray, ndarray]:
        """One step of every chain; returns which trajectories ended, which of them diverged, and which reached the depth limit."""
        q, p, g = self.move
        eps = (self.size * self.direction)[:, None]
        p += 0.5 * eps * g
        q += eps * self.mass.velocity(p)
        lp, slope = self.gradient(q)
        g[...] = slope
        p += 0.5 * eps * g
        delta = self.h0 + lp - self.mass.kinetic(p)
        delta = numpy.where(numpy.isfinite(delta), delta, -numpy.inf)
        diverged = delta < -ERROR
        self.accept += numpy.exp(numpy.minimum(delta, 0.0))
        self.leaves += 1
        total = numpy.logaddexp(self.sub_weight, delta)
        with numpy.errstate(invalid="ignore"):
            take = self.rng.random(len(total)) < numpy.exp(delta - total)
        for kept, now in zip(self.sub, (q, lp, g), strict=True):
            kept[take] = now[take]
        self.sub_weight = total
        self.sub_rho += p
        turning = self._turning_inside(p)
        complete = (self.leaf + 1) == (1 << self.depth)
        stop = diverged | turning
        self.leaf += 1
        joined = complete & ~stop
        deepest = self._join(joined.nonzero()[0])
        stop[joined] = deepest[0]
        return stop, diverged, deepest[1]

    def _turning_inside(self, p: ndarray) -> ndarray:
        """Whether a subtree that ends at this leaf turns back on itself."""
        leaf = self.leaf
        bits = _ones(leaf >> 1)
        even = (leaf & 1) == 0
        rows = even.nonzero()[0]
        self.check_p[rows, bits[rows]] = p[rows]
        self.check_rho[rows, bits[rows]] = self.sub_rho[rows]
        turning = numpy.zeros(len(leaf), dtype=bool)
        odd = (~even).nonzero()[0]
        if not len(odd):
            return turning
        last = bits[odd] - _trailing_ones(leaf[odd]) + 1
        at = bits[odd].copy()
        while len(odd):
            first = self.check_p[odd, at]
            rho = self.sub_rho[odd] - self.check_rho[odd, at] + first
            turning[odd] |= self._turns(first, p[odd], rho)
            on = (at > last) & ~turning[odd]
            odd, at, last = odd[on], at[on] - 1, last[on]
        return turning

    def _turns(self, first: ndarray, last: ndarray, rho: ndarray) -> ndarray:
        velocity = self.mass.velocity(rho - 0.5 * (first + last))
        return ((first * velocity).sum(axis=1) <= 0) | ((last * velocity).sum(axis=1) <= 0)

    def _join(self, rows: ndarray) -> tuple[ndarray, ndarray]:
        """Whole subtrees become part of their trees: which trajectories end by that, and which only because of their depth."""
        if not len(rows):
            return numpy.zeros(0, dtype=bool), numpy.zeros(0, dtype=bool)
        take = numpy.log(self.rng.random(len(rows))) < self.sub_weight[rows] - self.weight[rows]
        for kept, new in zip(self.best, self.sub, strict=True):
            kept[rows[take]] = new[rows[take]]
        forward = self.direction[rows] > 0
        self.right[:, rows[forward]] = self.move[:, rows[forward]]
        self.left[:, rows[~forward]] = self.move[:, rows[~forward]]
        self.weight[rows] = numpy.logaddexp(self.weight[rows], self.sub_weight[rows])
        self.rho[rows] += self.sub_rho[rows]
        self.depth[rows] += 1
        turned = self._turns(self.left[1, rows], self.right[1, rows], self.rho[rows])
        deepest = (self.depth[rows] >= self.depth_limit) & ~turned
        on = ~(turned | deepest)
        self.extend(rows[on])
        return turned | deepest, deepest


def nuts(
    gradient: Gradient,
    start: ndarray,
    draws: int,
    seed: int,
    *,
    depth: int = 10,
    target: float = TARGET,
    stretch: float = 1.0,
    until: float = numpy.inf,
    whole: Callable[[], None] | None = None,
) -> Trace:
    """Sample with many chains.

    Args:
        gradient: The log density and its gradient.
        start: Where the chains begin, `(chains, dimensions)`; their densities must be positive.
        draws: Draws of each chain after warm-up.
        seed: Decides every random number.
        depth: The deepest tree, in doublings.
        target: The acceptance statistic that the step size aims at.
        stretch: How many times longer than usual the warm-up is.
        until: When to stop, as `time.monotonic()` tells it.
        whole: Called after every step, for a progress bar.
    """
    began = time.monotonic()
    rng = numpy.random.default_rng(seed)
    evaluations = [0]

    def counted(q: ndarray) -> tuple[ndarray, ndarray]:
        evaluations[0] += len(q)
        with numpy.errstate(all="ignore"):
            return gradient(q)

    chains = len(start)
    state = _Chains(counted, numpy.array(start, dtype=float), rng, depth)
    state.step = StepSize(target)
    state.step.guess(counted, state.q, state.lp, state.g, state.mass, rng)
    windows = [int(n * stretch) for n in WINDOWS]
    bounds = numpy.cumsum([int(FIRST * stretch), *windows]) * chains
    end = bounds[-1] + int(LAST * stretch) * chains
    held: list[ndarray] = []
    enough = max(chains * 3 // 4, 1)
    finished, window = 0, 0
    while finished < end and time.monotonic() < until:
        stop, _, _ = state.leapfrog()
        if whole:
            whole()
        if not stop.any():
            continue
        rows = stop.nonzero()[0]
        state.q[rows], state.lp[rows], state.g[rows] = (k[rows] for k in state.best)
        state.step.learn(state.accept[rows] / state.leaves[rows], state.size[rows], enough)
        if finished >= bounds[0]:
            held.append(state.q[rows].copy())
        finished += len(rows)
        renewed = False
        if window < len(windows) and finished >= bounds[window + 1]:
            state.mass = Mass.of(numpy.concatenate(held), state.mass)
            held, window, renewed = [], window + 1, True
            state.step.guess(counted, state.q, state.lp, state.g, state.mass, rng)
        state.begin(numpy.ones(chains, dtype=bool) if renewed else stop)
    state.step.settle()
    warm = time.monotonic()
    dim = start.shape[1]
    found = numpy.zeros((chains, draws, dim))
    energy, depths = numpy.zeros((chains, draws)), numpy.zeros((chains, draws), dtype=int)
    count = numpy.zeros(chains, dtype=int)
    divergences = saturated = 0
    state.begin(numpy.ones(chains, dtype=bool))
    while (count < draws).any() and time.monotonic() < until:
        stop, diverged, deepest = state.leapfrog()
        if whole:
            whole()
        if not stop.any():
            continue
        state.q[stop], state.lp[stop], state.g[stop] = (k[stop] for k in state.best)
        open_ = stop & (count < draws)
        rows = open_.nonzero()[0]
        found[rows, count[rows]] = state.q[rows]
        energy[rows, count[rows]] = state.h0[rows]
        depths[rows, count[rows]] = state.depth[rows]
        divergences += int((diverged & open_).sum())
        saturated += int(deepest.sum())
        count[rows] += 1
        state.begin(stop)
    least = int(count.min())
    return Trace(
        found[:, :least],
        energy[:, :least],
        depths[:, :least],
        divergences,
        state.step.now,
        (warm - began, time.monotonic() - warm),
        evaluations[0],
        complete=least == draws,
        saturated=saturated,
    )


def _ones(n: ndarray) -> ndarray:
    """How many bits are set."""
    count = numpy.zeros_like(n)
    while n.any():
        count += n & 1
        n = n >> 1
    return count


def _trailing_ones(n: ndarray) -> ndarray:
    """How many of the lowest bits are set without a gap."""
    return _ones((n ^ (n + 1)) >> 1)
