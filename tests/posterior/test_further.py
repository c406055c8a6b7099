"""Parts of a posterior, and a posterior that is told more."""

import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Categorical, Normal


def garden() -> ppl.Model:
    """Season, rain and sprinkler, wet grass in three spots."""
    model = ppl.Model("garden")
    spot = model.plate("spot", 3)
    model.latent(lambda: Categorical([0.25] * 4), name="season")
    model.latent(
        lambda season: Bernoulli([0.1, 0.3, 0.6, 0.8][season]), name="rain", states=("no", "yes")
    )
    model.latent(lambda season: Bernoulli([0.7, 0.4, 0.1, 0.0][season]), name="sprinkler")
    model.latent(lambda rain: Bernoulli([0.1, 0.6][rain]), name="puddle", plate=spot)
    model.observed(
        lambda rain, sprinkler: Bernoulli([[0.0, 0.9], [0.9, 0.99]][rain][sprinkler]), name="wet"
    )
    return model


ASK = ["season", "rain", "sprinkler", "puddle"]


def test_given_more_is_inferred_with_more():
    """Conditioning in two steps is conditioning in one, by the chain rule of probability: evidences included."""
    model = garden()
    stepwise = ppl.infer(model, {"wet": 1}, of=ASK).given(rain="yes")
    at_once = ppl.infer(model, {"wet": 1, "rain": 1}, of=["season", "sprinkler", "puddle"])
    assert stepwise.of == at_once.of
    for name in stepwise:
        assert torch.allclose(stepwise[name].probs, at_once[name].probs)
        assert stepwise[name].exact
    assert stepwise.log_evidence == pytest.approx(at_once.log_evidence)


def test_a_member_may_be_given_and_the_others_stay_uncertain():
    """p(puddle[0] | puddle[1] = 1) by Bayes' rule over rain."""
    model = garden()
    found = ppl.infer(model, {}, of=["rain", "puddle"]).given({"puddle[1]": 1})
    rain = 0.25 * (0.1 + 0.3 + 0.6 + 0.8)
    wetter = rain * 0.6 / (rain * 0.6 + (1 - rain) * 0.1)
    assert float(found["rain"].prob("yes")) == pytest.approx(wetter)
    assert found["puddle"].prob(1).tolist() == pytest.approx(
        [wetter * 0.6 + (1 - wetter) * 0.1, 1.0, wetter * 0.6 + (1 - wetter) * 0.1]
    )


def test_given_an_unasked_node_where_the_route_is_exact():
    """Anything that is still uncertain may be given."""
    model = garden()
    found = ppl.infer(model, {"wet": 1}, of="rain").given(season=3)
    assert float(found["rain"].prob(1)) == 1.0  # no sprinkler in winter, so it has rained


def test_a_closed_form_stays_one_when_it_is_told_a_real_value():
    """Of two correlated normals one is given, to all digits."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="a")
    model.theta(lambda a: Normal(a, 1), name="b")
    model.observed(lambda b: Normal(b, 1), name="x")
    found = ppl.infer(model, {"x": 2.0}, method="closed").given(a=1.0)
    assert found["b"].exact
    assert float(found["b"].mean) == pytest.approx(1.5)
    assert float(found["b"].sd) == pytest.approx(0.5**0.5)


def test_of_draws_those_are_kept_that_have_the_value():
    """Exact draws stay exact draws, fewer of them; the note says how many."""
    model = garden()
    exact = ppl.infer(model, {"wet": 1}, of=ASK).given(rain=1)
    budget = ppl.Budget(simulations=20_000)
    whole = ppl.infer(model, {"wet": 1}, of=ASK, method="rejection", budget=budget)
    drawn = whole.given(rain=1)
    assert drawn.of == exact.of
    for name in drawn:
        error = 5 * (0.25 / drawn[name].effective_size) ** 0.5
        assert torch.allclose(drawn[name].probs, exact[name].probs, atol=error)
    assert drawn["season"].effective_size < whole["season"].effective_size
    assert drawn.certificate.grade == "A"
    assert any("draws with rain=1 were kept" in note for note in drawn.notes)
    assert not hasattr(drawn, "log_evidence")


def test_draws_of_chains_lose_their_grade_when_some_are_kept():
    """Nobody has checked those that are left."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="which")
    model.theta(lambda which: Normal([-1.0, 1.0][which], 1), name="t")
    model.observed(lambda t: Normal(t, 1), name="x")
    found = ppl.infer(model, {"x": 0.3}, of=["which", "t"], method="smc")
    assert found.certificate.grade == "B"
    told = found.given(which=1)
    assert told.certificate.grade == "U"
    # N(1, 1) seen through unit noise at 0.3: N(0.65, 1/2).
    assert abs(float(told["t"].mean) - 0.65) < 6 * float(told["t"].standard_error)


