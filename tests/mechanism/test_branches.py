"""Bodies that branch on their arguments are lifted path by path, and give what single calls give."""

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Gamma, Normal, Poisson
from ppl.mechanism import probe
from ppl.mechanism.data import read_data


def caller(model, name):
    """The caller of a node, after a batch of draws."""
    mechanism = probe(model.graph, read_data(model.graph, {}))
    values = ppl.mechanism.forward(mechanism, 200, 1).values
    return mechanism, values, mechanism.callers[name, "body"]


def branching(paths):
    """A body whose distribution depends on comparisons."""
    model = ppl.Model("branching")

    @model.theta
    def x():
        return Normal(0, 2)

    @model.latent
    def y(x):
        for i in range(paths - 1):
            if x < 8 * (i / paths - 0.5):
                return Normal(x * i, 1 + i)
        return Normal(0, 0.5)

    return model


@pytest.mark.parametrize("paths", [2, 3, 5])
def test_every_row_gets_what_a_single_call_gives(paths):
    """Row by row, the parameters of the distribution."""
    mechanism, values, found = caller(branching(paths), "y")
    outcome = mechanism.outcome(mechanism.graph["y"], values, 200, 0)
    assert found.mode == "vmap"
    assert found._branches
    body = mechanism.graph["y"].body.function
    for i in range(200):
        single = body(x=values["x"][i])
        assert float(outcome.distribution.parameters["loc"][i]) == float(single.parameters["loc"])
        assert float(outcome.distribution.parameters["scale"][i]) == float(
            single.parameters["scale"]
        )


def test_too_many_paths_are_called_singly():
    """Forty thresholds are more than are followed."""
    _, _, found = caller(branching(41), "y")
    assert found.mode == "single"


def test_paths_may_return_different_families():
    """A Gaussian on one side, a gamma on the other."""
    model = ppl.Model("mixed")

    @model.theta
    def x():
        return Normal(0, 1)

    @model.latent
    def y(x):
        return Gamma(2, x) if x > 0 else Normal(x, 1)

    draws = model.simulate(4000, seed=0)
    left, right = draws["x"].numpy() < 0, draws["x"].numpy() > 0
    assert bool((draws["y"].numpy()[right] > 0).all())
    residual = (draws["y"] - draws["x"]).numpy()[left]
    assert abs(residual.mean()) < 4 / len(residual) ** 0.5


def test_a_path_that_is_not_taken_spoils_no_gradient():
    """The square root of a negative number is on the other path."""
    model = ppl.Model("root")
    item = model.plate("item", 3)

    @model.theta
    def x():
        return Normal(0.5, 1)

    @model.latent(plate=item)
    def level(x):
        return Normal(x.sqrt() if x > 0 else -x, 1)

    @model.observed(plate=item)
    def y(level):
        return Normal(level, 1)

    found = ppl.infer(model, {"y": [0.4, 0.7, 0.2]}, of="x")
    grid = numpy.linspace(-8, 8, 200001)
    centre = numpy.where(grid > 0, numpy.sqrt(numpy.abs(grid)), -grid)
    log_p = -0.5 * (grid - 0.5) ** 2 - 0.25 * sum((v - centre) ** 2 for v in (0.4, 0.7, 0.2))
    weights = numpy.exp(log_p - log_p.max())
    mean = (weights * grid).sum() / weights.sum()
    assert abs(float(found["x"].mean) - mean) < 5 * float(found["x"].standard_error) + 1e-4


def test_whole_numbers_are_compared_in_one_call_of_each_path():
    """A change point: two paths, not one call for each pair of year and change."""
    model = ppl.Model("change")
    year = model.plate("year", 50)

    @model.theta
    def rate():
        return Gamma(2, 1)

    @model.theta
    def change():
        return ppl.distributions.Integers(0, 49)

    calls = []

    @model.observed(plate=year)
    def y(rate, change, year):
        calls.append(1)
        return Poisson(rate if year < change else 2 * rate)

    mechanism, values, _ = caller(model, "y")
    before = len(calls)
    outcome = mechanism.outcome(mechanism.graph["y"], values, 200, 0, audit=False)
    assert len(calls) - before < 400  # 64 single calls audit the pairs; 10,000 pairs are not called
    expected = torch.where(
        torch.arange(50) < values["change"][:, None],
        values["rate"][:, None],
        2 * values["rate"][:, None],
    )
    assert torch.equal(outcome.distribution.parameters["rate"], expected)
