"""All marginals answer the same questions, and the answers agree with one another."""

import numpy
import pytest
import scipy.stats
import torch

import ppl
from ppl.distributions import Categorical, Exponential, Normal
from ppl.posterior import DrawnMarginal, TableMarginal
from ppl.posterior.kept import tabulated

from .routes import ROUTES, answered, each


@each
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_shortest_interval_holds_its_level_and_is_no_longer_than_the_central_one(
    case, method, level
):
    """P(low ≤ x ≤ high) ≥ level, with equality where the law is continuous, up to the spacing of draws."""
    marginal = answered(case, method)[case.ask]
    low, high = marginal.hdi(level)
    central = marginal.interval(level)
    assert bool((high - low <= central[1] - central[0] + 1e-6).all())
    inside = _between(marginal, low, high)
    assert bool((inside >= level - 1e-3).all())
    if not marginal.finite:
        size = getattr(marginal, "effective_size", float("inf"))
        assert bool((inside <= level + 1e-3 + 5 / size).all())


def _between(marginal, low, high):
    """P(low ≤ x ≤ high), entry by entry."""
    found = torch.zeros(marginal.mean.shape, dtype=torch.float64)
    for at in numpy.ndindex(*found.shape):
        step = 0.5 if marginal.finite else 1e-9
        below = marginal.cdf(float(low[at]) - step)
        found[at] = (marginal.cdf(float(high[at]) + step) - below)[at]
    return found


@each
def test_quantiles_invert_the_cdf(case, method):
    """F(Q(q)) ≥ q, with equality where the law is continuous."""
    marginal = answered(case, method)[case.ask]
    for q in (0.01, 0.3, 0.5, 0.9):
        value = marginal.quantile(q)
        for at in numpy.ndindex(*value.shape):
            reached = float(marginal.cdf(float(value[at]) + 1e-9)[at])
            assert reached >= q - 1e-3
            size = getattr(marginal, "effective_size", float("inf"))
            assert marginal.finite or reached <= q + 1e-3 + 5 / size


@each
def test_a_member_is_a_row_of_the_whole(case, method):
    """`posterior["state[1]"]` says of one member what `posterior["state"]` says of all."""
    found = answered(case, method)
    whole = found[case.ask]
    if not whole.plates:
        with pytest.raises(ppl.QueryError, match="in no plate"):
            found[f"{case.ask}[0]"]
        return
    for k in range(len(whole.mean)):
        member = found[f"{case.ask}[{k}]"]
        assert member.plates == ()
        assert float(member.mean) == pytest.approx(float(whole.mean[k]), rel=1e-12)
        assert float(member.sd) == pytest.approx(float(whole.sd[k]), rel=1e-12)
        assert torch.equal(member.probs, whole.probs[k])
        assert float(member.hdi(0.5)[0]) == float(whole.hdi(0.5)[0][k])
        assert member.draws(7).shape == (7,)
    with pytest.raises(ppl.QueryError, match="members, numbered from 0"):
        found[f"{case.ask}[{len(whole.mean)}]"]


def test_every_kind_of_marginal_is_among_the_routes():
    """The properties above would say less otherwise."""
    kinds = {type(answered(c, m)[c.ask]).__name__ for c, m in ROUTES}
    assert kinds == {"TableMarginal", "DrawnMarginal", "SmoothMarginal", "LawMarginal"}


@pytest.mark.parametrize("method", ["closed", "quadrature"])
def test_the_ends_of_a_highest_density_interval_are_equally_dense(method):
    """Beta(9, 5), whose density SciPy knows."""
    case = next(c for c, m in ROUTES if c.name == "coin")
    low, high = (float(end) for end in answered(case, method)["bias"].hdi(0.9))
    beta = scipy.stats.beta(9, 5)
    assert beta.cdf(high) - beta.cdf(low) == pytest.approx(0.9, abs=1e-6)
    assert beta.pdf(low) == pytest.approx(beta.pdf(high), rel=2e-3)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_density_that_is_highest_at_its_edge_has_an_interval_that_begins_there(level):
    """Exponential(2): [0, -log(1 - level) / 2], by formula and by draws."""
    model = ppl.Model("m")
    model.theta(lambda: Exponential(2.0), name="t")
    model.observed(lambda t: Normal(t, 1e3), name="x")
    closed = ppl.infer(model, {"x": 0.0}, method="quadrature")["t"]
    low, high = closed.hdi(level)
    assert float(low) == pytest.approx(0, abs=1e-4)
    assert float(high) == pytest.approx(-numpy.log(1 - level) / 2, rel=1e-3)


