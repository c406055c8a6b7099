"""Learning: counts are counts, priors are priors, an EM step is the enumerated one, and the likelihood never falls."""

import itertools

import numpy
import pandas
import pytest

import ppl
from backends.exact import expectation
from ppl.distributions import Categorical, Normal

from .brute import Brute


def data_of(brute: Brute, rows: int, share: float = 0.0) -> dict[str, list]:
    """Draws of a network, some of the cells missing."""
    draws = [brute.draw() for _ in range(rows)]
    hole = brute.rng.random((rows, len(brute.names))) < share
    return {
        n: [None if hole[r, k] else draws[r][n] for r in range(rows)]
        for k, n in enumerate(brute.names)
    }


def brute_step(brute: Brute, tables: dict, data: dict) -> tuple[float, dict]:
    """Log-likelihood and expected counts by enumeration of the joint."""
    joint = numpy.ones((1,) * len(brute.names))
    scopes = {}
    for name, family in brute.network.families.items():
        scope = [brute.names.index(p) for p in (*family.parents, name)]
        scopes[name] = scope
        shape = [brute.cards[a] if a in scope else 1 for a in range(joint.ndim)]
        joint = joint * tables[name].transpose(numpy.argsort(scope)).reshape(shape)
    joint = numpy.broadcast_to(joint, tuple(brute.cards))
    counts = {name: numpy.zeros_like(tables[name]) for name in tables}
    total = 0.0
    for r in range(len(data[brute.names[0]])):
        at = tuple(
            slice(None) if data[n][r] is None else slice(data[n][r], data[n][r] + 1)
            for n in brute.names
        )
        part = numpy.zeros(joint.shape)
        part[at] = joint[at]
        z = part.sum()
        total += numpy.log(z)
        for name, scope in scopes.items():
            gone = tuple(a for a in range(joint.ndim) if a not in scope)
            counts[name] += part.sum(axis=gone).transpose(numpy.argsort(numpy.argsort(scope))) / z
    return total, counts


@pytest.mark.parametrize("chunk", range(10))
@pytest.mark.parametrize("states", [4096, 0], ids=["enumerated", "junction tree"])
def test_an_em_step_is_the_enumerated_one(chunk, states, monkeypatch):
    """Two steps from the same start, by enumeration of small gaps and by the junction tree, on random networks and gaps, to 1e-10."""
    monkeypatch.setattr(expectation, "STATES", states)
    for seed in range(chunk * 100, chunk * 100 + 100):
        brute = Brute(seed, nodes=2 + seed % 5)
        data = data_of(brute, 6, share=0.35)
        if all(v is not None for column in data.values() for v in column):
            continue
        try:
            first = ppl.fit(brute.model, data, iterations=1, pseudo_counts=0.5)
        except ppl.QueryError:  # a column without any value says nothing about its labels
            continue
        second = ppl.fit(brute.model, data, iterations=2, pseudo_counts=0.5)
        # One iteration looks at the start and moves nowhere.
        total, counts = brute_step(brute, dict(first.tables), data)
        assert abs(first.log_likelihood - total) < 1e-10
        for name, table in second.tables.items():
            expected = counts[name] + 0.5
            expected /= expected.sum(axis=-1, keepdims=True)
            assert numpy.abs(table - expected).max() < 1e-10


def test_complete_data_are_counted():
    """Maximum likelihood is the table of frequencies; rows never seen keep what the model said, and are named."""
    brute = Brute(3, nodes=5)
    data = data_of(brute, 50)
    fitted = ppl.fit(brute.model, data)
    for name, family in brute.network.families.items():
        counts = numpy.zeros(family.table.shape)
        numpy.add.at(counts, tuple(numpy.array(data[p]) for p in (*family.parents, name)), 1)
        total = counts.sum(axis=-1, keepdims=True)
        seen = total[..., 0] > 0
        assert (
            numpy.abs(fitted.table(name)[seen] - (counts / numpy.maximum(total, 1))[seen]).max()
            < 1e-12
        )
        assert fitted.unseen.get(name, 0) == (~seen).sum()
    assert len(fitted.history) == 1
    assert fitted.converged
    by_hand = sum(
        float(fitted.model.log_joint({n: data[n][r] for n in brute.names})) for r in range(50)
    )
    assert abs(fitted.log_likelihood - by_hand) < 1e-9


