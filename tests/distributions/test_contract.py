"""The front door's promises: what is converted, what is refused, what is finite, and zeros that stay zero."""

import inspect
import math

import numpy
import pyro.distributions as pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import constraints

import ppl.distributions as D
from ppl.errors import DistributionError

from .test_distributions import MAKERS, A, P

REAL = torch.float64


@pytest.mark.parametrize("name", MAKERS)
@given(a=st.floats(0.3, 4), p=st.floats(0.05, 0.95))
@settings(max_examples=8, deadline=None, database=None, derandomize=True)
def test_nowhere_nan(name, a, p):
    """Edges of supports, infinities, fractions, NaN itself: a number or an infinity."""
    d = MAKERS[name](torch.tensor(a, dtype=REAL), torch.tensor(p, dtype=REAL))
    for x in (0.0, -0.0, 1.0, 0.5, -1.0, 1.5, 1e308, -1e308, math.inf, -math.inf, math.nan):
        score = d.log_prob(torch.full(d.event_shape, x, dtype=REAL))
        assert not bool(torch.isnan(score))
        if math.isnan(x) or (d.discrete and x in (0.5, 1.5, -1.0)):
            assert float(score) == -math.inf


@pytest.mark.parametrize("name", MAKERS)
def test_scores_have_finite_gradients(name):
    """In both arguments, at draws of the distribution."""
    torch.manual_seed(0)
    a, p = A[1].clone().requires_grad_(), P[1].clone().requires_grad_()
    d = MAKERS[name](a, p)
    score = d.log_prob(d.sample((20,))).sum()
    if score.requires_grad:
        score.backward()
        for x in (a, p):
            assert x.grad is None or bool(torch.isfinite(x.grad))


@pytest.mark.parametrize("name", MAKERS)
def test_select_takes_rows(name):
    """A gathered table scores as its rows do."""
    torch.manual_seed(0)
    single = [MAKERS[name](a, p) for a, p in zip(A, P, strict=True)]
    tensors = {k: torch.stack([d.parameters[k] for d in single]) for k in single[0].parameters}
    table = single[0].lift(tensors, 1)
    rows = torch.tensor([[2, 0], [1, 1]])
    chosen = table.select(rows)
    assert chosen.batch_shape == (2, 2)
    x = chosen.sample()
    scores = chosen.log_prob(x)
    for i in range(2):
        for j in range(2):
            expected = float(single[rows[i, j]].log_prob(x[i, j]))
            assert float(scores[i, j]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda p: D.Poisson(p), 0),
        (lambda p: D.NegativeBinomial(2, p), 0),
        (lambda p: D.NegativeBinomial2(p, 2), 0),
        (lambda p: D.ZeroInflatedPoisson(2, p), 3),
        (lambda p: D.Bernoulli(p), 0),
        (lambda p: D.Binomial(3, p), 0),
        (lambda p: D.Multinomial(3, torch.stack([p, 1 - p])), [0, 3]),
        (lambda p: D.Geometric(1 - p), 0),
    ],
)
def test_zero_is_a_parameter_like_others(make, value):
    """The score is that of the limit, and its gradient a number."""
    p = torch.zeros((), dtype=REAL, requires_grad=True)
    score = make(p).log_prob(value)
    score.backward()
    score = score.detach()
    limit = make(torch.tensor(1e-12, dtype=REAL)).log_prob(value)
    assert float(score) == pytest.approx(float(limit), abs=1e-9)
    assert bool(torch.isfinite(p.grad))


@pytest.mark.parametrize(
    ("make", "impossible"),
    [
        (lambda: D.Poisson(0), 1),
        (lambda: D.NegativeBinomial2(0, 3), 1),
        (lambda: D.ZeroInflatedPoisson(3, 1), 1),
        (lambda: D.Binomial(3, 0), 1),
        (lambda: D.Geometric(1), 1),
        (lambda: D.Bernoulli(0), 1),
        (lambda: D.Bernoulli(logits=-math.inf), 1),
    ],
)
def test_what_cannot_happen_does_not(make, impossible):
    """Neither scored as if it could, nor drawn."""
    torch.manual_seed(0)
    assert float(make().log_prob(impossible)) == -math.inf
    assert not bool((make().sample((5000,)) == impossible).any())


