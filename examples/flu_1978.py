"""Influenza in a boarding school, 1978: one outbreak, told twice.

763 boys, one of them ill; the numbers in bed on fourteen days. First the epidemic is a differential equation with noise in the counts: every density
is written down, so the compiler samples with NUTS and simulates nothing. Then it is a chain of binomial infections and recoveries, written for one
draw with NumPy: nothing about it has a density, so the compiler turns to simulation. It says why, both times.

Sources: Influenza in a boarding school, British Medical Journal, 4 March 1978; for the priors of the first model, Grinsztajn, Semenova, Margossian
and Riou, Bayesian workflow for disease transmission modeling in Stan, Statistics in Medicine 2021.
"""

from __future__ import annotations

import math

import numpy as np
import torch

import ppl
from ppl.distributions import Exponential, LogNormal, NegativeBinomial2, Normal, Truncated

IN_BED = [3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4]
BOYS, STEPS = 763, 8  # steps of three hours
#: Means and sds of the stochastic epidemic by a particle filter on a grid (`tests/benchmarks/references.py`).
CHAIN = {
    "infection": (1.834, 0.110),
    "recovery": (0.490, 0.0193),
    "reproduction": (3.75, 0.248),
}


@ppl.model
def epidemic(model, days=len(IN_BED)):
    """The epidemic as a differential equation, solved by four evaluations a step (Runge and Kutta)."""
    day = model.plate("day", days)

    @model.theta
    def infection():
        """Infections per infectious boy and day, among the healthy."""
        return Truncated(Normal(2, 1), low=0)

    @model.theta
    def recovery():
        """The rate of recovery, per day."""
        return Truncated(Normal(0.4, 0.5), low=0)

    @model.theta
    def scatter():
        """How much the counts scatter beyond a Poisson's."""
        return Exponential(5)

    @model.deterministic(over=day)
    def ill(infection, recovery):
        """The number of ill boys at the end of each day."""

        def change(healthy, ill):
            infected = infection * healthy * ill / BOYS
            return -infected, infected - recovery * ill

        healthy, now, counts = torch.tensor(BOYS - 1.0), torch.tensor(1.0), []
        h = 1 / STEPS
        for _ in range(days):
            for _ in range(STEPS):
                a = change(healthy, now)
                b = change(healthy + h / 2 * a[0], now + h / 2 * a[1])
                c = change(healthy + h / 2 * b[0], now + h / 2 * b[1])
                d = change(healthy + h * c[0], now + h * c[1])
                healthy = healthy + h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
                now = now + h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
            counts.append(now)
        return torch.stack(counts)

    @model.observed(plate=day)
    def in_bed(ill, scatter):
        """The number of boys in bed on each day."""
        return NegativeBinomial2(ill, 1 / scatter)

    @model.deterministic
    def reproduction(infection, recovery):
        """R0: how many others one boy infects at the beginning."""
        return infection / recovery

    @model.deterministic
    def recovery_time(recovery):
        """The mean time until a boy recovers, in days."""
        return 1 / recovery


flu = ppl.Model("flu_1978")


@flu.theta
def infection():
    """Infections per infectious boy and day, among the healthy."""
    return LogNormal(math.log(1.7), 0.4)


@flu.theta
def recovery():
    """The rate of recovery, per day."""
    return LogNormal(math.log(0.5), 0.4)


@flu.observed
def in_bed(infection, recovery, rng):
    """The number of boys in bed on each day."""
    healthy, ill, counts = BOYS - 1, 1, []
    stays_ill = math.exp(-recovery / STEPS)
    for _ in IN_BED:
        for _ in range(STEPS):
            infected = rng.binomial(healthy, 1 - math.exp(-infection * ill / BOYS / STEPS))
            recovered = rng.binomial(ill, 1 - stays_ill)
            healthy, ill = healthy - infected, ill + infected - recovered
        counts.append(ill)
    return np.array(counts)


@flu.deterministic
def reproduction(infection, recovery):
    """R0: how many others one boy infects at the beginning."""
    return infection / recovery


def posterior(simulations: int = 4_000) -> ppl.Posterior:
    """The posterior of the stochastic epidemic by the route that the compiler chooses."""
    budget = ppl.Budget(simulations=simulations)
    return ppl.infer(
        flu, {"in_bed": IN_BED}, of=["infection", "recovery", "reproduction"], budget=budget
    )


def by_density() -> ppl.Posterior:
    """The posterior of the differential equation by the route that the compiler chooses."""
    asked = ["infection", "recovery", "reproduction", "recovery_time"]
    return ppl.infer(epidemic(), {"in_bed": IN_BED}, of=asked)


def main() -> ppl.Posterior:
    """Print both stories, plans and answers, and return the second."""
    explicit = by_density()
    print(explicit.plan, end="\n\n")
    print(explicit.summary(), end="\n\n")
    print(flu, end="\n\n")
    answer = posterior()
    print(answer.plan, end="\n\n")
    print(answer.summary())
    return answer


if __name__ == "__main__":
    main()
