"""A model as a Pyro program: Pyro scores it as we do, and its engines run on it."""

import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Importance, Predictive, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.poutine import block, condition, trace

import ppl
from ppl.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    MultivariateNormal,
    Normal,
    Poisson,
    Truncated,
    Uniform,
)


def garden() -> ppl.Model:
    """Finite nodes with labels."""
    model = ppl.Model("garden")

    @model.latent(states=("dry", "rain"))
    def sky():
        return Bernoulli(0.2)

    @model.latent
    def sprinkler(sky):
        return Bernoulli([0.5, 0.1][sky])

    @model.deterministic
    def sources(sky, sprinkler):
        return sky + sprinkler

    @model.observed
    def wet(sources):
        return Categorical([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95]][sources])

    return model


def schools() -> ppl.Model:
    """Two plates, one inside the other, and vectors."""
    model = ppl.Model("schools")
    school, pupil = model.plate("school", 3), model.plate("pupil", 4)

    @model.theta
    def centre():
        return MultivariateNormal([0.0, 1.0], [[1.0, 0.3], [0.3, 2.0]])

    @model.theta
    def spread():
        return Gamma(2, 1)

    @model.latent(plate=school)
    def effect(centre, spread):
        return Normal(centre, spread)

    @model.latent(plate=pupil)
    def talent():
        return Normal(0, 1)

    @model.deterministic(plate=school)
    def level(effect):
        return effect.sum()

    @model.observed(plate=(school, pupil))
    def mark(level, talent, spread):
        return Normal(level + talent, spread)

    @model.observed(plate=pupil)
    def total(level):
        return Normal(level.sum(0), 1)

    return model


def chain() -> ppl.Model:
    """A hidden Markov chain whose rows come from a plate of their own."""
    model = ppl.Model("chain")
    day, row = model.plate("day", 5, ordered=True), model.plate("row", 2)

    @model.theta(plate=row)
    def transition():
        return Dirichlet([1.0, 2.0])

    @model.latent(plate=day, start=lambda: Categorical([0.5, 0.5]))
    def state(previous, transition):
        return Categorical(transition[previous])

    @model.observed(plate=day)
    def y(state):
        return Normal([-1.0, 1.0][state], 1)

    return model


def walks() -> ppl.Model:
    """Woven chains in a second plate; one looks back at the other, and one is a function."""
    model = ppl.Model("walks")
    group, step = model.plate("group", 2), model.plate("step", 4, ordered=True)

    @model.theta
    def drift():
        return Normal(0, 1)

    @model.latent(plate=(group, step), start=lambda: Normal(0, 1))
    def place(previous, drift):
        return Normal(previous + drift, 1)

    @model.observed(
        plate=(group, step),
        parents={"last": ppl.previous("place")},
        start=lambda: Poisson(1.0),
    )
    def count(last, place):
        return Poisson((last - place).abs() + 0.1)

    return model


def exam() -> ppl.Model:
    """Long format, and inputs."""
    model = ppl.Model("exam")
    student, question = model.plate("student", 3), model.plate("question", 2)
    answer = model.plate("answer", of=(student, question))
    model.input("hours", plate=student)

    @model.latent(plate=student)
    def skill(hours):
        return Normal(hours, 1)

    @model.latent(plate=question)
    def hard():
        return Normal(0, 1)

    @model.observed(plate=answer)
    def right(skill, hard):
        return Bernoulli(torch.sigmoid(skill - hard))

    return model


def bounded() -> ppl.Model:
    """Supports of all kinds, some of which depend on parents; a block; an index."""
    model = ppl.Model("bounded")
    row, time = model.plate("row", 3), model.plate("time", 4)

    @model.theta
    def top():
        return Exponential(1.0)

    @model.latent(plate=row)
    def inside(top, row):
        return Uniform(0, top + row)

    @model.latent
    def cut(top):
        return Truncated(Normal(0, 1), high=top)

    @model.latent(over=time)
    def path(cut):
        return Normal(cut * torch.ones(4), 1)

    @model.observed(plate=time)
    def seen(path, inside):
        return Normal(path + inside.sum(0), 1)

    return model


