"""Bad input: observations, simulators, options and trainings that go wrong, each with its cause."""

import numpy
import pytest
import torch
from torch import nn

import ppl
from backends.neural.checkpoint import Checkpoint
from backends.neural.train import Settings, train
from ppl.distributions import Normal, Uniform
from ppl.errors import BackendError, QueryError

from .models import SMALL, coin, scale, weight_given

TINY = ppl.Budget(simulations=1_000, seconds=60)


def pair(body, **options):
    """A parameter and one opaque observed node."""
    model = ppl.Model("pair")

    @model.theta
    def theta():
        return Normal(0, 1)

    model.observed(body, name="x", **options)
    return model


def reading(theta, rng):
    """A number."""
    return theta + rng.normal()


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize("method", ["npe", "nle", "apt"])
def test_an_observation_that_is_no_number_is_refused_before_anything_is_simulated(method, value):
    """It names the node."""
    with pytest.raises(QueryError, match="'x'"):
        ppl.infer(pair(reading), {"x": value}, method=method, budget=TINY)


@pytest.mark.parametrize("method", ["npe", "nle", "nre"])
def test_an_observation_far_outside_the_simulations_is_told_with_its_distance(method):
    """Fifty standard deviations away, and the extreme node by name."""
    model = pair(reading)

    @model.observed
    def y(theta, rng):
        return rng.normal()

    found = ppl.infer(model, {"x": 50.0, "y": 0.0}, method=method, budget=TINY)
    (note,) = [n for n in found.notes if "outside the simulated range" in n]
    assert "standard deviations" in note
    assert "most of all x" in note


@pytest.mark.parametrize("method", ["npe", "nle", "nre", "apt", "snl"])
def test_constant_and_duplicate_columns_do_no_harm(method):
    """One number, itself again, its double, and a constant: the answer is that of the one number."""

    def x(theta, rng):
        one = theta + 0.5 * rng.normal()
        return numpy.array([one, one, 2 * one, 7.0])

    found = ppl.infer(pair(x), {"x": [0.8, 0.8, 1.6, 7.0]}, method=method, budget=SMALL)["theta"]
    mean, sd = 0.8 / 1.25, (0.25 / 1.25) ** 0.5
    assert float(found.mean) == pytest.approx(mean, abs=0.25 * sd)
    assert float(found.sd) == pytest.approx(sd, rel=0.25)


@pytest.mark.parametrize("method", ["npe", "nle", "nre", "apt"])
def test_too_few_simulations_for_the_split_are_refused(method):
    """Forty cannot be trained on and held out."""
    with pytest.raises(BackendError, match="40 simulations are too few"):
        ppl.infer(pair(reading), {"x": 1.0}, method=method, budget=ppl.Budget(simulations=40))


@pytest.mark.parametrize(
    "kind",
    [numpy.float64, numpy.float32, int, bool, numpy.int8, torch.tensor],
    ids=["float64", "float32", "int", "bool", "int8", "tensor"],
)
@pytest.mark.parametrize("method", ["npe", "nle"])
def test_whatever_number_a_simulator_returns_is_taken_as_it_is(method, kind):
    """Nothing is cast in silence: whole numbers stay whole, and are classes for a likelihood."""

    def x(theta, rng):
        value = 3 * theta + rng.normal()
        return kind(
            value > 0 if kind is bool else round(value) if kind in (int, numpy.int8) else value
        )

    model = pair(x)
    plan = ppl.compile(model, ["x"], method=method, budget=TINY)
    low, high = (
        plan.posterior({"x": v})["theta"].mean for v in ((0, 1) if kind is bool else (-1, 2))
    )
    assert float(low) < float(high)


def test_a_value_that_was_never_simulated_is_refused_by_name():
    """Heads are counted from 0 to 10; the observation is known when the plan is not made for it."""
    plan = ppl.compile(coin(), ["heads"], method="nle", budget=TINY)
    with pytest.raises(QueryError, match="'heads' was observed as 12, which no simulation gave"):
        plan.posterior({"heads": 12})


