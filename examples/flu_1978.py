"""Influenza in a boarding school, 1978: a stochastic epidemic as a plain simulator.

763 boys, one of them ill; the numbers in bed on fourteen days. The epidemic is a chain of binomial infections and recoveries, written for one draw with
NumPy. Nothing about it has a density, so the compiler turns to simulation, and says why.

Source: Influenza in a boarding school, British Medical Journal, 4 March 1978.
"""

from __future__ import annotations

import math

import numpy as np

import ppl
from ppl.distributions import LogNormal

IN_BED = [3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4]
BOYS, STEPS = 763, 8  # steps of three hours

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
    """The posterior by the route that the compiler chooses."""
    budget = ppl.Budget(simulations=simulations)
    return ppl.infer(
        flu, {"in_bed": IN_BED}, of=["infection", "recovery", "reproduction"], budget=budget
    )


def main() -> ppl.Posterior:
    """Print the story, the plan and the answer, and return it."""
    print(flu, end="\n\n")
    answer = posterior()
    print(answer.plan, end="\n\n")
    print(answer.summary())
    return answer


if __name__ == "__main__":
    main()
