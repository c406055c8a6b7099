"""The density that every engine here samples or integrates: held against the sum over all finite configurations, written out."""

import itertools

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ppl
from backends.density.target import Target
from ppl.distributions import Bernoulli, Categorical, Dirichlet, Gamma, HalfNormal, Normal
from ppl.mechanism.joint import log_joint


def target_of(model, seen, of=None):
    """The target of a model's only component."""
    query = ppl.compile(model, seen, of=of).routes[0].query
    return Target(query, query.observation)


@st.composite
def mixed_models(draw):
    """A random DAG of two to six nodes, finite or Gaussian, of which the last is observed; and the finite ones with their sizes."""
    count = draw(st.integers(2, 6))
    seed = draw(st.integers(0, 10_000))
    rng = numpy.random.default_rng(seed)
    model, finite = ppl.Model("mixed"), {}
    kinds = []
    for i in range(count):
        parents = [p for p in range(i) if rng.random() < 0.6][:3]
        last = i == count - 1
        if last and not parents:
            parents = [i - 1]
        is_finite = not last and rng.random() < 0.5
        kinds.append(is_finite)
        weights = rng.normal(size=3)
        names = ", ".join(f"n{p}" for p in parents)
        terms = " + ".join(f"w[{k}] * n{p}" for k, p in enumerate(parents)) or "0.3"
        if is_finite:
            size = int(rng.integers(2, 4))
            finite[f"n{i}"] = size
            text = f"def body({names}):\n    a = torch.as_tensor({terms}, dtype=torch.float64)\n    return Categorical(torch.softmax(torch.stack([a * k for k in range({size})]), 0))"
        else:
            scale = 0.5 + rng.random()
            text = f"def body({names}):\n    return Normal({terms}, {scale})"
        space = {"w": weights, "torch": torch, "Normal": Normal, "Categorical": Categorical}
        exec(text, space)
        add = model.observed if last else model.latent
        add(space["body"], name=f"n{i}")
    return model, finite, f"n{count - 1}", [f"n{i}" for i in range(count - 1) if not kinds[i]]


@settings(max_examples=25, deadline=None)
@given(mixed_models())
def test_summed_density_is_the_sum_over_all_configurations(case):
    """log p(x, θ) at prior draws, and its gradient by differences."""
    model, finite, last, free = case
    if not free:
        return
    target = target_of(model, {last: 0.7}, of=free)
    free = target.layout.free
    if not free or last not in target.layout.graph:
        return
    u = target.start(4, 3)
    found = target.log_prob(u)
    values = target.values(u)
    graph = target.layout.graph
    sizes = {n: s for n, s in finite.items() if n in graph}
    for row in range(len(u)):
        known = {n: float(values[n][row]) for n in free} | {last: 0.7}
        logs = []
        for states in itertools.product(*(range(s) for s in sizes.values())):
            everything = {**known, **dict(zip(sizes, states, strict=True))}
            logs.append(float(log_joint(graph, everything)))
        expected = numpy.logaddexp.reduce(logs)
        assert found[row] == pytest.approx(expected, abs=1e-9, rel=1e-10)
    for _ in range(4):  # the fourth runs what was recorded
        value, slope = target.gradient(u)
    assert numpy.allclose(value, found, rtol=1e-10)
    along = numpy.random.default_rng(0).normal(size=u.shape)
    step = 1e-5
    numeric = (target.log_prob(u + step * along) - target.log_prob(u - step * along)) / (2 * step)
    assert numpy.allclose((slope * along).sum(axis=1), numeric, rtol=1e-4, atol=1e-5)


def plated():
    """Items with labels under shared positive scales: transforms, plates, a Dirichlet."""
    model = ppl.Model("plated")
    item, part = model.plate("item", 5), model.plate("part", 2)

    @model.theta
    def weight():
        return Dirichlet([1.0, 2.0])

    @model.theta(plate=part)
    def scale():
        return HalfNormal(2)

    @model.theta
    def rate():
        return Gamma(2, 1)

    @model.latent(plate=item)
    def label(weight):
        return Categorical(weight)

    @model.observed(plate=item)
    def y(label, scale, rate):
        return Normal(rate * label, scale[label])

    return model, {"y": [0.1, 1.5, -0.3, 2.2, 0.9]}


def test_machine_code_torch_and_plain_calls_agree():
    """One density by every way that it is evaluated: body calls, recorded operations, machine code."""
    target = target_of(*plated())
    u = target.start(8, 1)
    first = target.gradient(u)
    for _ in range(600):
        last = target.gradient(u)
    assert target._recorded
    from backends.density.native import compiler

    if compiler() is not None:
        assert set(target._natives) == {"value", "back"}
    assert numpy.allclose(first[0], last[0], rtol=1e-10)
    assert numpy.allclose(first[1], last[1], rtol=1e-8, atol=1e-10)


