"""Tails as far out as wanted, against mpmath with 60 digits; windows and edges built on them."""

import math

import mpmath as mp
import pytest
import torch

import ppl.distributions as D
from ppl.distributions.tails import TAILS

REAL = torch.float64


def _beta(a, b, x):
    return mp.betainc(a, b, 0, x, regularized=True)


def _gamma(a, x, below):
    return mp.gammainc(a, 0, x, regularized=True) if below else mp.gammainc(a, x, regularized=True)


def _student(df, t):
    return _beta(mp.mpf(df) / 2, 0.5, df / (df + mp.mpf(t) ** 2)) / 2


#: A distribution of ours, a value, P(X ≤ value), P(X > value); thunks, for the precision is set in the test.
POINTS = {
    "Normal": (D.Normal(0, 1), 30, lambda: mp.ncdf(30), lambda: mp.ncdf(-30)),
    "LogNormal": (D.LogNormal(0, 1), 1e13, None, lambda: mp.ncdf(-mp.log(mp.mpf(1e13)))),
    "HalfNormal": (D.HalfNormal(1), 30, None, lambda: 2 * mp.ncdf(-30)),
    "Exponential": (D.Exponential(2), 900, None, lambda: mp.exp(-1800)),
    "Exponential near 0": (D.Exponential(2), 1e-30, lambda: -mp.expm1(-mp.mpf(2e-30)), None),
    "Weibull": (D.Weibull(2, 1.5), 300, None, lambda: mp.exp(-(mp.mpf(150) ** 1.5))),
    "Logistic": (D.Logistic(0, 1), 900, None, lambda: 1 / (1 + mp.exp(900))),
    "Laplace": (D.Laplace(0, 1), -900, lambda: mp.exp(-900) / 2, None),
    "Gumbel": (D.Gumbel(0, 1), 900, None, lambda: -mp.expm1(-mp.exp(-900))),
    "Gumbel left": (D.Gumbel(0, 1), -5, lambda: mp.exp(-mp.exp(5)), None),
    "Cauchy": (D.Cauchy(0, 1), 1e30, None, lambda: mp.atan(mp.mpf(10) ** -30) / mp.pi),
    "StudentT": (D.StudentT(3), 1e30, None, lambda: _student(3, 1e30)),
    "StudentT near": (D.StudentT(0.5), 0.7, lambda: 1 - _student(0.5, 0.7), None),
    "Gamma": (D.Gamma(2.5, 1), 2000, None, lambda: _gamma(2.5, 2000, False)),
    "Gamma near 0": (D.Gamma(30, 1), 1e-200, lambda: _gamma(30, mp.mpf(1e-200), True), None),
    "Beta": (D.Beta(40, 2), 1e-9, lambda: _beta(40, 2, mp.mpf(1e-9)), None),
    "Poisson": (D.Poisson(3), 400, None, lambda: _gamma(401, 3, True)),
    "Geometric": (D.Geometric(0.3), 4000, None, lambda: (1 - mp.mpf(0.3)) ** 4001),
    "Binomial": (D.Binomial(900, 0.01), 800, None, lambda: _beta(801, 100, mp.mpf(0.01))),
    "Binomial logits": (D.Binomial(9, logits=-800), 3, None, lambda: 126 * mp.exp(-3200) * 2),
    "NegativeBinomial": (
        D.NegativeBinomial(2, 0.6),
        3000,
        None,
        lambda: _beta(3001, 2, mp.mpf(0.6)),
    ),
}


@pytest.mark.parametrize("name", [n for n in POINTS if n != "Binomial logits"])
def test_log_tails_are_right_to_ten_digits(name):
    """Whichever of the two tails is the small one."""
    d, x, below, above = POINTS[name]
    tails, at = TAILS[d.family.name], torch.tensor(float(x), dtype=REAL)
    with mp.workdps(60):
        for exact, ours in ((below, tails.log_cdf), (above, tails.log_sf)):
            if exact is not None:
                expected = float(mp.log(exact()))
                assert float(ours(d.parameters, at)) == pytest.approx(
                    expected, rel=1e-10, abs=1e-15
                )


BASES = {
    "Normal": lambda a: D.Normal(a, 1 + a),
    "LogNormal": lambda a: D.LogNormal(a, 0.5),
    "HalfNormal": lambda a: D.HalfNormal(a),
    "Exponential": lambda a: D.Exponential(a),
    "Weibull": lambda a: D.Weibull(a, 1.5),
    "Logistic": lambda a: D.Logistic(a, 1),
    "Laplace": lambda a: D.Laplace(a, 1),
    "Gumbel": lambda a: D.Gumbel(a, 1),
    "Cauchy": lambda a: D.Cauchy(a, 1),
    "HalfCauchy": lambda a: D.HalfCauchy(a),
    "Uniform": lambda a: D.Uniform(-a, 3 * a),
    "StudentT": lambda a: D.StudentT(2 + a, a, 1),
    "Gamma": lambda a: D.Gamma(1 + a, 1),
    "Beta": lambda a: D.Beta(1 + a, 2),
}
COUNTS = {
    "Poisson": lambda a: D.Poisson(3 * a),
    "Geometric": lambda a: D.Geometric(a / 3),
    "Binomial": lambda a: D.Binomial(12, a / 3),
    "NegativeBinomial": lambda a: D.NegativeBinomial(3 * a, 0.4),
    "NegativeBinomial2": lambda a: D.NegativeBinomial2(3 * a, 2),
}