def test_a_simulator_that_always_fails_says_why():
    """The first error is in the message."""

    def x(theta, rng):
        raise ValueError("the furnace is cold")

    with pytest.raises(ppl.GaltonError, match="the furnace is cold"):
        ppl.infer(pair(x), {"x": 1.0}, method="npe", budget=TINY)


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_data_with_heavy_tails_are_squashed(method):
    """Cauchy noise: the posterior sits at the observation, though the largest simulation is thousands away."""

    def x(theta, rng):
        return theta + 0.1 * rng.standard_cauchy()

    found = ppl.infer(pair(x), {"x": 0.7}, method=method, budget=SMALL)["theta"]
    assert float(found.mean) == pytest.approx(0.6, abs=0.25)
    assert float(found.sd) < 0.6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"ensemble": 2.5}, "ensemble=2.5"),
        ({"rate": -1}, "rate=-1"),
        ({"density": "splin"}, "Did you mean 'spline'"),
        ({"embed": {"z": nn.Identity()}}, "names 'z', which is not observed"),
        ({"embed": {"x": lambda v: v}}, "is no torch.nn.Module"),
        ({"layers": 3}, "no option 'layers'"),
    ],
)
def test_options_are_checked_before_anything_is_simulated(options, said):
    """Each by its name."""
    with pytest.raises(QueryError, match=said):
        ppl.compile(pair(reading), ["x"], method=ppl.Method("npe", **options))


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("nre", {"loss": "nre-b"}, "nre-a and nre-c"),
        ("nre", {"classes": 0}, "classes=0"),
        ("nre", {"gamma": 0}, "gamma=0"),
        ("snl", {"rounds": 0}, "rounds=0"),
        ("apt", {"atoms": 1}, "atoms=1"),
    ],
)
def test_options_of_one_estimator(method, options, said):
    """Each by its name."""
    with pytest.raises(QueryError, match=said):
        ppl.compile(pair(reading), {"x": 1.0}, method=ppl.Method(method, **options))


def test_a_net_of_the_users_is_trained_and_a_wrong_one_is_refused():
    """An image's mean brightness by a net of one's own; a net that returns no vector says what it returned."""

    def x(theta, rng):
        return theta + rng.normal(size=(3, 4))

    model = pair(x)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh())
    image = numpy.full((3, 4), 0.5)
    found = ppl.infer(model, {"x": image}, method=ppl.Method("npe", embed={"x": net}), budget=SMALL)
    mean, sd = weight_given([0.5] * 12)
    assert float(found["theta"].mean) == pytest.approx(mean, abs=0.3 * sd)
    with pytest.raises(
        QueryError, match=r"embed\['x'\] must return one vector a draw.*\(2, 3, 4\)"
    ):
        ppl.infer(
            model, {"x": image}, method=ppl.Method("npe", embed={"x": nn.Tanh()}), budget=TINY
        )
    wrong = ppl.Method("npe", embed={"x": nn.Linear(7, 2)})
    with pytest.raises(QueryError, match=r"embed\['x'\] fails on a batch of shape \(2, 3, 4\)"):
        ppl.infer(model, {"x": image}, method=wrong, budget=TINY)


def test_a_prior_that_can_only_be_sampled_is_left_to_posterior_nets():
    """Likelihoods need its density; nets of the posterior need its support."""
    model = ppl.Model("implicit")

    @model.theta(support=torch.distributions.constraints.positive)
    def theta(rng):
        return rng.gamma(2.0)

    @model.observed
    def x(theta, rng):
        return theta + rng.normal(size=6)

    plan = ppl.compile(model, ["x"], budget=SMALL)
    assert plan.routes[0].method == "npe"
    said = {v.method: v.reason for v in plan.routes[0].verdicts}
    assert "can only be sampled" in said["nle"]
    assert bool((plan.posterior({"x": [0.1] * 6}).sample(2000)["theta"] > 0).all())


def test_missing_days_of_a_series():
    """Known with the observation, or found by a plan that was made for complete data and makes another one."""
    model = ppl.Model("gaps")
    day = model.plate("day", 3, ordered=True)

    @model.theta
    def level():
        return Uniform(-3, 3)

    @model.observed(plate=day)
    def y(level, rng):
        return level + 0.5 * rng.normal()

    gaps = {"y": [0.5, None, 0.7]}
    plan = ppl.compile(model, ["y"], method="npe", budget=ppl.Budget(simulations=10_000))
    for found in (ppl.infer(model, gaps, method="npe", budget=SMALL), plan.posterior(gaps)):
        assert float(found["level"].mean) == pytest.approx(0.6, abs=0.25 * 0.5 / 2**0.5)