def test_two_modes_are_spanned_by_one_interval():
    """Of a mixture of N(-5, 1) and N(5, 1) with weights 0.6 and 0.4 the shortest half is inside the first."""
    model = ppl.Model("m")
    model.latent(lambda: Categorical([0.6, 0.4]), name="which")
    model.theta(lambda which: Normal([-5.0, 5.0][which], 1), name="x")
    model.observed(lambda x: Normal(x, 1e6), name="y")
    low, high = ppl.infer(model, {"y": 0.0}, of=["x"], method="closed")["x"].hdi(0.5)
    # P(a < x < b) = 0.5 / 0.6 of the first component, shortest about its mean.
    half = scipy.stats.norm.ppf(0.5 + 0.5 / 0.6 / 2)
    assert [float(low), float(high)] == pytest.approx([-5 - half, -5 + half], abs=2e-3)


def test_the_shortest_interval_of_a_table_prefers_the_more_probable():
    """Of two equally short ones; and a value of probability zero is not needed."""
    domain = torch.tensor([3, 1, 2, 9])
    marginal = TableMarginal("n", domain, torch.tensor([0.3, 0.3, 0.4, 0.0], dtype=torch.float64))
    assert [int(end) for end in marginal.hdi(0.6)] == [1, 2]
    assert [int(end) for end in marginal.hdi(0.95)] == [1, 3]
    tilted = TableMarginal("n", domain, torch.tensor([0.35, 0.3, 0.35, 0.0], dtype=torch.float64))
    assert [int(end) for end in tilted.hdi(0.6)] == [2, 3]


@pytest.mark.parametrize("level", [0, 1, 1.5, True, "0.9"])
def test_a_level_is_a_probability(level):
    """Between 0 and 1."""
    marginal = DrawnMarginal("x", torch.randn(10))
    for question in (marginal.hdi, marginal.interval):
        with pytest.raises(ppl.QueryError, match="between 0 and 1"):
            question(level)


def test_a_vector_with_few_values_has_no_interval_and_its_members_still_have_moments():
    """Its values have no order."""
    pairs = torch.tensor([[0, 1], [1, 0]])
    marginal = TableMarginal("v", pairs, torch.tensor([[0.5, 0.5], [1.0, 0.0]]), ("row",))
    with pytest.raises(ppl.QueryError, match="no order"):
        marginal.hdi()
    assert marginal.member(1).mean.tolist() == [0.0, 1.0]
    with pytest.raises(ppl.QueryError, match="not one of its members"):
        marginal.member(0, 1)


def test_entries_of_a_vector_are_marginals_too():
    """`w[1, 0]` is the first entry of the second member."""
    model = ppl.Model("m")
    row = model.plate("row", 2)
    model.theta(lambda: Normal([1.0, 2.0], [1.0, 3.0]), name="w", plate=row)
    model.observed(lambda w: Normal(w, 1.0), name="y", plate=row)
    found = ppl.infer(model, {"y": [[1.0, 2.0], [1.0, 2.0]]}, method="closed")
    assert float(found["w[1, 1]"].sd) == pytest.approx((9 / 10) ** 0.5)
    assert found["w[1]"].sd.tolist() == pytest.approx([(1 / 2) ** 0.5, (9 / 10) ** 0.5])
    with pytest.raises(ppl.QueryError, match="its values have 2 entries"):
        found["w[1, 2]"]


def test_a_tabulated_marginal_is_the_law_to_four_digits():
    """Quantiles between the levels of the table, in the middle and in the tails."""
    case = next(c for c, m in ROUTES if c.name == "coin")
    law = answered(case, "closed")["bias"]
    table = tabulated(law, law.draws(100))
    for q in (0.0007, 0.0123, 0.3333, 0.71, 0.9991):
        assert float(table.quantile(q)) == pytest.approx(float(law.quantile(q)), abs=1e-4)
        value = float(law.quantile(q))
        assert float(table.cdf(value)) == pytest.approx(q, rel=1e-2)
    assert torch.equal(table.quantile(0.05), law.quantile(0.05))


def test_to_xarray_names_its_axes():
    """After the plates."""
    xarray = pytest.importorskip("xarray")
    case = next(c for c, m in ROUTES if c.name == "chain")
    array = answered(case, "exact")["state"].to_xarray(5)
    assert isinstance(array, xarray.DataArray)
    assert array.dims == ("draw", "day")
    assert array.shape == (5, 3)
