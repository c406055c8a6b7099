"""Answers to report on: of every kind of route that is quick, and of models whose authors wish readers ill."""

from __future__ import annotations

from functools import cache

import ppl
from ppl.distributions import Bernoulli, Beta, Categorical, Normal

#: What no name and no label may do to a page.
EVIL = "<script>alert(1)</script>"


def wicked() -> ppl.Posterior:
    """Every text that a user chooses is HTML."""
    model = ppl.Model(f"{EVIL}\"'&<!--")
    day = model.plate("day", 2)

    @model.latent(states=(EVIL, "<img src=http://example.org/x.png onerror=alert(2)>"))
    def sky():
        return Bernoulli(0.25)

    @model.observed(plate=day, states=("</style>", "]]>"))
    def ground(sky):
        return Bernoulli([0.1, 0.9][sky])

    return ppl.infer(model, {"ground": ["]]>", None]})


def wordy() -> ppl.Posterior:
    """Long names, long labels, and probabilities with many zeros."""
    model = ppl.Model("a model whose name_has_no_blanks_and_goes_on_and_on_and_on_and_on")

    @model.latent(states=tuple(f"label_{i}_that_is_longer_than_a_phone_is_wide" for i in range(3)))
    def a_node_with_a_name_that_nobody_wants_to_type():
        return Categorical([0.5, 0.49999, 0.00001])

    @model.observed
    def another_node_with_such_a_name(a_node_with_a_name_that_nobody_wants_to_type):
        return Bernoulli([0.1, 0.5, 0.9][a_node_with_a_name_that_nobody_wants_to_type])

    return ppl.infer(model, {"another_node_with_such_a_name": 0})


def coin(heads: int = 1) -> ppl.Posterior:
    """Beta(2, 2) and one toss."""
    model = ppl.Model("coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def head(bias):
        return Bernoulli(bias)

    return ppl.infer(model, {"head": heads})


def scale(readings: list[float | None]) -> ppl.Posterior:
    """A weight N(0, 1), weighed with unit noise."""
    model = ppl.Model("scale")
    weighing = model.plate("weighing", len(readings))

    @model.theta
    def weight():
        return Normal(0, 1)

    @model.observed(plate=weighing)
    def reading(weight):
        return Normal(weight, 1)

    return ppl.infer(model, {"reading": readings})


def tossed() -> ppl.Posterior:
    """A coin that only can be tossed: rejection."""
    model = ppl.Model("tossed")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias, rng):
        return int((rng.random(10) < bias).sum())

    return ppl.infer(model, {"heads": 7}, budget=ppl.Budget(simulations=4000))


def two_parts() -> ppl.Posterior:
    """A finite part and a Gaussian one that have nothing to do with one another, and one that nobody asks for."""
    model = ppl.Model("two parts")
    row = model.plate("row", 30)

    @model.latent
    def kind():
        return Categorical([0.2, 0.3, 0.5])

    @model.observed
    def seen(kind):
        return Bernoulli([0.1, 0.5, 0.9][kind])

    @model.latent(plate=row)
    def height():
        return Normal([0, 10], 1)

    @model.observed(plate=row)
    def measured(height):
        return Normal(height, 1)

    @model.latent
    def idle():
        return Bernoulli(0.5)

    data = {"seen": 1, "measured": [[0.0, 10.0]] * 30}
    return ppl.infer(model, data, of=["kind", "height"])


@cache
def answers() -> dict[str, ppl.Posterior]:
    """One of each, made once."""
    return {
        "exact": wicked(),
        "wordy": wordy(),
        "closed": scale([0.5, None, 0.0, 1.5]),
        "parts": two_parts(),
        "rejection": tossed(),
        "coin": coin(),
    }
