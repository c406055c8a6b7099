"""Three engines, one target: at one tolerance rejection, generations and chains sample the same distribution, which is known in closed form."""

import math

import numpy
import pytest
import torch
from scipy import stats

import ppl
from ppl.distributions import Categorical, Normal, Poisson, Uniform

ENGINES = ("rejection", "abc-smc", "abc-mcmc")
BUDGET = ppl.Budget(simulations=60_000)


def gap(x, y):
    """The distance itself, on the data's own scale."""
    return (x - y).abs()[:, 0]


def method(name, **options):
    """An engine with the same target as the others: no adjustment, no kernel, one scale."""
    if name != "abc-mcmc":
        options |= {"adjust": "none", "kernel": "uniform"}
    if name == "abc-smc":
        options |= {"adaptive": False}
    if name == "rejection":
        options |= {"quantile": 1.0}
    return ppl.Method(name, distance=gap, **options)


def noisy():
    """A uniform parameter seen through Gaussian noise, opaque."""
    model = ppl.Model("noisy")
    model.theta(lambda: Uniform(-5, 5), name="x")
    model.observed(lambda x, rng: x + rng.normal(), name="y")
    return model


@pytest.mark.parametrize("name", ENGINES)
def test_the_target_is_the_density_within_the_tolerance(name):
    """p(x | |y − 1| ≤ ε) = (Φ(1 + ε − x) − Φ(1 − ε − x)) / Z on (−5, 5): mean and sd within five standard errors."""
    found = ppl.infer(
        noisy(), {"y": 1.0}, method=method(name, tolerance=2.0), budget=BUDGET, seed=2
    )
    grid = numpy.linspace(-5, 5, 20_001)
    # Generations may come nearer than they were asked to.
    reached = float(found.certificate.checks["tolerance"])
    density = stats.norm.cdf(1 + reached - grid) - stats.norm.cdf(1 - reached - grid)
    density /= density.sum()
    mean = density @ grid
    sd = math.sqrt(density @ (grid - mean) ** 2)
    error = float(found["x"].standard_error)
    assert float(found["x"].mean) == pytest.approx(mean, abs=5 * error)
    assert float(found["x"].sd) == pytest.approx(sd, abs=5 * error)
    # Not a vacuous bound.
    assert error < 0.1
    assert found.certificate.grade == "U"
    assert reached <= 2.0


@pytest.mark.parametrize("name", ENGINES)
def test_a_finite_parameter_beside_a_continuous_one(name):
    """Model choice: which of three levels, and how far from it; the probabilities are integrals."""
    model = ppl.Model("levels")
    model.theta(lambda: Categorical([0.5, 0.3, 0.2]), name="level")
    model.theta(lambda: Normal(0, 0.5), name="shift")
    model.observed(lambda level, shift, rng: 2 * level + shift + 0.5 * rng.normal(), name="y")
    found = ppl.infer(model, {"y": 2.6}, method=method(name, tolerance=0.5), budget=BUDGET, seed=3)
    sd, reached = math.sqrt(0.5), float(found.certificate.checks["tolerance"])
    ends = [stats.norm.cdf(2.6 + e, 2 * numpy.arange(3), sd) for e in (reached, -reached)]
    mass = numpy.array([0.5, 0.3, 0.2]) * (ends[0] - ends[1])
    probs = found["level"].probs
    # As many independent draws as the continuous parameter is worth, at the least half of them.
    worth = float(found["shift"].effective_size) / 2
    for k in range(3):
        p = mass[k] / mass.sum()
        assert float(probs[k]) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / worth) + 1e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_failures_are_counted_and_never_accepted(name):
    """A simulator without an answer above zero: no draw above zero."""
    model = ppl.Model("fragile")
    model.theta(lambda: Uniform(-5, 5), name="x")

    @model.observed
    def y(x, rng):
        return float("nan") if x > 0 else x + rng.normal()

    budget = ppl.Budget(simulations=8_000)
    found = ppl.infer(model, {"y": 0.5}, method=method(name, tolerance=1.0), budget=budget)
    assert float(found["x"]._values.max()) <= 0
    assert any("failed" in note for note in found.notes)


@pytest.mark.parametrize("name", ["rejection", "abc-mcmc"])
def test_what_cannot_be_matched_is_an_error(name):
    """Nothing within the tolerance: the error says so."""
    few = ppl.Budget(simulations=3_000)
    with pytest.raises(ppl.BackendError, match=r"within the tolerance 0\.1"):
        ppl.infer(noisy(), {"y": 1000.0}, method=method(name, tolerance=0.1), budget=few)


def test_generations_say_that_a_tolerance_was_not_reached():
    """They answer with what they have."""
    few = ppl.Budget(simulations=5_000)
    found = ppl.infer(noisy(), {"y": 30.0}, method=method("abc-smc", tolerance=0.1), budget=few)
    assert any("tolerance 0.1 was not reached" in note for note in found.notes)


