"""What cannot be answered is said before it is paid for, and in the user's words."""

import itertools

import numpy
import pytest

import ppl
from ppl.distributions import Bernoulli, Categorical, Normal
from tests.networks import network

from .brute import Brute


@pytest.mark.parametrize("seed", range(60))
def test_the_smallest_impossible_part_of_the_evidence_is_named(seed):
    """On networks with zeros: the named set has probability zero, and no set of fewer values has."""
    brute = Brute(seed, nodes=5)
    rng = numpy.random.default_rng(seed)
    for _ in range(20):
        evidence = {
            n: int(rng.integers(c)) for n, c in zip(brute.names[1:], brute.cards[1:], strict=True)
        }
        if brute.given(evidence).sum() == 0:
            break
    else:
        return
    with pytest.raises(ppl.ImpossibleError, match="probability zero") as caught:
        ppl.infer(brute.model, evidence)
    text = str(caught.value)
    named = [n for n in evidence if f"{n} = s{evidence[n]}" in text]
    assert brute.given({n: evidence[n] for n in named}).sum() == 0
    for size in range(len(named)):
        for part in itertools.combinations(evidence, size):
            assert brute.given({n: evidence[n] for n in part}).sum() > 0


def test_an_impossible_pair_is_named_among_innocent_values():
    """Two readings that exclude each other, beside three that are fine; in a batch the observation is numbered."""
    model = ppl.Model("m")
    model.latent(lambda: Categorical([0.5, 0.3, 0.2]), name="state")
    for k, allowed in enumerate(([1, 1, 0], [0, 0, 1], [1, 1, 1])):
        table = [[1 - a / 2, a / 2] for a in allowed]
        model.observed(
            lambda state, table=table: Categorical(table[state]), name=f"x{k}", states=("off", "on")
        )
    plan = ppl.compile(model, given=["x0", "x1", "x2"])
    with pytest.raises(
        ppl.ImpossibleError,
        match=r"probability zero under the model: x0 = on and x1 = on cannot be together",
    ):
        plan.posterior({"x0": "on", "x1": "on", "x2": "on"})
    with pytest.raises(ppl.ImpossibleError, match=r"The observation 1 has probability zero"):
        plan.posteriors({"x0": [0, 1], "x1": [0, 1], "x2": [1, 1]})
    assert plan.posterior({"x0": "on", "x1": "off", "x2": "on"})["state"].probs[2] == 0


def test_a_value_that_is_impossible_by_itself():
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="z")
    model.observed(lambda z: Categorical([1.0, 0.0]), name="x")
    with pytest.raises(ppl.ImpossibleError, match="x = 1 is already impossible"):
        ppl.infer(model, {"x": 1})


def grid(n: int) -> ppl.Model:
    """A lattice, whose width grows with its side."""
    model = ppl.Model("grid")
    rng = numpy.random.default_rng(0)
    for i in range(n):
        for j in range(n):
            parents = {"a": f"v{i - 1}_{j}", "b": f"v{i}_{j - 1}"}
            parents = {k: p for k, p in parents.items() if p in model.graph}
            table = rng.dirichlet([1, 1], size=[2] * len(parents))
            body = [
                lambda table=table: Categorical(table),
                lambda a, table=table: Categorical(table[a]),
                lambda a, b, table=table: Categorical(table[a, b]),
            ][len(parents)]
            if len(parents) == 1 and "b" in parents:
                parents = {"a": parents["b"]}
            model.latent(body, name=f"v{i}_{j}", parents=parents)
    return model


def test_the_cost_is_announced_and_a_limit_needs_consent():
    """Width, largest factor, bytes and seconds stand in the plan; beyond the limit it refuses and says what would allow it."""
    model = grid(8)
    plan = ppl.compile(model, {})
    cost = plan.routes[0].verdict.cost
    assert cost["variables"] == 64
    assert 7 <= cost["width"] <= 10
    assert cost["cells in the largest factor"] == 2 ** (cost["width"] + 1)
    assert cost["bytes"] == 16 * cost["table cells"]
    assert cost["predicted seconds"] > 0
    assert f"width {cost['width']}" in str(plan)
    small = ppl.Budget(cells=cost["table cells"] - 1)
    refused = ppl.compile(model, {}, budget=small)
    verdict = next(v for v in refused.routes[0].verdicts if v.method == "exact")
    assert not verdict.able
    assert f"width {cost['width']}" in verdict.reason
    assert f"budget=Budget(cells={cost['table cells']}" in verdict.remedy
    assert (
        ppl.compile(model, {}, budget=ppl.Budget(cells=cost["table cells"])).routes[0].method
        == "exact"
    )
    tight = ppl.compile(model, {}, budget=ppl.Budget(memory=cost["bytes"] - 1))
    assert tight.routes[0].method != "exact"


