"""Countable nodes are followed as far as the evidence lets it, in every engine, and never cut below the data."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln, gammaln, logsumexp

import ppl
from ppl.distributions import (
    Binomial,
    Gamma,
    Geometric,
    NegativeBinomial2,
    Normal,
    Poisson,
    Uniform,
)
from tests import published


def thinned(rate, chance):
    """A Poisson population of which each member is seen with some chance."""
    model = ppl.Model("thinned")

    @model.latent
    def size():
        return Poisson(rate)

    @model.observed
    def seen(size):
        return Binomial(size, chance)

    return model


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 60), st.floats(0.05, 0.95), st.integers(0, 90))
def test_a_thinned_population_is_a_poisson_beyond_what_was_seen(rate, chance, seen):
    """size − seen is Poisson(rate (1 − chance)), and seen is Poisson(rate · chance)."""
    found = ppl.infer(thinned(rate, chance), {"seen": seen})
    values = found["size"].domain.numpy()
    expected = stats.poisson.pmf(values - seen, rate * (1 - chance))
    assert 1 - expected.sum() < 1e-9
    assert numpy.abs(found["size"].probs.numpy() - expected).max() < 1e-9
    assert found.log_evidence == pytest.approx(
        stats.poisson.logpmf(seen, rate * chance), abs=1e-9, rel=1e-12
    )


def test_a_poisson_of_ten_of_which_45_were_seen():
    """The case of the issue: a cut at 39, where the prior ends, would make it impossible."""
    found = ppl.infer(thinned(10, 0.5), {"seen": 45})
    assert float(found["size"].mean) == pytest.approx(50, abs=1e-8)


def test_many_observations_share_one_end():
    """A plan for many: the largest observation decides."""
    plan = ppl.compile(thinned(10, 0.5), ["seen"])
    found = plan.posteriors([{"seen": k} for k in (0, 7, 60)])
    assert [float(p["size"].mean) for p in found] == pytest.approx([5, 12, 65], abs=1e-8)


def test_a_geometric_above_a_sharp_measurement():
    """The evidence is as small as exp(−12); the geometric's tail is long."""
    model = ppl.Model("long")

    @model.latent
    def n():
        return Geometric(0.05)

    @model.observed
    def y(n):
        return Normal(n, 0.5)

    found = ppl.infer(model, {"y": 181.3})
    values = numpy.arange(2000)
    logs = values * math.log(0.95) + math.log(0.05) + stats.norm.logpdf(181.3, values, 0.5)
    weights = numpy.exp(logs - logsumexp(logs))
    assert float(found["n"].mean) == pytest.approx((weights * values).sum(), abs=1e-8)
    assert found.log_evidence == pytest.approx(logsumexp(logs), abs=1e-9)


def test_an_unknown_population_and_an_unknown_chance():
    """Capture and recapture: the chance integrates out to a beta function for every size, each of them in closed form."""
    model, seen = published.recapture()
    found = ppl.infer(model, seen)
    assert found.method == "closed"
    sizes = numpy.arange(48, 600)

    def choose(n, k):
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    hits, misses = 60, 2 * sizes - 78 + 18
    logs = stats.poisson.logpmf(sizes, 60) + choose(sizes, 30) + choose(30, 12)
    logs = logs + choose(sizes - 30, 18) + betaln(1 + hits, 1 + misses)
    weights = numpy.exp(logs - logsumexp(logs))
    assert found.log_evidence == pytest.approx(logsumexp(logs), abs=1e-6)
    assert float(found["size"].mean) == pytest.approx((weights * sizes).sum(), rel=1e-6)
    mean = (weights * (1 + hits) / (2 + hits + misses)).sum()
    assert float(found["chance"].mean) == pytest.approx(mean, rel=1e-6)
    assert any("size was followed to" in note for note in found.notes)


