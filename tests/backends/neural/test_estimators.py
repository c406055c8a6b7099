"""Every estimator against explicit twins that are answered exactly.

A net trained on a few thousand simulations is off by a quarter of a posterior sd at most, as in the conformance suite; this is the engines' stated slack,
not a Monte-Carlo tolerance.
"""

import pytest
import torch

import ppl
from backends.neural.apt import shared
from ppl.errors import QueryError

from .models import (
    RESPONSES,
    RESULTS,
    SMALL,
    coin,
    decision,
    die,
    failing,
    scale,
    schools,
    switch,
    weight_given,
)

SLACK = 0.25
AMORTISED = ("npe", "nle", "nre")
SEQUENTIAL = ("apt", "snl", "snre")


def infer(model, seen, method, of=None, **options):
    """A small training."""
    return ppl.infer(model, seen, of, method=ppl.Method(method, **options), budget=SMALL, seed=3)


def assert_close(found, mean, sd, slack=SLACK):
    """Mean and sd within the slack, in units of the true sd."""
    mean, sd = (torch.as_tensor(v, dtype=torch.float64) for v in (mean, sd))
    assert bool(((found.mean - mean).abs() <= slack * sd + 4 * found.standard_error).all())
    assert bool(((found.sd / sd - 1).abs() <= slack).all())


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_local_parameters_are_learned_member_by_member(method):
    """p(centre | all) ∏ p(effect_i | x_i, centre) has the moments of the joint Gaussian."""
    truth = ppl.infer(schools(opaque=False), {"result": RESULTS})
    found = infer(schools(), {"result": RESULTS}, method)
    assert truth.method == "closed"
    for name in ("centre", "effect"):
        assert_close(found[name], truth[name].mean, truth[name].sd)
    # Members hang together through the centre alone: their draws are correlated as they should be.
    draws, exact = (p.sample(4000, seed=1)["effect"] for p in (found, truth))
    assert torch.corrcoef(draws.T)[0, 1] == pytest.approx(
        float(torch.corrcoef(exact.T)[0, 1]), abs=0.1
    )


@pytest.mark.parametrize("method", [*AMORTISED, *SEQUENTIAL])
def test_a_finite_parameter_gets_probabilities(method):
    """Five percentage points are three standard errors of a share of 700 simulations."""
    truth = ppl.infer(die(opaque=False), {"seen": 2})["face"]
    found = infer(die(), {"seen": 2}, method)["face"]
    assert found.finite
    assert torch.equal(found.domain, truth.domain)
    assert bool(((found.probs - truth.probs).abs() < 0.05).all())
    assert not found.exact


@pytest.mark.parametrize("method", [*AMORTISED, "apt", "snl"])
def test_finite_and_continuous_parameters_together(method):
    """The sign and the size of a switch are dependent given the data."""
    truth = ppl.infer(switch(opaque=False), {"x": 0.4})
    found = infer(switch(), {"x": 0.4}, method)
    assert float(found["up"].prob(1)) == pytest.approx(float(truth["up"].prob(1)), abs=0.06)
    assert_close(found["size"], truth["size"].mean, truth["size"].sd)
    draws, exact = (p.sample(8000, seed=1) for p in (found, truth))
    apart = [
        float(d["size"][d["up"] == 1].mean() - d["size"][d["up"] == 0].mean())
        for d in (draws, exact)
    ]
    assert apart[0] == pytest.approx(apart[1], abs=0.15)


@pytest.mark.parametrize("method", ["nle", "npe"])
def test_mixed_data_have_a_likelihood_of_both_kinds(method):
    """A classifier for the choice, then a density for the time given the choice."""
    truth = ppl.infer(decision(opaque=False), RESPONSES)["drift"]
    found = infer(decision(), RESPONSES, method)["drift"]
    assert_close(found, truth.mean, truth.sd)


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_missing_members_are_left_out_of_the_set(method):
    """Two readings of eight: the posterior is that of two."""
    readings = [0.8, None, None, 1.6, None, None, None, None]
    found = infer(scale(n=8), {"reading": readings}, method)["weight"]
    assert_close(found, *weight_given([0.8, 1.6]))


