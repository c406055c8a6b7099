"""The front door: what a family's tensors say is what it scores and draws, singly and lifted."""

import math

import numpy as np
import pyro.distributions as pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import constraints

import ppl.distributions as D
from ppl.errors import DistributionError

#: A maker of one draw's distribution from a positive number a and a probability p; liftable, one for each family.
MAKERS = {
    "Bernoulli": lambda a, p: D.Bernoulli(p),
    "Bernoulli logits": lambda a, p: D.Bernoulli(logits=a),
    "Categorical": lambda a, p: D.Categorical([p, 1 - p, 0 * p]),
    "Categorical logits": lambda a, p: D.Categorical(logits=[a, p]),
    "OneHotCategorical": lambda a, p: D.OneHotCategorical([p, 1 - p]),
    "Integers": lambda a, p: D.Integers(0, 5 + 0 * a),
    "Binomial": lambda a, p: D.Binomial(7, p),
    "BetaBinomial": lambda a, p: D.BetaBinomial(a, 2.0, 5),
    "Multinomial": lambda a, p: D.Multinomial(4, [p, 1 - p]),
    "Poisson": lambda a, p: D.Poisson(a),
    "ZeroInflatedPoisson": lambda a, p: D.ZeroInflatedPoisson(a, p),
    "Geometric": lambda a, p: D.Geometric(p),
    "NegativeBinomial": lambda a, p: D.NegativeBinomial(a, p),
    "NegativeBinomial2": lambda a, p: D.NegativeBinomial2(a, 3.0),
    "Normal": lambda a, p: D.Normal(p, a),
    "LogNormal": lambda a, p: D.LogNormal(p, 0.3 + 0 * a),
    "HalfNormal": lambda a, p: D.HalfNormal(a),
    "StudentT": lambda a, p: D.StudentT(7 + a, p, 1.0),
    "Cauchy": lambda a, p: D.Cauchy(p, a),
    "HalfCauchy": lambda a, p: D.HalfCauchy(a),
    "Laplace": lambda a, p: D.Laplace(p, a),
    "Logistic": lambda a, p: D.Logistic(p, a),
    "Gumbel": lambda a, p: D.Gumbel(p, a),
    "Exponential": lambda a, p: D.Exponential(a),
    "Gamma": lambda a, p: D.Gamma(a, 2.0),
    "InverseGamma": lambda a, p: D.InverseGamma(3 + a, a),
    "Chi2": lambda a, p: D.Chi2(a + 1),
    "Weibull": lambda a, p: D.Weibull(a, 1.5),
    "Pareto": lambda a, p: D.Pareto(a, 5.0),
    "Beta": lambda a, p: D.Beta(a, 2.0),
    "Uniform": lambda a, p: D.Uniform(-a, p),
    "VonMises": lambda a, p: D.VonMises(p, a),
    "Dirichlet": lambda a, p: D.Dirichlet([a, 1.0, 2.0]),
    "MultivariateNormal": lambda a, p: D.MultivariateNormal([p, a], torch.eye(2)),
    "LKJCholesky": lambda a, p: D.LKJCholesky(3, a),
    "Delta": lambda a, p: D.Delta(a),
    "vector": lambda a, p: D.Normal([p, a, 0.0], 1),
    "Truncated": lambda a, p: D.Truncated(D.Normal(p, a), low=0.0, high=2.0),
    "Truncated count": lambda a, p: D.Truncated(D.Poisson(a), low=1, high=6),
    "Censored": lambda a, p: D.Censored(D.Exponential(a), high=1.0),
}
each = pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
A = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
P = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)


@each
def test_built_under_vmap_and_lifted_is_the_single_distribution(maker):
    """Nested vmap over (draws, members), tensors taken out, put back: every entry scores as the single call does."""
    torch.manual_seed(0)
    box = {}

    def body(a, p):
        box["d"] = maker(a, p)
        return tuple(box["d"].parameters.values())

    tensors = torch.vmap(torch.vmap(body, in_dims=(None, 0)), in_dims=(0, None))(A, P)
    lifted = box["d"].lift(dict(zip(box["d"].parameters, tensors, strict=True)), 2)
    draws = lifted.sample()
    assert draws.shape == (3, 3, *lifted.event_shape)
    scores = lifted.log_prob(draws)
    for i in range(3):
        for j in range(3):
            single = maker(A[i], P[j])
            assert single.event_shape == lifted.event_shape
            assert float(single.log_prob(draws[i, j])) == pytest.approx(
                float(scores[i, j]), rel=1e-9, abs=1e-9
            )


