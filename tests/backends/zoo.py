"""A zoo of small models whose posteriors are known in closed form."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

import ppl
from ppl.distributions import Bernoulli, Beta, Binomial, Categorical, Integers, Normal


@dataclass(frozen=True, eq=False)
class Case:
    """A model, what was seen, and the posterior mean and sd of one node."""

    name: str
    model: ppl.Model
    seen: Mapping[str, Any]
    ask: str
    mean: Any
    sd: Any

    def __str__(self) -> str:
        return self.name


def coin() -> Case:
    """Beta(2, 2) and 7 heads of 10 give Beta(9, 5)."""
    model = ppl.Model("coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias):
        return Binomial(10, bias)

    return Case("coin", model, {"heads": 7}, "bias", 9 / 14, (9 * 5 / (14**2 * 15)) ** 0.5)


def tossed_coin() -> Case:
    """The same coin as a simulator: nothing but the mechanism changes."""
    model = ppl.Model("tossed_coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias, rng):
        return int((rng.random(10) < bias).sum())

    return Case("tossed coin", model, {"heads": 7}, "bias", 9 / 14, (9 * 5 / (14**2 * 15)) ** 0.5)


def scale() -> Case:
    """A weight with prior N(0, 1), weighed four times with unit noise: N(4 · mean / 5, 1 / 5)."""
    model = ppl.Model("scale")
    weighing = model.plate("weighing", 4)

    @model.theta
    def weight():
        return Normal(0, 1)

    @model.observed(plate=weighing)
    def reading(weight):
        return Normal(weight, 1)

    return Case(
        "scale", model, {"reading": [0.5, 1.0, 0.0, 1.5]}, "weight", 3.0 / 5, (1 / 5) ** 0.5
    )


def die() -> Case:
    """A fair die behind noise: p(face | seen) by Bayes' rule, six terms."""
    model = ppl.Model("die")

    @model.theta
    def face():
        return Integers(1, 6)

    @model.observed
    def seen(face):
        probs = torch.full((6,), 0.1)
        probs[face - 1] = 0.5
        return Categorical(probs)

    weights = torch.tensor([0.1, 0.1, 0.5, 0.1, 0.1, 0.1], dtype=torch.float64)
    probs = weights / weights.sum()
    values = torch.arange(1, 7, dtype=torch.float64)
    mean = float((probs * values).sum())
    return Case(
        "die", model, {"seen": 2}, "face", mean, float((probs * (values - mean) ** 2).sum() ** 0.5)
    )


def grid() -> Case:
    """A uniform grid of biases and eight flips, five of them heads: 33 terms of Bayes' rule."""
    model = ppl.Model("grid")
    flip = model.plate("flip", 8)

    @model.theta
    def step():
        return Integers(0, 32)

    @model.observed(plate=flip)
    def head(step):
        return Bernoulli(step / 32)

    p = torch.arange(33, dtype=torch.float64) / 32
    weights = p**5 * (1 - p) ** 3
    probs = weights / weights.sum()
    values = torch.arange(33, dtype=torch.float64)
    mean = float((probs * values).sum())
    sd = float((probs * (values - mean) ** 2).sum() ** 0.5)
    return Case("grid", model, {"head": [1, 0, 1, 1, 0, 1, 0, 1]}, "step", mean, sd)


def chain() -> Case:
    """A two-state chain of three members, seen through noise: eight paths."""
    model = ppl.Model("chain")
    day = model.plate("day", 3, ordered=True)
    stay, right = 0.8, 0.7

    @model.latent(plate=day, start=lambda: Bernoulli(0.5))
    def state(previous):
        return Bernoulli(stay if previous else 1 - stay)

    @model.observed(plate=day)
    def seen(state):
        return Bernoulli(right if state else 1 - right)

    data, total, ones = [1, 0, 1], 0.0, torch.zeros(3, dtype=torch.float64)
    for path in torch.cartesian_prod(*[torch.tensor([0, 1])] * 3):
        weight = 0.5
        for a, b in itertools.pairwise(path):
            weight = weight * (stay if a == b else 1 - stay)
        for z, x in zip(path, data, strict=True):
            weight *= right if z == x else 1 - right
        total += weight
        ones += weight * path.to(torch.float64)
    mean = ones / total
    return Case("chain", model, {"seen": data}, "state", mean, (mean * (1 - mean)).sqrt())


CASES = [coin(), tossed_coin(), scale(), die(), grid(), chain()]