INPUTS = {
    "exam": {
        "hours": [0.0, 1.0, 2.0],
        "student": [0, 0, 1, 2, 2],
        "question": [0, 1, 1, 0, 1],
    }
}
MODELS = [garden, schools, chain, walks, exam, bounded]


@pytest.mark.parametrize("make", MODELS)
def test_pyro_scores_as_we_do(make):
    """The trace's log_prob_sum is the log joint, at draws of Pyro's and at draws of ours."""
    model = make()
    inputs = INPUTS.get(model.name, {})
    program = model.to_pyro()
    ours = model.simulate(3, seed=1, inputs=inputs)
    for i in range(3):
        values = {
            n: ours[n][i]
            for n, node in model.graph.nodes.items()
            if not node.is_input and not node.determined
        }
        scored = trace(program).get_trace(values, **inputs)
        expected = model.log_joint(values, inputs=inputs)
        torch.testing.assert_close(scored.log_prob_sum(), expected)
    pyro.set_rng_seed(0)
    drawn = trace(program).get_trace(**inputs)
    found = drawn.nodes["_RETURN"]["value"]
    values = {n: found[n].reshape(ours[n].shape[1:]) for n in values}
    torch.testing.assert_close(drawn.log_prob_sum(), model.log_joint(values, inputs=inputs))


def test_sites_are_named_and_plates_are_plates():
    """As one who knows Pyro would have written it."""
    sites = trace(schools().to_pyro()).get_trace().nodes
    assert sites["mark"]["fn"].batch_shape == (3, 4)
    assert sites["effect"]["fn"].batch_shape == (3, 1)
    assert sites["effect"]["fn"].event_shape == (2,)
    assert sites["level"]["infer"].get("_deterministic")
    assert [f.name for f in sites["mark"]["cond_indep_stack"]] == ["school", "pupil"]
    sites = trace(chain().to_pyro()).get_trace().nodes
    assert {f"state[{t}]" for t in range(5)} <= set(sites)
    assert sites["state"]["value"].shape == (5,)


def test_conditioning_is_pyros_or_ours():
    """`obs` and `pyro.condition` say the same; labels work in the one."""
    program = garden().to_pyro()
    values = {"sky": "rain", "sprinkler": 0, "wet": 1}
    codes = {k: torch.tensor(int(v != 0)) for k, v in values.items()}
    one = trace(program).get_trace(values).log_prob_sum()
    two = trace(condition(program, codes)).get_trace().log_prob_sum()
    assert one == two
    assert trace(program).get_trace({"wet": 1}).nodes["wet"]["is_observed"]