def test_counts_in_a_plate_under_a_continuous_rate():
    """Latent counts, one a site, all summed out; the rate is left."""
    model = ppl.Model("sites")
    site = model.plate("site", 5)

    @model.theta
    def rate():
        return Gamma(2, 0.1)

    @model.latent(plate=site)
    def animals(rate):
        return Poisson(rate)

    @model.observed(plate=site)
    def seen(animals):
        return Binomial(animals, 0.4)

    data = [3, 9, 14, 6, 30]
    found = ppl.infer(model, {"seen": data}, of=["rate", "animals"])
    # seen is Poisson(0.4 rate): gamma and Poisson are conjugate.
    shape, pace = 2 + sum(data), 0.1 + 0.4 * 5
    assert float(found["rate"].mean) == pytest.approx(shape / pace, rel=1e-6)
    assert float(found["rate"].sd) == pytest.approx(shape**0.5 / pace, rel=1e-5)
    expected = torch.tensor(data) + 0.6 * shape / pace
    assert torch.allclose(found["animals"].mean, expected.to(torch.float64), rtol=1e-5)


def test_a_chain_of_counts():
    """A population that breeds and dies, counted with error; four steps, against the sum over all paths."""
    model = ppl.Model("breeding")
    year = model.plate("year", 3, ordered=True)

    @model.latent(plate=year, start=lambda: Poisson(4))
    def size(previous):
        return Poisson(1.2 * previous)

    @model.observed(plate=year)
    def counted(size):
        return Binomial(size, 0.7)

    seen = [3, 5, 4]
    found = ppl.infer(model, {"counted": seen})
    n = numpy.arange(90)
    emit = [stats.binom.pmf(k, n, 0.7) for k in seen]
    step = stats.poisson.pmf(n[None, :], 1.2 * n[:, None])
    first = stats.poisson.pmf(n, 4) * emit[0]
    second = (first @ step) * emit[1]
    third = (second @ step) * emit[2]
    assert found.log_evidence == pytest.approx(math.log(third.sum()), abs=1e-9)
    assert float(found["size"].mean[2]) == pytest.approx((third * n).sum() / third.sum(), rel=1e-9)


def test_a_rate_that_reaches_far_is_followed_far():
    """The posterior of the rate lies where the prior seldom goes: the cut follows the posterior."""
    model = ppl.Model("far")

    @model.theta
    def rate():
        return Uniform(0, 400)

    @model.latent
    def count(rate):
        return NegativeBinomial2(rate, 50)

    @model.observed
    def y(count):
        return Normal(count, 2)

    found = ppl.infer(model, {"y": 390.0}, of="count")
    assert float(found["count"].mean) == pytest.approx(390, abs=1.0)
    assert float(found["count"].sd) == pytest.approx(2, abs=0.1)


def test_an_impossible_observation_is_refused_and_not_followed_for_ever():
    """Twice the count is never odd."""
    model = ppl.Model("odd")
    model.latent(lambda: Poisson(3), name="n")
    model.deterministic(lambda n: 2 * n, name="twice")
    with pytest.raises(ppl.errors.GaltonError):
        ppl.infer(model, {"twice": 7})


def test_a_missing_count_that_nothing_depends_on_changes_nothing():
    """Two rates add up to Gamma(6, .5), and 3 was counted once: their sum is Gamma(9, 1.5), whatever is missing besides."""
    model = ppl.Model("calls")
    model.theta(lambda: Gamma(3, 0.5), name="rate")
    model.theta(lambda: Gamma(3, 0.5), name="more")
    hour = model.plate("hour")
    model.observed(lambda rate, more: Poisson(rate + more), name="calls", plate=hour)
    found = ppl.infer(model, {"calls": [3, None]})
    assert found.certificate.grade == "A′"
    assert float(found["rate"].mean) == pytest.approx(3, abs=1e-4)
    # A negative binomial: successes 6 with probability 1/3, 3 failures.
    assert found.log_evidence == pytest.approx(stats.nbinom(6, 1 / 3).logpmf(3), abs=1e-5)