def test_parts_that_know_nothing_of_the_value_stay_as_they_are():
    """One component is exact, another one drawn; each is conditioned in its own way, and the other is not touched."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.3), name="one")
    model.latent(lambda one: Bernoulli([0.2, 0.9][one]), name="two")
    model.observed(lambda two: Bernoulli([0.4, 0.7][two]), name="x")
    model.latent(lambda: Bernoulli(0.5), name="three")
    model.theta(lambda three: Normal(three, 1), name="t")
    model.observed(lambda t, rng: int(rng.normal(t) > 0), name="y")
    seen, ask = {"x": 1, "y": 1}, ["one", "two", "three", "t"]
    found = ppl.infer(model, seen, of=ask, budget=ppl.Budget(simulations=2000))
    assert found.method == "exact + rejection"
    told = found.given(one=1)
    assert told["two"].exact
    assert float(told["two"].prob(1)) == pytest.approx(0.9 * 0.7 / (0.9 * 0.7 + 0.1 * 0.4))
    assert torch.equal(told["t"].mean, found["t"].mean)
    other = found.given(three=1)
    assert torch.equal(other["two"].probs, found["two"].probs)
    assert float(other["t"].mean) > float(found["t"].mean)


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({}, ppl.QueryError, "no value"),
        ({"wet": 0}, ppl.QueryError, "'wet' was observed"),
        ({"rain": "maybe"}, ppl.QueryError, "maybe"),
        ({"rainn": 1}, ppl.QueryError, "'rain'"),
        ({"puddle": 1}, ppl.QueryError, r"which member, as 'puddle\[0\]'"),
        ({"puddle[3]": 1}, ppl.QueryError, "3 members"),
        ({"season": 9}, ppl.QueryError, "season"),
        ({"season": 3, "rain": 0}, ppl.ImpossibleError, "probability zero"),
    ],
)
def test_what_cannot_be_given_is_refused(values, error, said):
    """By name, and saying why."""
    found = ppl.infer(garden(), {"wet": 1}, of=ASK)
    with pytest.raises(error, match=said):
        found.given(values)


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"t": 0.3}, ppl.BackendError, "continuous"),
        ({"k": 7}, ppl.QueryError, "never takes"),
        ({"k": 1, "t": 0.0}, ppl.QueryError, "nothing is left"),
        ({"other": 1}, ppl.QueryError, "not asked for"),
    ],
)
def test_what_draws_cannot_be_given_is_refused(values, error, said):
    """A real number is never hit, and too few draws say nothing."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="k")
    model.theta(lambda k: Normal(k, 1), name="t")
    model.observed(lambda t: Normal(t, 1), name="x")
    found = ppl.infer(
        model, {"x": 0.0}, of=["k", "t"], method="rejection", budget=ppl.Budget(simulations=2000)
    )
    with pytest.raises(error, match=said):
        found.given(values)


def test_too_few_draws_are_refused():
    """Of 1,000 draws none or two have a value of probability 0.001."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.001), name="rare")
    model.theta(lambda rare: Bernoulli(0.5), name="t")
    model.observed(lambda t: Bernoulli(0.5), name="x")
    found = ppl.infer(
        model, {"x": 1}, of=["rare", "t"], method="rejection", budget=ppl.Budget(simulations=1000)
    )
    with pytest.raises(ppl.BackendError, match="too few to say"):
        found.given(rare=1)


def test_only_some_nodes_with_their_density_and_all_of_the_evidence():
    """The marginal of two nodes is the joint with the others summed out."""
    whole = ppl.infer(garden(), {"wet": 1}, of=ASK)
    some = whole.only("puddle", "rain")
    assert some.of == ("puddle", "rain")
    assert some.log_evidence == pytest.approx(whole.log_evidence)
    assert set(some.sample(5)) == {"puddle", "rain"}
    table = whole.joint("rain", "puddle[0]", "puddle[1]", "puddle[2]")
    log_prob = some.log_prob({"rain": 1, "puddle": [1, 0, 1]})
    assert float(log_prob) == pytest.approx(float(table.probs[1, 1, 0, 1].log()))
    every = torch.cartesian_prod(*[torch.tensor([0, 1])] * 4)
    total = some.log_prob({"rain": every[:, 0], "puddle": every[:, 1:]}).exp().sum()
    assert float(total) == pytest.approx(1)
    assert float(some.log_prob({"rain": 5, "puddle": [1, 0, 1]})) == -torch.inf
    with pytest.raises(ppl.QueryError, match="not asked for"):
        whole.only("wett")
    with pytest.raises(ppl.QueryError, match="no node"):
        whole.only()


def test_only_one_real_number_has_its_density():
    """Of two correlated normals each is a normal."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="a")
    model.theta(lambda a: Normal(a, 1), name="b")
    model.observed(lambda b: Normal(b, 1), name="x")
    whole = ppl.infer(model, {"x": 3.0}, method="closed")
    alone = whole.only("b")
    expected = torch.distributions.Normal(2.0, (2 / 3) ** 0.5).log_prob(torch.tensor([0.0, 2.0]))
    assert alone.log_prob({"b": [0.0, 2.0]}).tolist() == pytest.approx(expected.tolist())
    drawn = ppl.infer(model, {"x": 3.0}, method="smc").only("a")
    assert drawn.of == ("a",)
    with pytest.raises(ppl.BackendError, match="draws only"):
        drawn.log_prob({"a": 0.0})
