"""What is learned is what the graph says: factors, members of plates, shared latents, sets."""

import numpy
import pytest
import torch

import ppl
from backends.neural.factors import factorise
from backends.neural.structure import structure
from ppl.distributions import HalfNormal, Normal, Uniform

from .models import SMALL, schools


def factors(model, given, of=None, **options):
    """The factors of the first component."""
    return factorise(ppl.compile(model, given, of, **options).routes[0].query)


def test_items_of_a_plate_are_one_factor():
    """Independent given θ: one number an item, whatever the size."""
    model = ppl.Model("m")
    item = model.plate("item", 50)
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta, rng: theta + rng.normal(), name="x", plate=item)
    (one,) = factors(model, ["x"]).factors
    assert (one.plate, one.dimensions, one.parents, one.explicit) == ("item", 1, ("theta",), False)
    plan = ppl.compile(model, ["x"])
    assert plan.routes[0].method == "nle"
    assert "p(x | theta) of one 'item'" in plan.routes[0].verdict.reason


def test_a_latent_that_items_share_is_sampled_with_theta():
    """A product over items that share a latent would be wrong: the latent conditions the net."""
    model = ppl.Model("m")
    item = model.plate("item", 20)
    model.theta(lambda: Normal(0, 1), name="theta")
    model.latent(lambda theta: Normal(theta, 1), name="weather")
    model.observed(lambda weather, rng: weather + rng.normal(), name="x", plate=item)
    found = factors(model, ["x"])
    assert found.shared == ("weather",)
    assert set(found.parameters.names) == {"theta", "weather"}
    (one,) = found.factors
    assert (one.plate, one.parents) == ("item", ("weather",))
    # The answer for θ alone is right: 20 readings of the weather say little of it beyond the weather's own spread.
    plan = ppl.compile(model, ["x"], method="nle", budget=SMALL)
    answer = plan.posterior({"x": [1.0] * 20})["theta"]
    mean, sd = 1 / (2 + 1 / 20), (1 - 1 / (2 + 1 / 20)) ** 0.5
    assert float(answer.mean) == pytest.approx(mean, abs=0.25 * sd)
    assert float(answer.sd) == pytest.approx(sd, rel=0.25)


def test_a_latent_of_one_item_is_integrated_out_by_the_simulator():
    """It is inside the factor."""
    model = ppl.Model("m")
    item = model.plate("item", 20)
    model.theta(lambda: Normal(0, 1), name="theta")
    model.latent(lambda theta: Normal(theta, 1), name="own", plate=item)
    model.observed(lambda own, rng: own + rng.normal(), name="x", plate=item)
    found = factors(model, ["x"])
    assert found.shared == ()
    assert found.factors[0].plate == "item"


def test_what_a_shared_simulator_gives_cannot_be_factored():
    """An opaque latent has no prior density: the items are one block of twenty numbers."""
    model = ppl.Model("m")
    item = model.plate("item", 20)
    model.theta(lambda: Normal(0, 1), name="theta")
    model.latent(lambda theta, rng: theta + rng.normal(), name="weather")
    model.observed(lambda weather, rng: weather + rng.normal(), name="x", plate=item)
    (one,) = factors(model, ["x"]).factors
    assert (one.plate, one.dimensions) == (None, 20)
    plan = ppl.compile(model, ["x"])
    assert plan.routes[0].method == "npe"
    said = {v.method: v for v in plan.routes[0].verdicts}
    assert "20 numbers (the limit is 10)" in said["nle"].reason


def test_known_densities_are_used_and_not_learned():
    """An explicit node beside a simulator: only the simulator is learned."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta: Normal(theta, 0.5), name="gauge")
    model.observed(lambda theta, rng: theta + rng.normal(), name="x")
    found = factors(model, ["x", "gauge"])
    assert {f.names: f.explicit for f in found.factors} == {("gauge",): True, ("x",): False}
    assert [f.names for f in found.learned] == [("x",)]
    answer = ppl.infer(model, {"x": 1.0, "gauge": 1.0}, method="nle", budget=SMALL)["theta"]
    assert float(answer.mean) == pytest.approx(5 / 6, abs=0.25 * 6**-0.5)
    assert float(answer.sd) == pytest.approx(6**-0.5, rel=0.2)


def test_a_summary_is_learned_instead_of_what_it_is_a_function_of():
    """Forty readings, their mean declared as a summary: one number."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta, rng: theta + rng.normal(size=40), name="x")
    assert ppl.compile(model, ["x"]).routes[0].method == "npe"
    model.summary(lambda x: x.mean(), name="middle")
    (one,) = factors(model, ["x"]).factors
    assert (one.names, one.dimensions) == (("middle",), 1)
    data = numpy.full(40, 0.7)
    for method in ("nle", "npe"):
        answer = ppl.infer(model, {"x": data}, method=method, budget=SMALL)["theta"]
        assert float(answer.mean) == pytest.approx(28 / 41, abs=0.3 * 41**-0.5)
        assert float(answer.sd) == pytest.approx(41**-0.5, rel=0.3)


