"""Adjustment sets: the formulas they promise give what the intervention gives."""

import itertools

import numpy
import pytest

import ppl
from ppl.distributions import Bernoulli
from tests.backends.exact.brute import Brute


def do(brute: Brute, cause: str, effect: str) -> numpy.ndarray:
    """p(effect | do(cause = value)) for every value, `(values, effect)`."""
    k = brute.cards[brute.names.index(cause)]
    return numpy.stack(
        [
            ppl.infer(brute.model.do({cause: v}), {}, of=[effect])[effect].probs.numpy()
            for v in range(k)
        ]
    )


@pytest.mark.parametrize("seed", range(40))
def test_back_door_sets_give_the_effect_and_smaller_ones_do_not_qualify(seed):
    """The adjustment formula over each set is the intervention, on networks without zeros."""
    brute = Brute(seed, nodes=6)
    if any((f.table == 0).any() for f in brute.network.families.values()):
        brute = Brute(seed + 1000, nodes=5)
    cause, effect = brute.names[1], brute.names[-1]
    if any((f.table == 0).any() for f in brute.network.families.values()):
        return
    truth = do(brute, cause, effect)
    sets = brute.model.graph.backdoor_sets(cause, effect)
    for z in sets:
        names = [cause, effect, *sorted(z)]
        joint = brute.marginal(brute.joint, *names)
        pz = joint.sum(axis=(0, 1))
        conditional = joint / joint.sum(axis=1, keepdims=True)
        found = (conditional * pz).reshape((*joint.shape[:2], -1)).sum(axis=-1)
        assert numpy.abs(found - truth).max() < 1e-10
    for one, two in itertools.permutations(sets, 2):
        assert not one <= two
    parents = set(brute.model.graph.parents(cause))
    assert any(z <= parents for z in sets) or effect in parents or not sets


def smoking() -> ppl.Model:
    """Pearl's example: a gene behind smoking and cancer, tar between them."""
    model = ppl.Model("smoking")

    @model.latent
    def gene():
        return Bernoulli(0.3)

    @model.observed
    def smoke(gene):
        return Bernoulli([0.2, 0.8][gene])

    @model.observed
    def tar(smoke):
        return Bernoulli([0.1, 0.9][smoke])

    @model.observed
    def cancer(tar, gene):
        return Bernoulli([[0.1, 0.3], [0.4, 0.7]][tar][gene])

    return model


def test_the_front_door_identifies_what_the_back_door_cannot():
    """With the gene unmeasured no back-door set exists; tar is a front door, and its formula is the intervention."""
    model = smoking()
    graph = model.graph
    assert graph.backdoor_sets("smoke", "cancer") == ()
    assert graph.backdoor_sets("smoke", "cancer", measured=["gene", "tar"]) == (
        frozenset({"gene"}),
    )
    assert graph.frontdoor_sets("smoke", "cancer") == (frozenset({"tar"}),)
    joint = (
        ppl.infer(model, {}, of=["smoke", "tar", "cancer"])
        .joint("smoke", "tar", "cancer")
        .probs.numpy()
    )
    p_smoke = joint.sum(axis=(1, 2))
    p_tar = joint.sum(axis=2) / p_smoke[:, None]
    p_cancer = joint / joint.sum(axis=2, keepdims=True)
    by_door = numpy.einsum("xm,ymc,y->xc", p_tar, p_cancer, p_smoke)
    for value in (0, 1):
        truth = ppl.infer(model.do(smoke=value), {}, of=["cancer"])["cancer"].probs.numpy()
        assert numpy.abs(by_door[value] - truth).max() < 1e-12


def test_questions_that_make_no_sense_say_so():
    graph = smoking().graph
    with pytest.raises(ppl.QueryError, match="both cause and effect"):
        graph.backdoor_sets("tar", "tar")
    with pytest.raises(ppl.QueryError, match=r"no node 'tarr'\. Did you mean 'tar'"):
        graph.backdoor_sets("tarr", "cancer")
    assert graph.backdoor_sets("cancer", "smoke") == ()
    assert graph.backdoor_sets("cancer", "smoke", ["tar", "gene"]) == (frozenset({"tar", "gene"}),)
    chain = ppl.Model("chain")
    t = chain.plate("t", 3, ordered=True)
    chain.latent(
        lambda previous: Bernoulli([0.1, 0.9][previous]),
        name="z",
        plate=t,
        start=lambda: Bernoulli(0.5),
    )
    chain.observed(lambda: Bernoulli(0.5), name="x")
    with pytest.raises(ppl.QueryError, match="'z' is a chain"):
        chain.graph.frontdoor_sets("x", "z")
