"""Tempered sequential Monte Carlo: from the prior to the posterior through powers of the likelihood that are found on the way.

Particles move by random walks shaped like their own cloud, by differences of other particles (which jump between modes), by Hamiltonian steps where
there is a gradient, and by new values of finite variables. They live on islands that exchange nothing, so that the spread between islands is the
error of whatever is estimated.

References:
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | A Markov chain Monte Carlo version of the genetic algorithm differential evolution (ter Braak, 2006)
    | Accelerating Markov chain Monte Carlo simulation by differential evolution with randomized subspace sampling (Vrugt et al., 2009)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from numpy import ndarray

from .mass import Mass

__all__ = ["ROUNDS", "Cloud", "smc"]

#: The share of the particles that the next power may leave effective.
KEEP = 0.5
#: Rounds of moves at each power at most, and how much of where a particle began may be left in where it is: on the way, and at the posterior.
ROUNDS, MEMORY = 40, (0.5, 0.2)
#: Beyond this many dimensions random walks are slow, and gradients are used where there are any.
WALKING = 8
#: Steps of one Hamiltonian move.
STEPS = 8

#: log prior and log likelihood of coordinates `(n, dimensions)` and codes of finite variables `(n, variables)`.
Split = Callable[[ndarray, ndarray], tuple[ndarray, ndarray]]
#: The tempered log density and its gradient, of coordinates and a power.
Tempered = Callable[[ndarray, float], tuple[ndarray, ndarray]]


@dataclass(eq=False)
class Cloud:
    """Particles of the posterior, equally weighted.

    Args:
        u: `(islands, particles, dimensions)`.
        codes: Places of the finite variables' values, `(islands, particles, variables)`.
        log_evidence: By island.
        powers: The powers of the likelihood that were passed.
        evaluations: Of the density.
        acceptance: Of the last moves.
        complete: Whether the posterior was reached within the budget.
    """

    u: ndarray
    codes: ndarray
    log_evidence: ndarray
    powers: list[float]
    evaluations: int
    acceptance: float
    complete: bool

    @property
    def evidence(self) -> tuple[float, float]:
        """The log-evidence from all islands, and its standard error."""
        top = self.log_evidence.max()
        parts = numpy.exp(self.log_evidence - top)
        mean = parts.mean()
        error = parts.std(ddof=1) / numpy.sqrt(len(parts)) / mean if len(parts) > 1 else numpy.inf
        return float(numpy.log(mean) + top), float(error)


class _State:
    """All particles, with their densities."""

    def __init__(self, split: Split, u: ndarray, codes: ndarray):
        self.split, self.u, self.codes = split, u, codes
        self.evaluations = 0
        self.prior, self.like = self.score(u, codes)

    def score(self, u: ndarray, codes: ndarray) -> tuple[ndarray, ndarray]:
        self.evaluations += len(u)
        with numpy.errstate(all="ignore"):
            prior, like = self.split(u, codes)
        bad = numpy.isnan(prior) | numpy.isnan(like) | (prior == numpy.inf) | (like == numpy.inf)
        return numpy.where(bad, -numpy.inf, prior), numpy.where(bad, -numpy.inf, like)

    def take(self, rows: ndarray) -> None:
        self.u, self.codes = self.u[rows], self.codes[rows]
        self.prior, self.like = self.prior[rows], self.like[rows]

    def offer(
        self, rows: ndarray, u: ndarray, codes: ndarray, power: float, rng, extra=0.0
    ) -> float:
        """Metropolis: move some particles to proposals, or not."""
        prior, like = self.score(u, codes)
        with numpy.errstate(invalid="ignore"):
            ratio = prior - self.prior[rows] + power * (like - self.like[rows]) + extra
        ratio = numpy.where(numpy.isnan(ratio), -numpy.inf, ratio)
        yes = numpy.log(rng.random(len(rows))) < ratio
        at = rows[yes]
        self.u[at], self.codes[at] = u[yes], codes[yes]
        self.prior[at], self.like[at] = prior[yes], like[yes]
        return float(yes.mean())


def smc(
    split: Split,
    u: ndarray,
    codes: ndarray,
    cards: ndarray,
    seed: int,
    *,
    islands: int = 8,
    gradient: Tempered | None = None,
    until: float = numpy.inf,
    last: int = 4,
    rounds: int = ROUNDS,
) -> Cloud:
    """Carry draws from the prior to the posterior.

    Args:
        split: log prior and log likelihood.
        u: Coordinates of the draws, `(particles, dimensions)`; a multiple of the islands.
        codes: Places of their finite variables' values, `(particles, variables)`.
        cards: How many values each finite variable has.
        seed: Decides every random number.
        islands: Groups of particles that exchange nothing.
        gradient: The tempered log density with its gradient; used in many dimensions.
        until: When to stop, as `time.monotonic()` tells it.
        last: Times that the moves are repeated at the posterior.
        rounds: Rounds of moves at each power, at most.
    """
    rng = numpy.random.default_rng(seed)
    state = _State(split, u.copy(), codes.copy())
    n = len(u)
    size = n // islands
    power, powers = 0.0, [0.0]
    log_evidence = numpy.zeros(islands)
    step = {"walk": 1.0, "leap": 0.3}
    accepted = 1.0
    while power < 1.0 and time.monotonic() < until:
        following = _next(state.like, power)
        with numpy.errstate(invalid="ignore"):
            log_w = (following - power) * state.like
        log_w = numpy.where(numpy.isnan(log_w), -numpy.inf, log_w).reshape((islands, size))
        top = log_w.max(axis=1, keepdims=True)
        if not numpy.isfinite(top).all():
            top = numpy.where(numpy.isfinite(top), top, 0.0)
        w = numpy.exp(log_w - top)
        with numpy.errstate(divide="ignore"):
            log_evidence += numpy.log(w.mean(axis=1)) + top[:, 0]
        state.take(_systematic(w, rng))
        power = following
        powers.append(power)
        for _ in range(last if power == 1.0 else 1):
            accepted = _mix(state, cards, power, step, gradient, rng, until, rounds)
    shape = (islands, size)
    return Cloud(
        state.u.reshape((*shape, -1)),
        state.codes.reshape((*shape, -1)),
        log_evidence,
        powers,
        state.evaluations,
        accepted,
        power == 1.0,
    )


def _next(like: ndarray, power: float) -> float:
    """The largest power that leaves enough of the particles effective."""
    alive = numpy.isfinite(like)
    if not alive.any():
        return 1.0
    held = like[alive] - like[alive].max()

    def effective(following: float) -> float:
        w = numpy.exp((following - power) * held)
        return float(w.sum() ** 2 / (w**2).sum() / len(held))

    if effective(1.0) >= KEEP:
        return 1.0
    low, high = power, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if effective(middle) >= KEEP:
            low = middle
        else:
            high = middle
    return max(low, power + 1e-12)


def _systematic(w: ndarray, rng: numpy.random.Generator) -> ndarray:
    """Rows resampled within each island, `(islands × particles,)`."""
    islands, size = w.shape
    rows = []
    for i in range(islands):
        total = w[i].sum()
        if total > 0:
            cdf = w[i].cumsum() / total
            places = (numpy.arange(size) + rng.random()) / size
            chosen = numpy.searchsorted(cdf, places).clip(max=size - 1)
        else:
            chosen = numpy.arange(size)
        rows.append(rng.permutation(chosen) + i * size)
    return numpy.concatenate(rows)


def _mix(
    state: _State, cards, power: float, step, gradient, rng, until: float, rounds: int
) -> float:
    """Rounds of moves until little is left of where the particles began."""
    d = state.u.shape[1]
    variables = state.codes.shape[1]
    began = state.u.copy()
    first = state.codes.copy()
    spread = state.u.std(axis=0)
    spread = numpy.where(spread > 0, spread, 1.0)
    rates = []
    for turn in range(rounds):
        if d:
            leaps = gradient is not None and d > WALKING
            mass = Mass.of(state.u, Mass(d))
            if leaps:
                rates.append(_leap(state, gradient, mass, power, step, rng))
            if not leaps or turn % 3 == 0:
                rates.append(_walk(state, mass, power, step, rng))
                rates.append(_differ(state, power, rng))
        for _ in range(min(variables, 8)):
            rates.append(_flip(state, cards, power, rng))
        if time.monotonic() > until:
            break
        if d:
            left = ((began - began.mean(axis=0)) * (state.u - state.u.mean(axis=0))).mean(axis=0)
            worst = float((left / spread**2).max())
        else:
            worst = 0.0
        if variables:
            stuck = (first == state.codes).mean(axis=0)
            chance = _chance(state.codes, cards)
            worst = max(worst, float(((stuck - chance) / (1 - chance).clip(min=0.05)).max()))
        if worst < MEMORY[power == 1.0]:
            break
    return float(numpy.mean(rates)) if rates else 1.0


def _chance(codes: ndarray, cards: ndarray) -> ndarray:
    """How often two independent particles have one value, by variable."""
    found = numpy.zeros(codes.shape[1])
    for v, card in enumerate(cards):
        share = numpy.bincount(codes[:, v], minlength=int(card)) / len(codes)
        found[v] = (share**2).sum()
    return found


def _walk(state: _State, mass: Mass, power: float, step, rng) -> float:
    """A random walk shaped like the cloud; its length follows the acceptance."""
    n, d = state.u.shape
    shaped = mass.spread(rng.standard_normal((n, d)))
    length = step["walk"] * 2.38 / numpy.sqrt(d)
    rate = state.offer(numpy.arange(n), state.u + length * shaped, state.codes, power, rng)
    step["walk"] = float(numpy.clip(step["walk"] * numpy.exp(rate - 0.3), 0.02, 3.0))
    return rate


def _differ(state: _State, power: float, rng) -> float:
    """Each half moves by differences between particles of the other half; one in five makes the whole step, which may reach another mode."""
    n, d = state.u.shape
    rates = []
    halves = numpy.arange(n) % 2
    for half in (0, 1):
        rows, others = (halves == half).nonzero()[0], (halves != half).nonzero()[0]
        a, b = rng.choice(others, (2, len(rows)))
        whole = rng.random(len(rows)) < 0.2
        length = numpy.where(
            whole, 1.0, 2.38 / numpy.sqrt(2 * d) * rng.uniform(0.5, 1.0, len(rows))
        )
        step = length[:, None] * (state.u[a] - state.u[b])
        step += 1e-3 * rng.standard_normal((len(rows), d)) * state.u.std(axis=0)
        # Half of the moves change some coordinates only: modes that differ in a few of them are reached by these.
        kept = rng.random((len(rows), d)) < rng.choice([1 / 3, 2 / 3], (len(rows), 1))
        kept |= (rng.random(len(rows)) < 0.5)[:, None]
        proposal = state.u[rows] + numpy.where(kept, step, 0.0)
        rates.append(state.offer(rows, proposal, state.codes[rows], power, rng))
    return float(numpy.mean(rates))


def _leap(state: _State, gradient: Tempered, mass: Mass, power: float, step, rng) -> float:
    """A Hamiltonian move of a few leapfrog steps."""
    n = len(state.u)
    q = state.u.copy()
    p = mass.momentum(rng, n)
    before = mass.kinetic(p)
    eps = step["leap"] * rng.uniform(0.7, 1.3)
    with numpy.errstate(all="ignore"):
        _, g = gradient(q, power)
        for _ in range(STEPS):
            p = p + 0.5 * eps * g
            q = q + eps * mass.velocity(p)
            _, g = gradient(q, power)
            p = p + 0.5 * eps * g
        change = before - mass.kinetic(p)
    state.evaluations += n * STEPS
    rate = state.offer(numpy.arange(n), q, state.codes, power, rng, change)
    step["leap"] = float(numpy.clip(step["leap"] * numpy.exp(rate - 0.75), 1e-4, 1.5))
    return rate


def _flip(state: _State, cards: ndarray, power: float, rng) -> float:
    """One finite variable of each particle takes another of its values."""
    n, variables = state.codes.shape
    v = rng.integers(variables, size=n)
    codes = state.codes.copy()
    shift = 1 + (rng.random(n) * (cards[v] - 1)).astype(int)
    rows = numpy.arange(n)
    codes[rows, v] = (codes[rows, v] + shift) % cards[v]
    return state.offer(rows, state.u, codes, power, rng)