def test_split_adds_up():
    """Prior and likelihood apart, and together."""
    target = target_of(*plated())
    u = target.start(8, 1)
    prior, like = target.split(u)
    assert numpy.allclose(prior + like, target.log_prob(u), rtol=1e-12)


def test_marginals_and_draws_of_the_finite_part():
    """At one point: each label's probabilities by Bayes' rule, and the frequencies of exact draws."""
    model, seen = plated()
    target = target_of(model, seen)
    u = target.start(1, 4)
    values = target.values(u)
    y = torch.tensor(seen["y"], dtype=torch.float64)
    logs = [
        values["weight"][0, k].log()
        + torch.distributions.Normal(values["rate"][0] * k, values["scale"][0, k]).log_prob(y)
        for k in range(2)
    ]
    expected = torch.softmax(torch.stack(logs), 0).T
    assert torch.allclose(target.marginals(u)["label"][0], expected, atol=1e-12)
    drawn = target.finite(numpy.repeat(u, 4000, axis=0), numpy.random.default_rng(0))["label"]
    error = 4 * (expected[:, 1] * (1 - expected[:, 1]) / 4000).sqrt() + 1e-9
    assert bool(((drawn.to(torch.float64).mean(0) - expected[:, 1]).abs() <= error).all())


def test_standardised_coordinates_are_the_same_density():
    """Centred or not: equal up to the change of variables."""
    model = ppl.Model("centred")
    item = model.plate("item", 3)
    model.theta(lambda: Normal(0, 1), name="mu")
    model.theta(lambda: HalfNormal(1), name="tau")
    model.latent(lambda mu, tau: Normal(mu, tau), name="z", plate=item)
    model.observed(lambda z: Normal(z, 1), name="y", plate=item)
    target = target_of(model, {"y": [0.0, 1.0, 3.0]}, of=["mu", "tau", "z"])
    u = target.start(6, 2)
    values, plain = target.values(u), target.log_prob(u) - target.volume(u)
    target.standardised = frozenset(["z"])
    target.forget()
    v = target.coordinates({n: values[n] for n in target.layout.free})
    again = target.values(v)
    assert all(torch.allclose(values[n], again[n], atol=1e-12) for n in target.layout.free)
    assert numpy.allclose(target.log_prob(v) - target.volume(v), plain, rtol=1e-10)


def test_missing_cells_are_coordinates_or_integrate_to_one():
    """A missing cell that nothing depends on changes nothing; one that others see is sampled."""
    model = ppl.Model("gaps")
    day = model.plate("day", 4, ordered=True)
    model.theta(lambda: Normal(0, 1), name="pull")

    @model.observed(plate=day, start=lambda: Normal(0, 1))
    def y(previous, pull):
        return Normal(pull * previous, 1)

    target = target_of(model, {"y": [0.5, None, 1.0, 0.2]}, of="pull")
    assert target.dimensions == 2
    whole = target_of(model, {"y": [0.5, -0.3, 1.0, 0.2]}, of="pull")
    u = whole.start(3, 1)
    values = whole.values(u)
    filled = torch.tensor([[0.5, -0.3, 1.0, 0.2]], dtype=torch.float64).expand(3, 4)
    both = target.coordinates({"pull": values["pull"], "y": filled})
    assert numpy.allclose(target.log_prob(both), whole.log_prob(u), rtol=1e-12)


def test_bernoulli_of_certain_probabilities_keeps_its_zeros():
    """A state that no parent allows weighs nothing, and no gradient becomes nan."""
    model = ppl.Model("zeros")
    model.theta(lambda: Normal(0, 1), name="x")
    model.latent(lambda: Bernoulli(0.0), name="never")
    model.latent(lambda never: Bernoulli(1.0 if never else 0.5), name="z")
    model.observed(lambda x, z: Normal(x + z, 1), name="y")
    target = target_of(model, {"y": 0.4}, of="x")
    value, slope = target.gradient(numpy.array([[0.2], [1.0]]))
    normal = torch.distributions.Normal
    for u, v in zip((0.2, 1.0), value, strict=True):
        parts = [normal(u + z, 1).log_prob(torch.tensor(0.4)) + numpy.log(0.5) for z in (0, 1)]
        expected = float(torch.logsumexp(torch.stack(parts), 0)) + float(
            normal(0.0, 1.0).log_prob(torch.tensor(u))
        )
        assert v == pytest.approx(expected, abs=1e-6)
    assert numpy.isfinite(slope).all()
