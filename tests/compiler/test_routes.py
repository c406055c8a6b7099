"""What an expert would laugh at: each case a small model, with the route that it must take and those that it must not.

The list is the last paragraph of section 3 of the design.
"""

import math

import numpy
import pytest
import torch
from scipy import stats

import ppl
from backends.density.problem import problem
from ppl.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Dirichlet,
    Gamma,
    HalfNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
)

#: Engines that simulate.
SIMULATING = ("rejection", "npe")


def routed(model, seen, of=None):
    """The plan's only route and the engines that it did not take, with what they said."""
    plan = ppl.compile(model, seen, of=of)
    (route,) = plan.routes
    return route.method, {v.method: v for v in route.verdicts}


def beta_binomial():
    model = ppl.Model("beta_binomial")
    model.theta(lambda: Beta(2, 2), name="p")
    model.observed(lambda p: Binomial(10, p), name="k")
    return model, {"k": 7}, "closed"


def conjugate_plate():
    model = ppl.Model("conjugate_plate")
    item = model.plate("item", 5)
    model.theta(lambda: Gamma(2, 1), name="rate")
    model.observed(lambda rate: Poisson(rate), name="k", plate=item)
    return model, {"k": [1, 0, 3, 2, 2]}, "closed"


def factor_analysis():
    model = ppl.Model("factor_analysis")
    item, test = model.plate("item", 6), model.plate("test", 3)
    model.latent(lambda: Normal(0, 1), name="skill", plate=item)
    model.theta(lambda: Normal(0, 1), name="level", plate=test)
    model.observed(lambda skill, level: Normal(level + skill, 0.5), name="y", plate=(item, test))
    return model, {"y": numpy.arange(18.0).reshape(6, 3) / 10}, "closed"


def two_parameters():
    model = ppl.Model("two_parameters")
    item = model.plate("item", 4)
    model.theta(lambda: Normal(0, 5), name="loc")
    model.theta(lambda: HalfNormal(2), name="scale")
    model.observed(lambda loc, scale: StudentT(4, loc, scale), name="y", plate=item)
    return model, {"y": [0.1, 0.4, -2.0, 1.0]}, "quadrature"


def switching():
    """A finite latent beside continuous ones: it is summed out and recovered."""
    model = ppl.Model("switching")
    item = model.plate("item", 6)
    model.theta(lambda: Dirichlet(torch.tensor([2.0, 2.0])), name="weights")
    model.theta(lambda: Normal(-2, 1), name="left")
    model.theta(lambda: Normal(2, 1), name="right")
    model.latent(lambda weights: Categorical(weights), name="label", plate=item)
    model.observed(
        lambda label, left, right: Normal(left if label == 0 else right, 1.0),
        name="y",
        plate=item,
    )
    return model, {"y": [-2.0, -1.5, 2.5, 1.5, 2.0, -2.2]}, "nuts"


def kinked():
    """NumPy inside: known, and not differentiable."""
    model = ppl.Model("kinked")
    model.theta(lambda: Normal(0, 1), name="x", plate=model.plate("k", 3))
    model.observed(lambda x: Normal(float(numpy.tanh(numpy.asarray(x)).sum()), 0.5), name="y")
    return model, {"y": 0.3}, "smc"


def wide():
    """Forty finite parents of one node: known, and not to be summed out."""
    model = ppl.Model("wide")
    model.latent(lambda: Bernoulli(0.3), name="z", plate=model.plate("k", 40))
    model.observed(lambda z: Normal(z.to(torch.float64).sum(), 1.0), name="y")
    return model, {"y": 12.0}, "smc"


TRACTABLE = [
    beta_binomial,
    conjugate_plate,
    factor_analysis,
    two_parameters,
    switching,
    kinked,
    wide,
]


