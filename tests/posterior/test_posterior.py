"""The posterior answers the same questions whichever engine found it."""

import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Integers, Normal
from ppl.posterior import Certificate, DrawnMarginal, TableMarginal
from ppl.posterior.certificate import worst


def die() -> TableMarginal:
    """A fair die."""
    return TableMarginal("face", torch.arange(1, 7), torch.full((6,), 1 / 6, dtype=torch.float64))


def test_a_table_and_its_draws_agree():
    """Mean, sd and quantiles of a die; 60,000 draws come within five standard errors."""
    table = die()
    assert float(table.mean) == pytest.approx(3.5)
    assert float(table.sd) == pytest.approx((35 / 12) ** 0.5)
    assert [int(table.quantile(q)) for q in (0.01, 1 / 6, 0.17, 0.5, 1.0)] == [1, 1, 2, 3, 6]
    drawn = DrawnMarginal("face", table.draws(60_000, seed=1))
    assert abs(float(drawn.mean) - 3.5) < 5 * float(drawn.standard_error)
    assert torch.allclose(drawn.probs, table.probs, atol=5 * (5 / 36 / 60_000) ** 0.5)
    assert drawn.domain.tolist() == [1, 2, 3, 4, 5, 6]


def test_probabilities_are_asked_for_by_value_or_label():
    """And a value that never occurs is refused."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.25), name="sky", states=("dry", "wet"))
    sky = ppl.infer(model, {})["sky"]
    assert float(sky.prob("wet")) == float(sky.prob(1)) == pytest.approx(0.25)
    assert repr(sky) == "sky: dry 0.75, wet 0.25 (exact)"
    with pytest.raises(ppl.QueryError, match=r"no state 'wett'.*'wet'"):
        sky.prob("wett")
    with pytest.raises(ppl.QueryError, match="never takes"):
        sky.prob(2)


def test_a_continuous_marginal_has_no_table():
    """It says what it has instead."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(3, 2), name="x")
    found = ppl.infer(model, {})
    assert abs(float(found["x"].mean) - 3) < 5 * float(found["x"].standard_error)
    assert float(found["x"].quantile(0.5)) == pytest.approx(3, abs=0.2)
    with pytest.raises(ppl.QueryError, match="quantiles and draws"):
        _ = found["x"].probs
    with pytest.raises(ppl.BackendError, match="draws only"):
        found.log_prob({"x": 1.0})


def test_exact_answers_print_no_monte_carlo_digits_and_others_print_their_error():
    """An approximation never dresses as exact."""
    model = ppl.Model("m")
    model.theta(lambda: Integers(0, 50), name="n")
    model.observed(lambda n: Normal(n, 3), name="x")
    exact = ppl.infer(model, {"x": 20.0})
    rough = ppl.infer(model, {"x": 20.0}, method="rejection", budget=ppl.Budget(simulations=5000))
    assert "±" not in str(exact.summary())
    assert "grade A: exact by elimination" in str(exact.summary())
    assert "±" in str(rough.summary())
    assert "grade U" in str(rough.summary())
    assert "log-evidence" in str(exact.summary())


def test_the_certificate_of_parts_is_the_worst():
    """U below A, whatever the order."""
    parts = [
        Certificate("A", "exact"),
        Certificate("U", "unverified", {"simulations": 10}),
        Certificate("B", "chains"),
    ]
    for order in (parts, parts[::-1]):
        assert worst(order).grade == "U"
        assert worst(order).checks == {"simulations": 10}


def test_plots_are_written(tmp_path):
    """Bars for a few values, curves for many, histograms for draws, a panel for each member."""
    model = ppl.Model("m")
    row = model.plate("row", 2)
    model.latent(lambda: Bernoulli(0.25), name="sky", plate=row, states=("dry", "wet"))
    model.latent(lambda: Integers(0, 100), name="many")
    model.latent(lambda: Normal(0, 1), name="real")
    found = ppl.infer(model, {}, of=["sky", "many", "real"])
    figure = found.plot(str(tmp_path / "all.png"), truth={"real": 0.5})
    assert len(figure.axes) == 4
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_asking_for_what_was_not_asked():
    """The nearest name is offered."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.25), name="sky")
    with pytest.raises(ppl.QueryError, match="'sky'"):
        _ = ppl.infer(model, {})["ski"]
