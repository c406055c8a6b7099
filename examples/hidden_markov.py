"""A hidden Markov model: a hundred numbers from two levels, and a hidden switch between them.

There are 2^100 paths of the switch. They are a chain, so the engine sums them out, samples the transition probabilities and the levels with NUTS, and then
says for each step which level it was on.

Source: posteriordb, posterior `hmm_example` (the model is of the Stan user's guide).
"""

from __future__ import annotations

import json
from pathlib import Path

import ppl
from ppl.distributions import Categorical, Dirichlet, Normal

Y: list[float] = json.loads(
    (Path(__file__).resolve().parent / "data" / "hmm_example.json").read_text()
)["y"]


@ppl.model
def hidden_chain(model, steps=len(Y), k=2):
    """A chain of hidden states, each with its level; noise of unit variance."""
    step, row = model.plate("step", steps, ordered=True), model.plate("row", k)

    @model.theta(plate=row)
    def transition():
        return Dirichlet([1.0] * k)

    @model.theta(plate=row)
    def level(row):
        return Normal(3 + 7 * row, 1)

    @model.latent(plate=step, start=lambda: Categorical([1 / k] * k))
    def state(previous, transition):
        return Categorical(transition[previous])

    @model.observed(plate=step)
    def y(state, level):
        return Normal(level[state], 1)


def posterior(seed: int = 0) -> ppl.Posterior:
    """Transitions, levels and the hidden states by the route that the compiler chooses."""
    return ppl.infer(hidden_chain(), {"y": Y}, of=["transition", "level", "state"], seed=seed)


def main() -> None:
    """Print the story, the plan and the answer."""
    print(hidden_chain(), end="\n\n")
    found = posterior()
    print(found.plan, end="\n\n")
    print(found.summary())


if __name__ == "__main__":
    main()