@each
def test_draws_lie_inside_and_score_finitely(maker):
    """What is drawn has a density, satisfies the support, and has the right dtype."""
    torch.manual_seed(1)
    d = maker(A[1], P[1])
    draws = d.sample((500,))
    assert draws.dtype == (torch.int64 if d.discrete else torch.float64)
    assert bool(torch.isfinite(d.log_prob(draws)).all())
    assert bool(d.support.check(draws.to(torch.float64)).all())


@each
def test_outside_the_support_is_minus_infinity(maker):
    """Never an exception, never NaN, never a finite number."""
    d = maker(A[1], P[1])
    if str(d.family.name) in (
        "Normal",
        "StudentT",
        "Cauchy",
        "Laplace",
        "Logistic",
        "Gumbel",
        "MultivariateNormal",
    ):
        return
    if d.family.name == "VonMises" or d.family.name.startswith("LKJ"):
        return
    outside = torch.full(d.event_shape, -7.5, dtype=torch.float64)
    assert float(d.log_prob(outside)) == -math.inf


@each
def test_finite_families_sum_to_one(maker):
    """The domain is complete."""
    d = maker(A[1], P[1])
    if d.finite:
        assert float(d.log_prob(d.domain()).exp().sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "name", [n for n in MAKERS if n not in ("Cauchy", "HalfCauchy", "LKJCholesky", "VonMises")]
)
def test_mean_of_draws_is_the_integral(name):
    """Against Pyro's mean where it has one, within five standard errors."""
    torch.manual_seed(2)
    d = MAKERS[name](A[1], P[1])
    try:
        mean = d.mean
    except (DistributionError, NotImplementedError):
        mean = (
            (
                d.log_prob(d.domain()).exp().unsqueeze(-1) * d.domain().reshape(len(d.domain()), -1)
            ).sum(0)
            if d.finite
            else None
        )
    if mean is None:
        return
    draws = d.sample((20_000,)).to(torch.float64).reshape(20_000, -1)
    error = 5 * draws.std(dim=0) / 20_000**0.5 + 1e-9
    assert bool(((draws.mean(dim=0) - mean.reshape(-1)).abs() <= error).all())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: D.Normal(1, 2), pyro.Normal(1.0, 2.0)),
        (lambda: D.Gamma(2, 3), pyro.Gamma(2.0, 3.0)),
        (lambda: D.Beta(2, 3), pyro.Beta(2.0, 3.0)),
        (lambda: D.StudentT(4, 0, 1), pyro.StudentT(4.0, 0.0, 1.0)),
        (lambda: D.Weibull(2, 3), pyro.Weibull(2.0, 3.0)),
        (lambda: D.InverseGamma(2, 3), pyro.InverseGamma(2.0, 3.0)),
    ],
)
def test_scores_are_pyros(ours, theirs):
    """At values inside the support."""
    x = torch.tensor([0.1, 0.4, 0.9])
    assert torch.allclose(ours().log_prob(x), theirs.log_prob(x).double(), atol=1e-5)


def test_true_zeros_stay_zero():
    """Pyro clamps to 1e-7; a table of conditional probabilities must not be."""
    assert float(D.Bernoulli(0.0).log_prob(1)) == -math.inf
    assert float(D.Bernoulli(1.0).log_prob(1)) == 0
    assert D.Categorical([0.5, 0, 0.5]).log_prob([0, 1, 2]).exp().tolist() == [0.5, 0, 0.5]
    assert float(D.Binomial(3, 0.0).log_prob(0)) == 0
    assert float(D.Multinomial(2, [0.0, 1.0]).log_prob([0, 2])) == 0
    torch.manual_seed(0)
    assert not bool((D.Categorical([0.5, 0, 0.5]).sample((10_000,)) == 1).any())


