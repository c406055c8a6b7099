"""The kernels alone, on densities whose answers are known."""

import math

import numpy
import pytest
from scipy import stats

from backends.kernels.cubature import Improper, integrate
from backends.kernels.diagnostics import diagnose
from backends.kernels.nuts import nuts
from backends.kernels.smc import smc


def gaussian(covariance):
    """log density and gradient of a centred Gaussian."""
    precision = numpy.linalg.inv(covariance)
    return lambda q: (-0.5 * numpy.einsum("ni,ij,nj->n", q, precision, q), -q @ precision)


@pytest.mark.parametrize("seed", range(3))
def test_nuts_samples_a_correlated_gaussian(seed):
    """Scales from 0.1 to 10 and a correlation of 0.9: moments within four standard errors."""
    scale = numpy.array([0.1, 1.0, 10.0])
    correlation = numpy.array([[1, 0.9, 0.3], [0.9, 1, 0.2], [0.3, 0.2, 1]])
    covariance = correlation * numpy.outer(scale, scale)
    start = numpy.random.default_rng(seed).normal(size=(16, 3)) * scale
    trace = nuts(gaussian(covariance), start, 400, seed)
    found = diagnose(trace.draws, trace.energy, trace.divergences)
    assert found.passed
    flat = trace.draws.reshape((-1, 3))
    assert (numpy.abs(flat.mean(axis=0)) < 4 * scale / found.sizes**0.5).all()
    size = diagnose(trace.draws**2).sizes
    assert (numpy.abs(flat.var(axis=0) / scale**2 - 1) < 4 * (2 / size) ** 0.5).all()


def test_nuts_goes_on_where_it_stopped():
    """A second run takes step size and mass matrix from the first, and warms up no more."""
    start = numpy.random.default_rng(0).normal(size=(8, 2))
    first = nuts(gaussian(numpy.eye(2)), start, 50, 0)
    more = nuts(gaussian(numpy.eye(2)), first.draws[:, -1], 100, 1, warm=first)
    assert more.step_size == first.step_size
    assert first.then(more).draws.shape == (8, 150, 2)
    assert first.then(more).evaluations == first.evaluations + more.evaluations


def test_nuts_counts_divergences():
    """A wall that the gradient does not announce."""

    def walled(q):
        lp = numpy.where(q[:, 0] > 0, -0.5 * (q**2).sum(axis=1), -numpy.inf)
        return lp, -q

    start = numpy.abs(numpy.random.default_rng(0).normal(size=(8, 2)))
    trace = nuts(walled, start, 100, 0)
    assert trace.divergences > 0
    assert (trace.draws[:, :, 0] > 0).all()


def test_diagnosis_sees_chains_in_different_places():
    """Two modes, each with half of the chains."""
    draws = numpy.random.default_rng(0).normal(size=(8, 200, 1))
    draws[4:] += 10
    found = diagnose(draws)
    assert found.disagree
    assert not found.passed


@pytest.mark.parametrize("dimensions", [1, 3, 10])
def test_smc_evidence_of_a_gaussian(dimensions):
    """Prior N(0, 1), one observation of each coordinate with noise 0.3: evidence, mean and variance in closed form."""
    y, noise = 1.0, 0.3

    def split(u, codes):
        prior = stats.norm.logpdf(u).sum(axis=1)
        return prior, stats.norm.logpdf(y, u, noise).sum(axis=1)

    def gradient(u, power):
        prior, like = split(u, None)
        return prior + power * like, -u + power * (y - u) / noise**2

    n = 8 * 512
    start = numpy.random.default_rng(1).normal(size=(n, dimensions))
    none = numpy.zeros((n, 0), dtype=int)
    cloud = smc(split, start, none, numpy.zeros(0, dtype=int), 3, gradient=gradient)
    expected = dimensions * stats.norm.logpdf(y, 0, (1 + noise**2) ** 0.5)
    found, error = cloud.evidence
    assert abs(found - expected) < 4 * error + 0.02
    mean, var = y / (1 + noise**2), noise**2 / (1 + noise**2)
    flat = cloud.u.reshape((-1, dimensions))
    assert numpy.abs(flat.mean(axis=0) - mean).max() < 6 * (var / n) ** 0.5 * 2
    assert numpy.abs(flat.var(axis=0) / var - 1).max() < 0.15