def test_generations_come_nearer_than_rejection():
    """As many draws for the same budget, three times nearer, and no narrower than the truth."""
    model = ppl.Model("plane")
    model.theta(lambda: Uniform(-10 * torch.ones(2), 10), name="x")
    model.observed(lambda x, rng: x + 0.5 * rng.normal(size=2), name="y")
    budget = ppl.Budget(simulations=20_000)
    plain = ppl.Method(
        "rejection", adjust="none", quantile=0.05, distance=lambda x, y: (x - y).norm(dim=1)
    )
    near = ppl.Method("abc-smc", adaptive=False, distance=lambda x, y: (x - y).norm(dim=1))
    seen = {"y": [1.0, 2.0]}
    one = ppl.infer(model, seen, method=plain, budget=budget)
    two = ppl.infer(model, seen, method=near, budget=budget)
    assert (
        float(two.certificate.checks["tolerance"]) < float(one.certificate.checks["tolerance"]) / 3
    )
    assert two["x"].mean.numpy() == pytest.approx([1.0, 2.0], abs=0.15)
    assert two["x"].sd.numpy() == pytest.approx([0.5, 0.5], rel=0.15)


def test_counts_are_matched_exactly_by_generations_too():
    """A tolerance of zero is the posterior itself: gamma-Poisson."""
    model = ppl.Model("counts")
    model.theta(lambda: Uniform(0, 20), name="rate")
    model.observed(lambda rate, rng: rng.poisson(rate), name="k")
    found = ppl.infer(model, {"k": 4}, method="abc-smc", budget=ppl.Budget(simulations=20_000))
    assert float(found.certificate.checks["tolerance"]) == 0
    error = float(found["rate"].standard_error)
    assert float(found["rate"].mean) == pytest.approx(5.0, abs=5 * error + 1e-3)


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("rejection", {"quantile": 0}, "quantile"),
        ("rejection", {"tolerance": -1}, "tolerance"),
        ("rejection", {"distance": "manhattan"}, "manhattan"),
        ("rejection", {"adjust": "cubic"}, "cubic"),
        ("rejection", {"summaries": "magic"}, "magic"),
        ("rejection", {"kernel": "box"}, "box"),
        ("rejection", {"population": 10}, "population"),
        ("rejection", {"tolerence": 1}, "tolerance"),
        ("rejection", {"distance": {"z": "scaled"}}, "'z'"),
        ("abc-smc", {"population": 1}, "population"),
        ("abc-smc", {"acceptance": 2}, "acceptance"),
        ("abc-mcmc", {"chains": 1}, "chains"),
        ("abc-mcmc", {"adjust": "linear"}, "adjust"),
        ("exact", {"tolerance": 1}, "takes none"),
    ],
)
def test_a_wrong_option_is_named(engine, options, said):
    """By name, with what there is."""
    with pytest.raises(ppl.QueryError, match=said):
        ppl.infer(
            noisy(),
            {"y": 1.0},
            method=ppl.Method(engine, **options),
            budget=ppl.Budget(simulations=2_000),
        )


def test_a_distance_of_the_wrong_shape_is_named():
    """One number a row."""
    wrong = ppl.Method("rejection", distance=lambda x, y: (x - y).abs())
    with pytest.raises(ppl.QueryError, match="one number a row"):
        ppl.infer(noisy(), {"y": 1.0}, method=wrong, budget=ppl.Budget(simulations=2_000))


def test_a_prior_that_can_only_be_sampled_is_left_to_rejection():
    """Generations need its density."""
    model = ppl.Model("sampled")
    model.theta(lambda rng: rng.normal(), name="x")
    model.observed(lambda x, rng: x + rng.normal(), name="y")
    with pytest.raises(ppl.BackendError, match=r"can only be sampled.*rejection"):
        ppl.infer(model, {"y": 1.0}, method="abc-smc")


def test_parameters_in_plates_and_nuisances():
    """Two groups under one level: what is not asked for is simulated anew, whatever was kept."""
    model = ppl.Model("groups")
    group = model.plate("group", 2)
    model.theta(lambda: Normal(0, 2), name="level")
    model.theta(lambda level: Normal(level, 1), name="mean", plate=group)
    model.nuisance(lambda: Poisson(3), name="noise", plate=group)
    model.observed(
        lambda mean, noise, rng: mean + 0.1 * (noise - 3) + 0.5 * rng.normal(),
        name="y",
        plate=group,
    )
    found = ppl.infer(
        model, {"y": [1.0, 2.0]}, method="abc-smc", budget=ppl.Budget(simulations=30_000)
    )
    assert found["mean"].mean.shape == (2,)
    # All but Gaussian: the noise's variance is 0.25 + 0.03.
    covariance = numpy.array([[4, 4, 4], [4, 5.28, 4], [4, 4, 5.28]])
    mean = covariance[0, 1:] @ numpy.linalg.solve(covariance[1:, 1:], [1.0, 2.0])
    assert float(found["level"].mean) == pytest.approx(mean, abs=0.15)


def test_a_line_that_falls_is_not_taken_for_one_that_rises():
    """Members that an input tells apart are no sample: sorted values would leave the sign of the slope open."""
    model = ppl.Model("line")
    model.theta(lambda: Normal(0.0, 1.0), name="slope")
    model.theta(lambda: Normal(0.0, 2.0), name="base")
    row = model.plate("row", 12)
    model.input("t", plate=row)
    model.observed(
        lambda t, slope, base, rng: base + slope * t + 0.5 * rng.normal(), name="y", plate=row
    )
    t = torch.linspace(0, 3, 12, dtype=torch.float64)
    found = ppl.infer(
        model,
        {"t": t, "y": 0.2 + t},
        method=ppl.Method("abc-smc", adjust="none"),
        budget=ppl.Budget(simulations=8_000),
    )
    # The slope has a posterior sd of about .15 around 1; three tolerances wide it still is positive.
    assert float((found.sample(1_000)["slope"] < 0).double().mean()) == 0
