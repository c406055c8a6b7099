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
from dataclasses import dataclass, replace

import numpy
from numpy import ndarray

from .mass import Mass, StepSize

__all__ = ["TARGET", "Gradient", "Trace", "nuts"]

#: log p and its gradient of points `(chains, dimensions)`: `(chains,)` and `(chains, dimensions)`.
Gradient = Callable[[ndarray], tuple[ndarray, ndarray]]
#: Warm-up: trajectories of each chain before the mass matrix is looked at; draws of all chains together, and trajectories of each at least, in
#: every window that renews it; trajectories after the last.
FIRST, WINDOWS, LAST = 20, ((150, 8), (300, 10), (600, 15), (1200, 20)), 15
#: By number: how many bits are set, and how many of the lowest without a gap.
ONES = numpy.array([bin(n).count("1") for n in range(2**12)])
TRAILING = numpy.array([(n ^ (n + 1)).bit_length() - 1 for n in range(2**12)])
#: The deepest tree of warm-up: while the mass matrix is poor, longer ones teach little.
LEARNING = 7
#: The acceptance statistic that the step size aims at.
TARGET = 0.95
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
        mass: The mass matrix after warm-up.
        complete: Whether the budget sufficed for all draws.
    """

    draws: ndarray
    energy: ndarray
    depths: ndarray
    divergences: int
    step_size: float
    seconds: tuple[float, float]
    evaluations: int
    mass: Mass
    complete: bool = True

    def then(self, more: Trace) -> Trace:
        """This trace with another one that went on from its end."""
        return replace(
            more,
            draws=numpy.concatenate([self.draws, more.draws], axis=1),
            energy=numpy.concatenate([self.energy, more.energy], axis=1),
            depths=numpy.concatenate([self.depths, more.depths], axis=1),
            divergences=self.divergences + more.divergences,
            seconds=(self.seconds[0], self.seconds[1] + more.seconds[1]),
            evaluations=self.evaluations + more.evaluations,
        )


class _Chains:
    """The state of all chains' trajectories, one row each; a state is a position, a momentum, a gradient and a log density side by side."""

    def __init__(self, gradient: Gradient, start: ndarray, rng: numpy.random.Generator, depth: int):
        chains, dim = start.shape
        self.gradient, self.rng, self.depth_limit, self.dim = gradient, rng, depth, dim
        self.mass, self.step = Mass(dim), StepSize(TARGET)
        wide = (chains, 3 * dim + 1)
        self.here = numpy.zeros(wide)  # where each chain stands between trajectories
        self.here[:, :dim] = start
        self.here[:, -1], self.here[:, 2 * dim : -1] = gradient(start)
        # Both ends of the tree, the end that moves, and what the tree and the subtree propose.
        self.left, self.right, self.move = (numpy.zeros(wide) for _ in range(3))
        self.best, self.sub = numpy.zeros(wide), numpy.zeros(wide)
        self.direction, self.size = numpy.ones(chains), numpy.ones(chains)
        self.h0 = numpy.zeros(chains)
        self.depth, self.leaf = numpy.zeros((2, chains), dtype=int)
        self.weight, self.sub_weight = numpy.zeros(chains), numpy.zeros(chains)
        self.rho, self.sub_rho = numpy.zeros((2, chains, dim))
        self.check = numpy.zeros((chains, depth + 1, 2 * dim))  # momentum and sum of momenta
        self.accept, self.leaves = numpy.zeros(chains), numpy.zeros(chains)
        self.begin(numpy.arange(chains))

    def begin(self, rows: ndarray) -> None:
        """New momenta, and trees of one leaf."""
        d = self.dim
        p = self.mass.momentum(self.rng, len(rows))
        state = self.here[rows]
        state[:, d : 2 * d] = p
        self.h0[rows] = self.mass.kinetic(p) - state[:, -1]
        self.left[rows] = self.right[rows] = self.best[rows] = state
        self.depth[rows] = 0
        self.weight[rows] = 0.0
        self.rho[rows] = p
        self.accept[rows] = self.leaves[rows] = 0.0
        self.size[rows] = self.step.now
        self.extend(rows)

    def extend(self, rows: ndarray) -> None:
        """Start a subtree at one end, chosen at random."""
        forward = self.rng.random(len(rows)) < 0.5
        self.direction[rows] = numpy.where(forward, 1.0, -1.0)
        self.move[rows] = numpy.where(forward[:, None], self.right[rows], self.left[rows])
        self.leaf[rows] = 0
        self.sub_weight[rows] = -numpy.inf
        self.sub_rho[rows] = 0.0

    def leapfrog(self) -> tuple[ndarray, ndarray, ndarray]:
        """One step of every chain; returns which trajectories ended, which of them diverged, and which reached the depth limit."""
        d, move = self.dim, self.move
        q, p, g = move[:, :d], move[:, d : 2 * d], move[:, 2 * d : -1]
        eps = (self.size * self.direction)[:, None]
        p += 0.5 * eps * g
        q += eps * self.mass.velocity(p)
        lp, slope = self.gradient(q)
        g[...] = slope
        move[:, -1] = lp
        p += 0.5 * eps * slope
        delta = self.h0 + lp - self.mass.kinetic(p)
        delta[~numpy.isfinite(delta)] = -numpy.inf
        diverged = delta < -ERROR
        self.accept += numpy.exp(numpy.minimum(delta, 0.0))
        self.leaves += 1
        total = numpy.logaddexp(self.sub_weight, delta)
        # log u < log share; with both infinite nothing is taken.
        take = numpy.log(self.rng.random(len(total))) + total < delta
        self.sub[take] = move[take]
        self.sub_weight = total
        self.sub_rho += p
        turning = self._turning_inside(p)
        stop = diverged | turning
        self.leaf += 1
        joined = ((self.leaf == (1 << self.depth)) & ~stop).nonzero()[0]
        deepest = numpy.zeros(len(stop), dtype=bool)
        if len(joined):
            stop[joined], deepest[joined] = self._join(joined)
        return stop, diverged, deepest

    def _turning_inside(self, p: ndarray) -> ndarray:
        """Whether a subtree that ends at this leaf turns back on itself."""
        d, leaf = self.dim, self.leaf
        bits = ONES[leaf >> 1]
        odd = leaf & 1
        even, rows = (odd == 0).nonzero()[0], odd.nonzero()[0]
        turning = numpy.zeros(len(leaf), dtype=bool)
        if len(even):
            at = bits[even]
            self.check[even, at, :d] = p[even]
            self.check[even, at, d:] = self.sub_rho[even]
        if not len(rows):
            return turning
        at = bits[rows]
        last = at - TRAILING[leaf[rows]] + 1
        while len(rows):
            held = self.check[rows, at]
            first = held[:, :d]
            turned = self._turns(first, p[rows], self.sub_rho[rows] - held[:, d:] + first)
            turning[rows] = turned
            on = ((at > last) & ~turned).nonzero()[0]
            rows, at, last = rows[on], at[on] - 1, last[on]
        return turning

    def _turns(self, first: ndarray, last: ndarray, rho: ndarray) -> ndarray:
        velocity = self.mass.velocity(rho - 0.5 * (first + last))
        return numpy.minimum((first * velocity).sum(axis=1), (last * velocity).sum(axis=1)) <= 0

    def _join(self, rows: ndarray) -> tuple[ndarray, ndarray]:
        """Whole subtrees become part of their trees: which trajectories end by that, and which only because of their depth."""
        d = self.dim
        old, new = self.weight[rows], self.sub_weight[rows]
        take = rows[numpy.log(self.rng.random(len(rows))) < new - old]
        self.best[take] = self.sub[take]
        forward = self.direction[rows] > 0
        ahead, back = rows[forward], rows[~forward]
        self.right[ahead], self.left[back] = self.move[ahead], self.move[back]
        self.weight[rows] = numpy.logaddexp(old, new)
        self.rho[rows] += self.sub_rho[rows]
        self.depth[rows] += 1
        turned = self._turns(
            self.left[rows, d : 2 * d], self.right[rows, d : 2 * d], self.rho[rows]
        )
        deepest = (self.depth[rows] >= self.depth_limit) & ~turned
        stop = turned | deepest
        if not stop.all():
            self.extend(rows[~stop])
        return stop, deepest

    def settle(self, rows: ndarray) -> None:
        """Trajectories ended: their proposals are where the chains stand."""
        self.here[rows] = self.best[rows]


