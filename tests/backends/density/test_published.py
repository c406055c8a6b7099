"""Models of applied statistics: the route that each takes, and the numbers that are known of it."""

import math

import numpy
import pytest
import torch
from scipy import stats
from scipy.special import gammaln, logsumexp

import ppl
from examples import galton_board
from tests import published
from tests.backends.test_cases import final_position


def agrees(marginal, mean, sd, slack=0.0):
    """The mean within four standard errors, the sd within four of its own, and what the reference leaves open."""
    mean, sd = (torch.as_tensor(v, dtype=torch.float64) for v in (mean, sd))
    off = (marginal.mean - mean).abs() - 4 * marginal.standard_error - slack
    assert bool((off <= 0).all()), (marginal.mean, mean, marginal.standard_error)
    size = getattr(marginal, "effective_size", math.inf)
    ratio = (marginal.sd / sd - 1).abs() - 4 * 1.5 / (2 * size) ** 0.5 - slack / sd
    assert bool((ratio <= 1e-6).all()), (marginal.sd, sd)


@pytest.mark.parametrize(
    ("seen", "mean", "sd", "low", "high", "log_evidence"),
    [
        ([22], -1.3541, 0.4399, -1.973, -0.417, -3.47648),
        (galton_board.TWENTY_BALLS, -0.6145, 0.1716, -0.990, -0.317, -55.97928),
    ],
    ids=["one ball", "twenty balls"],
)
def test_galton_board_with_a_continuous_slope(seen, mean, sd, low, high, log_evidence):
    """C1: the numbers of the published case, and the direct sum over a fine grid beyond their digits."""
    found = ppl.infer(galton_board.galton_board(balls=len(seen)), {"final": seen}, of="slope")
    slope = found["slope"]
    assert found.method == "quadrature"
    assert found.certificate.grade == "A′"
    assert float(slope.mean) == pytest.approx(mean, abs=1e-4)
    assert float(slope.sd) == pytest.approx(sd, abs=1e-4)
    assert [float(v) for v in slope.interval(0.95)] == pytest.approx([low, high], abs=1e-3)
    assert found.log_evidence == pytest.approx(log_evidence, abs=1e-5)
    grid = torch.linspace(-2, 2, 20001, dtype=torch.float64)
    logs = final_position(grid)[:, seen].log().sum(dim=1).numpy()
    weights = numpy.exp(logs - logs.max())
    weights[[0, -1]] /= 2  # the trapezoidal rule
    assert found.log_evidence == pytest.approx(
        math.log(weights.sum() / 20000) + logs.max(), abs=1e-7
    )
    exact = (weights * grid.numpy()).sum() / weights.sum()
    assert float(slope.mean) == pytest.approx(exact, abs=1e-6)


def test_eight_schools():
    """C10: not centred, and the reference draws' numbers (posteriordb), which have an error of 0.03 themselves."""
    model, seen = published.schools()
    found = ppl.infer(model, seen, of=["mu", "tau", "effect"], seed=2)
    assert found.method == "nuts"
    assert found.certificate.grade == "B"
    assert any("not centred: effect" in note for note in found.notes)
    agrees(found["mu"], 4.411, 3.31, slack=0.1)
    agrees(found["tau"], 3.602, 3.20, slack=0.15)
    assert float(found["effect"].mean[0]) == pytest.approx(6.151, abs=0.25)
    assert float(found["effect"].mean[4]) == pytest.approx(3.614, abs=0.25)


def test_hidden_markov_model():
    """C8: the chain is summed out; the reference draws' numbers (posteriordb)."""
    model, seen = published.hmm()
    found = ppl.infer(model, seen, of=["transition", "level", "state"])
    assert found.method == "nuts"
    assert found.certificate.grade == "B"
    agrees(found["level"], [3.0215, 8.8273], [0.224, 0.111], slack=0.01)
    move = found["transition"]
    assert move.mean[:, 0].tolist() == pytest.approx([0.66665, 0.07313], abs=0.006)
    assert move.sd[:, 0].tolist() == pytest.approx([0.1012, 0.0284], abs=0.004)
    # The states are recovered exactly after sampling: the sixth observation is far from one level and near the other.
    assert bool(((found["state"].probs.sum(-1) - 1).abs() < 1e-9).all())
    y = torch.tensor(seen["y"])
    assert bool((found["state"].mean[y > 7.5] > 0.9).all())
    assert bool((found["state"].mean[y < 4.0] < 0.1).all())


def test_moving_average():
    """C14: θ on a triangle, the likelihood a band matrix; two dimensions are left to integrate."""
    model, seen = published.ma2()
    assert seen["x"][:5].tolist() == pytest.approx(
        [0.4492, -0.0947, 1.8782, 0.8828, 0.1288], abs=1e-4
    )
    found = ppl.infer(model, seen, of=["first", "second"])
    assert found.method == "quadrature"
    assert float(found["first"].mean) == pytest.approx(0.525, abs=1e-3)
    assert float(found["first"].sd) == pytest.approx(0.093, abs=1e-3)
    assert float(found["second"].mean) == pytest.approx(0.306, abs=1e-3)
    assert float(found["second"].sd) == pytest.approx(0.120, abs=1e-3)