def test_the_noise_is_pyros():
    """Equal seeds, equal draws; other seeds, others."""
    program = schools().to_pyro()
    drawn = []
    for seed in (0, 0, 1):
        pyro.set_rng_seed(seed)
        drawn.append(trace(program).get_trace().nodes["effect"]["value"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_pyros_nuts_agrees_with_the_closed_form():
    """A weight with prior N(0, 1), weighed four times: N(0.6, 1/5)."""
    model = ppl.Model("scale")

    @model.theta
    def weight():
        return Normal(0, 1)

    @model.observed(plate=model.plate("weighing"))
    def reading(weight):
        return Normal(weight, 1)

    pyro.set_rng_seed(0)
    chains = MCMC(NUTS(model.to_pyro()), num_samples=200, warmup_steps=80, disable_progbar=True)
    chains.run({"reading": [0.5, 1.0, 0.0, 1.5]})
    draws = chains.get_samples()["weight"]
    # 200 draws with an effective size of at least a third.
    assert abs(float(draws.mean()) - 0.6) < 4 * (0.2 / 65) ** 0.5
    assert abs(float(draws.std()) - 0.2**0.5) < 0.1


def test_pyros_nuts_stays_in_the_support_and_follows_vectors():
    """A simplex in a plate, a positive scale, and a bounded node."""
    model = ppl.Model("mixed")
    row = model.plate("row", 2)

    @model.theta(plate=row)
    def weights():
        return Dirichlet([1.0, 1.0, 1.0])

    @model.theta
    def bias():
        return Uniform([0.0, 2.0], [1.0, 3.0])

    @model.observed(plate=row)
    def y(weights, bias):
        return Normal(weights[0] + bias.sum(), 0.5)

    pyro.set_rng_seed(0)
    chains = MCMC(NUTS(model.to_pyro()), num_samples=10, warmup_steps=15, disable_progbar=True)
    chains.run({"y": [3.0, 3.5]})
    draws = chains.get_samples()
    assert draws["weights"].shape == (10, 2, 3)
    torch.testing.assert_close(
        draws["weights"].sum(-1), torch.ones(10, 2, dtype=draws["weights"].dtype)
    )
    assert bool(
        ((draws["bias"] > torch.tensor([0, 2])) & (draws["bias"] < torch.tensor([1, 3]))).all()
    )


def test_importance_sampling_finds_the_posterior():
    """Beta(2, 2) and 7 heads of 10 give Beta(9, 5), whose mean is 9/14."""
    model = ppl.Model("coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias):
        return Binomial(10, bias)

    pyro.set_rng_seed(0)
    weighed = Importance(model.to_pyro(), num_samples=400).run({"heads": 7})
    weights = torch.tensor([float(w) for w in weighed.log_weights]).softmax(dim=0)
    values = torch.tensor([float(t.nodes["bias"]["value"]) for t in weighed.exec_traces])
    error = float(((weights * (values - 9 / 14)) ** 2).sum().sqrt())
    assert abs(float((weights * values).sum()) - 9 / 14) < 4 * error


def test_finite_nodes_can_be_summed_out_by_pyro():
    """Parallel enumeration: the evidence of the garden is ours."""
    model = garden()
    program = model.to_pyro()
    elbo = TraceEnum_ELBO(max_plate_nesting=program.max_plate_nesting)

    def guide(*_):
        """Nothing is left for a guide: everything is summed out."""

    summed = pyro.infer.config_enumerate(program, "parallel")
    loss = elbo.loss(summed, guide, {"wet": 1})
    expected = ppl.infer(model, {"wet": 1}).log_evidence
    assert -loss == pytest.approx(expected, abs=1e-6)


def test_variational_inference_and_prediction_run():
    """Vectorised particles and Predictive put axes left of the plates."""
    model = schools()
    program = model.to_pyro()
    seen = {n: v[0] for n, v in model.simulate(1, seed=3).items() if n in ("mark", "total")}
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = AutoNormal(block(program, hide=["level"]))
    nesting = program.max_plate_nesting
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=nesting)
    svi = SVI(program, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    losses = [svi.step(seen) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])
    drawn = Predictive(program, num_samples=6, parallel=True)()
    assert drawn["mark"].shape == (6, 3, 4)


def test_a_simulator_is_refused_with_a_reason():
    """At once where the model can be probed, at the first call where it cannot."""
    model = ppl.Model("m")
    row = model.plate("row")
    model.input("x", plate=row)

    @model.theta
    def level():
        return Normal(0, 1)

    @model.observed(plate=row)
    def y(level, x, rng):
        return level + x + rng.normal()

    program = model.to_pyro()
    with pytest.raises(ppl.QueryError, match=r"'y' .* is a simulator without a density"):
        program(x=[1.0, 2.0])
    with pytest.raises(ppl.QueryError, match="whose size is not known"):
        program()

    @model.latent
    def noise(rng):
        return rng.normal()

    small = ppl.Model("small")
    small.theta(noise, name="noise")
    with pytest.raises(ppl.QueryError, match=r"'noise' .* is a simulator"):
        small.to_pyro()


def test_missing_cells_are_refused():
    """Pyro would score the number that stands in their place."""
    model = chain()
    with pytest.raises(ppl.QueryError, match="'y' has missing cells"):
        model.to_pyro()({"y": [0.0, None, 1.0, 0.0, 0.0]})
