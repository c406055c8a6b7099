"""Hares and foxes on an island: a stochastic simulator, an observer who misses animals, and weeks in which nobody came.

Every week hares are born and eaten, foxes are born of what they ate, and die. The observer sees each animal with the same unknown probability: a nuisance,
which belongs to the model and to no answer. Some weeks are missing. The populations have no density that anybody could write down, the counts have one; the
compiler reads both from what the functions return.

It is a made-up story, not a published case: what a user might write who has read nothing but the README.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

import ppl
from ppl.distributions import Beta, Binomial, LogNormal

WEEKS, MOST = 12, 5_000  # no more hares than the island feeds
#: The weeks that were seen; `None` where nobody came, or nobody looked for foxes.
SEEN: dict[str, Any] = {
    "hares": [55, 64, 87, 102, None, 153, 149, 134, 102, 75, 47, 32],
    "foxes": [8, 11, 11, 12, None, 28, 47, None, 101, 104, 99, 101],
}

#: The rates that these weeks were made with; what is missing was seen, and left out.
MADE_WITH = {"birth": 0.3705, "hunt": 0.0079, "death": 0.287}

island = ppl.Model("island")
week = island.plate("week", WEEKS, ordered=True)


@island.theta
def birth():
    """Young of a hare in a week."""
    return LogNormal(math.log(0.3), 0.4)


@island.theta
def hunt():
    """How often a fox meets a given hare in a week."""
    return LogNormal(math.log(0.01), 0.5)


@island.theta
def death():
    """The rate at which foxes die, per week."""
    return LogNormal(math.log(0.3), 0.4)


@island.nuisance
def noticed():
    """The probability that an animal is seen."""
    return Beta(8, 4)


@island.latent(over=week)
def animals(birth, hunt, death, rng):
    """Hares and foxes at the end of each week."""
    hares, foxes, rows = 60, 20, []
    for _ in range(WEEKS):
        eaten = rng.binomial(hares, 1 - math.exp(-hunt * foxes))
        born = rng.poisson(birth * hares)
        foxes += rng.binomial(eaten, 0.5) - rng.binomial(foxes, 1 - math.exp(-death))
        hares = min(hares - eaten + born, MOST)
        rows.append([hares, foxes])
    return numpy.array(rows)


@island.observed(plate=week)
def hares(animals, noticed):
    return Binomial(animals[0], noticed)


@island.observed(plate=week)
def foxes(animals, noticed):
    return Binomial(animals[1], noticed)


def posterior(simulations: int = 5_000) -> ppl.Posterior:
    """The three rates by the route that the compiler chooses."""
    return ppl.infer(island, SEEN, budget=ppl.Budget(simulations=simulations))


def main() -> None:
    """Print the story, the plan, the answer, and what half the hunting would do."""
    print(island, end="\n\n")
    found = posterior()
    print(found.plan, end="\n\n")
    print(found.summary(), end="\n\n")
    spared = island.do(hunt=0.0045)
    for name, model in (("as it is", None), ("half the hunting", spared)):
        left = found.predict(of="animals", n=500, model=model)["animals"][:, -1]
        print(
            f"  hares in the last week, {name}: {float(left[:, 0].double().mean()):.0f} on average"
        )


if __name__ == "__main__":
    main()