@pytest.mark.parametrize("case", TRACTABLE)
def test_no_simulation_for_a_model_whose_density_is_known(case):
    """The engines that simulate do not fit, and say why; the cheapest exact row is taken."""
    model, seen, expected = case()
    method, verdicts = routed(model, seen)
    assert method == expected
    for simulating in SIMULATING:
        verdict = verdicts[simulating]
        assert not (verdict.able and verdict.fits)
        assert verdict.reason


def test_paths_of_a_chain_are_never_listed():
    """A walk of twenty steps whose noise is unknown: one continuous dimension, twenty small steps, not 2^20 paths."""
    model = ppl.Model("noisy_walk")
    step = model.plate("step", 20, ordered=True)
    model.theta(lambda: Beta(1, 1), name="stay")
    model.latent(
        lambda previous, stay: Bernoulli(stay if previous == 1 else 1 - stay),
        name="s",
        plate=step,
        start=lambda: Bernoulli(0.5),
    )
    model.observed(lambda s: Bernoulli(0.2 + 0.6 * s), name="y", plate=step)
    seen = {"y": [1] * 10 + [0] * 10}
    plan = ppl.compile(model, seen, of=["stay", "s"])
    (route,) = plan.routes
    assert route.method == "quadrature"
    target = problem(route.query, plan.budget).target
    assert target.cells < 20 * 2**4
    found = plan.posterior()
    assert found["s"].probs.shape == (20, 2)
    # Fifty thousand strata of the prior, one forward pass each.
    stay = (numpy.arange(50_000) + 0.5) / 50_000
    alpha = numpy.full((2, len(stay)), 0.5)
    for t, y in enumerate(seen["y"]):
        if t:
            alpha = numpy.stack(
                [stay * alpha[0] + (1 - stay) * alpha[1], (1 - stay) * alpha[0] + stay * alpha[1]]
            )
        alpha = alpha * numpy.array([[0.2], [0.8]] if y else [[0.8], [0.2]])
    weights = alpha.sum(axis=0)
    assert found.log_evidence == pytest.approx(math.log(weights.mean()), abs=1e-6)
    assert float(found["stay"].mean) == pytest.approx((weights @ stay) / weights.sum(), abs=1e-6)


def test_no_chain_moves_a_finite_variable():
    """The sampler's coordinates are the continuous ones alone; labels come out as exact draws given them."""
    model, seen, _ = switching()
    plan = ppl.compile(model, seen, of=["weights", "left", "right", "label"])
    assert problem(plan.routes[0].query, plan.budget).target.dimensions == 3
    found = plan.posterior()
    assert found["label"].probs.shape == (6, 2)
    finite = ppl.Model("finite")
    finite.latent(lambda: Categorical([0.2, 0.3, 0.5]), name="z")
    finite.observed(lambda z: Normal(z, 1.0), name="y")
    method, verdicts = routed(finite, {"y": 0.4})
    assert method == "exact"
    assert not verdicts["nuts"].able


def test_no_rejection_in_many_dimensions():
    """Twelve opaque real numbers are never matched."""
    model = ppl.Model("opaque")
    model.theta(lambda: Uniform(-1, 1), name="x", plate=model.plate("k", 12))
    model.observed(lambda x, rng: x + rng.normal(size=12), name="y")
    method, verdicts = routed(model, {"y": numpy.zeros(12)})
    assert method == "npe"
    assert not verdicts["rejection"].fits


def test_no_draw_outside_the_prior():
    """Whatever the engine: a net, a grid and a sampler stay inside narrow bounds that the data push against."""
    budget = ppl.Budget(simulations=2_000)
    opaque = ppl.Model("opaque")
    opaque.theta(lambda: Uniform(0, 1), name="x", plate=opaque.plate("k", 2))
    opaque.observed(lambda x, rng: x + 0.5 * rng.normal(size=2), name="y")
    open_ = ppl.Model("open")
    open_.theta(lambda: Uniform(0, 1), name="x", plate=open_.plate("k", 3))
    open_.observed(lambda x: Normal(x.sum(), 0.5), name="y")
    for found in (
        ppl.infer(opaque, {"y": [1.4, -0.4]}, method="npe", budget=budget),
        ppl.infer(open_, {"y": 3.5}, method="nuts"),
        ppl.infer(open_, {"y": 3.5}, method="smc"),
    ):
        draws = found.sample(1000)["x"]
        assert float(draws.min()) >= 0
        assert float(draws.max()) <= 1


