"""What goes wrong with densities: a reason, or a graded-down answer with its cause; never a hang, never a quiet NaN."""

import math

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Density, Exponential, Gamma, HalfNormal, Normal, Uniform

REAL = torch.distributions.constraints.real
SOON = ppl.Budget(seconds=12)


def finite(found):
    """Every number of an answer."""
    for name in found:
        assert bool(torch.isfinite(found[name].mean).all())
        assert bool(torch.isfinite(found[name].sd).all())


def test_an_improper_posterior_is_refused():
    """A flat prior that the data leave flat on one side."""
    model = ppl.Model("improper")
    model.theta(lambda: Density(lambda x: 0.0 * x, lambda rng: rng.normal(), REAL), name="x")
    model.observed(lambda x: Bernoulli(torch.sigmoid(x)), name="y")
    with pytest.raises(ppl.BackendError, match="improper"):
        ppl.infer(model, {"y": 1}, budget=SOON)


def test_an_unbounded_density_does_not_hang_and_is_not_trusted():
    """A scale with the prior 1 / scale that may shrink onto the data: the posterior has no integral."""
    model = ppl.Model("unbounded")
    item = model.plate("item", 3)
    positive = torch.distributions.constraints.positive

    @model.theta
    def scale():
        return Density(lambda x: -x.log(), lambda rng: rng.exponential(), positive)

    @model.observed(plate=item)
    def y(scale):
        return Normal(0.0, scale)

    try:
        grade = ppl.infer(model, {"y": [0.0, 0.0, 0.0]}, budget=SOON).certificate.grade
    except ppl.BackendError as error:
        grade = str(error)
    assert grade == "U" or "improper" in grade


def test_minus_infinity_everywhere_names_the_cause():
    """The data lie outside whatever the prior allows."""
    model = ppl.Model("nowhere")
    model.theta(lambda: Uniform(0, 1), name="x")
    model.theta(lambda: Uniform(0, 1), name="z")
    model.theta(lambda: Uniform(0, 1), name="w")
    model.observed(lambda x, z, w: Uniform(x + z + w, x + z + w + 1), name="y")
    with pytest.raises(ppl.BackendError, match=r"zero at all .* draws from the prior of x, z, w"):
        ppl.infer(model, {"y": 10.0}, budget=SOON)


def test_a_density_without_gradient_goes_to_smc():
    """NumPy inside a body: no derivative, so NUTS is not taken, and the plan says why."""
    model = ppl.Model("numpy")

    @model.theta(plate=model.plate("k", 3))
    def x():
        return Normal(0, 1)

    @model.observed
    def y(x):
        return Normal(float(numpy.sin(numpy.asarray(x)).sum()), 0.5)

    plan = ppl.compile(model, {"y": 0.3}, budget=SOON)
    assert plan.routes[0].method == "smc"
    nuts = next(v for v in plan.routes[0].verdicts if v.method == "nuts")
    assert "gradient" in nuts.reason
    found = plan.posterior()
    finite(found)
    assert found.certificate.grade in ("B", "U")


def test_a_threshold_is_not_differentiated():
    """A step function of a parameter, in three dimensions."""
    model = ppl.Model("step")

    @model.theta(plate=model.plate("k", 3))
    def x():
        return Normal(0, 1)

    @model.observed
    def y(x):
        return Normal(torch.floor(4 * x.sum()) / 4, 0.3)

    assert ppl.compile(model, {"y": 0.3}).routes[0].method == "smc"


def test_values_that_overflow_are_named():
    """An explosive recursion: the prior reaches values that no double holds, and the error names the node and the parameter."""
    model = ppl.Model("explosive")

    @model.theta
    def growth():
        return HalfNormal(5)

    @model.deterministic
    def end(growth):
        value = torch.tensor(1.0, dtype=torch.float64)
        for _ in range(60):
            value = value + growth * value**2
        return value

    @model.observed
    def y(end):
        return Normal(end, 1)

    with pytest.raises(ppl.errors.DistributionError, match=r"'y' .* infinite loc"):
        ppl.infer(model, {"y": 1.0}, budget=SOON)


def test_trajectories_that_overflow_are_left_out():
    """The prior seldom explodes, the chains' excursions do: they are no part of the answer."""
    model = ppl.Model("steep")

    @model.theta(plate=model.plate("k", 3))
    def x():
        return Normal(0, 1)

    @model.observed
    def y(x):
        return Normal(torch.exp(20 * x.sum()).clamp(max=1e300), 1)

    found = ppl.infer(model, {"y": 1.0}, budget=SOON)
    finite(found)


def test_supports_that_depend_on_parents():
    """Order statistics by nested intervals: the transform follows the bounds."""
    model = ppl.Model("nested")
    model.theta(lambda: Uniform(0, 1), name="a")
    model.theta(lambda a: Uniform(a, 1), name="b")
    model.theta(lambda b: Uniform(b, 1), name="c")
    model.observed(lambda a, b, c: Normal(a + b + c, 0.1), name="y")
    found = ppl.infer(model, {"y": 1.5})
    draws = found.sample(2000)
    assert bool((draws["a"] < draws["b"]).all())
    assert bool((draws["b"] < draws["c"]).all())
    assert float(draws["a"].min()) > 0
    assert float(draws["c"].max()) < 1


def test_data_of_the_wrong_length():
    """Named with its plate."""
    model = ppl.Model("short")
    item = model.plate("item", 4)
    model.theta(lambda: Normal(0, 1), name="x")
    model.observed(lambda x: Normal(x, 1), name="y", plate=item)
    with pytest.raises(ppl.QueryError, match="item"):
        ppl.infer(model, {"y": [1.0, 2.0]})


def test_a_clock_that_stops_early_is_said():
    """Too little time: an error that says so, or an answer that is not trusted."""
    model = ppl.Model("slow")
    item = model.plate("item", 200)
    model.theta(lambda: Gamma(2, 1), name="a", plate=item)
    model.theta(lambda: Gamma(2, 1), name="b")
    model.observed(lambda a, b: Normal(a * b, 1), name="y", plate=item)
    budget = ppl.Budget(seconds=2)
    try:
        found = ppl.infer(model, {"y": [1.0] * 200}, budget=budget)
    except ppl.BackendError as error:
        assert "seconds" in str(error)  # noqa: PT017
    else:
        assert found.certificate.grade == "U"
        assert any("clock" in n for n in (*found.notes, found.certificate.statement))


def test_several_modes_are_not_missed():
    """Signs that the data cannot tell: chains stay in one each, and tempered SMC answers instead."""
    model = ppl.Model("signs")

    @model.theta(plate=model.plate("k", 3))
    def x():
        return Normal(0, 3)

    @model.observed(plate=model.plate("k2", 3))
    def y(x, k2):
        return Normal(x[k2] ** 2, 0.3)

    found = ppl.infer(model, {"y": [4.0, 4.0, 4.0]})
    assert "several modes" in found.notes[0]
    share = (found.sample(4000)["x"] > 0).to(torch.float64).mean(dim=0)
    assert bool(((share - 0.5).abs() < 0.1).all())


def test_a_rate_that_may_be_infinite():
    """Zero waiting time: the exponential's density grows without bound in the rate, the prior holds it."""
    model = ppl.Model("wait")
    model.theta(lambda: HalfNormal(10), name="rate")
    model.observed(lambda rate: Exponential(rate), name="t")
    found = ppl.infer(model, {"t": 0.0})
    # p(rate) ∝ rate · exp(−rate² / 200): a Rayleigh.
    assert float(found["rate"].mean) == pytest.approx(10 * math.sqrt(math.pi / 2), rel=1e-5)
