"""What the DSL means: plates, chains, gaps, inputs, surgery, each against arithmetic."""

import numpy as np
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Categorical, Integers, Normal


def test_kidney_stones():
    """C12: seeing is not doing (Charig et al. 1986)."""
    model = ppl.Model("kidney")
    success = [
        [234 / 270, 81 / 87],
        [55 / 80, 192 / 263],
    ]  # by size (small, large), by treatment (B, A)
    model.latent(lambda: Bernoulli(343 / 700), name="large")
    model.latent(lambda large: Bernoulli([87 / 357, 263 / 343][large]), name="a")
    model.latent(lambda large, a: Bernoulli(success[large][a]), name="recovery")

    def seen(treatment):
        return float(ppl.infer(model, {"a": treatment}, of="recovery")["recovery"].prob(1))

    def done(treatment):
        return float(ppl.infer(model.do(a=treatment), {}, of="recovery")["recovery"].prob(1))

    assert [seen(1), seen(0)] == pytest.approx([0.780, 0.826], abs=5e-4)
    assert [done(1), done(0)] == pytest.approx([0.8325, 0.7789], abs=1e-4)
    assert float(
        ppl.infer(model.do(a=Bernoulli(0.5)), {}, of="recovery")["recovery"].prob(1)
    ) == pytest.approx((done(1) + done(0)) / 2)
    policy = ppl.infer(model.do(a=lambda large: 1 - large), {}, of="recovery")["recovery"].prob(1)
    assert float(policy) == pytest.approx(357 / 700 * 81 / 87 + 343 / 700 * 55 / 80)


def test_counterfactual_of_the_firing_squad():
    """Pearl (2009, §7.1): P(alive had A not shot | dead) = pq… here 0.7 · 0.1 / (0.3 + 0.7 · 0.1) alive."""
    model = ppl.Model("squad")
    model.latent(lambda: Bernoulli(0.3), name="court")
    model.latent(lambda: Bernoulli(0.1), name="nervous")
    model.deterministic(lambda court, nervous: max(court, nervous), name="a")
    model.deterministic(lambda court: court, name="b")
    model.deterministic(lambda a, b: max(a, b), name="dead")
    twin = model.counterfactual({"a": 0})
    found = ppl.infer(twin, {"dead": 1}, of="would.dead")["would.dead"]
    assert float(found.prob(0)) == pytest.approx(0.7 * 0.1 / (0.3 + 0.7 * 0.1))
    assert "would.b" not in twin.graph


def test_counterfactual_of_a_noisy_child_is_refused():
    """The graph does not determine it."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="t")
    model.latent(lambda t: Bernoulli([0.2, 0.8][t]), name="o")
    with pytest.raises(ppl.QueryError, match="not deterministic"):
        model.counterfactual({"t": 1})


def test_include_binds_and_prefixes():
    """Two thermometers on one room: posterior odds multiply."""
    thermometer = ppl.Model("thermometer")
    thermometer.input("truth")
    thermometer.observed(lambda truth: Bernoulli([0.1, 0.9][truth]), name="reading")
    house = ppl.Model("house")
    house.latent(lambda: Bernoulli(0.5), name="heat")
    house.include(thermometer, "left", truth="heat")
    house.include(thermometer, "right", truth="heat")
    found = ppl.infer(house, {"left.reading": 1, "right.reading": 1})["heat"].prob(1)
    assert float(found) == pytest.approx(81 / 82)
    assert len(thermometer.graph) == 2


def test_do_in_a_chain_sets_one_value_a_member():
    """Each member gets its own constant."""
    model = ppl.Model("m")
    day = model.plate("day", 4, ordered=True)
    model.latent(
        lambda previous: Bernoulli([0.1, 0.8][previous]),
        name="s",
        plate=day,
        start=lambda: Bernoulli(0.5),
    )
    model.observed(lambda s: Bernoulli([0.2, 0.7][s]), name="y", plate=day)
    found = ppl.infer(model.do(s=[0, 1, 1, 0]), {}, of="y")["y"].probs[:, 1]
    assert found.tolist() == pytest.approx([0.2, 0.7, 0.7, 0.2])


def test_missing_cells_are_summed_out():
    """A gap in a chain's data is as if that member had not been seen."""
    model = ppl.Model("m")
    day = model.plate("day", 4, ordered=True)
    model.latent(
        lambda previous: Bernoulli([0.1, 0.8][previous]),
        name="s",
        plate=day,
        start=lambda: Bernoulli(0.5),
    )
    model.observed(lambda s: Normal(3.0 * s, 1), name="y", plate=day)
    gap = ppl.infer(model, {"y": [1.0, None, 2.0, 3.0]})
    likelihood = torch.tensor([[1.0, 1.0]] * 4, dtype=torch.float64)
    for t, y in ((0, 1.0), (2, 2.0), (3, 3.0)):
        likelihood[t] = torch.exp(-0.5 * (y - torch.tensor([0.0, 3.0])) ** 2) / (2 * np.pi) ** 0.5
    total, ones = 0.0, torch.zeros(4, dtype=torch.float64)
    for path in torch.cartesian_prod(*[torch.tensor([0, 1])] * 4):
        weight = 0.5
        for t in range(4):
            weight = weight * likelihood[t, path[t]]
            if t:
                p = [0.1, 0.8][path[t - 1]]
                weight = weight * (p if path[t] else 1 - p)
        total, ones = total + weight, ones + weight * path.double()
    assert torch.allclose(gap["s"].probs[:, 1], ones / total, atol=1e-7)
    assert gap.log_evidence == pytest.approx(float(torch.log(total)), abs=1e-6)
    assert "missing y 1 cells" in str(gap.plan)
    plan = ppl.compile(model, ["y"])
    batch = plan.posteriors([{"y": [1.0, None, 2.0, 3.0]}, {"y": [0.0, 1.0, None, None]}])
    assert torch.allclose(batch[0]["s"].probs, gap["s"].probs, atol=1e-12)


