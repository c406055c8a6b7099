"""The parts of approximate Bayesian computation, each against what it must be: adjustment, distances, kernels, summaries, edge cases."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ppl
from backends.abc.adjust import KINDS, adjusted
from backends.abc.distance import Distance, scales
from backends.abc.summaries import _moments, learned
from ppl.distributions import Bernoulli, Normal, Uniform

EVEN = torch.full((2000,), 1 / 2000, dtype=torch.float64)


def normal(*shape, seed=0):
    """Standard normals."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "none"])
def test_adjustment_undoes_a_tolerance(kind):
    """Jointly Gaussian θ and x, all accepted: adjusted draws have the moments of θ given x = 1 exactly seen."""
    x = normal(2000, 2)
    slope = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    theta = x @ slope + 0.5 * normal(2000, 1, seed=1)
    seen = torch.ones(2, dtype=torch.float64)
    found = adjusted(kind, theta, x, seen, EVEN, 0)
    # Standard errors of a regression's prediction and of a standard deviation; nets and ridges may be a little further off.
    leeway = 1 if kind in ("linear", "heteroscedastic") else 2
    assert float(found.mean()) == pytest.approx(0.5, abs=leeway * 4 * 0.5 * math.sqrt(3 / 2000))
    assert float(found.std()) == pytest.approx(0.5, rel=leeway * 4 / math.sqrt(2 * 2000))
    assert float(theta.std()) > 1.1