def test_a_wide_network_is_refused_before_anything_is_allocated():
    """A lattice of side 40 has factors beyond 2^27 cells: the plan says so at once."""
    plan = ppl.compile(grid(34), {}, of=["v33_33"])
    verdict = next(v for v in plan.routes[0].verdicts if v.method == "exact")
    assert not verdict.able
    assert "2^27 is the limit" in verdict.reason
    with pytest.raises(ppl.QueryError, match="a budget is positive"):
        ppl.Budget(cells=0)


def test_questions_about_sets_that_are_too_large_are_refused():
    posterior = ppl.infer(grid(6), {}, budget=ppl.Budget(cells=2**12))
    with pytest.raises(
        ppl.BackendError, match=r"This takes factors of 2\^.* ask about fewer nodes at once"
    ):
        posterior.joint(*list(posterior)[:20])


def test_misused_questions_say_what_is_wrong():
    alarm = network("alarm")
    posterior = ppl.infer(alarm, {"CVP": "LOW"}, of=["HISTORY", "LVFAILURE"])
    with pytest.raises(ppl.QueryError, match="The posterior has no 'HISTRY'"):
        posterior.joint("HISTRY")
    with pytest.raises(ppl.QueryError, match="was given a node twice"):
        posterior.joint("HISTORY", "HISTORY")
    with pytest.raises(ppl.QueryError, match="is on both sides"):
        posterior.mutual_information("HISTORY", ["HISTORY", "LVFAILURE"])
    with pytest.raises(ppl.QueryError, match="no argument 'hist'"):
        posterior.probability(lambda HISTORY: HISTORY == 0, hist="HISTORY")
    with pytest.raises(ppl.QueryError, match="has 2 values; the evidence weighs 3"):
        ppl.infer(alarm, {"HISTORY": ppl.Likelihood([1, 1, 1])})
    with pytest.raises(ppl.QueryError, match="one of them is positive"):
        ppl.Likelihood([0, 0])
    with pytest.raises(ppl.QueryError, match="sum to one"):
        ppl.Belief([0.5, 0.6])
    normal = ppl.Model("m")
    normal.latent(lambda: Normal(0, 1), name="z")
    normal.observed(lambda z: Normal(z, 1), name="x")
    drawn = ppl.infer(normal, {"x": 1.0}, method="rejection", budget=ppl.Budget(simulations=1000))
    with pytest.raises(ppl.BackendError, match="known by its draws only"):
        drawn.most_probable()
    with pytest.raises(ppl.BackendError, match="known by exact routes only"):
        drawn.sensitivity("z")


def test_beliefs_that_cannot_hold_are_refused():
    """A belief in what has probability zero, and two beliefs that contradict each other."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.deterministic(lambda a: 1 - a, name="b")
    with pytest.raises(ppl.ImpossibleError, match=r"cannot all hold|contradict"):
        ppl.infer(model, {"a": ppl.Belief([0.5, 0.5]), "b": ppl.Belief([0.9, 0.1])}, of=["a"])
    never = ppl.Model("never")
    never.latent(lambda: Categorical([1.0, 0.0]), name="a")
    with pytest.raises(ppl.ImpossibleError):
        ppl.infer(never, {"a": ppl.Belief([0.5, 0.5])}, of=["a"])
    held = ppl.infer(model, {"a": ppl.Belief([0.3, 0.7])}, of=["a", "b"])
    assert held["b"].probs.tolist() == pytest.approx([0.7, 0.3])
    with pytest.raises(AttributeError):
        _ = held.log_evidence


def test_every_question_can_be_asked_after_do_and_of_a_counterfactual():
    """A gun fires on order; it fired. Had the order not come, would it have fired? And what is most probable then?"""
    model = ppl.Model("gun")
    model.latent(lambda: Bernoulli(0.7), name="order")
    model.latent(lambda: Bernoulli(0.1), name="nervous")
    model.deterministic(lambda order, nervous: max(order, nervous), name="fires")
    twin = model.counterfactual({"order": 0})
    posterior = ppl.infer(twin, {"fires": 1}, of=["order", "nervous", "would.fires"])
    nervous = 0.1 / (0.7 + 0.3 * 0.1)
    assert float(posterior["would.fires"].prob(1)) == pytest.approx(nervous)
    assert posterior.probability(
        lambda a, b: a == 1 and b == 0, a="order", b="would.fires"
    ) == pytest.approx(0.63 / 0.73)
    best = posterior.most_probable()
    assert (int(best["order"]), int(best["would.fires"])) == (1, 0)
    assert best.log_prob == pytest.approx(np_log(0.63 / 0.73))
    assert posterior.mutual_information("nervous", "would.fires") == pytest.approx(
        posterior.entropy("nervous")
    )
    cut = ppl.infer(model.do(order=0), {"fires": 1}, of=["nervous"])
    assert cut.most_probable()["nervous"] == 1
    assert cut.log_evidence == pytest.approx(np_log(0.1))


def np_log(x: float) -> float:
    return float(numpy.log(x))