def test_long_format_sees_its_own_student_and_question():
    """Two students, two questions, three answers: Bayes' rule over sixteen states."""
    model = ppl.Model("m")
    student, question = model.plate("student"), model.plate("question")
    answer = model.plate("answer", of=(student, question))
    table = [[0.5, 0.1], [0.9, 0.4]]
    model.latent(lambda: Bernoulli(0.6), name="able", plate=student)
    model.latent(lambda: Bernoulli(0.3), name="hard", plate=question)
    model.observed(lambda able, hard: Bernoulli(table[able][hard]), name="right", plate=answer)
    columns = {"student": [0, 0, 1], "question": [0, 1, 1]}
    seen = [1, 0, 1]
    total, able = 0.0, np.zeros(2)
    for state in np.ndindex(2, 2, 2, 2):
        a, h = state[:2], state[2:]
        weight = np.prod([0.6 if x else 0.4 for x in a]) * np.prod([0.3 if x else 0.7 for x in h])
        for s, q, r in zip(columns["student"], columns["question"], seen, strict=True):
            p = table[a[s]][h[q]]
            weight *= p if r else 1 - p
        total, able = total + weight, able + weight * np.array(a)
    found = ppl.infer(model, {**columns, "right": seen})
    assert found["able"].probs[:, 1].tolist() == pytest.approx((able / total).tolist())
    assert found.log_evidence == pytest.approx(np.log(total))


def test_a_chain_may_look_back_at_another_node():
    """An observed autoregression with an unknown coefficient, on a grid."""
    model = ppl.Model("m")
    day = model.plate("day", 5, ordered=True)
    model.theta(lambda: Integers(0, 10), name="tenths")
    model.observed(
        lambda previous, tenths: Normal(tenths / 10 * previous, 1),
        name="y",
        plate=day,
        start=lambda: Normal(0, 1),
    )
    y = np.array([1.0, 0.9, 0.8, 0.9, 0.7])
    logs = np.array([-0.5 * ((y[1:] - k / 10 * y[:-1]) ** 2).sum() for k in range(11)])
    expected = np.exp(logs) / np.exp(logs).sum()
    assert ppl.infer(model, {"y": y})["tenths"].probs.tolist() == pytest.approx(expected.tolist())


def test_roles_are_defaults_not_walls():
    """θ is reported, and may be observed; what is observed may be asked for when it is not given."""
    model = ppl.Model("m")
    model.theta(lambda: Bernoulli(0.3), name="t")
    model.nuisance(lambda: Bernoulli(0.5), name="eta")
    model.observed(lambda t, eta: Bernoulli([[0.1, 0.2], [0.6, 0.9]][t][eta]), name="x")
    assert ppl.infer(model, {"x": 1}).of == ("t",)
    assert ppl.infer(model, {"t": 1}).of == ("eta",)
    assert float(ppl.infer(model, {"t": 1}, of="x")["x"].prob(1)) == pytest.approx(0.75)