def test_every_base_is_tried():
    """The lists above are the documented ones."""
    assert {*BASES, *COUNTS} == set(TAILS)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("window", [(0.2, None), (None, 0.8), (0.2, 0.8)])
def test_a_window_keeps_what_the_base_has_there(name, window):
    """The draws follow the base's cdf, renormalised (Kolmogorov's statistic, level 1e-6), and gradients are finite."""
    torch.manual_seed(0)
    a = torch.tensor(0.9, dtype=REAL, requires_grad=True)
    base, n = BASES[name](a), 4000
    low, high = window
    d = D.Truncated(base, low=low, high=high)
    x = d.sample((n,)).sort().values
    assert bool(d.support.check(x).all())
    with torch.no_grad():
        start = 0.0 if low is None else base.cdf(low)
        end = 1.0 if high is None else base.cdf(high)
        u = (base.cdf(x) - start) / (end - start)
    gap = (u - torch.arange(1, n + 1, dtype=REAL) / n).abs().max()
    # P(sqrt(n) D > 2.7) is below 2 exp(−2 · 2.7²) = 1e-6.
    assert float(gap) < 2.7 / n**0.5 + 1 / n
    d.log_prob(x[:50]).sum().backward()
    assert bool(torch.isfinite(a.grad))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", [D.Truncated, D.Censored])
@pytest.mark.parametrize("low", [None, 2])
def test_bounded_counts_sum_to_one(name, kind, low):
    """Over their domain, and draws have these frequencies within five standard errors."""
    torch.manual_seed(0)
    d = kind(COUNTS[name](torch.tensor(0.9, dtype=REAL)), low=low, high=6)
    values = d.domain()
    p = d.log_prob(values).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-11)
    draws = d.sample((20_000,))
    for v, expected in zip(values.tolist(), p.tolist(), strict=True):
        found = float((draws == v).double().mean())
        assert found == pytest.approx(expected, abs=5 * (expected / 20_000) ** 0.5 + 1e-9)


def test_a_count_window_between_two_numbers_starts_at_the_next():
    """x ≥ 0.5 is x ≥ 1."""
    d = D.Truncated(D.Poisson(3), low=0.5, high=50)
    assert float(d.log_prob(d.domain()).exp().sum()) == pytest.approx(1, abs=1e-12)
    assert d.domain()[0] == 1


def test_an_open_window_of_counts_is_not_finite():
    """Nothing enumerates to infinity."""
    assert not D.Truncated(D.Poisson(3), low=2).finite
    assert not D.Censored(D.Poisson(3), low=2).finite


def test_censored_edges_and_inside_are_one_mass():
    """Mass of both edges and the integral between them, for a continuous base far from its centre."""
    d = D.Censored(D.StudentT(3), low=-2.0, high=5.0)
    x = torch.linspace(-2, 5, 20_003, dtype=REAL)[1:-1]
    inside = torch.trapezoid(d.log_prob(x).exp(), x)
    total = inside + d.log_prob([-2.0, 5.0]).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "make", [lambda: D.Gumbel(0, 1), lambda: D.Gamma(2, 1), lambda: D.Logistic(0, 1)]
)
def test_draws_beyond_800(make):
    """Three families whose tail is exponential: the mean excess is one, up to 1/800."""
    torch.manual_seed(0)
    excess = D.Truncated(make(), low=800).sample((20_000,)) - 800
    assert float(excess.mean()) == pytest.approx(1, abs=5 / 20_000**0.5 + 2 / 800)


def test_gradients_of_shapes_are_those_of_mpmath():
    """d/da log Q(a, x) by mpmath's own difference, in the middle and where Q is 1e-300."""
    for a0, x0 in ((2.5, 3.0), (2.5, 900.0)):
        a = torch.tensor(a0, dtype=REAL, requires_grad=True)
        TAILS["Gamma"].log_sf(
            {"concentration": a, "rate": torch.ones((), dtype=REAL)}, torch.tensor(x0)
        ).backward()
        with mp.workdps(60):
            exact = mp.diff(lambda s, x=x0: mp.log(_gamma(s, x, False)), a0)
        assert float(a.grad) == pytest.approx(float(exact), rel=1e-6)


def test_icdf_inverts_cdf():
    """To ten digits of the probability from zero on; around a location, to the rounding of the value, about 1e-16."""
    u = torch.tensor([1e-12, 0.01, 0.5, 0.99], dtype=REAL)
    from_zero = ("HalfNormal", "HalfCauchy", "Exponential", "Weibull")
    for name in BASES:
        d = BASES[name](0.9)
        if TAILS[name].from_cdf is not None:
            atol = 0 if name in from_zero else 2e-15
            assert torch.allclose(d.cdf(d.icdf(u)), u, rtol=1e-9, atol=atol), name
    assert math.isclose(float(D.Normal(0, 1).icdf(0.975)), 1.959963984540054, rel_tol=1e-12)
