"""Checks say what they should: of right answers, of wrong ones, and of observations that the model does not expect."""

from dataclasses import replace

import numpy
import pytest
import torch

import ppl
from ppl.checks.classifier import accuracy
from ppl.checks.ranks import band, p_values, rank, visible
from ppl.checks.rows import columns
from ppl.checks.simulated import simulate_data
from ppl.distributions import Bernoulli, Normal, Uniform
from ppl.posterior import Draws
from ppl.posterior.certificate import GRADES, Certificate, Check, worst


def test_ranks_of_a_calibrated_posterior_are_uniform_and_ties_are_broken_at_random():
    """Draws and truth from one discrete distribution: p-values are uniform themselves, so that few are small."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(4, (300, 100, 40), generator=generator)
    ranks = torch.stack([rank(v[0], v[1:], generator) for v in values])
    p = p_values(ranks, 99)
    # 40 independent p-values: more than 8 below .05 has a probability of 3e-4.
    assert int((p < 0.05).sum()) <= 8
    assert int((p < 0.5).sum()) >= 8


@pytest.mark.parametrize(("shift", "factor"), [(0.8, 1.0), (0.0, 3.0), (0.0, 0.3)])
def test_ranks_of_a_wrong_posterior_show_it(shift, factor):
    """A mean off by .8 sd, an sd three times too large or small: beyond what 200 data sets can miss."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(200, 1, generator=generator)
    draws = shift + factor * torch.randn(200, 99, 1, generator=generator)
    ranks = torch.stack([rank(t, d, generator) for t, d in zip(truth, draws, strict=True)])
    assert float(p_values(ranks, 99)[0]) < 0.01


def test_the_band_of_ranks_holds_as_many_lines_as_it_says():
    """Of fresh sets of uniform ranks, 95 % stay inside as a whole."""
    low, high = band(100, 50, 0.95)
    sets = numpy.random.default_rng(5).integers(51, size=(2000, 100))
    below = numpy.stack([numpy.bincount(row, minlength=51).cumsum()[:50] / 100 for row in sets])
    inside = ((low <= below) & (below <= high)).all(axis=1).mean()
    # Two simulations of 2,000 sets each: four standard errors.
    assert abs(inside - 0.95) < 4 * (2 * 0.95 * 0.05 / 2000) ** 0.5 + 0.005


def test_what_is_said_to_be_visible_is_seen_half_of_the_time():
    """A posterior off by exactly that much is refused about every second time."""
    shift = float(visible(200, 0.05).split("off by ")[1].split(" sd")[0])
    generator = torch.Generator().manual_seed(2)
    truth = torch.randn(200, 200, generator=generator)  # data sets, repetitions
    draws = shift + torch.randn(200, 99, 200, generator=generator)
    ranks = (draws < truth.unsqueeze(1)).sum(dim=1)
    refused = float((p_values(ranks, 99) < 0.05).double().mean())
    assert 0.3 < refused < 0.85


def test_a_classifier_tells_apart_what_differs_and_only_that():
    """Twins of one distribution are told apart no better than by a coin; a correlation is seen."""
    generator = torch.Generator().manual_seed(3)
    one, other = (
        torch.randn(1000, 2, generator=generator),
        torch.randn(1000, 2, generator=generator),
    )
    share, error = accuracy(one, other, 0)
    assert abs(share - 0.5) < 4 * error
    tied = torch.stack([other[:, 0], 0.95 * other[:, 0] + 0.3 * other[:, 1]], dim=1)
    assert accuracy(one, tied, 0)[0] > 0.7


def test_columns_draw_in_tails_and_drop_what_never_varies():
    """Cauchy numbers stay within reach of a net, order is kept, constants go."""
    x = torch.tan(torch.linspace(-1.57, 1.57, 999, dtype=torch.float64))
    rows = columns(torch.stack([x, torch.ones(999, dtype=torch.float64)], dim=1))
    assert rows.shape == (999, 1)
    assert float(rows.abs().max()) < 15
    assert bool((rows[:, 0].diff() >= 0).all())


def gauss(sd=1.0):
    """A number seen through noise; not observed where there is a gap."""
    model = ppl.Model("gauss")
    model.theta(lambda: Normal(0.0, 1.0), name="a")
    row = model.plate("row", 4)
    model.observed(lambda a, rng: a + sd * rng.normal(), name="x", plate=row)
    return model