def test_covariates_condition_the_density_of_an_item():
    """A line through noisy points, with the points' places as an input."""
    model = ppl.Model("m")
    row = model.plate("row", 12)
    model.input("t", plate=row)
    model.theta(lambda: Normal(0, 1), name="slope")
    model.observed(lambda slope, t, rng: slope * t + 0.5 * rng.normal(), name="y", plate=row)
    t = numpy.linspace(-1, 1, 12)
    seen = {"t": t, "y": 0.8 * t}
    precision = 1 + (t**2).sum() / 0.25
    mean = (0.8 * t**2).sum() / 0.25 / precision
    for method in ("nle", "nre", "npe"):
        answer = ppl.infer(model, seen, method=method, budget=SMALL)["slope"]
        assert float(answer.mean) == pytest.approx(mean, abs=0.3 * precision**-0.5)
        assert float(answer.sd) == pytest.approx(precision**-0.5, rel=0.3)


def test_local_parameters_are_told_from_global_ones():
    """Effects belong to schools, the centre to all; the centre joins though nobody asks for it."""
    query = ppl.compile(schools(), ["result"], of="effect").routes[0].query
    found = structure(query)
    assert [v.name for v in found.top] == ["centre"]
    assert found.shared == ("centre",)
    (one,) = found.local
    assert (one.plate, one.data) == ("school", ("result",))
    assert one.parts[0].shape == ()


def test_effects_that_are_seen_through_their_sum_are_not_local():
    """Members that meet in one observation hang together."""
    model = ppl.Model("m")
    item = model.plate("item", 3)
    model.theta(lambda: Normal(0, 1), name="part", plate=item)
    model.observed(lambda part, rng: part.sum() + rng.normal(), name="total")
    found = structure(ppl.compile(model, ["total"]).routes[0].query)
    assert not found.local
    assert found.top[0].shape == (3,)
    answer = ppl.infer(model, {"total": 2.0}, method="npe", budget=SMALL).sample(4000)["part"]
    assert float(torch.corrcoef(answer.T)[0, 1]) == pytest.approx(-1 / 3, abs=0.1)


def test_a_long_series_is_seen_by_a_convolution():
    """The scale of eighty steps, in order."""
    model = ppl.Model("m")
    day = model.plate("day", 80, ordered=True)
    model.theta(lambda: HalfNormal(1), name="scale")
    model.observed(lambda scale, rng: scale * rng.normal(), name="y", plate=day)
    rng = numpy.random.default_rng(1)
    y = 0.6 * rng.normal(size=80)
    plan = ppl.compile(model, ["y"], budget=SMALL)
    answer = ppl.infer(model, {"y": y}, method="npe", budget=SMALL)["scale"]
    # The sd of a scale from n numbers is about scale / √(2 n).
    sd = numpy.sqrt((y**2).mean()) / 160**0.5
    assert plan.routes[0].method in ("npe", "nle")
    assert float(answer.mean) == pytest.approx(float(numpy.sqrt((y**2).mean())), abs=2.5 * sd)


def test_nuisances_are_integrated_out():
    """η widens the posterior, and is not reported."""
    model = ppl.Model("m")
    model.theta(lambda: Uniform(-3, 3), name="theta")
    model.nuisance(lambda: Normal(0, 1), name="shift")
    model.observed(lambda theta, shift, rng: theta + shift + 0.1 * rng.normal(), name="x")
    for method in ("npe", "nle", "nre"):
        answer = ppl.infer(model, {"x": 0.0}, method=method, budget=SMALL)
        assert answer.of == ("theta",)
        assert float(answer["theta"].sd) == pytest.approx(1.0, rel=0.15)