def test_a_mixture_of_a_thousand_points():
    """Labels are summed out item by item; at the posterior mean they classify the points."""
    model, seen = published.mixture()
    found = ppl.infer(model, seen)
    assert found.method == "nuts"
    assert found.certificate.grade == "B"
    assert float(found["weight"].mean) == pytest.approx(0.3, abs=0.06)
    assert found["level"].mean.tolist() == pytest.approx([0.0, 4.0], abs=0.5)
    assert found["spread"].mean.tolist() == pytest.approx([1.0, 1.5], abs=0.4)


def test_a_random_walk_of_two_hundred_steps_is_a_kalman_filter():
    """Closed form: log-evidence, means and variances are those of the filter and the smoother."""
    model, seen = published.walk()
    y = seen["y"]
    m, v, logs = 0.0, 100.0, 0.0
    ahead, after = [], []
    for i, x in enumerate(y):
        if i:
            v += 0.25
        ahead.append((m, v))
        logs += stats.norm.logpdf(x, m, (v + 1) ** 0.5)
        gain = v / (v + 1)
        m, v = m + gain * (x - m), v * (1 - gain)
        after.append((m, v))
    smooth = [after[-1]]
    for i in range(len(y) - 2, -1, -1):
        gain = after[i][1] / ahead[i + 1][1]
        mean = after[i][0] + gain * (smooth[-1][0] - ahead[i + 1][0])
        smooth.append((mean, after[i][1] + gain**2 * (smooth[-1][1] - ahead[i + 1][1])))
    smooth = torch.tensor(smooth[::-1], dtype=torch.float64)
    found = ppl.infer(model, seen)
    assert found.method == "closed"
    assert found.log_evidence == pytest.approx(logs, abs=1e-8)
    assert torch.allclose(found["level"].mean, smooth[:, 0], atol=1e-8)
    assert torch.allclose(found["level"].sd, smooth[:, 1].sqrt(), atol=1e-8)


def test_logistic_regression_with_twenty_covariates():
    """Means and sds are those of importance sampling around the mode, with 60,000 points."""
    model, seen = published.regression()
    found = ppl.infer(model, seen)
    assert found.method == "nuts"
    assert found.certificate.grade == "B"
    x = numpy.column_stack([numpy.ones(len(seen["y"])), seen["x"]])
    prior = numpy.array([2.0] + [1.0] * 20) ** -2.0
    beta = numpy.zeros(21)
    for _ in range(50):
        p = 1 / (1 + numpy.exp(-x @ beta))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + numpy.diag(prior)
        beta = beta + numpy.linalg.solve(hessian, x.T @ (seen["y"] - p) - prior * beta)
    # Importance sampling from a wide Student t around the mode.
    n, root = 60_000, numpy.linalg.cholesky(numpy.linalg.inv(hessian))
    rng = numpy.random.default_rng(0)
    z = rng.normal(size=(n, 21))
    z /= numpy.sqrt(rng.chisquare(10, size=(n, 1)) / 10)
    tried = beta + z @ root.T
    eta = tried @ x.T
    logs = (eta * seen["y"] - numpy.logaddexp(0, eta)).sum(axis=1) - 0.5 * tried**2 @ prior
    logs += (10 + 21) / 2 * numpy.log1p((z**2).sum(axis=1) / 10)
    weights = numpy.exp(logs - logsumexp(logs))
    mean = weights @ tried
    sd = numpy.sqrt(weights @ (tried - mean) ** 2)
    slack = 4 / (1 / (weights**2).sum()) ** 0.5  # of the reference itself
    for name, part in (("intercept", 0), ("slope", slice(1, None))):
        agrees(found[name], mean[part], sd[part], slack=torch.as_tensor(sd[part] * slack))


def test_a_change_point_is_found_by_summing_over_its_year():
    """The coal-mining disasters: two gammas for every year, against the sum written out."""
    model, seen = published.coal()
    found = ppl.infer(model, seen)
    assert found.method == "closed"
    y = numpy.array(seen["disasters"])
    logs = []
    for change in range(len(y)):
        parts = (y[:change], y[change:])
        logs.append(
            sum(gammaln(2 + p.sum()) - (2 + p.sum()) * math.log(1 + len(p)) for p in parts)
            - gammaln(y + 1).sum()
            - math.log(len(y))
        )
    assert found.log_evidence == pytest.approx(logsumexp(logs), abs=1e-8)
    assert torch.allclose(found["change"].probs, torch.softmax(torch.tensor(logs), 0), atol=1e-10)


def test_survival_with_censoring_is_conjugate():
    """Exponential times, twelve of them cut off: Gamma(2 + relapses, 20 + weeks)."""
    model, seen = published.survival()
    found = ppl.infer(model, seen)
    assert found.method == "closed"
    shape, pace = 2 + len(published.RELAPSES), 20 + sum(seen["weeks"])
    assert float(found["rate"].mean) == pytest.approx(shape / pace, rel=1e-9)
    assert float(found["rate"].quantile(0.9)) == pytest.approx(
        stats.gamma.ppf(0.9, shape, scale=1 / pace), rel=1e-9
    )
