"""A summary says what is known, to as many digits as are known."""

import json
import re

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Normal
from ppl.posterior import DrawnMarginal
from ppl.posterior.figures import number
from ppl.posterior.summary import of_marginal

from .routes import answered, each


@each
def test_rows_say_what_the_marginal_says(case, method):
    """Mean, sd, interval and quantiles, or probabilities; ESS of draws and R-hat of chains, of nothing else."""
    found = answered(case, method)
    marginal = found[case.ask]
    rows = found.summary(level=0.8, interval="central", quantiles=[0.25]).rows
    assert {row["node"] for row in rows} == {case.ask}
    for row in rows:
        at = row["at"]
        if "probs" in row:
            assert list(row["probs"].values()) == pytest.approx(marginal.probs[at].tolist())
        else:
            low, high = marginal.interval(0.8)
            shown = [row["mean"], row["sd"], row["low"], row["high"], row["quantiles"][0.25]]
            told = [marginal.mean, marginal.sd, low, high, marginal.quantile(0.25)]
            assert shown == pytest.approx([float(value[at]) for value in told])
            assert ("rhat" in row) == (method in ("nuts", "smc"))
        assert ("ess" in row) == (method in ("nuts", "smc", "rejection"))
    json.dumps(found.summary().to_dict(), allow_nan=False)


@each
def test_only_draws_print_an_error(case, method):
    """An exact answer has no Monte-Carlo digits, and a printed mean of draws has no digit beyond its error."""
    text = str(answered(case, method).summary())
    assert case.ask in text
    assert ("±" in text) == (method in ("nuts", "smc", "rejection") and "mean" in text)
    for mean, error in re.findall(r"(-?[\d.]+) ± ([\d.]+)", text):
        digits = len(mean.split(".")[1]) if "." in mean else 0
        assert float(error) < 10 ** (1 - digits)
        assert float(error) >= 10**-digits / 2


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.123456, 0.02, "0.12"),
        (12345.6, 300.0, "12300"),
        (-0.000123456, 0.0000012, "-0.000123"),
        (1e12, 2e9, "1e+12"),
        (3.0, 0.0, "3"),
        (0.1234567, 0.0, "0.1235"),
        (float("nan"), 0.1, "nan"),
        (float("inf"), 0.0, "inf"),
        (5.0, float("inf"), "5"),
    ],
)
def test_a_number_has_the_digits_that_its_error_leaves(value, error, text):
    """And four where there is no error."""
    assert number(value, error) == text


def test_chains_that_disagree_show_it():
    """R-hat far above 1, and an ESS far below the number of draws."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 500, generator=generator) + torch.arange(4.0).unsqueeze(1) * 3
    apart = DrawnMarginal("x", values.flatten(), chains=4)
    (row,) = of_marginal(apart).rows
    assert row["rhat"] > 1.5
    assert row["ess"] < 50
    still = DrawnMarginal("x", torch.ones(2000), chains=4)
    assert of_marginal(still).rows[0]["rhat"] is None
    assert "R-hat" in str(of_marginal(still))


def test_a_summary_may_be_of_some_nodes_and_members():
    """And of long plates it prints the first members, while its rows have them all."""
    model = ppl.Model("m")
    row = model.plate("row", 20)
    model.latent(lambda: Bernoulli(0.25), name="sky", states=("dry", "wet"))
    model.latent(lambda sky: Bernoulli(0.5), name="z", plate=row)
    found = ppl.infer(model, {}, of=["sky", "z"], method="exact")
    assert [r["name"] for r in found.summary("sky").rows] == ["sky"]
    assert [r["name"] for r in found.summary("z[19]").rows] == ["z[19]"]
    assert len(found.summary().rows) == 21
    assert "z[…]  12 more" in str(found.summary())
    assert "sky   dry 0.75, wet 0.25" in str(found.summary())
    frame = found.summary().to_pandas()
    assert frame.loc["sky", "p(wet)"] == pytest.approx(0.25)
    assert frame.loc["z[3]", "p(1)"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interval": "hpd"}, "'hdi'"),
        ({"level": 95}, "between 0 and 1"),
        ({"quantiles": [5]}, "between 0 and 1"),
    ],
)
def test_a_summary_refuses_what_it_cannot_show(options, said):
    """By name."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="x")
    with pytest.raises(ppl.QueryError, match=said):
        ppl.infer(model, {}).summary(**options)


def test_many_posteriors_have_one_summary():
    """A row for each observation."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.2), name="rain")
    model.observed(lambda rain: Bernoulli([0.1, 0.9][rain]), name="wet")
    many = ppl.compile(model, given=["wet"]).posteriors({"wet": [0, 1, 1]})
    wet = [row["probs"][1] for row in many.summary().rows]
    assert wet == pytest.approx([0.02 / 0.74, 0.18 / 0.26, 0.18 / 0.26])
    assert "grades: A (3)" in str(many.summary())


def test_nan_and_negative_zero_do_not_break_the_table():
    """A mean that is not a number is printed as one."""
    text = str(of_marginal(DrawnMarginal("x", torch.tensor([float("nan"), 1.0]))))
    assert "nan" in text
    assert numpy.isnan(
        of_marginal(DrawnMarginal("x", torch.tensor([float("nan")]))).rows[0]["mean"]
    )