def test_smc_keeps_two_modes_at_their_weights():
    """A quarter of the mass left, three quarters right, forty sds apart."""

    def split(u, codes):
        left = math.log(0.25) + stats.norm.logpdf(u[:, 0], -2, 0.1)
        right = math.log(0.75) + stats.norm.logpdf(u[:, 0], 2, 0.1)
        prior = stats.norm.logpdf(u[:, 0], 0, 3)
        return prior, numpy.logaddexp(left, right) - prior

    n = 8 * 512
    start = numpy.random.default_rng(1).normal(0, 3, size=(n, 1))
    none = numpy.zeros((n, 0), dtype=int)
    cloud = smc(split, start, none, numpy.zeros(0, dtype=int), 5)
    share = (cloud.u > 0).mean()
    by_island = (cloud.u > 0).mean(axis=(1, 2))
    assert abs(share - 0.75) < 4 * by_island.std(ddof=1) / 8**0.5 + 0.01
    assert abs(cloud.evidence[0]) < 4 * cloud.evidence[1] + 0.02


def test_smc_moves_finite_coordinates():
    """Ten coins whose posterior odds are known, no continuous coordinate at all."""
    odds = numpy.linspace(-2, 2, 10)

    def split(u, codes):
        return numpy.full(len(codes), 10 * math.log(0.5)), (codes * odds).sum(axis=1)

    n = 8 * 512
    rng = numpy.random.default_rng(0)
    cards = numpy.full(10, 2)
    cloud = smc(split, numpy.zeros((n, 0)), rng.integers(0, 2, (n, 10)), cards, 1)
    expected = 1 / (1 + numpy.exp(-odds))
    found = cloud.codes.reshape((-1, 10)).mean(axis=0)
    assert numpy.abs(found - expected).max() < 5 * 0.5 / n**0.5
    exact = numpy.log(0.5 * (1 + numpy.exp(odds))).sum()
    assert abs(cloud.evidence[0] - exact) < 4 * cloud.evidence[1] + 0.02


def test_cubature_of_one_dimension():
    """Normal, two narrow peaks far apart, and a heavy tail: the integral and the quantiles."""
    start = numpy.random.default_rng(0).normal(size=(64, 1)) * 3
    found = integrate(lambda u: stats.norm.logpdf(u[:, 0], 2, 0.5), start)
    assert abs(found.log_integral) < 1e-9
    for q in (0.001, 0.5, 0.975):
        assert found.quantiles(0, numpy.array([q]))[0] == pytest.approx(
            stats.norm.ppf(q, 2, 0.5), abs=1e-7
        )
    both = integrate(
        lambda u: numpy.logaddexp(
            math.log(0.3) + stats.norm.logpdf(u[:, 0], -4, 0.05),
            math.log(0.7) + stats.norm.logpdf(u[:, 0], 5, 0.02),
        ),
        start,
    )
    assert abs(both.log_integral) < 1e-6
    assert both.cdf(0, numpy.array([0.0]))[0] == pytest.approx(0.3, abs=1e-6)
    heavy = integrate(lambda u: stats.t.logpdf(u[:, 0], 5), start)
    assert abs(heavy.log_integral) < 1e-5


def test_cubature_of_two_dimensions():
    """A ridge with a correlation of 0.99."""
    covariance = numpy.array([[1, 0.99 * 4], [0.99 * 4, 16]])
    precision = numpy.linalg.inv(covariance)
    start = numpy.random.default_rng(0).multivariate_normal([1, 2], covariance, 64)
    found = integrate(
        lambda u: -0.5 * numpy.einsum("ni,ij,nj->n", u - [1, 2], precision, u - [1, 2]), start
    )
    expected = math.log(2 * math.pi) + 0.5 * math.log(numpy.linalg.det(covariance))
    assert found.log_integral == pytest.approx(expected, abs=1e-6)
    for axis, (mean, sd) in enumerate(((1, 1), (2, 4))):
        for q in (0.025, 0.5, 0.9):
            assert found.quantiles(axis, numpy.array([q]))[0] == pytest.approx(
                stats.norm.ppf(q, mean, sd), abs=1e-4
            )
    points, weights = found.points()
    assert numpy.allclose(weights @ points, [1, 2], atol=1e-5)


def test_cubature_refuses_what_has_no_integral():
    """A density that goes on for ever."""
    with pytest.raises(Improper):
        integrate(lambda u: -numpy.log1p(numpy.abs(u[:, 0])), numpy.ones((4, 1)))