def test_a_multinomial_never_draws_an_impossible_category():
    """Ten tenths do not sum to one, and nothing of the difference goes to the last category."""
    torch.manual_seed(0)
    draws = D.Multinomial(1_000_000, [0.1] * 10 + [0.0]).sample((2000,))
    assert int(draws[:, -1].sum()) == 0
    assert bool((draws.sum(-1) == 1_000_000).all())


def test_logits_keep_their_digits():
    """log P of the rare side is the logit itself, far below 1e-16."""
    assert float(D.Binomial(3, logits=50.0).log_prob(2)) == pytest.approx(
        math.log(3) - 50, abs=1e-12
    )
    assert float(D.Bernoulli(logits=800.0).log_prob(0)) == -800
    assert float(D.adopt(pyro.Bernoulli(logits=torch.tensor(60.0))).log_prob(0)) == -60


def test_counts_score_as_pyros():
    """Away from zeros, where Pyro is right too."""
    k, t = torch.arange(6.0, dtype=REAL), lambda x: torch.tensor(x, dtype=REAL)
    pairs = [
        (D.Poisson(2.5), pyro.Poisson(t(2.5))),
        (D.NegativeBinomial(2.5, 0.3), pyro.NegativeBinomial(t(2.5), t(0.3))),
        (D.NegativeBinomial(2.5, logits=0.3), pyro.NegativeBinomial(t(2.5), logits=t(0.3))),
        (D.NegativeBinomial2(3, 2), pyro.NegativeBinomial(t(2.0), t(0.6))),
        (D.ZeroInflatedPoisson(2.5, 0.3), pyro.ZeroInflatedPoisson(t(2.5), gate=t(0.3))),
        (D.Geometric(0.3), pyro.Geometric(t(0.3))),
    ]
    for ours, theirs in pairs:
        assert torch.allclose(ours.log_prob(k), theirs.log_prob(k), atol=1e-12), ours
    a, x = [0.5, 1.0, 2.0], torch.tensor([2.0, 1.0, 1.0], dtype=REAL)
    theirs = pyro.DirichletMultinomial(t(a), total_count=t(4.0))
    assert torch.allclose(D.DirichletMultinomial(a, 4).log_prob(x), theirs.log_prob(x), atol=1e-12)


@pytest.mark.parametrize("bad", ["one", None, ["1", "2"], [None, 1.0], 1j, [[1.0], [1.0, 2.0]], {}])
def test_what_is_no_number_is_refused_at_the_door(bad):
    """With the names of the family and the parameter."""
    with pytest.raises(DistributionError, match=r"Normal needs numbers for scale"):
        D.Normal(0, bad)


def test_arrays_of_any_kind_are_copied():
    """Read-only, reversed, later overwritten: none is the distribution's business."""
    frozen = numpy.zeros(3)
    frozen.flags.writeable = False
    assert D.Normal(frozen, 1).event_shape == (3,)
    assert D.Normal(numpy.arange(3.0)[::-1], 1).parameters["loc"].tolist() == [2, 1, 0]
    mine = numpy.zeros(2)
    d = D.Normal(mine, 1)
    mine[0] = 9
    assert d.parameters["loc"].tolist() == [0, 0]


def test_domains_are_products_over_components():
    """Each over its own values; a row's values count once, gaps between rows not at all."""
    assert len(D.Binomial([2, 5], 0.3).domain()) == 3 * 6
    assert len(D.Bernoulli([0.5] * 3).domain()) == 8
    assert not D.Bernoulli([0.5] * 200).finite
    assert not D.Integers(0, 10**12).finite
    d = D.Integers(0, 1)
    rows = {"low": torch.tensor([0.0, 10.0]), "high": torch.tensor([1.0, 11.0])}
    assert d.lift(rows, 1).domain().tolist() == [0, 1, 10, 11]
    grid = D.Integers([0, 5], [1, 6]).domain()
    assert grid.tolist() == sorted(grid.tolist()) == [[0, 5], [0, 6], [1, 5], [1, 6]]