def test_routes_follow_the_decision_table():
    """Likelihood for few numbers, rounds for one observation and few simulations, posterior for many numbers."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta, rng: theta + rng.normal(size=8), name="x")
    few = ppl.Budget(simulations=1_000)
    assert ppl.compile(model, ["x"]).routes[0].method == "nle"
    assert ppl.compile(model, ["x"], budget=few).routes[0].method == "nle"
    assert ppl.compile(model, {"x": [0.0] * 8}).routes[0].method == "nle"
    assert ppl.compile(model, {"x": [0.0] * 8}, budget=few).routes[0].method == "snl"
    wide = ppl.Model("w")
    wide.theta(lambda: Normal(0, 1), name="theta")
    wide.observed(lambda theta, rng: theta + rng.normal(size=30), name="x")
    assert ppl.compile(wide, ["x"]).routes[0].method == "npe"
    assert ppl.compile(wide, {"x": [0.0] * 30}, budget=few).routes[0].method == "apt"


def test_few_simulations_and_a_gap_are_answered_by_the_posterior_net():
    """Rounds do not take gaps; that they would use few simulations better is no reason for having no answer."""
    model = ppl.Model("weeks")
    week = model.plate("week", 12, ordered=True)
    model.theta(lambda: Normal(0, 1), name="theta")
    model.latent(lambda theta, rng: theta + rng.normal(size=12).cumsum(), name="walk", over=week)
    model.observed(lambda walk, rng: walk + rng.normal(), name="x", plate=week)
    plan = ppl.compile(model, {"x": [0.0] * 11 + [None]}, budget=ppl.Budget(simulations=1_000))
    assert plan.routes[0].method == "npe"
    assert "if they could: cells are missing of x" in plan.routes[0].verdict.reason


def line(points: int = 6) -> ppl.Model:
    """A slope, seen at places within a declared range."""
    model = ppl.Model("line")
    row = model.plate("row", points)
    model.input(lambda: Uniform(-2, 2), name="t", plate=row)
    model.theta(lambda: Normal(0, 1), name="slope")
    model.observed(lambda slope, t, rng: slope * t + 0.5 * rng.normal(), name="y", plate=row)
    return model


@pytest.mark.parametrize("method", ["nle", "nre", "npe"])
def test_inputs_with_a_range_condition_the_net(method):
    """One training for designs that nobody knew. A density of one point serves the rarest; a net of all points those like the simulated, and less well."""
    slack = 0.4 if method == "nle" else 0.75
    budget = ppl.Budget(simulations=10_000 if method == "npe" else 4_000)
    plan = ppl.compile(line(), ["y"], method=method, budget=budget)
    designs = [[-1.8, -1.0, -0.3, 0.4, 1.1, 1.7], [-1.5, -1.4, -0.5, 0.6, 1.5, 1.9]]
    if method == "nle":
        designs += [[-0.5, -0.3, -0.1, 0.1, 0.3, 0.5], [-2, -2, -2, 2, 2, 2]]
    for t in designs:
        t = numpy.array(t)
        precision = 1 + (t**2).sum() / 0.25
        answer = plan.posterior({"t": t, "y": 0.8 * t})["slope"]
        assert float(answer.mean) == pytest.approx(
            (0.8 * t**2).sum() / 0.25 / precision, abs=slack * precision**-0.5
        )
        assert float(answer.sd) == pytest.approx(precision**-0.5, rel=slack)


def test_a_plan_for_a_range_needs_the_input_with_the_observation():
    """And engines that cannot prepare for a range say so."""
    plan = ppl.compile(line(), ["y"], budget=SMALL)
    said = {v.method: v.reason for v in plan.routes[0].verdicts}
    assert plan.routes[0].method == "nle"
    assert "it needs the value of t" in said["rejection"]
    with pytest.raises(ppl.QueryError, match="Give the input 't' with the observation"):
        plan.posterior({"y": [0.0] * 6})
    with pytest.raises(ppl.QueryError, match="Input 't' is not given"):
        ppl.infer(line(), {"y": [0.0] * 6})


@pytest.mark.parametrize("method", ["nle", "npe", "nre"])
def test_a_training_goes_on_with_more_simulations(method):
    """From 300 to 4,300: the answer comes nearer, and the count is told."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta, rng: theta + rng.normal(size=4), name="x")
    plan = ppl.compile(model, ["x"], method=method, budget=ppl.Budget(simulations=300))
    seen = {"x": [0.5, 1.5, 1.0, 1.0]}
    assert plan.posterior(seen).certificate.checks["simulations"] == 300
    plan.extend(4_000)
    answer = plan.posterior(seen)
    assert answer.certificate.checks["simulations"] == 4_300
    assert float(answer["theta"].mean) == pytest.approx(0.8, abs=0.25 * 0.2**0.5)
    with pytest.raises(ppl.QueryError, match="positive integer"):
        plan.extend(0)
    with pytest.raises(ppl.BackendError, match="nothing to extend"):
        ppl.compile(model, {"x": [0.0] * 4}, method="snl").extend(10)


def test_whole_numbers_are_a_line_where_there_are_many_and_none_stands_out():
    """Counts with an excess of zeros, and dice, are classes; a spread of counts is a density."""
    model = ppl.Model("m")
    model.theta(lambda: Uniform(20, 40), name="rate")
    model.observed(lambda rate, rng: rng.poisson(rate), name="spread")
    model.observed(lambda rate, rng: rng.poisson(rate) * (rng.random() < 0.6), name="zeros")
    model.observed(lambda rate, rng: int(rng.integers(6)), name="dice")
    seen = {"spread": 30, "zeros": 0, "dice": 3}
    plan = ppl.compile(model, seen, method="nle", budget=SMALL)
    rate = plan.posterior()["rate"]
    kinds = {v.name: v.kind for d in plan._solver(0).densities for v in d.variables.parts}
    assert kinds == {"spread": "whole", "zeros": "codes", "dice": "codes"}
    # Thirty of a Poisson under a flat prior that is cut at 20 and 40.
    grid = torch.linspace(20, 40, 2001, dtype=torch.float64)
    weight = torch.distributions.Poisson(grid).log_prob(torch.tensor(30.0)).exp()
    mean = float((grid * weight).sum() / weight.sum())
    sd = float(((grid - mean) ** 2 * weight).sum().div(weight.sum()).sqrt())
    assert float(rate.mean) == pytest.approx(mean, abs=0.25 * sd)
    assert float(rate.sd) == pytest.approx(sd, rel=0.25)