def test_simulated_data_have_the_gaps_of_the_observation():
    """Simulated data are missing where the observed are, and belong to their parameters."""
    plan = ppl.compile(gauss(0.01), {"x": [0.1, None, 0.2, 0.3]}, method="rejection")
    (route,) = plan.routes
    simulated = simulate_data(route.query, ["a"], plan.query.observation, 20, 0)
    assert simulated.data.present["x"].tolist() == [[True, False, True, True]] * 20
    assert torch.allclose(simulated.data.observed["x"].mean(dim=1), simulated.truth["a"], atol=0.05)


class Right:
    """The exact posterior of `gauss` as draws, or a wrong one."""

    def __init__(self, query, change):
        self.query, self.change = query, change

    def condition(self, data):
        """One answer for each observation."""
        found = []
        for i in range(data.datasets):
            x = data.observed["x"][i if len(data.observed["x"]) > 1 else 0]
            generator = torch.Generator().manual_seed(int(1e6 * abs(float(x.sum()))) % 2**31)
            noise = torch.randn(400, generator=generator, dtype=torch.float64)
            draws = self.change(x.sum() / 5, 0.2**0.5, noise)
            certificate = Certificate("U", "draws")
            found.append(Draws(self.query.graph, {"a": draws}, certificate))
        return found


CHANGES = {
    "right": lambda mean, sd, noise: mean + sd * noise,
    "narrow": lambda mean, sd, noise: mean + 0.3 * sd * noise,
    "shifted": lambda mean, sd, noise: mean + sd + sd * noise,
    "prior": lambda mean, sd, noise: noise,
}


def checked(change, x, datasets=100):
    """The posterior of `gauss`, with an engine of our own, after its check."""
    plan = ppl.compile(gauss(), {"x": x}, method="rejection", budget=ppl.Budget(simulations=1000))
    plan._solvers[0] = Right(plan.routes[0].query, CHANGES[change])
    posterior = plan.posterior({"x": x})
    posterior.check(budget=ppl.Budget(seconds=120, simulations=datasets))
    return posterior


def test_a_right_posterior_is_graded_d_and_says_on_what_grounds():
    """Every check has a figure, a limit and what it could have shown; ranks are kept for pictures."""
    posterior = checked("right", [0.5, 0.1, -0.3, 0.4], 200)
    certificate = posterior.certificate
    assert certificate.label == "D"
    assert {t.name for t in certificate.tests} == {
        "ranks of the parameters",
        "TARP coverage",
        "classifier over all observations",
        "classifier at this observation",
        "typical of the prior predictive",
    }
    assert all(t.passed and t.visible and t.limit for t in certificate.tests)
    assert certificate.seed == 0
    assert "torch" in certificate.versions
    assert posterior.calibrations[0].ranks.shape == (200, 2)


@pytest.mark.parametrize("change", ["narrow", "shifted", "prior"])
def test_a_wrong_posterior_stays_unverified(change):
    """Too narrow, shifted; and the prior, whose plain ranks are uniform."""
    certificate = checked(change, [0.5, 0.1, -0.3, 0.4]).certificate
    assert certificate.grade == "U"
    failed = {t.name for t in certificate.tests if t.passed is False}
    assert failed
    assert all(name in certificate.statement for name in failed)
    if change == "prior":
        assert "ranks of the parameters" not in failed


def test_an_observation_that_the_model_does_not_expect_is_marked():
    """Four values with a spread of ten where the model says one."""
    certificate = checked("right", [10.0, -10.0, 10.0, -10.0]).certificate
    assert certificate.atypical
    assert certificate.label.endswith("M")


def test_an_exact_answer_stays_exact_and_an_improbable_observation_is_marked():
    """A bit that the model gives one chance in ten thousand."""
    model = ppl.Model("bits")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.observed(lambda a: Bernoulli([1e-4, 1.2e-4][a]), name="x")
    assert ppl.infer(model, {"x": 0}).check().label == "A"
    assert ppl.infer(model, {"x": 1}).check().label == "A, M"


def two_sides():
    """The square of a number is seen: two modes."""
    model = ppl.Model("two sides")
    model.theta(lambda: Uniform(-3.0, 3.0), name="a")
    model.observed(lambda a: Normal(a**2, 0.3), name="x")
    return model


