"""Models of applied statistics with their data: what the density engines must do, and what the benchmarks time.

Every function returns a model and what was seen; those that `examples` tells are taken from there. Reference numbers stand beside the tests that use them.
"""

from __future__ import annotations

from typing import Any

import numpy

import ppl
from examples import eight_schools, hidden_markov, moving_average
from ppl.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Censored,
    Exponential,
    Gamma,
    Integers,
    LogNormal,
    Normal,
    Poisson,
)

Case = tuple[ppl.Model, dict[str, Any]]

#: British coal-mining disasters a year, 1851 to 1961 (Jarrett, A note on the intervals between coal-mining disasters, Biometrika 1979).
DISASTERS = [
    *map(int, "4540143406334026335453144155342522342132211113001011003103220111"),
    *map(int, "01010002100011023311211112420014000100000100101"),
]
#: Weeks in remission under 6-mercaptopurine; the first nine ended in a relapse, the others were cut off (Freireich et al., Blood 1963).
RELAPSES = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CUT_OFF = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]


def schools() -> Case:
    """C10 with its data."""
    return eight_schools.eight_schools(), eight_schools.SEEN


def hmm() -> Case:
    """C8 with its data."""
    return hidden_markov.hidden_chain(), {"y": hidden_markov.Y}


@ppl.model
def two_components(model, n):
    """A mixture of two Gaussians; the labels are latents."""
    item, part = model.plate("item", n), model.plate("part", 2)

    @model.theta
    def weight():
        return Beta(2, 2)

    @model.theta(plate=part)
    def level(part):
        return Normal(4 * part, 2)

    @model.theta(plate=part)
    def spread():
        return LogNormal(0, 0.5)

    @model.latent(plate=item)
    def label(weight):
        return Bernoulli(weight)

    @model.observed(plate=item)
    def y(label, level, spread):
        return Normal(level[label], spread[label])


def mixture(n: int = 1000) -> Case:
    """Points of which 30 % come from N(4, 1.5²) and the others from N(0, 1)."""
    rng = numpy.random.default_rng(0)
    second = rng.random(n) < 0.3
    return two_components(n), {"y": numpy.where(second, rng.normal(4, 1.5, n), rng.normal(0, 1, n))}


@ppl.model
def logistic(model, rows, covariates):
    """Logistic regression with an intercept."""
    row, column = model.plate("row", rows), model.plate("column", covariates)
    model.input("x", plate=(row, column))

    @model.theta
    def intercept():
        return Normal(0, 2)

    @model.theta(plate=column)
    def slope():
        return Normal(0, 1)

    @model.observed(plate=row)
    def y(intercept, slope, x):
        return Bernoulli(logits=intercept + (slope * x).sum())


def regression(rows: int = 500, covariates: int = 20) -> Case:
    """Correlated covariates, of which half matter."""
    rng = numpy.random.default_rng(1)
    x = rng.normal(size=(rows, covariates)) + 0.5 * rng.normal(size=(rows, 1))
    slope = numpy.where(numpy.arange(covariates) % 2, rng.normal(size=covariates), 0.0)
    y = rng.random(rows) < 1 / (1 + numpy.exp(-(0.5 + x @ slope)))
    return logistic(rows, covariates), {"y": y.astype(int), "x": x}


def ma2() -> Case:
    """C14 with the data of ELFI's tutorial."""
    return moving_average.moving_average(), moving_average.SEEN


@ppl.model
def local_level(model, steps):
    """A random walk seen through noise."""
    step = model.plate("step", steps, ordered=True)

    @model.latent(plate=step, start=lambda: Normal(0, 10))
    def level(previous):
        return Normal(previous, 0.5)

    @model.observed(plate=step)
    def y(level):
        return Normal(level, 1)


def walk(steps: int = 200) -> Case:
    """A local-level model with data of its own kind."""
    rng = numpy.random.default_rng(2)
    level = numpy.cumsum(rng.normal(0, 0.5, steps))
    return local_level(steps), {"y": level + rng.normal(0, 1, steps)}


@ppl.model
def change_point(model, years):
    """Two rates, and a year in which the first gave way to the second (Carlin, Gelfand and Smith, 1992)."""
    year = model.plate("year", years)

    @model.theta
    def early():
        return Gamma(2, 1)

    @model.theta
    def late():
        return Gamma(2, 1)

    @model.theta
    def change():
        return Integers(0, years - 1)

    @model.observed(plate=year)
    def disasters(early, late, change, year):
        return Poisson(early if year < change else late)


def coal() -> Case:
    """The coal-mining disasters."""
    return change_point(len(DISASTERS)), {"disasters": DISASTERS}


@ppl.model
def remission(model, patients):
    """Exponential times, cut off at each patient's end of observation."""
    patient = model.plate("patient", patients)
    model.input("end", plate=patient)

    @model.theta
    def rate():
        return Gamma(2, 20)

    @model.observed(plate=patient)
    def weeks(rate, end):
        return Censored(Exponential(rate), high=end)


def survival() -> Case:
    """The 6-mercaptopurine arm of the trial of 1963."""
    weeks = [*RELAPSES, *CUT_OFF]
    return remission(len(weeks)), {"weeks": weeks, "end": [100.0] * len(RELAPSES) + CUT_OFF}


@ppl.model
def closed_population(model, occasions=2):
    """Capture and recapture: everybody is caught with the same unknown probability on every occasion."""

    @model.theta
    def size():
        return Poisson(60)

    @model.theta
    def chance():
        return Beta(1, 1)

    @model.observed
    def first(size, chance):
        return Binomial(size, chance)

    @model.observed
    def again(first, chance):
        """How many of the marked are seen on the second occasion."""
        return Binomial(first, chance)

    @model.observed
    def fresh(size, first, chance):
        """How many are seen then for the first time."""
        return Binomial(max(size - first, 0), chance)


def recapture() -> Case:
    """Thirty marked, of whom twelve come again, with eighteen new ones."""
    return closed_population(), {"first": 30, "again": 12, "fresh": 18}
