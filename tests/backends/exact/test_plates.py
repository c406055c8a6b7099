"""Plates and chains are never unrolled by the arithmetic; unrolled by hand they give the same."""

import warnings

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Categorical, Normal


def rows(rng: numpy.random.Generator, *shape: int, zeros: float = 0.0) -> numpy.ndarray:
    """Random probability rows."""
    table = rng.dirichlet(numpy.ones(shape[-1]), size=shape[:-1])
    table = numpy.where(rng.random(table.shape) < zeros, 0.0, table)
    table[..., 0] += table.sum(axis=-1) == 0
    return table / table.sum(axis=-1, keepdims=True)


def hospital(seed: int) -> ppl.Model:
    """Patients in a plate with tests in a plate of their own, a shared cause, and a chain of days."""
    rng = numpy.random.default_rng(seed)
    model = ppl.Model("hospital")
    patient, test = model.plate("patient", 4), model.plate("test", 3)
    day = model.plate("day", 7, ordered=True)
    season, ill, shows = rows(rng, 3), rows(rng, 3, 2, zeros=0.2), rows(rng, 2, 3, 3)
    turn, wet = rows(rng, 3, 2, 2), rows(rng, 2, 2)
    model.latent(lambda: Categorical(season), name="season")
    model.latent(lambda season: Categorical(ill[season]), name="ill", plate=patient)
    model.observed(
        lambda ill, test: Categorical(shows[ill, test]), name="shows", plate=(patient, test)
    )
    model.latent(
        lambda previous, season: Categorical(turn[season, previous]),
        name="rain",
        plate=day,
        start=lambda season: Categorical(turn[season, 0]),
    )
    model.observed(lambda rain: Categorical(wet[rain]), name="wet", plate=day)
    return model


@pytest.mark.parametrize("seed", range(25))
def test_a_model_of_plates_is_its_unrolled_network(seed, tmp_path):
    """Marginals, log-evidence, gaps and most probable values of members are those of a network with one node for each."""
    model = hospital(seed)
    rng = numpy.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ppl.write(model, tmp_path / "flat.bif")
        flat = ppl.read(tmp_path / "flat.bif")
    drawn = model.simulate(1, seed=seed)
    hole = rng.random((4, 3)) < 0.3
    shows = [
        [None if hole[i, j] else int(drawn["shows"][0, i, j]) for j in range(3)] for i in range(4)
    ]
    wet = [None if rng.random() < 0.3 else int(v) for v in drawn["wet"][0]]
    seen = {
        f"shows[{i}][{j}]": shows[i][j]
        for i in range(4)
        for j in range(3)
        if shows[i][j] is not None
    }
    seen |= {f"wet[{t}]": v for t, v in enumerate(wet) if v is not None}
    one = ppl.infer(model, {"shows": shows, "wet": wet}, of=["season", "ill", "rain"])
    two = ppl.infer(flat, seen)
    assert abs(one.log_evidence - two.log_evidence) < 1e-10
    assert (one["season"].probs - two["season"].probs).abs().max() < 1e-10
    for i in range(4):
        assert (one["ill"].probs[i] - two[f"ill[{i}]"].probs).abs().max() < 1e-10
    for t in range(7):
        assert (one["rain"].probs[t] - two[f"rain[{t}]"].probs).abs().max() < 1e-10
    names = ["season", *(f"ill[{i}]" for i in range(4)), *(f"rain[{t}]" for t in range(7))]
    assert abs(one.most_probable().log_prob - two.most_probable(*names).log_prob) < 1e-9
    both = one.joint("season", "rain[3]").probs
    assert (both - two.joint("season", "rain[3]").probs).abs().max() < 1e-10


def forward_backward(start, turn, see, x):
    """Log-evidence and smoothed marginals of a chain, scaled."""
    n = len(x)
    alpha, beta, scale = numpy.zeros((n, len(start))), numpy.ones((n, len(start))), numpy.zeros(n)
    for t in range(n):
        alpha[t] = (start if t == 0 else alpha[t - 1] @ turn) * see[:, x[t]]
        scale[t] = alpha[t].sum()
        alpha[t] /= scale[t]
    for t in range(n - 2, -1, -1):
        beta[t] = turn @ (see[:, x[t + 1]] * beta[t + 1])
        beta[t] /= beta[t].sum()
    gamma = alpha * beta
    return numpy.log(scale).sum(), gamma / gamma.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("steps", "states"), [(5000, 3), (300, 40)])
def test_a_long_chain_is_eliminated_in_few_steps_or_at_small_cost(steps, states):
    """Thousands of steps with few states go in about log2 rounds of array operations; many states go one small step at a time."""
    rng = numpy.random.default_rng(0)
    start, turn, see = rows(rng, states), rows(rng, states, states), rows(rng, states, 5)
    x = rng.integers(0, 5, steps)
    model = ppl.Model("hmm")
    t = model.plate("t", steps, ordered=True)
    model.latent(
        lambda previous: Categorical(turn[previous]),
        name="z",
        plate=t,
        start=lambda: Categorical(start),
    )
    model.observed(lambda z: Categorical(see[z]), name="x", plate=t)
    plan = ppl.compile(model, given=["x"])
    posterior = plan.posterior({"x": x})
    log_evidence, gamma = forward_backward(start, turn, see, x)
    assert abs(posterior.log_evidence - log_evidence) < 1e-9 * abs(log_evidence)
    assert numpy.abs(posterior["z"].probs.numpy() - gamma).max() < 1e-10
    groups = plan._solvers[0]._ready.last.tree.groups
    if states == 3:
        assert len(groups) < 100  # not one a step
    draws = posterior.sample(2000, seed=0)["z"].numpy()
    expected, error = gamma[steps // 2, 1], 5 * (gamma[steps // 2, 1] / 2000) ** 0.5
    assert abs((draws[:, steps // 2] == 1).mean() - expected) < error + 0.01


def test_a_thousand_members_share_one_step():
    """A plate of a thousand coins with one bias: one group, whatever the size; normal observations too."""
    model = ppl.Model("coins")
    coin = model.plate("coin", 1000)
    bias = numpy.linspace(0.05, 0.95, 19)
    model.latent(lambda: Categorical([1 / 19] * 19), name="k")
    model.latent(lambda k: Bernoulli(bias[k]), name="z", plate=coin)
    model.observed(lambda z: Normal([0.0, 2.0][z], 1.0), name="x", plate=coin)
    rng = numpy.random.default_rng(1)
    x = rng.normal(0, 1, 1000) + 2 * (rng.random(1000) < 0.3)
    plan = ppl.compile(model, given=["x"], of=["k", "z"])
    posterior = plan.posterior({"x": x})
    density = [numpy.exp(-((x - m) ** 2) / 2) / numpy.sqrt(2 * numpy.pi) for m in (0.0, 2.0)]
    logs = numpy.log((1 - bias)[:, None] * density[0] + bias[:, None] * density[1]).sum(axis=1)
    weights = numpy.exp(logs - logs.max())
    assert numpy.abs(posterior["k"].probs.numpy() - weights / weights.sum()).max() < 1e-10
    expected = numpy.log(weights.mean()) + logs.max()
    assert abs(posterior.log_evidence - expected) < 1e-8
    p = bias[:, None] * density[1] / ((1 - bias)[:, None] * density[0] + bias[:, None] * density[1])
    assert (
        numpy.abs(posterior["z"].probs[:, 1].numpy() - (weights / weights.sum()) @ p).max() < 1e-10
    )
    assert len(plan._solvers[0]._ready.last.tree.groups) <= 3
    assert torch.isfinite(posterior["z"].probs).all()