def weather() -> ppl.Model:
    model = ppl.Model("weather")

    @model.latent(states=("dry", "rain"))
    def sky():
        return Categorical([0.5, 0.5])

    @model.observed(states=("low", "mid", "high"))
    def river(sky):
        return Categorical([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]][sky])

    return model


def test_priors_are_added_counts():
    """Pseudo-counts per cell, a table of them, and BDeu: an equivalent sample size spread evenly over the table."""
    data = {"sky": ["dry", "dry", "rain"], "river": ["low", "mid", "high"]}
    one = ppl.fit(weather(), data, pseudo_counts=1.0)
    assert numpy.allclose(one.table("sky"), [3 / 5, 2 / 5], atol=1e-15)
    assert numpy.allclose(
        one.table("river"), [[2 / 5, 2 / 5, 1 / 5], [1 / 4, 1 / 4, 1 / 2]], atol=1e-15
    )
    bdeu = ppl.fit(weather(), data, bdeu=6.0)
    assert numpy.allclose(bdeu.table("sky"), [(2 + 3) / 9, (1 + 3) / 9], atol=1e-15)
    assert numpy.allclose(bdeu.table("river")[1], numpy.array([1, 1, 2]) / 4, atol=1e-15)
    table = ppl.fit(weather(), data, pseudo_counts={"sky": [8, 0]})
    assert numpy.allclose(table.table("sky"), [10 / 11, 1 / 11], atol=1e-15)
    assert numpy.allclose(table.table("river")[1], [0, 0, 1], atol=1e-15)


def test_data_frames_with_gaps_labels_and_constant_columns():
    """pandas: labels, NA as a gap, a constant column, an all-missing column as a latent node."""
    frame = pandas.DataFrame(
        {"sky": ["dry", None, "dry", "dry"], "river": ["low", "mid", pandas.NA, "low"]}
    )
    fitted = ppl.fit(weather(), frame)
    assert fitted.missing == {"sky": 1, "river": 1}
    assert fitted.table("sky")[0] > 0.99
    hidden = ppl.fit(
        weather(), pandas.DataFrame({"sky": [None] * 4, "river": ["low", "mid", "high", "low"]})
    )
    assert abs(sum(hidden.table("sky")) - 1) < 1e-12
    with pytest.raises(ppl.QueryError, match=r"'river' has no state 'lo'\. Did you mean 'low'"):
        ppl.fit(weather(), {"river": ["lo"]})
    with pytest.raises(
        ppl.QueryError, match=r"a column 'rivers', which weather has not\. Did you mean 'river'"
    ):
        ppl.fit(weather(), {"rivers": ["low"]})
    with pytest.raises(ppl.QueryError, match="nothing in the data"):
        ppl.fit(weather(), {})


@pytest.mark.parametrize("seed", range(10))
def test_the_objective_never_falls(seed):
    """EM with latent nodes, gaps, a prior and restarts: every step of the best run climbs, and it is the best of the runs."""
    brute = Brute(seed + 100, nodes=6)
    data = data_of(brute, 200, share=0.2)
    data.pop(brute.names[0])
    fitted = ppl.fit(brute.model, data, restarts=3, pseudo_counts=0.1, seed=seed)
    steps = numpy.diff(fitted.history)
    assert (steps >= -1e-9 * abs(fitted.history[-1])).all()
    assert fitted.converged
    assert fitted.history[-1] == max(fitted.runs)
    assert len(fitted.runs) == 3


def mixture(k: int) -> ppl.Model:
    """A hidden Markov model whose tables are all to be learned."""
    model = ppl.Model("hmm")
    t = model.plate("t", 6, ordered=True)
    rng = numpy.random.default_rng(k)
    turn, see = rng.dirichlet(numpy.ones(k), size=k), rng.dirichlet(numpy.ones(3), size=k)
    start = [1 / k] * k
    model.latent(
        lambda previous: Categorical(turn[previous]),
        name="z",
        plate=t,
        start=lambda: Categorical(start),
    )
    model.observed(lambda z: Categorical(see[z]), name="x", plate=t)
    return model