def test_one_training_of_the_likelihood_serves_any_number_of_members():
    """A plate without a declared size: three, eight and forty readings by one net, without simulating again."""
    plan = ppl.compile(
        scale(n=None), ["reading"], method="nle", budget=SMALL, sizes={"weighing": 2}
    )
    first = plan.posterior({"reading": [0.5, 0.9]})
    solver = plan._solver(0)
    for readings in ([0.2, 0.9, 1.3], [0.1 * k for k in range(8)], [0.5] * 40):
        found = plan.posterior({"reading": readings})["weight"]
        # Errors of one member's density add up over the members.
        assert_close(found, *weight_given(readings), slack=SLACK if len(readings) < 20 else 0.5)
    assert plan._solver(0) is solver
    assert_close(first["weight"], *weight_given([0.5, 0.9]))


def test_a_posterior_net_over_a_set_of_undeclared_size_serves_smaller_sets():
    """Trained for all sizes up to ten; more than that it refuses."""
    plan = ppl.compile(
        scale(n=None), ["reading"], method="npe", budget=SMALL, sizes={"weighing": 10}
    )
    plan.posterior({"reading": [0.3] * 10})
    for readings in ([1.0], [0.2, 0.9, 1.3, 0.4], [0.1 * k for k in range(9)]):
        assert_close(plan.posterior({"reading": readings})["weight"], *weight_given(readings))
    with pytest.raises(ppl.BackendError, match=r"up to 10 members of 'weighing'.*has 12"):
        plan.posterior({"reading": [0.1] * 12})


@pytest.mark.parametrize("method", ["npe", "nle", "nre", "snl", "apt"])
def test_failed_simulations_enter_the_answer(method):
    """p(θ | x) ∝ 1 − θ: dropping the failed ones where that is biased would leave the mean at one half."""
    found = infer(failing(), {"x": 0.3}, method)
    assert float(found["theta"].mean) == pytest.approx(1 / 3, abs=0.06)
    assert any("failed" in note for note in found.notes)


@pytest.mark.parametrize("method", [*AMORTISED, *SEQUENTIAL])
def test_no_draw_leaves_the_support_though_the_data_push_to_its_edge(method):
    """All tosses are heads: the mode of Beta(12, 2) is near one."""
    found = infer(coin(), {"heads": 10}, method)
    draws = found.sample(5000)["bias"]
    assert bool(((draws > 0) & (draws < 1)).all())
    assert_close(found["bias"], 12 / 14, (12 * 2 / (14**2 * 15)) ** 0.5, slack=0.35)


@pytest.mark.parametrize("method", [*AMORTISED, *SEQUENTIAL])
def test_the_density_integrates_to_one_and_is_that_of_the_draws(method):
    """On a grid over the support; the mean by the grid is the mean of the draws."""
    found = infer(coin(), {"heads": 7}, method)
    grid = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    density = found.log_prob({"bias": grid}).exp()
    total = float(density.mean())
    # The evidence of likelihoods is estimated by particles, to a few per cent.
    assert total == pytest.approx(1.0, abs=0.01 if method in ("npe", "apt") else 0.15)
    mean = float((grid * density).mean()) / total
    assert mean == pytest.approx(float(found["bias"].mean), abs=0.02)


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_the_most_probable_value_is_the_mode_of_the_density(method):
    """No grid point is better."""
    found = infer(coin(), {"heads": 7}, method)
    grid = torch.linspace(0.01, 0.99, 500, dtype=torch.float64)
    best = found.most_probable()
    assert best.log_prob >= float(found.log_prob({"bias": grid}).max()) - 1e-3
    assert float(best["bias"]) == pytest.approx(8 / 12, abs=0.1)


def test_a_thousand_observations_in_one_call():
    """Each answer is that of its own observation."""
    plan = ppl.compile(coin(), ["heads"], method="npe", budget=SMALL)
    heads = torch.arange(1000) % 11
    means = plan.posteriors({"heads": heads})["bias"].mean
    exact = (heads + 2) / 14
    assert means.shape == (1000,)
    assert float((means - exact).abs().max()) < 0.08


@pytest.mark.parametrize("method", SEQUENTIAL)
def test_a_sequential_answer_says_so_and_refuses_another_observation(method):
    """It is not amortised."""
    plan = ppl.compile(coin(), {"heads": 7}, method=method, budget=SMALL)
    found = plan.posterior()
    assert any("not amortised" in note for note in found.notes)
    assert torch.equal(plan.posterior({"heads": 7})["bias"].mean, found["bias"].mean)
    with pytest.raises(QueryError, match=r"not amortised.*method='n"):
        plan.posterior({"heads": 3})
    with pytest.raises(ppl.BackendError, match="before it is known"):
        ppl.compile(coin(), ["heads"], method=method)