def test_log_joint_is_the_sum_of_the_factors():
    """By hand, with a chain and a plate."""
    model = ppl.Model("m")
    day = model.plate("day", 3, ordered=True)
    model.theta(lambda: Normal(0, 2), name="level")
    model.latent(
        lambda previous: Categorical([[0.9, 0.1], [0.3, 0.7]][previous]),
        name="s",
        plate=day,
        start=lambda: Categorical([0.5, 0.5]),
    )
    model.observed(lambda s, level: Normal(level * s, 1), name="y", plate=day)
    y = torch.tensor([0.5, 1.0, -1.0], dtype=torch.float64)
    found = model.log_joint({"level": 1.5, "s": [0, 1, 1], "y": y})
    normal = torch.distributions.Normal
    expected = normal(0.0, 2.0).log_prob(torch.tensor(1.5)) + np.log(0.5 * 0.1 * 0.7)
    expected = expected + normal(torch.tensor([0.0, 1.5, 1.5]), 1.0).log_prob(y).sum()
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_predict_keeps_what_was_learned_and_takes_new_inputs():
    """A switch that was seen to be on makes the next light bright; new inputs resize the plate."""
    model = ppl.Model("m")
    row = model.plate("row")
    model.input("x", plate=row)
    model.theta(lambda: Integers(0, 4), name="k")
    model.observed(lambda k, x: Normal(k * x, 0.1), name="y", plate=row)
    found = ppl.infer(model, {"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    new = found.predict(x=[10.0, 20.0], n=500)["y"]
    assert new.shape == (500, 2)
    assert new.mean(dim=0).tolist() == pytest.approx([20.0, 40.0], abs=5 * 0.1 / 500**0.5)


def test_states_that_look_back_at_what_was_seen():
    """z_t depends on y_(t-1), which is continuous and observed: every step has its own context."""
    model = ppl.Model("m")
    day = model.plate("day", 4, ordered=True)
    model.latent(
        lambda last: Bernoulli(torch.sigmoid(last)),
        name="z",
        plate=day,
        parents={"last": ppl.previous("y")},
        start=lambda: Bernoulli(0.5),
    )
    model.observed(lambda z: Normal(z, 1.0), name="y", plate=day)
    y = np.array([0.0, 1.0, -1.0, 2.0])
    prior = np.array([0.5, *(1 / (1 + np.exp(-y[:-1])))])
    odds = prior / (1 - prior) * np.exp(-0.5 * ((y - 1) ** 2 - y**2))
    found = ppl.infer(model, {"y": y})["z"].probs[:, 1]
    assert found.tolist() == pytest.approx((odds / (1 + odds)).tolist())
    plan = ppl.compile(model, ["y"])
    assert plan.posterior({"y": y})["z"].probs[:, 1].tolist() == pytest.approx(found.tolist())


def test_an_input_with_a_range_is_drawn_by_simulate_and_asked_for_by_infer():
    """A range is no value: the answer would be for no dose in particular."""
    model = ppl.Model("m")
    model.input(lambda: Integers(1, 3), name="dose")
    model.theta(lambda: Integers(0, 2), name="k")
    model.observed(lambda k, dose: Normal(k * dose, 1), name="y")
    assert set(model.simulate(200)["dose"].unique().tolist()) == {1, 2, 3}
    with pytest.raises(ppl.QueryError, match="Input 'dose' is not given"):
        ppl.infer(model, {"y": 2.0})
    found = ppl.infer(model, {"y": 2.0, "dose": 2})["k"].probs
    weights = np.exp(-0.5 * (2.0 - 2 * np.arange(3)) ** 2)
    assert found.tolist() == pytest.approx((weights / weights.sum()).tolist())


def test_nested_plates_align_and_aggregate():
    """A pupil sees its own school; a school sees its pupils along the leading axis; outside, all schools."""
    model = ppl.Model("m")
    school, pupil = model.plate("school", 3), model.plate("pupil", 2)
    model.latent(lambda: Normal(0, 1), name="effect", plate=school)
    model.observed(lambda effect: Normal(effect, 0.1), name="score", plate=(school, pupil))
    model.deterministic(lambda score: score.mean(0), name="average", plate=school)
    model.deterministic(lambda effect: effect.max(), name="best")
    draws = model.simulate(50)
    assert draws["score"].shape == (50, 3, 2)
    assert torch.allclose(draws["average"], draws["score"].mean(dim=2))
    assert torch.allclose(draws["best"], draws["effect"].max(dim=1).values)
    residual = draws["score"] - draws["effect"].unsqueeze(2)
    assert float(residual.std()) == pytest.approx(0.1, abs=5 * 0.1 / (2 * 300) ** 0.5)
