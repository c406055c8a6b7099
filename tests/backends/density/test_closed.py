"""Conjugate pairs and linear-Gaussian graphs, each against its formula; and what only looks like one."""

import math

import numpy
import pytest
import torch
from scipy import special, stats

import ppl
from ppl.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    Geometric,
    InverseGamma,
    LogNormal,
    Multinomial,
    MultivariateNormal,
    NegativeBinomial,
    Normal,
    Poisson,
)

COUNTS = numpy.array([3, 0, 2, 5, 1])
TIMES = numpy.array([0.3, 1.2, 0.7, 2.5, 0.1])
FLIPS = numpy.array([1, 0, 1, 1, 1])


def closed(theta, likelihood, seen):
    """The answer of a plate of observations given one parameter `p`."""
    model = ppl.Model("pair")
    model.theta(theta, name="p")
    model.observed(likelihood, name="y", plate=model.plate("item", len(seen)))
    found = ppl.infer(model, {"y": seen})
    assert found.method == "closed"
    assert found.certificate.grade == "A"
    return found


def beta_evidence(a, b, hits, misses):
    """The log of the integral of p^hits (1 - p)^misses under Beta(a, b)."""
    return special.betaln(a + hits, b + misses) - special.betaln(a, b)


#: Prior, likelihood, data, the posterior, and the log-evidence.
PAIRS = {
    "beta and Bernoulli": (
        lambda: Beta(2, 3),
        lambda p: Bernoulli(p),
        FLIPS,
        stats.beta(2 + 4, 3 + 1),
        beta_evidence(2, 3, 4, 1),
    ),
    "beta and binomial": (
        lambda: Beta(2, 3),
        lambda p: Binomial(6, p),
        COUNTS,
        stats.beta(2 + 11, 3 + 19),
        beta_evidence(2, 3, 11, 19) + numpy.log(special.comb(6, COUNTS)).sum(),
    ),
    "beta and geometric": (
        lambda: Beta(2, 3),
        lambda p: Geometric(p),
        COUNTS,
        stats.beta(2 + 5, 3 + 11),
        beta_evidence(2, 3, 5, 11),
    ),
    "beta and negative binomial": (
        lambda: Beta(2, 3),
        lambda p: NegativeBinomial(4, p),
        COUNTS,
        stats.beta(2 + 11, 3 + 20),
        beta_evidence(2, 3, 11, 20) + numpy.log(special.comb(COUNTS + 3, COUNTS)).sum(),
    ),
    "gamma and Poisson": (
        lambda: Gamma(2, 0.5),
        lambda p: Poisson(p),
        COUNTS,
        stats.gamma(2 + 11, scale=1 / 5.5),
        2 * math.log(0.5)
        - special.gammaln(2)
        + special.gammaln(13)
        - 13 * math.log(5.5)
        - special.gammaln(COUNTS + 1).sum(),
    ),
    "gamma and exponential": (
        lambda: Gamma(2, 0.5),
        lambda p: Exponential(p),
        TIMES,
        stats.gamma(2 + 5, scale=1 / (0.5 + TIMES.sum())),
        2 * math.log(0.5)
        - special.gammaln(2)
        + special.gammaln(7)
        - 7 * math.log(0.5 + TIMES.sum()),
    ),
    "normal and normal": (
        lambda: Normal(1, 2),
        lambda p: Normal(p, 0.5),
        TIMES,
        stats.norm((1 / 4 + 4 * TIMES.sum()) / (1 / 4 + 20), (1 / 4 + 20) ** -0.5),
        stats.multivariate_normal(numpy.ones(5), 0.25 * numpy.eye(5) + 4).logpdf(TIMES),
    ),
    "normal and log-normal": (
        lambda: Normal(0, 1),
        lambda p: LogNormal(p, 1),
        TIMES,
        stats.norm(numpy.log(TIMES).sum() / 6, 6**-0.5),
        stats.multivariate_normal(numpy.zeros(5), numpy.eye(5) + 1).logpdf(numpy.log(TIMES))
        - numpy.log(TIMES).sum(),
    ),
    "gamma and the precision of a normal": (
        lambda: Gamma(3, 2),
        lambda p: Normal(0.5, 1 / p.sqrt()),
        TIMES,
        stats.gamma(3 + 2.5, scale=1 / (2 + ((TIMES - 0.5) ** 2).sum() / 2)),
        3 * math.log(2)
        - special.gammaln(3)
        + special.gammaln(5.5)
        - 5.5 * math.log(2 + ((TIMES - 0.5) ** 2).sum() / 2)
        - 2.5 * math.log(2 * math.pi),
    ),
    "inverse gamma and the variance of a normal": (
        lambda: InverseGamma(3, 2),
        lambda p: Normal(0.5, p.sqrt()),
        TIMES,
        stats.invgamma(3 + 2.5, scale=2 + ((TIMES - 0.5) ** 2).sum() / 2),
        3 * math.log(2)
        - special.gammaln(3)
        + special.gammaln(5.5)
        - 5.5 * math.log(2 + ((TIMES - 0.5) ** 2).sum() / 2)
        - 2.5 * math.log(2 * math.pi),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pair_is_its_formula(name):
    """Mean, sd, quantiles, cdf, density and evidence."""
    theta, likelihood, seen, exact, evidence = PAIRS[name]
    found = closed(theta, likelihood, seen)
    p = found["p"]
    assert float(p.mean) == pytest.approx(exact.mean(), rel=1e-8)
    assert float(p.sd) == pytest.approx(exact.std(), rel=1e-8)
    for q in (0.025, 0.5, 0.975):
        assert float(p.quantile(q)) == pytest.approx(exact.ppf(q), rel=1e-6)
        assert float(p.cdf(exact.ppf(q))) == pytest.approx(q, abs=1e-8)
    assert found.log_evidence == pytest.approx(evidence, abs=1e-8)
    draws = found.sample(20_000)["p"].numpy()
    # Kolmogorov's distance of 20,000 draws is beyond 2.23 / sqrt(n) once in ten thousand.
    assert stats.kstest(draws, exact.cdf).statistic < 2.23 / math.sqrt(20_000)


def test_dirichlet_with_categories_and_with_counts():
    """Two likelihoods under one prior."""
    model = ppl.Model("dirichlet")
    item = model.plate("item", 4)
    model.theta(lambda: Dirichlet(torch.tensor([1.0, 2.0, 3.0])), name="p")
    model.observed(lambda p: Categorical(p), name="kind", plate=item)
    model.observed(lambda p: Multinomial(6, p), name="tally")
    found = ppl.infer(model, {"kind": [0, 0, 2, 1], "tally": [1, 2, 3]})
    assert found.method == "closed"
    exact = numpy.array([1 + 2 + 1, 2 + 1 + 2, 3 + 1 + 3])
    assert found["p"].mean.numpy() == pytest.approx(exact / exact.sum())
    assert found["p"].sd.numpy() == pytest.approx(
        numpy.sqrt(exact * (exact.sum() - exact) / (exact.sum() ** 2 * (exact.sum() + 1)))
    )


def test_normal_with_unknown_mean_and_precision():
    """The normal-gamma law: the mean's marginal is a t."""
    model = ppl.Model("normal_gamma")
    model.theta(lambda: Gamma(3, 2), name="precision")
    model.theta(lambda precision: Normal(1, 1 / (0.5 * precision).sqrt()), name="mean")
    model.observed(
        lambda mean, precision: Normal(mean, 1 / precision.sqrt()),
        name="y",
        plate=model.plate("item", 5),
    )
    found = ppl.infer(model, {"y": TIMES})
    assert found.method == "closed"
    kappa = 0.5 + 5
    loc = (0.5 * 1 + TIMES.sum()) / kappa
    a = 3 + 2.5
    b = (
        2
        + ((TIMES - TIMES.mean()) ** 2).sum() / 2
        + 0.5 * 5 * (TIMES.mean() - 1) ** 2 / (2 * kappa)
    )
    exact = stats.t(2 * a, loc, math.sqrt(b / (a * kappa)))
    assert float(found["mean"].mean) == pytest.approx(exact.mean())
    assert float(found["mean"].sd) == pytest.approx(exact.std())
    assert float(found["mean"].quantile(0.9)) == pytest.approx(exact.ppf(0.9), rel=1e-6)
    assert float(found["precision"].mean) == pytest.approx(a / b)


def test_a_vector_of_means():
    """A multivariate normal prior and likelihood with covariances."""
    prior = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    noise = torch.tensor([[1.0, -0.3], [-0.3, 0.5]], dtype=torch.float64)
    model = ppl.Model("vector")
    model.theta(lambda: MultivariateNormal(torch.zeros(2), prior), name="mean")
    model.observed(
        lambda mean: MultivariateNormal(mean, noise), name="y", plate=model.plate("item", 3)
    )
    y = numpy.array([[1.0, 2.0], [0.5, 1.5], [-0.2, 1.1]])
    found = ppl.infer(model, {"y": y})
    assert found.method == "closed"
    prior, noise = prior.numpy(), noise.numpy()
    inverse = numpy.linalg.inv(noise)
    covariance = numpy.linalg.inv(numpy.linalg.inv(prior) + 3 * inverse)
    assert found["mean"].mean.numpy() == pytest.approx(covariance @ inverse @ y.sum(axis=0))
    assert found["mean"].sd.numpy() == pytest.approx(numpy.sqrt(numpy.diag(covariance)))
    whole = numpy.kron(numpy.ones((3, 3)), prior) + numpy.kron(numpy.eye(3), noise)
    exact = stats.multivariate_normal(numpy.zeros(6), whole).logpdf(y.reshape(-1))
    assert found.log_evidence == pytest.approx(exact, abs=1e-8)


def test_a_finite_part_makes_a_mixture():
    """Three switches over a Gaussian: eight configurations, their weights, and a mixture's quantiles."""
    model = ppl.Model("switches")
    row = model.plate("row", 3)
    model.latent(lambda: Bernoulli(0.3), name="outlier", plate=row)
    model.theta(lambda: Normal(0, 2), name="level")
    model.observed(
        lambda level, outlier: Normal(level, 10.0 if outlier else 1.0), name="y", plate=row
    )
    y = numpy.array([0.5, 1.0, 9.0])
    found = ppl.infer(model, {"y": y}, of=["level", "outlier"])
    assert found.method == "closed"
    logs, means, states = [], [], []
    for k in range(8):
        state = numpy.array([(k >> i) & 1 for i in range(3)])
        scale = numpy.where(state, 10.0, 1.0)
        covariance = numpy.diag(scale**2) + 4
        log = stats.multivariate_normal(numpy.zeros(3), covariance).logpdf(y)
        logs.append(log + numpy.log(numpy.where(state, 0.3, 0.7)).sum())
        precision = 1 / 4 + (1 / scale**2).sum()
        means.append((y / scale**2).sum() / precision)
        states.append(state)
    weights = numpy.exp(logs - special.logsumexp(logs))
    assert found.log_evidence == pytest.approx(special.logsumexp(logs), abs=1e-8)
    assert float(found["level"].mean) == pytest.approx(weights @ means)
    assert found["outlier"].probs[:, 1].numpy() == pytest.approx(weights @ states)


@pytest.mark.parametrize(
    ("theta", "likelihood"),
    [
        (lambda: Beta(2, 3), lambda p: Bernoulli(p**2)),
        (lambda: Gamma(2, 1), lambda p: Poisson(1 + p)),
        (lambda: Normal(0, 1), lambda p: Normal(p + 0.01 * torch.sin(p), 1)),
        (lambda: LogNormal(0, 1), lambda p: Poisson(p)),
    ],
)
def test_what_only_looks_conjugate_is_integrated(theta, likelihood):
    """The form is proved at test points, so that nothing near a conjugate pair passes for one."""
    model = ppl.Model("near")
    model.theta(theta, name="p")
    model.observed(likelihood, name="y", plate=model.plate("item", 2))
    plan = ppl.compile(model, {"y": [1, 0]})
    assert plan.routes[0].method == "quadrature"
    closed_form = next(v for v in plan.routes[0].verdicts if v.method == "closed")
    assert closed_form.reason


def test_many_observations_of_one_plan():
    """Prepared once, conditioned often, and an interval of missing cells."""
    model = ppl.Model("many")
    item = model.plate("item", 3)
    model.theta(lambda: Normal(0, 1), name="p")
    model.observed(lambda p: Normal(p, 1), name="y", plate=item)
    plan = ppl.compile(model, ["y"])
    found = plan.posteriors([{"y": [1.0, 2.0, 3.0]}, {"y": [1.0, None, 3.0]}, {"y": [None] * 3}])
    assert [float(f["p"].mean) for f in found] == pytest.approx([6 / 4, 4 / 3, 0.0])
    assert [float(f["p"].sd) for f in found] == pytest.approx([0.5, 3**-0.5, 1.0])