def test_heteroscedastic_adjustment_scales_the_residuals():
    """Where the spread of θ depends on x, only it gets the spread at what was seen."""
    x = 2 * torch.rand(2000, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1
    theta = torch.exp(x) * normal(2000, 1, seed=3)
    seen = torch.tensor([-0.5], dtype=torch.float64)
    plain, scaled = (adjusted(k, theta, x, seen, EVEN, 0) for k in ("linear", "heteroscedastic"))
    assert float(scaled.std()) == pytest.approx(math.exp(-0.5), rel=0.1)
    assert float(plain.std()) > 1.5 * math.exp(-0.5)


def test_neural_adjustment_follows_a_curve():
    """θ is the square of x: a line cannot tell it."""
    x = (
        3 * torch.rand(2000, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        - 1.5
    )
    theta = x**2 + 0.05 * normal(2000, 1, seed=5)
    seen = torch.tensor([1.0], dtype=torch.float64)
    line, net = (adjusted(k, theta, x, seen, EVEN, 0) for k in ("linear", "neural"))
    assert float(net.mean()) == pytest.approx(1.0, abs=0.1)
    assert abs(float(line.mean()) - 1.0) > 0.2


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(12, 200),
    st.integers(0, 10**6),
    st.sampled_from(["linear", "ridge", "heteroscedastic"]),
    st.booleans(),
    st.booleans(),
)
def test_adjustment_survives_any_summaries(columns, parameters, n, seed, kind, constant, collinear):
    """Constant and collinear columns, few draws: finite numbers of the same shape."""
    x = normal(n, columns, seed=seed)
    if constant:
        x[:, 0] = 3.0
    if collinear and columns > 1:
        x[:, -1] = 2 * x[:, 0]
    u = normal(n, parameters, seed=seed + 1)
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    found = adjusted(kind, u, x, x[0], weights, 0)
    assert found.shape == u.shape
    assert bool(torch.isfinite(found).all())


def test_the_scaled_distance_forgets_units():
    """Metres and millimetres give one order; outliers do not move the scale."""
    x = normal(500, 3)
    y = x.clone()
    y[:, 1] *= 1000
    one = Distance.fitted("scaled", {"": slice(0, 3)}, x, x[0])
    two = Distance.fitted("scaled", {"": slice(0, 3)}, y, y[0])
    assert torch.allclose(one(x, x[0]), two(y, y[0]))
    far = x.clone()
    far[0] = 1e9
    assert torch.allclose(scales(far), scales(x), rtol=0.05)


def test_the_mahalanobis_distance_forgets_linear_maps():
    """Any invertible mixture of the columns gives the same order, and a copied column changes nothing much."""
    x = normal(5000, 2)
    mixed = x @ torch.tensor([[1.0, 0.9], [0.0, 0.1]], dtype=torch.float64)
    one = Distance.fitted("mahalanobis", {"": slice(0, 2)}, x, x[0])(x, x[0])
    two = Distance.fitted("mahalanobis", {"": slice(0, 2)}, mixed, mixed[0])(mixed, mixed[0])
    assert float(torch.corrcoef(torch.stack([one, two]))[0, 1]) > 0.99
    copied = torch.cat([x, x[:, :1]], dim=1)
    three = Distance.fitted("mahalanobis", {"": slice(0, 3)}, copied, copied[0])(copied, copied[0])
    assert float(torch.corrcoef(torch.stack([one, three]))[0, 1]) > 0.99


def test_distances_by_node_weigh_nodes_not_columns():
    """A node of a hundred columns counts as much as one of one."""
    x = normal(2000, 101)
    groups = {"wide": slice(0, 100), "narrow": slice(100, 101)}
    seen = torch.zeros(101, dtype=torch.float64)
    found = Distance.fitted({"wide": "scaled", "narrow": "scaled"}, groups, x, seen)
    both = found(x, seen)
    narrow = x[:, 100].abs()
    assert float(torch.corrcoef(torch.stack([both, narrow]))[0, 1]) > 0.9


@pytest.mark.parametrize("kind", ["linear", "net"])
def test_learned_summaries_predict_the_parameters(kind):
    """The best predictor of θ from its noisy copies is their mean: the summary correlates with it as it should."""
    theta = normal(4000, 1)
    cells = theta + 0.5 * normal(4000, 8, seed=1)
    summary = learned(kind, cells, theta, {"y": (slice(0, 8), False)}, 0)
    fresh = normal(1000, 1, seed=2)
    data = fresh + 0.5 * normal(1000, 8, seed=3)
    best = data.mean(dim=1) * 8 / (8 + 0.25)
    found = summary(data)[:, 0]
    assert float(torch.corrcoef(torch.stack([found, best]))[0, 1]) > 0.98


def summarised(how):
    """Twenty draws from a normal, compared by mean and standard deviation, which the model or the user says."""
    model = ppl.Model("summarised")
    item = model.plate("item", 20)
    model.theta(lambda: Normal(0, 3), name="m")
    model.theta(lambda: Uniform(0.1, 5), name="s")
    model.observed(lambda m, s, rng: m + s * rng.normal(), name="y", plate=item)
    if how == "summary":

        @model.summary
        def moments(y):
            return torch.stack([y.mean(), y.std().log()])

    else:

        @model.deterministic
        def moments(y):
            return torch.stack([y.mean(), y.std().log()])

    return model


SEEN = torch.from_numpy(1.0 + 2.0 * numpy.random.default_rng(0).normal(size=20))


def test_a_summary_is_declared_once_and_applied_to_both():
    """The same bits as conditioning on the deterministic node by hand."""
    budget = ppl.Budget(simulations=4000)
    moments = torch.stack([SEEN.mean(), SEEN.std().log()])
    one = ppl.infer(summarised("summary"), {"y": SEEN}, method="rejection", budget=budget)
    two = ppl.infer(summarised("node"), {"moments": moments}, method="rejection", budget=budget)
    for name in ("m", "s"):
        assert float(one[name].mean) == pytest.approx(float(two[name].mean), rel=1e-9)
    assert float(one["m"].mean) == pytest.approx(float(SEEN.mean()), abs=0.5)


@pytest.mark.parametrize("method", ["rejection", "abc-smc"])
def test_gaussian_mean_and_spread_come_out(method):
    """With the sufficient statistics, at 20,000 simulations, within a fifth of a posterior sd of the quadrature answer."""
    explicit = ppl.Model("explicit")
    item = explicit.plate("item", 20)
    explicit.theta(lambda: Normal(0, 3), name="m")
    explicit.theta(lambda: Uniform(0.1, 5), name="s")
    explicit.observed(lambda m, s: Normal(m, s), name="y", plate=item)
    exact = ppl.infer(explicit, {"y": SEEN})
    found = ppl.infer(
        summarised("summary"), {"y": SEEN}, method=method, budget=ppl.Budget(simulations=20_000)
    )
    for name in ("m", "s"):
        sd = float(exact[name].sd)
        error = float(found[name].standard_error)
        assert float(found[name].mean) == pytest.approx(
            float(exact[name].mean), abs=0.2 * sd + 4 * error
        )
        assert float(found[name].sd) == pytest.approx(sd, rel=0.25)


def test_model_choice_is_a_discrete_parameter():
    """Two models of a count: exact matches give the exact probabilities, within five standard errors."""
    model = ppl.Model("choice")
    model.theta(lambda: Bernoulli(0.5), name="overdispersed")
    model.observed(
        lambda overdispersed, rng: (
            rng.poisson(rng.gamma(2.0, 2.0)) if overdispersed else rng.poisson(4.0)
        ),
        name="k",
    )
    found = ppl.infer(model, {"k": 9}, method="rejection", budget=ppl.Budget(simulations=60_000))
    # A gamma-Poisson is negative binomial: shape 2, mean 4.
    wide = math.gamma(11) / (math.gamma(10) * math.gamma(2)) * (1 / 3) ** 2 * (2 / 3) ** 9
    narrow = math.exp(-4) * 4**9 / math.factorial(9)
    p = wide / (wide + narrow)
    probs = found["overdispersed"].probs
    n = float(found.certificate.checks["accepted"])
    assert found.certificate.grade == "A"
    assert float(probs[1]) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


def test_all_simulations_may_be_accepted():
    """A tolerance beyond everything: the prior comes back."""
    model = ppl.Model("noisy")
    model.theta(lambda: Uniform(0, 1), name="x")
    model.observed(lambda x, rng: x + rng.normal(), name="y")
    method = ppl.Method("rejection", tolerance=1e9, quantile=1.0, adjust="none", kernel="uniform")
    found = ppl.infer(model, {"y": 0.0}, method=method, budget=ppl.Budget(simulations=5000))
    assert float(found.certificate.checks["accepted"]) == 5000
    assert float(found["x"].mean) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / 5000))


