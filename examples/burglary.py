"""The burglary: two neighbours, an alarm, and a cause that explains the other away.

An alarm goes off for burglars, and sometimes for an earthquake. John and Mary promise to call when they hear it. Two calls make a burglary 284 times
as likely as it was, and still there was probably none. Seeing the alarm ring says much about burglars; making it ring says nothing.

Source: Judea Pearl, Probabilistic Reasoning in Intelligent Systems, 1988; tables of Russell and Norvig, Artificial Intelligence.
"""

from __future__ import annotations

import ppl
from ppl.distributions import Bernoulli

house = ppl.Model("house")


@house.latent
def burglary():
    return Bernoulli(0.001)


@house.latent
def earthquake():
    return Bernoulli(0.002)


@house.latent
def alarm(burglary, earthquake):
    return Bernoulli([[0.001, 0.29], [0.94, 0.95]][burglary][earthquake])


@house.observed
def john(alarm):
    return Bernoulli([0.05, 0.90][alarm])


@house.observed
def mary(alarm):
    return Bernoulli([0.01, 0.70][alarm])


#: What is asked: the text that is printed, what was seen, what is asked for, and whether the alarm was set off by hand.
QUESTIONS = [
    ("P(burglary | John and Mary call)", {"john": 1, "mary": 1}, "burglary", False),
    ("P(burglary | John calls)", {"john": 1}, "burglary", False),
    ("P(earthquake | John and Mary call)", {"john": 1, "mary": 1}, "earthquake", False),
    ("P(burglary | the alarm rings)", {"alarm": 1}, "burglary", False),
    ("P(burglary | do(the alarm rings))", {}, "burglary", True),
]


def answers() -> dict[str, ppl.Posterior]:
    """A posterior for each question."""
    return {
        text: ppl.infer(house.do(alarm=1) if by_hand else house, seen, of=asked)
        for text, seen, asked, by_hand in QUESTIONS
    }


def main() -> None:
    """Print the story, the plan and the answers."""
    print(house, end="\n\n")
    print(ppl.compile(house, {"john": 1, "mary": 1}, of="burglary"), end="\n\n")
    for text, found in answers().items():
        print(f"  {text:<36} {float(found[found.of[0]].prob(1)):.6f}")


if __name__ == "__main__":
    main()