@pytest.mark.parametrize("states", [4096, 0], ids=["enumerated", "junction tree"])
def test_a_hidden_markov_model_shares_its_tables_over_the_steps(states, monkeypatch):
    """One Baum-Welch step on a chain in a plate is the sum over all paths, with transitions pooled over the steps."""
    monkeypatch.setattr(expectation, "STATES", states)
    model = mixture(2)
    x = numpy.random.default_rng(1).integers(0, 3, (5, 6))
    first, second = (ppl.fit(model, {"x": x}, iterations=n) for n in (1, 2))
    start, turn, see = (first.table(n) for n in ("z (start)", "z", "x"))
    counts = [numpy.zeros_like(a) for a in (start, turn, see)]
    total = 0.0
    for row in x:
        paths = list(itertools.product(range(2), repeat=6))
        p = numpy.array(
            [
                start[z[0]]
                * numpy.prod([turn[a, b] for a, b in itertools.pairwise(z)])
                * numpy.prod([see[s, o] for s, o in zip(z, row, strict=True)])
                for z in paths
            ]
        )
        total += numpy.log(p.sum())
        for z, weight in zip(paths, p / p.sum(), strict=True):
            counts[0][z[0]] += weight
            for a, b in itertools.pairwise(z):
                counts[1][a, b] += weight
            for s, o in zip(z, row, strict=True):
                counts[2][s, o] += weight
    assert abs(first.log_likelihood - total) < 1e-10
    for name, found in zip(("z (start)", "z", "x"), counts, strict=True):
        assert (
            numpy.abs(second.table(name) - found / found.sum(axis=-1, keepdims=True)).max() < 1e-10
        )


def test_densities_that_are_not_learned_take_part():
    """A mixture's weights are learned beside normal densities that stay: EM finds the maximum of the likelihood in one dimension."""
    model = ppl.Model("mixture")
    model.latent(lambda: Categorical([0.5, 0.5]), name="z")
    model.observed(lambda z: Normal([0.0, 3.0][z], 1.0), name="x")
    rng = numpy.random.default_rng(0)
    x = numpy.where(rng.random(200) < 0.3, rng.normal(3, 1, 200), rng.normal(0, 1, 200))
    fitted = ppl.fit(model, {"x": x}, tolerance=1e-13)
    w = numpy.linspace(0.001, 0.999, 9981)[:, None]
    density = (1 - w) * numpy.exp(-(x**2) / 2) + w * numpy.exp(-((x - 3) ** 2) / 2)
    best = float(w[numpy.log(density).sum(axis=1).argmax(), 0])
    assert list(fitted.tables) == ["z"]
    assert abs(fitted.table("z")[1] - best) < 1e-4


def test_what_cannot_be_learned_says_why():
    model = ppl.Model("m")
    model.latent(lambda: Normal(0, 1), name="z")
    model.observed(lambda z: Normal(z, 1), name="x")
    with pytest.raises(ppl.QueryError, match="m has no table to learn"):
        ppl.fit(model, {"x": [0.1]})
    with pytest.raises(
        ppl.QueryError, match="The table of 'z' cannot be learned: 'z' is continuous"
    ):
        ppl.fit(model, {"x": [0.1]}, learn=["z"])
    with pytest.raises(ppl.QueryError, match="Give pseudo_counts or bdeu"):
        ppl.fit(weather(), {"sky": [0]}, pseudo_counts=1, bdeu=1)
    with pytest.raises(ppl.QueryError, match="pseudo-counts of 'sky' have the shape"):
        ppl.fit(weather(), {"sky": [0]}, pseudo_counts={"sky": [1, 2, 3]})


def test_a_row_that_a_fixed_table_forbids_is_named():
    """Learning one table cannot make possible what another, which stays, excludes."""
    model = ppl.Model("m")
    model.latent(lambda: Categorical([0.5, 0.5]), name="a")
    model.observed(lambda a: Categorical([[1.0, 0.0], [1.0, 0.0]][a]), name="b")
    with pytest.raises(ppl.ImpossibleError, match="zero"):
        ppl.fit(model, {"a": [0, 1], "b": [0, 1]}, learn=["a"])


def test_a_fitted_model_is_a_model():
    """It infers, simulates, is written and read, and is fitted again."""
    fitted = ppl.fit(
        weather(),
        {"sky": ["dry", "rain", "rain"], "river": ["low", "high", "mid"]},
        pseudo_counts=1,
    )
    assert abs(float(ppl.infer(fitted.model, {"river": "high"})["sky"].probs.sum()) - 1) < 1e-12
    assert fitted.model.simulate(5, seed=0)["river"].shape == (5,)
    again = ppl.fit(fitted.model, {"sky": [0, 1], "river": [0, 2]}, pseudo_counts=1)
    assert again.table("sky").tolist() == [0.5, 0.5]
    assert "Categorical given sky" in str(fitted.model)