def test_constant_data_say_nothing():
    """A simulator that always gives one number: the posterior is the prior."""
    model = ppl.Model("constant")
    model.theta(lambda: Uniform(0, 1), name="x")
    model.observed(lambda x, rng: 3.0 + 0 * x, name="y")
    found = ppl.infer(model, {"y": 3.0}, method="rejection", budget=ppl.Budget(simulations=5000))
    assert float(found["x"].mean) == pytest.approx(0.5, abs=0.2)
    assert float(found["x"].sd) == pytest.approx(12**-0.5, rel=0.3)


def test_nan_in_the_observation_is_an_error_and_a_gap_on_request():
    """Never a comparison with nothing."""
    model = ppl.Model("gaps")
    item = model.plate("item", 3)
    model.theta(lambda: Normal(0, 1), name="x")
    model.observed(lambda x, rng: x + rng.normal(), name="y", plate=item)
    seen = {"y": [1.0, float("nan"), 2.0]}
    budget = ppl.Budget(simulations=3000)
    with pytest.raises(ppl.QueryError, match="NaN"):
        ppl.infer(model, seen, method="rejection", budget=budget)
    found = ppl.infer(model, seen, method="rejection", budget=budget, nan="missing")
    # Two of three: mean 1, variance 1/3.
    assert float(found["x"].mean) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("method", ["rejection", "abc-smc", "abc-mcmc"])
def test_workers_change_nothing(method):
    """Two processes give the bits of none."""
    model = ppl.Model("noisy")
    model.theta(lambda: Uniform(-5, 5), name="x")
    model.observed(lambda x, rng: x + rng.normal(), name="y")
    budget = ppl.Budget(simulations=6000)
    one, two = (
        ppl.infer(model, {"y": 1.0}, method=method, budget=budget, workers=w, seed=4)
        for w in (0, 2)
    )
    assert torch.equal(one["x"]._values, two["x"]._values)
    assert one.certificate.checks == two.certificate.checks


def test_shapes_of_items_are_told_by_their_l_moments():
    """Quantiles of an exponential: its second L-moment is 1/2, and the ratios of the next to it are 1/3, 1/6, 1/10 and 1/15 (Hosking, 1990)."""
    level = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    found = _moments(-torch.log1p(-level)[None])[0]
    assert found.tolist() == pytest.approx([math.log(0.5), 1 / 3, 1 / 6, 1 / 10, 1 / 15], abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "net"])
def test_a_learned_spread_tells_where_parameters_are_certain(kind):
    """θ given x is normal around x with the spread exp(x): columns after the means rise by two for each unit of x."""
    x = 2 * torch.rand(8000, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64) - 1
    theta = x + torch.exp(x) * normal(8000, 1, seed=7)
    groups = {"x": (slice(0, 1), False)}
    summary = learned(kind, x, theta, groups, 0, spread=True)
    ends = summary(torch.tensor([[-0.5], [0.5]], dtype=torch.float64))
    assert ends.shape == (2, 2)
    # Means are in units of the standard deviation of θ.
    assert float(ends[1, 0] - ends[0, 0]) == pytest.approx(1 / float(theta.std()), abs=0.1)
    assert float(ends[1, 1] - ends[0, 1]) == pytest.approx(2.0, abs=0.3)