def test_missing_cells_of_a_table_must_be_known_when_the_net_is_trained():
    """A node in two plates is plain columns: the cells that are missing are left out, the same in every observation."""
    model = ppl.Model("table")
    row, column = model.plate("row", 2), model.plate("column", 2)

    @model.theta
    def level():
        return Uniform(-3, 3)

    @model.observed(plate=(row, column))
    def y(level, rng):
        return level + 0.5 * rng.normal()

    found = ppl.infer(model, {"y": [[0.5, None], [0.7, 0.6]]}, method="npe", budget=SMALL)
    assert float(found["level"].mean) == pytest.approx(0.6, abs=0.25 * 0.5 / 3**0.5)
    with pytest.raises(QueryError, match="other cells missing"):
        found.plan.posterior({"y": [[0.5, 0.4], [0.7, None]]})
    plan = ppl.compile(model, ["y"], method="npe", budget=TINY)
    with pytest.raises(BackendError, match="must know which when it is trained"):
        plan.posterior({"y": [[0.5, None], [0.7, 0.6]]})


# -- training -----------------------------------------------------------------------------------


class Line(nn.Module):
    """A slope that blows up with large steps."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))


def squares(net, rows):
    """Squared error, infinite for wild slopes."""
    x, y = rows
    error = (y - net.slope * x) ** 2
    return torch.where(net.slope.abs() < 5, error, torch.inf)


def data(n=400):
    """A line of slope two."""
    x = torch.linspace(-1, 1, n)
    return x, 2 * x + 0.3 * torch.randn(n, generator=torch.Generator().manual_seed(0))


def test_a_training_that_diverges_begins_again_with_a_smaller_step():
    """A step of forty leaves the region where the loss is finite; a ninth of it does not."""
    found = train(Line(), squares, data(), 0, 60, Settings(rate=40.0, epochs=40, patience=40))
    assert 1 <= found.restarts <= 3
    assert found.net.slope.item() == pytest.approx(2, abs=0.1)


def test_a_training_that_always_diverges_ends_with_the_cause():
    """After three restarts."""

    def never(net, rows):
        return rows[0] * net.slope * torch.nan

    with pytest.raises(BackendError, match="became infinite with every step size"):
        train(Line(), never, data(), 0, 60, Settings(epochs=5))


def test_a_killed_training_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path):
    """Equal weights and losses, to the last bit."""
    settings = Settings(epochs=8, rate=0.05)
    whole = train(Line(), squares, data(), 0, 60, settings)
    calls = 0

    def killed(net, rows):
        nonlocal calls
        calls += 1
        if calls == 40:
            raise KeyboardInterrupt
        return squares(net, rows)

    kept = Settings(epochs=8, rate=0.05, checkpoint=tmp_path / "line.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(Line(), killed, data(), 0, 60, kept)
    assert kept.checkpoint.exists()
    resumed = train(Line(), squares, data(), 0, 60, kept)
    assert torch.equal(resumed.net.slope, whole.net.slope)
    assert resumed.losses == whole.losses


def test_a_checkpoint_of_another_net_is_refused(tmp_path):
    """By its shapes; a damaged one by its reader."""
    kept = Settings(epochs=2, checkpoint=tmp_path / "line.safetensors")
    train(Line(), squares, data(), 0, 60, kept)

    class Other(Line):
        def __init__(self):
            super().__init__()
            self.offset = nn.Parameter(torch.zeros(3))

    with pytest.raises(BackendError, match="is of another net"):
        train(Other(), squares, data(), 0, 60, kept)
    kept.checkpoint.write_bytes(b"nothing")
    with pytest.raises(BackendError, match="cannot be read"):
        train(Line(), squares, data(), 0, 60, kept)
    assert Checkpoint(tmp_path / "absent").read(None, None, None, None, None) is None


def test_training_stops_at_its_budget_with_the_best_weights():
    """A clock of nothing ends it after one epoch, and says so."""
    found = train(Line(), squares, data(), 0, 0.0, Settings(epochs=50))
    assert found.cut
    assert len(found.losses) == 1
    model = scale()
    answer = ppl.infer(
        model,
        {"reading": [0.1, 0.2, 0.3, 0.4]},
        method=ppl.Method("npe", epochs=9_000, patience=9_000),
        budget=ppl.Budget(simulations=2_000, seconds=0.2),
    )
    assert any("training stopped at its budget" in note for note in answer.notes)