@numpy.errstate(all="ignore")
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
    warm: Trace | None = None,
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
        warm: A trace that has warmed up: the step size and the mass matrix are taken from it.
    """
    began = time.monotonic()
    rng = numpy.random.default_rng(seed)
    evaluations = [0]

    def counted(q: ndarray) -> tuple[ndarray, ndarray]:
        evaluations[0] += len(q)
        return gradient(q)

    chains, dim = start.shape
    everyone = numpy.arange(chains)
    state = _Chains(counted, numpy.array(start, dtype=float), rng, depth)
    state.depth_limit = min(depth, LEARNING)

    def guess() -> None:
        here = state.here
        q, g = here[:, :dim].copy(), here[:, 2 * dim : -1].copy()
        state.step.guess(counted, q, here[:, -1].copy(), g, state.mass, rng)

    state.step = StepSize(target)
    if warm is None:
        guess()
    else:
        state.mass, state.step.now = warm.mass, warm.step_size
    state.begin(everyone)
    windows = [int(max(-(-draws_ // chains), least) * stretch) for draws_, least in WINDOWS]
    bounds = numpy.cumsum([int(FIRST * stretch), *windows]) * chains
    end = bounds[-1] + int(LAST * stretch) * chains if warm is None else 0
    held: list[ndarray] = []
    enough = max(chains * 3 // 4, 1)
    finished, window = 0, 0
    while finished < end and time.monotonic() < until:
        stop, _, _ = state.leapfrog()
        rows = stop.nonzero()[0]
        if not len(rows):
            continue
        state.settle(rows)
        state.step.learn(state.accept[rows] / state.leaves[rows], state.size[rows], enough)
        if finished >= bounds[0]:
            held.append(state.here[rows, :dim])
        finished += len(rows)
        if window < len(windows) and finished >= bounds[window + 1]:
            state.mass = Mass.of(numpy.concatenate(held), state.mass)
            held, window = [], window + 1
            guess()
            rows = everyone
        state.begin(rows)
    state.step.settle()
    state.depth_limit = depth
    warmed = time.monotonic()
    found = numpy.zeros((chains, draws, dim))
    energy, depths = numpy.zeros((chains, draws)), numpy.zeros((chains, draws), dtype=int)
    count = numpy.zeros(chains, dtype=int)
    divergences = 0
    state.begin(everyone)
    while (count < draws).any() and time.monotonic() < until:
        stop, diverged, _ = state.leapfrog()
        rows = stop.nonzero()[0]
        if not len(rows):
            continue
        state.settle(rows)
        kept = rows[count[rows] < draws]
        found[kept, count[kept]] = state.here[kept, :dim]
        energy[kept, count[kept]] = state.h0[kept]
        depths[kept, count[kept]] = state.depth[kept]
        divergences += int(diverged[kept].sum())
        count[kept] += 1
        state.begin(rows)
    least = int(count.min())
    return Trace(
        found[:, :least],
        energy[:, :least],
        depths[:, :least],
        divergences,
        state.step.now,
        (warmed - began, time.monotonic() - warmed),
        evaluations[0],
        state.mass,
        complete=least == draws,
    )
