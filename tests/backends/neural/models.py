"""Simulators whose posteriors are known, because an explicit twin is answered exactly."""

from __future__ import annotations

import numpy
import torch

import ppl
from ppl.distributions import Bernoulli, Beta, Categorical, Integers, Normal, Uniform

#: A budget that trains in seconds.
SMALL = ppl.Budget(simulations=4_000, seconds=120)


def scale(opaque: bool = True, n: int | None = 4) -> ppl.Model:
    """A weight with a standard Gaussian prior, weighed with unit noise."""
    model = ppl.Model("scale")
    weighing = model.plate("weighing", n)

    @model.theta
    def weight():
        return Normal(0, 1)

    if opaque:

        @model.observed(plate=weighing, vectorized=True)
        def reading(weight):
            return weight + torch.randn(len(weight))

    else:

        @model.observed(plate=weighing)
        def reading(weight):
            return Normal(weight, 1)

    return model


def weight_given(readings) -> tuple[float, float]:
    """Mean and sd of the weight: N(Σ x / (n + 1), 1 / (n + 1))."""
    n = len(readings)
    return sum(readings) / (n + 1), (1 / (n + 1)) ** 0.5


def die(opaque: bool = True) -> ppl.Model:
    """A die, misread half of the time."""
    model = ppl.Model("die")

    @model.theta
    def face():
        return Integers(1, 6)

    if opaque:

        @model.observed
        def seen(face, rng):
            return int(face - 1 if rng.random() < 0.4 else rng.integers(6))

    else:

        @model.observed
        def seen(face):
            probs = torch.full((6,), 0.1)
            probs[face - 1] = 0.5
            return Categorical(probs)

    return model


def schools(opaque: bool = True) -> ppl.Model:
    """Effects around a common mean, each seen with noise."""
    model = ppl.Model("schools")
    school = model.plate("school", 5)

    @model.theta
    def centre():
        return Normal(0, 1)

    @model.theta(plate=school)
    def effect(centre):
        return Normal(centre, 1)

    if opaque:

        @model.observed(plate=school, vectorized=True)
        def result(effect):
            return effect + 0.5 * torch.randn(len(effect))

    else:

        @model.observed(plate=school)
        def result(effect):
            return Normal(effect, 0.5)

    return model


RESULTS = [1.5, -0.5, 2.0, 0.3, 1.1]


def switch(opaque: bool = True) -> ppl.Model:
    """A finite and a continuous parameter: a sign that is flipped or not, and a size."""
    model = ppl.Model("switch")

    @model.theta
    def up():
        return Bernoulli(0.7)

    @model.theta
    def size():
        return Normal(1, 0.5)

    if opaque:

        @model.observed(vectorized=True)
        def x(up, size):
            return torch.where(up > 0, size, -size) + 0.5 * torch.randn(len(size))

    else:

        @model.observed
        def x(up, size):
            return Normal(size if up else -size, 0.5)

    return model


def decision(opaque: bool = True) -> ppl.Model:
    """A choice and how long it took: mixed data of several trials."""
    model = ppl.Model("decision")
    trial = model.plate("trial", 6)

    @model.theta
    def drift():
        return Normal(0, 1)

    if opaque:

        @model.observed(plate=trial, outputs=("choice", "time"))
        def response(drift, rng):
            choice = int(rng.random() < 1 / (1 + numpy.exp(-2 * drift)))
            return {"choice": choice, "time": (0.5 if choice else -0.5) + drift + rng.normal()}

    else:

        @model.observed(plate=trial, name="response.choice")
        def choice(drift):
            return Bernoulli(logits=2 * drift)

        @model.observed(plate=trial, name="response.time", parents={"choice": "response.choice"})
        def time(drift, choice):
            return Normal(drift + (0.5 if choice else -0.5), 1)

    return model


RESPONSES = {
    "response.choice": [1, 0, 1, 1, 1, 0],
    "response.time": [1.2, 0.1, 0.9, 2.2, 0.6, -0.4],
}


def failing() -> ppl.Model:
    """Fails with probability θ, and says little else: p(θ | x) ∝ 1 − θ, of mean 1/3."""
    model = ppl.Model("failing")

    @model.theta
    def theta():
        return Uniform(0, 1)

    @model.observed
    def x(theta, rng):
        if rng.random() < theta:
            return numpy.nan
        return rng.normal()

    return model


def coin() -> ppl.Model:
    """Ten tosses of a coin, as a count."""
    model = ppl.Model("coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias, rng):
        return int((rng.random(10) < bias).sum())

    return model