@pytest.mark.parametrize("method", [*AMORTISED, *SEQUENTIAL])
def test_a_loaded_plan_gives_the_same_bits(method, tmp_path):
    """Weights, scales, notes: nothing is trained again."""
    model = coin()
    seen = {"heads": 7}
    small = ppl.Budget(simulations=500)
    plan = ppl.compile(
        model, seen if method in SEQUENTIAL else ["heads"], method=method, budget=small
    )
    one = plan.posterior(seen)
    plan.save(tmp_path / "plan")
    two = ppl.load(tmp_path / "plan", model).posterior(seen)
    assert torch.equal(one["bias"].mean, two["bias"].mean)
    assert torch.equal(one.sample(20, seed=4)["bias"], two.sample(20, seed=4)["bias"])
    assert one.notes == two.notes
    assert one.certificate.checks == two.certificate.checks
    assert one.answers[0].history == two.answers[0].history != {}


def test_a_learned_likelihood_is_a_density_in_another_model():
    """Learned from a simulator of one reading, it makes another model explicit: no simulations there, and the exact answer."""
    simulator = ppl.Model("one")

    @simulator.theta
    def weight():
        return ppl.distributions.Uniform(-4, 4)

    @simulator.observed(vectorized=True)
    def x(weight):
        return weight + torch.randn(len(weight))

    net = ppl.compile(simulator, ["x"], method="nle", budget=SMALL).likelihood("x")
    other = ppl.Model("other")
    weighing = other.plate("weighing", 3)
    other.theta(lambda: ppl.distributions.Normal(0, 1), name="weight")
    other.observed(lambda weight: net(weight), name="reading", plate=weighing)
    readings = [0.3, 1.1, 0.8]
    plan = ppl.compile(other, {"reading": readings})
    assert plan.routes[0].method in ("quadrature", "nuts", "smc")
    found = plan.posterior()["weight"]
    mean, sd = weight_given(readings)
    assert float(found.mean) == pytest.approx(mean, abs=SLACK * sd)
    assert float(found.sd) == pytest.approx(sd, rel=SLACK)
    with pytest.raises(QueryError, match="takes weight"):
        net(wait=1)
    with pytest.raises(QueryError, match="learned nothing of 'y'"):
        ppl.compile(simulator, ["x"], method="nle", budget=SMALL).likelihood("y")


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "nre-a"},
        {"loss": "nre-a", "balanced": True},
        {"loss": "nre-c", "classes": 3, "gamma": 2.0},
    ],
    ids=["nre-a", "balanced", "nre-c"],
)
def test_every_loss_of_the_ratio_has_the_same_answer(options):
    """Two classes, several, balanced: the ratio is one."""
    found = infer(coin(), {"heads": 7}, "nre", **options)
    assert_close(found["bias"], 9 / 14, (9 * 5 / (14**2 * 15)) ** 0.5)


@pytest.mark.parametrize(
    ("method", "options"), [("nle", {"ensemble": 2}), ("npe", {"ensemble": 2})]
)
def test_an_ensemble_is_one_density(method, options):
    """It integrates to one, and its draws are its own."""
    found = infer(coin(), {"heads": 7}, method, **options)
    grid = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    density = found.log_prob({"bias": grid}).exp()
    mean = float((grid * density).sum() / density.sum())
    assert float(density.mean()) == pytest.approx(1.0, abs=0.01 if method == "npe" else 0.15)
    assert mean == pytest.approx(float(found["bias"].mean), abs=0.02)


def test_soft_targets_of_atoms_are_least_at_the_truth():
    """With the atoms' own shares as targets the loss is their entropy at the truth, and more anywhere else."""
    truth = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    targets = truth.softmax(dim=1)
    entropy = -(targets * targets.log()).sum(dim=1)
    assert torch.allclose(shared(truth, targets), entropy, atol=1e-5)
    assert bool((shared(truth + torch.randn(50, 6), targets) > entropy - 1e-6).all())
    hard = torch.zeros(50, 6)
    hard[:, 0] = 1
    assert torch.allclose(shared(truth, hard), shared(truth))