def test_importance_weights_pass_a_good_net_and_smc_refuses_a_missing_mode():
    """Weights alone cannot see the other side: k is good for draws of one side only, the classifier is not."""
    plan = ppl.compile(
        two_sides(), ["x"], method="nle", budget=ppl.Budget(simulations=2000), seed=0
    )
    posterior = plan.posterior({"x": 3.0})
    assert posterior.check().grade == "C"

    (answer,) = posterior.answers
    sample, log_prob = answer.sample, answer.log_prob

    def one_side(n, seed):
        draws = sample(4 * n + 50, seed)["a"]
        return {"a": draws[draws > 0][:n]}

    answer.sample = one_side
    answer.log_prob = lambda values: log_prob(values) + torch.log(torch.tensor(2.0))
    certificate = posterior.check()
    k, agreement = certificate.tests[:2]
    assert k.passed
    assert agreement.passed is False
    assert certificate.grade == "U"


def test_classifiers_that_cannot_tell_say_so():
    """Far from all simulated data every net is sure: the check is undecided, not passed."""
    posterior = checked("right", [200.0, 200.0, 200.0, 200.0])
    (local,) = [t for t in posterior.certificate.tests if t.name.endswith("at this observation")]
    assert local.passed is not True
    assert posterior.certificate.grade == "U"


def test_a_sequential_answer_says_what_its_check_would_cost():
    """Rounds begin anew for each observation; nothing is run that cannot be afforded."""
    posterior = ppl.infer(
        gauss(), {"x": [0.1, 0.2, 0.3, 0.4]}, method="snl", budget=ppl.Budget(simulations=300)
    )
    certificate = posterior.check(budget=ppl.Budget(seconds=2))
    assert certificate.grade == "U"
    (test,) = [t for t in certificate.tests if t.passed is None]
    assert "begins anew for each observation" in test.statement


def test_strict_raises_on_what_stays_unverified():
    """The error carries the answer all the same."""
    with pytest.raises(ppl.UnverifiedError, match="strict=True") as caught:
        ppl.infer(
            gauss(),
            {"x": [100.0, 100.0, 100.0, 100.0]},
            method="npe",
            budget=ppl.Budget(simulations=300),
            strict=True,
        )
    assert caught.value.posterior.certificate.grade == "U"


def test_a_failed_simulation_is_no_data_set():
    """Data sets that fail are left out."""
    model = ppl.Model("fails")
    model.theta(lambda: Uniform(0.0, 1.0), name="a")
    model.observed(lambda a, rng: float("nan") if a > 0.5 else a + rng.normal(), name="x")
    plan = ppl.compile(model, {"x": 0.1}, method="rejection")
    simulated = simulate_data(plan.routes[0].query, ["a"], plan.query.observation, 100, 0)
    assert 30 < len(simulated) < 70
    assert float(simulated.truth["a"].max()) <= 0.5


def test_the_certificate_of_parts_is_the_worst_and_keeps_all_tests():
    """Grades, marks and tests of the parts together."""
    test = Check("c", 0.5, "≥ 0.1", True, "said")
    parts = [Certificate(g, f"is {g}", tests=(test,)) for g in GRADES]
    parts[0] = replace(parts[0], atypical=True)
    together = worst(parts)
    assert together.label == "U, M"
    assert len(together.tests) == len(GRADES)
    assert set(together.to_dict()) >= {"grade", "label", "tests", "seed", "versions"}


def test_a_checked_posterior_is_saved_with_its_tests_and_cannot_be_checked_again(tmp_path):
    """The file keeps figures and marks; it has no functions to simulate with."""
    model = ppl.Model("bits")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.observed(lambda a: Bernoulli([1e-4, 1.2e-4][a]), name="x")
    posterior = ppl.infer(model, {"x": 1})
    posterior.check()
    loaded = ppl.Posterior.load(posterior.save(tmp_path / "bits.posterior"))
    assert loaded.certificate == posterior.certificate
    assert loaded.certificate.label == "A, M"
    with pytest.raises(ppl.QueryError, match="came from a file"):
        loaded.check()
    with pytest.raises(ppl.QueryError, match="only"):
        posterior.only("a").check()