def test_an_action_is_no_observation():
    """A confounder of x and y: seeing x speaks of it, setting x does not."""
    model = ppl.Model("confounded")
    model.latent(lambda: Normal(0, 1), name="u")
    model.latent(lambda u: Normal(u, 1), name="x")
    model.observed(lambda u, x: Normal(2 * u + x, 1), name="y")
    seen = ppl.infer(model, {"x": 2.0}, of="y")
    done = ppl.infer(model.do(x=2.0), {}, of="y")
    assert float(seen["y"].mean) == pytest.approx(2 * 1 + 2, abs=0.05)
    assert float(done["y"].mean) == pytest.approx(2.0, abs=0.05)
    both = ppl.infer(model.do(x=2.0), {"y": 5.0}, of="u")
    assert float(both["u"].mean) == pytest.approx(3.0 * 2 / 5)


def test_no_simulation_where_nothing_asked_for_touches_the_data():
    """Its simulator would fail if it ran: it does not."""
    calls = []
    model = ppl.Model("untouched")
    model.theta(lambda: Normal(0, 1), name="x")
    model.theta(lambda: Normal(0, 1), name="other")

    @model.observed
    def y(other, rng):
        calls.append(other)
        return other + rng.normal()

    plan = ppl.compile(model, {"y": 0.3}, of="x")
    before = len(calls)
    found = plan.posterior()
    assert found.method == "prior"
    assert len(calls) == before


def test_items_that_share_a_latent_are_no_product():
    """A random effect ties the plate: the evidence is that of one joint Gaussian, not that of four independent ones."""
    model = ppl.Model("shared")
    item = model.plate("item", 4)
    model.theta(lambda: Normal(0, 1), name="level")
    model.latent(lambda: Normal(0, 2), name="shock")
    model.observed(lambda level, shock: Normal(level + shock, 1), name="y", plate=item)
    y = numpy.array([2.0, 3.0, 1.0, 2.5])
    found = ppl.infer(model, {"y": y}, of="level")
    covariance = numpy.eye(4) + 5.0
    assert found.method == "closed"
    exact = stats.multivariate_normal(numpy.zeros(4), covariance).logpdf(y)
    assert found.log_evidence == pytest.approx(float(exact), abs=1e-9)
    assert float(found["level"].sd) == pytest.approx(
        math.sqrt(1 - numpy.linalg.inv(covariance).sum())
    )


def test_no_poisson_is_cut_below_the_data():
    """Ten expected, forty-five seen: the posterior lies where the prior has nearly nothing."""
    model = ppl.Model("thinned")
    model.latent(lambda: Poisson(10), name="size")
    model.observed(lambda size: Binomial(size, 0.5), name="seen")
    found = ppl.infer(model, {"seen": 45})
    # What was missed is Poisson(5) by itself.
    assert float(found["size"].mean) == pytest.approx(50, abs=1e-8)
    assert float(found["size"].domain.max()) > 60
    assert any("size was followed to" in note for note in found.notes)


def test_a_failed_simulation_is_not_dropped_in_silence():
    """A simulator that fails for large θ: the answer says how often, or the call fails by name."""
    model = ppl.Model("fragile")
    model.theta(lambda: Uniform(0, 1), name="x")

    @model.observed
    def y(x, rng):
        if float(x) > 0.5:
            raise ArithmeticError("no convergence")
        return float(x) + 0.1 * rng.normal()

    try:
        found = ppl.infer(model, {"y": 0.4}, method="rejection")
    except ppl.SimulationError as error:
        assert "y" in str(error) and "no convergence" in str(error)  # noqa: PT017, PT018
    else:
        assert any("failed" in note for note in found.notes)
