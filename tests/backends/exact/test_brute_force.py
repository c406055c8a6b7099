"""Every exact answer is brute-force enumeration, on a thousand random networks."""

import numpy
import pytest
import torch

import ppl
from backends.exact import contraction, prepared

from .brute import Brute

SEEDS = range(1000)
CHUNKS = [SEEDS[k : k + 50] for k in range(0, 1000, 50)]


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_marginals_and_evidence(seeds):
    """Log-evidence and all marginals, with and without evidence, zeros among the probabilities, to 1e-10."""
    for seed in seeds:
        brute = Brute(seed)
        for evidence in ({}, brute.evidence()):
            posterior = ppl.infer(brute.model, evidence)
            table = brute.given(evidence)
            assert posterior.method == "exact"
            assert abs(posterior.log_evidence - numpy.log(table.sum())) < 1e-10
            for name in posterior:
                expected = brute.marginal(table, name)
                assert numpy.abs(posterior[name].probs.numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_contraction_and_its_gradients(seeds, monkeypatch):
    """The evaluator of wide networks, made to serve small ones: the same answers to 1e-10."""
    monkeypatch.setattr(prepared, "WIDE", 0)
    monkeypatch.setattr(contraction, "PAIR", 0)
    monkeypatch.setattr(prepared, "WIDE_CELL", 10**9)
    used = 0
    for seed in seeds:
        brute = Brute(seed)
        evidence = brute.evidence()
        plan = ppl.compile(
            brute.model, given=list(evidence), of=[n for n in brute.names if n not in evidence]
        )
        posterior = plan.posterior(evidence)
        used += type(plan._solvers[0]._ready.last).__name__ == "Contraction"
        table = brute.given(evidence)
        assert abs(posterior.log_evidence - numpy.log(table.sum())) < 1e-10
        for name in posterior:
            assert (
                numpy.abs(posterior[name].probs.numpy() - brute.marginal(table, name)).max() < 1e-10
            )
    assert used > 40


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_batches_with_gaps_of_their_own(seeds):
    """Each observation of a batch has its own missing cells, and its own answer."""
    for seed in seeds:
        brute = Brute(seed)
        rows = [brute.evidence(0.5) for _ in range(5)]
        names = sorted({n for row in rows for n in row})
        if not names or set(names) == set(brute.names):
            continue
        rows = [{n: row.get(n) for n in names} for row in rows]
        many = ppl.compile(
            brute.model, given=names, of=[n for n in brute.names if n not in names]
        ).posteriors(rows)
        for k, row in enumerate(rows):
            table = brute.given({n: v for n, v in row.items() if v is not None})
            assert abs(float(many.log_evidence[k]) - numpy.log(table.sum())) < 1e-10
            for name in many.of:
                expected = brute.marginal(table, name)
                assert numpy.abs(many[name].probs[k].numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_do_is_the_truncated_factorisation(seeds):
    """do(x) removes x's own factor and sets its value (Pearl 2009, eq. 3.10)."""
    for seed in seeds:
        brute = Brute(seed)
        target = brute.names[int(brute.rng.integers(len(brute.names)))]
        value = int(brute.rng.integers(brute.cards[brute.names.index(target)]))
        cut = Brute(seed)
        family = cut.network.families[target]
        # Where the family's own factor is zero the joint has lost the others; those networks are left to the other seeds.
        if (family.table == 0).any():
            continue
        scope = [cut.names.index(p) for p in (*family.parents, target)]
        order = numpy.argsort(scope)
        shape = [cut.cards[a] if a in scope else 1 for a in range(len(cut.names))]
        cut.joint = cut.joint / family.table.transpose(order).reshape(shape)
        table = cut.given({target: value})
        posterior = ppl.infer(
            brute.model.do({target: value}), {}, of=[n for n in brute.names if n != target]
        )
        for name in posterior:
            assert (
                numpy.abs(posterior[name].probs.numpy() - cut.marginal(table, name)).max() < 1e-10
            )


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_joints_of_sets_and_densities_of_points(seeds):
    """The joint table of two or three nodes, and log p(values | evidence) of all of them."""
    for seed in seeds:
        brute = Brute(seed)
        evidence = brute.evidence()
        posterior = ppl.infer(brute.model, evidence)
        table = brute.given(evidence)
        names = list(posterior)[: 1 + seed % 3]
        joint = posterior.joint(*names).probs
        assert numpy.abs(joint.numpy() - brute.marginal(table, *names)).max() < 1e-10
        point = brute.draw()
        expected = brute.marginal(table, *posterior)[tuple(point[n] for n in posterior)]
        found = float(posterior.log_prob({n: point[n] for n in posterior}))
        assert (found == -numpy.inf) if expected == 0 else abs(found - numpy.log(expected)) < 1e-9


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda c: f"{c[0]}-{c[-1]}")
def test_most_probable_values(seeds):
    """MPE of everything hidden, and marginal MAP of a part of it: the values reach the maximum of the enumerated table."""
    for seed in seeds:
        brute = Brute(seed)
        evidence = brute.evidence()
        table = brute.given(evidence)
        posterior = ppl.infer(brute.model, evidence)
        for names in (list(posterior), list(posterior)[: max(1, len(posterior.of) // 2)]):
            best = posterior.most_probable(*names)
            expected = brute.marginal(table, *names)
            assert abs(best.log_prob - numpy.log(expected.max())) < 1e-10
            at = tuple(int(best[n]) for n in names)
            assert abs(expected[at] - expected.max()) < 1e-10 * expected.max()


def test_draws_follow_the_posterior():
    """Counts of 20,000 exact draws against the joint on 20 networks; Bernstein's bound fails for any cell with probability 1e-9."""
    for seed in range(20):
        brute = Brute(seed, nodes=5)
        evidence = brute.evidence(0.3)
        posterior = ppl.infer(brute.model, evidence)
        draws = posterior.sample(20_000, seed=seed)
        names = list(posterior)
        expected = brute.marginal(brute.given(evidence), *names).ravel()
        shape = [brute.cards[brute.names.index(n)] for n in names]
        flat = numpy.ravel_multi_index([draws[n].numpy() for n in names], shape)
        counts = numpy.bincount(flat, minlength=expected.size)
        log = numpy.log(2 * expected.size * 20 / 1e-9)
        variance = 20_000 * expected * (1 - expected)
        bound = log / 3 + numpy.sqrt(log**2 / 9 + 2 * variance * log)
        assert (numpy.abs(counts - 20_000 * expected) <= bound).all()
        assert (counts[expected == 0] == 0).all()


def test_a_thousand_nodes_do_not_underflow():
    """An observed chain of a thousand nodes: the evidence is far below the smallest double, the marginals are right."""
    model = ppl.Model("long")
    t = model.plate("t", 1000, ordered=True)
    turn = [[0.9, 0.1], [0.2, 0.8]]
    see = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    from ppl.distributions import Categorical

    model.latent(
        lambda previous: Categorical(turn[previous]),
        name="z",
        plate=t,
        start=lambda: Categorical([0.5, 0.5]),
    )
    model.observed(lambda z: Categorical(see[z]), name="x", plate=t)
    x = numpy.random.default_rng(0).integers(0, 3, 1000)
    posterior = ppl.infer(model, {"x": x})
    a, b = numpy.array(turn), numpy.array(see)
    alpha, scale = numpy.zeros((1000, 2)), numpy.zeros(1000)
    for k in range(1000):
        alpha[k] = ([0.5, 0.5] if k == 0 else alpha[k - 1] @ a) * b[:, x[k]]
        scale[k] = alpha[k].sum()
        alpha[k] /= scale[k]
    beta = numpy.ones((1000, 2))
    for k in range(998, -1, -1):
        beta[k] = a @ (b[:, x[k + 1]] * beta[k + 1])
        beta[k] /= beta[k].sum()
    gamma = alpha * beta
    gamma /= gamma.sum(axis=1, keepdims=True)
    assert posterior.log_evidence < -900
    assert abs(posterior.log_evidence - numpy.log(scale).sum()) < 1e-9
    assert numpy.abs(posterior["z"].probs.numpy() - gamma).max() < 1e-10
    assert torch.isfinite(posterior["z"].probs).all()


@pytest.mark.parametrize("seeds", CHUNKS[:4], ids=lambda c: f"{c[0]}-{c[-1]}")
def test_virtual_evidence_and_beliefs(seeds):
    """A likelihood multiplies the joint; a belief becomes the marginal, everything else following by Jeffrey's rule."""
    for seed in seeds:
        brute = Brute(seed)
        name = brute.names[seed % len(brute.names)]
        axis = brute.names.index(name)
        weights = brute.rng.random(brute.cards[axis]) + 0.05
        shape = [-1 if a == axis else 1 for a in range(len(brute.names))]
        posterior = ppl.infer(brute.model, {name: ppl.Likelihood(weights)})
        table = brute.joint * weights.reshape(shape)
        assert abs(posterior.log_evidence - numpy.log(table.sum())) < 1e-10
        for other in posterior:
            assert (
                numpy.abs(posterior[other].probs.numpy() - brute.marginal(table, other)).max()
                < 1e-10
            )
        prior = brute.marginal(brute.joint, name)
        belief = prior * weights
        belief /= belief.sum()
        posterior = ppl.infer(brute.model, {name: ppl.Belief(belief)})
        with numpy.errstate(invalid="ignore"):
            table = brute.joint * numpy.nan_to_num(belief / prior).reshape(shape)
        for other in posterior:
            assert (
                numpy.abs(posterior[other].probs.numpy() - brute.marginal(table, other)).max()
                < 1e-10
            )


@pytest.mark.parametrize("seeds", CHUNKS[:2], ids=lambda c: f"{c[0]}-{c[-1]}")
def test_sensitivity_is_the_derivative(seeds):
    """The evidence is linear in one table: its gradient is the evidence with that table set to each unit in turn."""
    for seed in seeds:
        brute = Brute(seed, nodes=5)
        evidence = brute.evidence(0.5)
        posterior = ppl.infer(brute.model, evidence)
        for name in brute.names:
            if name not in posterior.plan.query.graph:
                continue
            family = brute.network.families[name]
            scope = [brute.names.index(p) for p in (*family.parents, name)]
            rest = numpy.ones((1,) * len(brute.names))
            for other, f in brute.network.families.items():
                if other != name:
                    s = [brute.names.index(p) for p in (*f.parents, other)]
                    rest = rest * f.table.transpose(numpy.argsort(s)).reshape(
                        [brute.cards[a] if a in s else 1 for a in range(len(brute.names))]
                    )
            rest = numpy.broadcast_to(rest, tuple(brute.cards)).copy()
            for n, v in evidence.items():
                a = brute.names.index(n)
                rest *= (numpy.arange(brute.cards[a]) == v).reshape(
                    [-1 if k == a else 1 for k in range(rest.ndim)]
                )
            gone = tuple(a for a in range(rest.ndim) if a not in scope)
            expected = rest.sum(axis=gone).transpose(numpy.argsort(numpy.argsort(scope)))
            expected = expected / brute.given(evidence).sum()
            found = posterior.sensitivity(name).numpy()
            assert numpy.allclose(found, expected, rtol=1e-9, atol=1e-10), (seed, name)


@pytest.mark.parametrize("seeds", CHUNKS[:2], ids=lambda c: f"{c[0]}-{c[-1]}")
def test_events_entropy_and_information(seeds):
    """Sums over the enumerated joint."""
    for seed in seeds:
        brute = Brute(seed)
        evidence = brute.evidence(0.3)
        posterior = ppl.infer(brute.model, evidence)
        table = brute.given(evidence)
        names = list(posterior)
        if len(names) < 2:
            continue
        a, b = names[0], names[-1]
        both = brute.marginal(table, a, b)
        index = numpy.indices(both.shape)
        event = posterior.probability(lambda x, y: x > y, x=a, y=b)
        assert abs(event - both[index[0] > index[1]].sum()) < 1e-10
        some = both[both > 0]
        assert abs(posterior.entropy(a, b) + (some * numpy.log(some)).sum()) < 1e-10
        product = both.sum(1, keepdims=True) * both.sum(0, keepdims=True)
        information = (some * numpy.log(some / product[both > 0])).sum()
        assert abs(posterior.mutual_information(a, b) - information) < 1e-10