def test_whole_deltas_are_discrete():
    """By the type of what was given."""
    for value in (1, [1, 2], numpy.array([1]), torch.tensor(3), [torch.tensor(1), 2]):
        assert D.Delta(value).discrete, value
    assert not D.Delta(1.0).discrete
    assert not D.Delta([1, 2.5]).discrete


@pytest.mark.parametrize(
    "thing",
    [
        pyro.MultivariateNormal(torch.zeros(2), torch.eye(2)),
        pyro.NegativeBinomial(torch.tensor(3.0), torch.tensor(0.5)),
        pyro.Multinomial(3, torch.ones(2) / 2),
        pyro.LKJCholesky(3, torch.tensor(1.0)),
        pyro.Dirichlet(torch.ones(3)).expand([2]),
        torch.distributions.Independent(torch.distributions.Gamma(torch.ones(2), 1.0), 1),
        pyro.DirichletMultinomial(torch.ones(3), total_count=4),
    ],
    ids=lambda d: type(d).__name__,
)
def test_adopted_families_score_as_they_did(thing):
    """Tensors can be lifted, the shape is kept, and the scores are theirs summed over batch axes."""
    torch.manual_seed(0)
    d = D.adopt(thing)
    assert d.family.liftable
    assert d.event_shape == thing.batch_shape + thing.event_shape
    x = thing.sample()
    expected = float(thing.log_prob(x).double().sum())
    assert float(d.log_prob(x)) == pytest.approx(expected, abs=1e-4)


def test_what_vmap_must_not_read():
    """Raw distributions and print-outs inside a vmapped body."""

    def body(p):
        d = D.adopt(pyro.Bernoulli(p, validate_args=False))
        assert "probs" in repr(d)
        return d.parameters["probs"]

    assert torch.equal(torch.vmap(body)(P), P)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: D.MultivariateNormal([0, 0], [[1, 2], [2, 1]]), "covariance_matrix"),
        (lambda: D.Normal(0, math.inf), "infinite scale"),
        (lambda: D.NegativeBinomial2(-1, 3), "mean = -1"),
        (lambda: D.Censored(D.Poisson(3), high=2.5), "edge"),
        (lambda: D.LKJCholesky(1), "dim"),
        (lambda: D.Integers([1, 5], [2, 3]), r"5 and 3"),
    ],
)
def test_more_bad_parameters_are_named(make, says):
    """As a DistributionError, whatever Pyro would raise."""
    with pytest.raises(DistributionError, match=says):
        make().check()


def test_signatures_are_pyros():
    """In name and order, as far as both have them."""
    for name in (
        "Normal",
        "Binomial",
        "NegativeBinomial",
        "OneHotCategorical",
        "Geometric",
        "Multinomial",
    ):
        theirs = [
            n
            for n in inspect.signature(getattr(pyro, name).__init__).parameters
            if n not in ("self", "validate_args")
        ]
        assert list(inspect.signature(getattr(D, name)).parameters) == theirs
    with pytest.raises(TypeError, match="mu"):
        D.Normal(mu=0)


def test_the_circle_is_an_interval():
    """Its density is periodic, so that the real line would hold it infinitely often."""
    d = D.VonMises(1.0, 2.0)
    assert float(d.log_prob(10.0)) == -math.inf
    x = torch.linspace(-math.pi, math.pi, 2001, dtype=REAL)
    assert float(torch.trapezoid(d.log_prob(x).exp(), x)) == pytest.approx(1, abs=1e-6)


def test_ones_own_counts_are_discrete():
    """The support says so, and building does not sample."""
    calls = []

    def one(rng):
        calls.append(1)
        return rng.integers(3)

    d = D.Density(lambda x: -math.log(3), one, constraints.nonnegative_integer)
    assert not calls
    assert d.discrete
    assert d.sample((4,)).dtype == torch.int64
