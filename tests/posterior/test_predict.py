"""The posterior predictive, with this model or another one."""

import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Beta, Normal

FOUR = 4 / 4000**0.5


def test_a_prediction_averages_over_the_posterior():
    """A coin with Beta(2, 2) and 7 heads of 10 shows heads next with probability 9/14."""
    model = ppl.Model("m")
    toss = model.plate("toss")
    model.theta(lambda: Beta(2, 2), name="bias")
    model.observed(lambda bias: Bernoulli(bias), name="head", plate=toss)
    found = ppl.infer(model, {"head": [1] * 7 + [0] * 3})
    assert found.predict()["head"].shape == (1000, 10)
    once = found.predict(n=4000, toss=1)["head"]
    assert once.shape == (4000, 1)
    assert float(once.double().mean()) == pytest.approx(9 / 14, abs=FOUR * 0.5)
    assert found.predict("bias", n=50)["bias"].shape == (50,)


def chain() -> ppl.Model:
    """Smoking, tar, cancer: a chain."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="smokes")
    model.latent(lambda smokes: Bernoulli([0.1, 0.8][smokes]), name="tar")
    model.observed(lambda tar: Bernoulli([0.2, 0.7][tar]), name="ill")
    return model


def test_what_an_intervention_changes_is_drawn_anew():
    """After do(smokes=0) the tar that was inferred is not the tar that there will be; nor is what follows from it."""
    model = chain()
    found = ppl.infer(model, {"ill": 1}, of=["smokes", "tar"])
    would = found.predict(["tar", "ill"], n=4000, model=model.do(smokes=0))
    assert float(would["tar"].double().mean()) == pytest.approx(0.1, abs=FOUR * 0.3)
    assert float(would["ill"].double().mean()) == pytest.approx(0.25, abs=FOUR * 0.45)
    kept = found.predict("tar", n=4000)["tar"]
    assert float(kept.double().mean()) == pytest.approx(float(found["tar"].prob(1)), abs=FOUR * 0.5)


def test_what_an_intervention_leaves_alone_keeps_its_posterior():
    """do(tar=1) does not change whether somebody smokes."""
    model = chain()
    found = ppl.infer(model, {"ill": 1}, of=["smokes", "tar"])
    would = found.predict(["smokes", "ill"], n=4000, model=model.do(tar=1))
    smokes = float(found["smokes"].prob(1))
    assert float(would["smokes"].double().mean()) == pytest.approx(smokes, abs=FOUR * 0.5)
    assert float(would["ill"].double().mean()) == pytest.approx(0.7, abs=FOUR * 0.46)


def test_draws_at_which_a_body_fails_are_replaced_and_counted():
    """Half of them fail; none that is handed back is NaN."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="t")
    model.observed(lambda t: Normal(t, 1), name="x")

    @model.observed
    def later(t, rng):
        if t < 0:
            raise ValueError("the solver diverged")
        return float(t + rng.normal())

    found = ppl.infer(model, {"x": 0.0}, of="t")
    drawn = found.predict("later", n=200)
    assert drawn["later"].shape == (200,)
    assert bool(torch.isfinite(drawn["later"]).all())
    assert drawn.failed >= 100
    assert found.predict("x", n=200).failed == 0


def test_when_nearly_everything_fails_it_says_so():
    """With what was said."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="t")
    model.observed(lambda t: Normal(t, 1), name="x")

    @model.observed
    def later(t, rng):
        if t < 1.5:  # one prior draw of fifteen, and next to no posterior draw, is above
            raise ValueError("the solver diverged")
        return float(t)

    found = ppl.infer(model, {"x": -3.0}, of="t")
    with pytest.raises(ppl.SimulationError, match=r"'later' failed for 200 .*solver diverged"):
        found.predict("later", n=10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"of": "il"}, "no node 'il'.*'ill'"),
        ({"of": []}, "no node"),
        ({"n": 0}, "positive integer"),
        ({"n": 2.5}, "positive integer"),
        ({"tar": 1}, r"no input.*model.do"),
        ({"tarr": 1}, "no node"),
        ({"model": 3}, "takes a model"),
        ({"model": ppl.Model("other")}, "none of the nodes"),
    ],
)
def test_what_cannot_be_predicted_is_refused(call, said):
    """By name, and saying what to do."""
    found = ppl.infer(chain(), {"ill": 1}, of=["smokes", "tar"])
    with pytest.raises(ppl.QueryError, match=said):
        found.predict(**call)


def shared_noise(opaque: bool) -> ppl.Model:
    """A number, and a far larger offset that nobody asks for: 20 was seen, and 20 will be seen again."""
    model = ppl.Model("offset")
    model.theta(lambda: Normal(0, 1), name="theta")
    model.nuisance(lambda: Normal(0, 10), name="eta")
    if opaque:
        model.observed(lambda theta, eta, rng: theta + eta + 0.1 * rng.normal(), name="x")
    else:
        model.observed(lambda theta, eta: Normal(theta + eta, 0.1), name="x")
    return model


def test_a_nuisance_that_is_shared_keeps_what_the_data_say_of_it():
    """x was 20 within .1, whatever the offset: it is predicted to be so again."""
    posterior = ppl.infer(shared_noise(False), {"x": 20.0})
    assert posterior.of == ("theta",)
    x = posterior.predict(n=2000)["x"]
    sd = 0.02**0.5
    # The noise of x and of what was seen; the prior draws in by a thousandth.
    assert float(x.mean()) == pytest.approx(20, abs=0.01 + 4 * sd / 2000**0.5)
    assert float(x.std()) == pytest.approx(sd, rel=4 / 4000**0.5)


def test_where_asking_again_is_dear_it_is_said():
    """A net would have to be trained again."""
    posterior = ppl.infer(
        shared_noise(True),
        {"x": 20.0},
        method=ppl.Method("npe", epochs=2),
        budget=ppl.Budget(simulations=300),
    )
    with pytest.warns(UserWarning, match=r"eta was integrated out by npe.*of=\['theta', 'eta'\]"):
        posterior.predict(n=5)
