"""A moving average, twice: with its likelihood, and by comparing two summaries of simulated series.

A hundred numbers are sums of the last three shocks. The likelihood is a Gaussian with a band matrix, and two parameters are left to integrate: the compiler
does. The same series as a simulator is the classical exercise of approximate Bayesian computation: keep the parameters whose two autocovariances come near.
Those two numbers know less than the series, so that the answer is wider. That is the method, not an error.

Source: Marin, Pudlo, Robert and Ryder, Approximate Bayesian computational methods, Statistics and Computing, 2012; the series of ELFI's tutorial.
"""

from __future__ import annotations

from typing import Any

import numpy
import torch

import ppl
from ppl.distributions import Beta, MultivariateNormal, Uniform


def series() -> numpy.ndarray:
    """The tutorial's series: coefficients 0.6 and 0.2, NumPy's old generator."""
    w = numpy.random.RandomState(20170530).randn(1, 102)
    return (w[:, 2:] + 0.6 * w[:, 1:-1] + 0.2 * w[:, :-2])[0]


SEEN: dict[str, Any] = {"x": series()}


def coefficients(model: ppl.Model) -> None:
    """Coefficients that are uniform on the triangle where the series can be inverted."""

    @model.theta
    def height():
        return Beta(2, 1)

    @model.deterministic
    def second(height):
        # The triangle is as wide as 2 (1 + second).
        return 2 * height - 1

    @model.theta
    def first(second):
        return Uniform(-(1 + second), 1 + second)


@ppl.model
def moving_average(model, n=100):
    """The series with its density."""
    coefficients(model)

    @model.observed
    def x(first, second):
        lag = (torch.arange(n)[:, None] - torch.arange(n)).abs()
        zero, one = 1 + first**2 + second**2, first * (1 + second)
        covariance = torch.where(lag == 0, zero, torch.where(lag == 1, one, second * (lag == 2)))
        return MultivariateNormal(torch.zeros(n), covariance)


@ppl.model
def simulated(model, n=100):
    """The series as a simulator, and its autocovariances at lags one and two."""
    coefficients(model)

    @model.observed
    def x(first, second, rng):
        w = rng.normal(size=n + 2)
        return w[2:] + first * w[1:-1] + second * w[:-2]

    @model.deterministic
    def one(x):
        return (x[1:] * x[:-1]).mean()

    @model.deterministic
    def two(x):
        return (x[2:] * x[:-2]).mean()


def integrated() -> ppl.Posterior:
    """Both coefficients with their density, by the route that the compiler chooses."""
    return ppl.infer(moving_average(), SEEN, of=["first", "second"])


def compared(simulations: int = 100_000) -> ppl.Posterior:
    """Both coefficients by rejection on the two autocovariances."""
    x = SEEN["x"]
    near = {"one": (x[1:] * x[:-1]).mean(), "two": (x[2:] * x[:-2]).mean()}
    budget = ppl.Budget(simulations=simulations)
    return ppl.infer(simulated(), near, of=["first", "second"], method="rejection", budget=budget)


def main() -> None:
    """Print the story, the plan, and both answers."""
    print(moving_average(), end="\n\n")
    exact, wide = integrated(), compared()
    print(exact.plan, end="\n\n")
    print(exact.summary(), end="\n\n")
    print(wide.summary())


if __name__ == "__main__":
    main()
