"""Two posteriors side by side."""

import json

import pytest

import ppl
from ppl.distributions import Bernoulli, Normal

from .routes import ROUTES, answered, each


@each
def test_a_posterior_is_at_no_distance_from_itself(case, method):
    """All figures are exactly zero, and the sds have the ratio 1."""
    found = answered(case, method)
    for row in found.compare(found).rows:
        assert row.get("variation", 0.0) == row.get("distance", 0.0) == row.get("shift", 0.0) == 0
        assert row.get("ratio", 1.0) == 1


@each
def test_routes_to_one_answer_are_as_far_apart_as_chance_puts_them(case, method):
    """Each against the best one of the case; a tolerance adds a quarter of an sd."""
    best = answered(case, next(m for c, m in ROUTES if c is case))
    found = answered(case, method)
    slack = 0.25 if found.certificate.grade == "U" else 0.0
    for row in found.compare(best).rows:
        size = row.get("variation", row.get("distance"))
        assert size <= 4 * row["chance"] + slack + 5e-3


def location(mean: float, sd: float = 1.0) -> ppl.Model:
    """A normal location seen through unit noise."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(mean, sd), name="t")
    model.observed(lambda t: Normal(t, 1), name="x")
    return model


def test_two_normals_are_as_far_apart_as_their_means():
    """N(0, 1/2) against N(1/2, 1/2): Wasserstein's distance is the shift; and the Bayes factor is the ratio of the evidences."""
    one = ppl.infer(location(1.0), {"x": 0.0}, method="closed")
    other = ppl.infer(location(0.0), {"x": 0.0}, method="closed")
    found = one.compare(other)
    (row,) = found.rows
    assert row["distance"] == pytest.approx(0.5**0.5, rel=1e-6)
    assert row["shift"] == pytest.approx(0.5**0.5)
    assert row["ratio"] == pytest.approx(1)
    assert found.log_bayes_factor == pytest.approx(-1 / 4)
    assert "log Bayes factor -0.25" in str(found)
    assert other.compare(one).log_bayes_factor == pytest.approx(1 / 4)
    json.dumps(found.to_dict(), allow_nan=False)


def test_other_data_give_no_bayes_factor():
    """It would compare nothing."""
    one = ppl.infer(location(0.0), {"x": 0.0}, method="closed")
    other = ppl.infer(location(0.0), {"x": 1.0}, method="closed")
    found = one.compare(other)
    assert found.log_bayes_factor is None
    assert "not given the same data" in str(found)


def test_the_better_grade_is_named():
    """A against U."""
    one = ppl.infer(location(0.0), {"x": 0.0}, method="closed")
    budget = ppl.Budget(simulations=1000)
    other = ppl.infer(location(0.0), {"x": 0.0}, method="rejection", budget=budget)
    assert "the first is better established" in str(one.compare(other))
    assert "the second is better established" in str(other.compare(one))


def test_total_variation_is_over_all_values_of_either():
    """Bernoulli(0.2) against Bernoulli(0.5) is 0.3 away, whoever has seen only one of the values."""
    posteriors = []
    for p in (0.2, 0.5):
        model = ppl.Model("m")
        model.latent(lambda p=p: Bernoulli(p), name="sky", states=("dry", "wet"))
        posteriors.append(ppl.infer(model, {}, method="exact"))
    (row,) = posteriors[0].compare(posteriors[1]).rows
    assert row["variation"] == pytest.approx(0.3)


def test_what_cannot_be_compared_is_refused():
    """No common node, other labels, another shape, no posterior."""

    def made(name, states=None, size=None):
        model = ppl.Model("m")
        plate = model.plate("row", size) if size else ()
        model.latent(lambda: Bernoulli(0.2), name=name, states=states, plate=plate)
        return ppl.infer(model, {}, method="exact")

    plain = made("z", ("a", "b"))
    with pytest.raises(ppl.QueryError, match="no node in common"):
        plain.compare(made("y"))
    with pytest.raises(ppl.QueryError, match="other labels"):
        plain.compare(made("z", ("b", "a")))
    with pytest.raises(ppl.QueryError, match="another shape"):
        plain.compare(made("z", ("a", "b"), 3))
    with pytest.raises(ppl.QueryError, match="another posterior"):
        plain.compare("z")
