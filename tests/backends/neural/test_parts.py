"""The parts that estimators are made of: densities that integrate to one, codings that go there and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import constraints

import ppl
from backends.neural.conditional import Conditional
from backends.neural.densities import KINDS, density
from backends.neural.features import Features, distinct
from backends.neural.simulations import Simulations
from backends.neural.variables import Variable
from ppl.distributions import Normal


def begun(numbers: int, kind: str):
    """A density that has seen some data but was never trained, and one row of features."""
    torch.manual_seed(1)
    c = torch.randn(200, 3)
    y = (
        c[:, :1]
        + 0.5
        * torch.randn(200, numbers)
        @ torch.tensor([[1.0, 0.4], [0.0, 1.0]])[:numbers, :numbers]
    )
    net = density(numbers, 3, 6_000, kind)
    net.fit_line(y, c)
    return net.eval(), c[:1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_of_one_number_integrates_to_one(kind):
    """Whatever its weights are."""
    net, c = begun(1, kind)
    grid = torch.linspace(-12, 12, 4001).unsqueeze(1)
    with torch.no_grad():
        total = net.log_prob(grid, c).exp().sum() * (24 / 4000)
    assert float(total) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_of_two_numbers_integrates_to_one_and_is_that_of_its_draws(kind):
    """Mean by the grid against 20,000 draws: four standard errors."""
    net, c = begun(2, kind)
    side = torch.linspace(-10, 10, 401)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        p = net.log_prob(grid, c).exp() * (20 / 400) ** 2
        torch.manual_seed(2)
        draws = net.sample(c.expand(20_000, 3))
    assert float(p.sum()) == pytest.approx(1, abs=0.01)
    mean = (p.unsqueeze(1) * grid).sum(dim=0)
    error = 4 * draws.std(dim=0) / 20_000**0.5 + 0.01
    assert bool(((draws.mean(dim=0) - mean).abs() < error).all())


def test_densities_broadcast_over_parameters_and_members():
    """Each of five parameters with each of three data, in one call: the same as one by one."""
    net, _ = begun(2, "mixture")
    c, y = torch.randn(5, 1, 3), torch.randn(1, 3, 2)
    together = net.log_prob(y, c)
    apart = torch.stack(
        [torch.stack([net.log_prob(y[0, j], c[i, 0]) for j in range(3)]) for i in range(5)]
    )
    assert torch.allclose(together, apart, atol=1e-4)


def test_a_mixed_law_sums_and_integrates_to_one():
    """Two codes of two and three values and one number, all probability together."""
    torch.manual_seed(0)
    law = Conditional((2, 3), 1, 2, 1_000).eval()
    law.standardise(3 + 2 * torch.randn(100, 1, dtype=torch.float64))
    c, grid = torch.randn(1, 2), torch.linspace(-40, 46, 4001, dtype=torch.float64).unsqueeze(1)
    total = 0.0
    with torch.no_grad():
        for a in range(2):
            for b in range(3):
                codes = torch.tensor([[a, b]]).expand(len(grid), 2)
                total += float(
                    law.log_prob(codes, law.scaled(grid), c.expand(len(grid), 2)).exp().sum()
                )
    assert total * 86 / 4000 == pytest.approx(1, abs=0.01)
    # A code that was never simulated has no probability.
    strange = law.log_prob(torch.tensor([[0, 3]]), law.scaled(grid[:1]), c).detach()
    assert float(strange) == -torch.inf


VARIABLES = {
    "real": Variable("x", (), "real", support=constraints.real),
    "squashed": Variable("x", (), "real", support=constraints.real, squash=(1.0, 0.5)),
    "positive": Variable("x", (), "real", support=constraints.positive),
    "interval": Variable("x", (), "real", support=constraints.interval(-2.0, 3.0)),
}


@pytest.mark.parametrize("name", VARIABLES)
@given(st.lists(st.floats(-1.9, 2.9), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_a_continuous_variable_goes_there_and_back_and_its_slope_is_the_derivative(name, raw):
    """`values(numbers(x)) = x`, and `log_slope` is log |d numbers / d x| by automatic differentiation."""
    variable = VARIABLES[name]
    x = torch.tensor(raw, dtype=torch.float64)
    if name == "positive":
        x = x.exp()
    x.requires_grad_()
    numbers = variable.numbers(x)
    (slope,) = torch.autograd.grad(numbers.sum(), x)
    assert torch.allclose(variable.values(numbers.detach()), x.detach(), rtol=1e-6, atol=1e-8)
    assert torch.allclose(variable.log_slope(numbers.detach()), slope.abs().log(), atol=1e-5)


@pytest.mark.parametrize("kind", ["line", "counts", "whole", "codes"])
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_whole_numbers_come_back_from_anywhere_in_their_cell(kind, values, random):
    """Dequantised by any noise, they are decoded to themselves."""
    domain = torch.arange(41)
    variable = Variable("x", (), kind, domain=domain if kind in ("line", "codes") else None)
    x = torch.tensor(values)
    if kind == "codes":
        assert torch.equal(variable.values(variable.codes(x)), x)
        return
    noise = torch.tensor([[random.uniform(0.001, 0.999)] for _ in values], dtype=torch.float64)
    assert torch.equal(variable.values(variable.numbers(x, noise)), x)


def test_columns_that_say_nothing_new_are_left_out():
    """A constant, a copy, a multiple and a mirrored copy of the first column."""
    one = torch.randn(100, dtype=torch.float64)
    other = torch.randn(100, dtype=torch.float64)
    rows = torch.stack([one, torch.full_like(one, 3.0), one, 5 * one + 2, -one, other], dim=1)
    assert distinct(rows).tolist() == [0, 5]


def test_features_survive_being_packed():
    """The same rows before and after."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.observed(lambda theta, rng: theta + rng.normal(size=3), name="x")
    query = ppl.compile(model, ["x"]).routes[0].query
    values = {"x": torch.randn(50, 3, dtype=torch.float64)}
    one = Features.fit(query, ["x"], values)
    two = Features.of(*one.state)
    assert torch.equal(one(query, values), two(query, values))
    assert one.outside(one(query, values)[0])[0] == 0


def test_simulations_add_up():
    """Valid rows, tried rows and counts."""
    valid = torch.tensor([True, False, True])
    one = Simulations({"x": torch.zeros(2)}, {"t": torch.zeros(3)}, valid, ("a",))
    both = one.and_(one)
    assert (len(both), both.done, both.failed, both.notes) == (4, 6, 2, ("a",))