def test_gradients_at_zero_are_not_nan():
    """log 0 has no gradient to give; it must not poison others."""
    p = torch.tensor([0.0, 0.4, 0.6], dtype=torch.float64, requires_grad=True)
    D.Categorical(p).log_prob(torch.tensor([1, 2])).sum().backward()
    assert bool(torch.isfinite(p.grad).all())


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_rows_must_sum_to_one(weights):
    """A row that does is accepted, one that does not is refused with its sum."""
    total = sum(weights)
    D.Categorical([w / total for w in weights]).check()
    with pytest.raises(DistributionError, match="sums to"):
        D.Categorical([w / total * 1.01 for w in weights]).check()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: D.Normal(0, -1), "scale"),
        (lambda: D.Normal(float("nan"), 1), "NaN"),
        (lambda: D.Bernoulli(1.5), "probs"),
        (lambda: D.Integers(5, 2), "low > high"),
        (lambda: D.Integers(0.5, 2), "whole"),
        (lambda: D.Uniform(2, 1), "low >= high"),
        (lambda: D.Categorical([0.5, -0.1, 0.6]), "negative"),
        (lambda: D.Truncated(D.Uniform(0, 1), low=2, high=3), "no mass"),
        (lambda: D.Truncated(D.Normal(0, 1), low=2, high=1), "low > high"),
    ],
)
def test_bad_parameters_are_named(make, says):
    """By `check`, which sampling and scoring do first."""
    with pytest.raises(DistributionError, match=says):
        make().check()


def test_bad_arguments_are_refused_at_the_door():
    """Words and misfits of shape are known at once."""
    with pytest.raises(DistributionError, match="loc"):
        D.Normal("zero", 1)
    with pytest.raises(DistributionError, match="shapes"):
        D.Normal([0, 1], [1, 1, 1])
    with pytest.raises(DistributionError, match="cdf"):
        D.Truncated(D.VonMises(0, 1), low=0)
    with pytest.raises(TypeError):
        D.Bernoulli()


@pytest.mark.parametrize("low", [5.0, 12.0, 30.0, 60.0])
def test_truncated_normal_far_in_the_tail(low):
    """The mean excess of a normal beyond x is about 1/x − 2/x³ (Mills' ratio, to 6/x⁵)."""
    torch.manual_seed(0)
    d = D.Truncated(D.Normal(0, 1), low=low)
    excess = d.sample((20_000,)) - low
    assert bool((excess >= 0).all())
    expected = 1 / low - 2 / low**3
    assert float(excess.mean()) == pytest.approx(expected, abs=5 / low / 20_000**0.5 + 10 / low**5)
    grid = torch.linspace(low, low + 40 / low, 20_001, dtype=torch.float64)
    assert float(torch.trapezoid(d.log_prob(grid).exp(), grid)) == pytest.approx(1, abs=1e-4)


def test_censored_tail_mass():
    """log P(N(0, 1) > 30) = −454.3212 (asymptotic series to 1e-4), and the mirror image."""
    assert float(D.Censored(D.Normal(0, 1), high=30.0).log_prob(30.0)) == pytest.approx(
        -454.3212, abs=1e-4
    )
    assert float(D.Censored(D.Normal(0, 1), low=-30.0).log_prob(-30.0)) == pytest.approx(
        -454.3212, abs=1e-4
    )
    counts = D.Censored(D.Poisson(3.0), high=4)
    values = counts.domain()
    assert float(counts.log_prob(values).exp().sum()) == pytest.approx(1, abs=1e-12)


def test_own_density():
    """One's own log density and sampler, with a seeded generator."""
    half = D.Density(
        lambda x: torch.log(2 * x), lambda rng: rng.random() ** 0.5, constraints.unit_interval
    )
    torch.manual_seed(0)
    draws = half.sample((4000,))
    assert float(draws.mean()) == pytest.approx(2 / 3, abs=5 * (1 / 18) ** 0.5 / 4000**0.5)
    assert float(half.log_prob(2.0)) == -math.inf
    torch.manual_seed(0)
    assert torch.equal(draws, half.sample((4000,)))


def test_raw_distributions_are_adopted():
    """Of either library; batch axes become event axes; unknown classes answer one call at a time."""
    assert D.adopt(torch.distributions.Normal(torch.zeros(3), 1.0)).event_shape == (3,)
    assert D.adopt(pyro.Normal(torch.zeros(3), 1.0).to_event(1)).family.name == "Normal"
    foreign = D.adopt(pyro.Kumaraswamy(torch.tensor(2.0), torch.tensor(3.0)))
    assert not foreign.family.liftable
    assert math.isfinite(float(foreign.log_prob(0.3)))
    assert D.adopt("no distribution") is None
    assert D.Normal(np.zeros(2), np.float32(1)).event_shape == (2,)
