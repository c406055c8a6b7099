"""The sprinkler: seeing is not doing.

Kevin Murphy's version of Pearl's network: clouds decide about rain and, through the gardener, about the sprinkler; both wet the grass. Seeing the
sprinkler on makes clouds, and so rain, less likely. Turning it on says nothing about the clouds.

Source: the conditional probabilities of Murphy's Bayes Net Toolbox tutorial (2001).
"""

from __future__ import annotations

import ppl
from ppl.distributions import Bernoulli

SPRINKLER = [0.5, 0.1]  # given not cloudy, cloudy
RAIN = [0.2, 0.8]
WET = [[0.0, 0.9], [0.9, 0.99]]  # given sprinkler, rain

garden = ppl.Model("garden")


@garden.latent
def cloudy():
    return Bernoulli(0.5)


@garden.latent
def sprinkler(cloudy):
    return Bernoulli(SPRINKLER[cloudy])


@garden.latent
def rain(cloudy):
    return Bernoulli(RAIN[cloudy])


@garden.observed
def wet(sprinkler, rain):
    return Bernoulli(WET[sprinkler][rain])


def table() -> list[tuple[str, float]]:
    """The probabilities that the tutorial prints, and two that only an intervention gives."""
    seen = ppl.infer(garden, {"wet": 1})
    both = ppl.infer(garden, {"wet": 1, "rain": 1})
    turned_on = garden.do(sprinkler=1)
    return [
        ("P(wet)", float(ppl.infer(garden, {}, of="wet")["wet"].prob(1))),
        ("P(sprinkler | wet)", float(seen["sprinkler"].prob(1))),
        ("P(rain | wet)", float(seen["rain"].prob(1))),
        ("P(sprinkler | wet, rain)", float(both["sprinkler"].prob(1))),
        ("P(rain | sprinkler on)", float(ppl.infer(garden, {"sprinkler": 1})["rain"].prob(1))),
        ("P(rain | do(sprinkler on))", float(ppl.infer(turned_on, {}, of="rain")["rain"].prob(1))),
        (
            "P(rain | wet, do(sprinkler on))",
            float(ppl.infer(turned_on, {"wet": 1}, of="rain")["rain"].prob(1)),
        ),
    ]


def main() -> None:
    """Print the story, the plan and the table."""
    print(garden, end="\n\n")
    print(ppl.compile(garden, given=["wet"], of=["rain"]), end="\n\n")
    for name, value in table():
        print(f"  {name:<34} {value:.6f}")


if __name__ == "__main__":
    main()
