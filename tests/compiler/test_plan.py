"""The compiler decides as an expert would, and says why."""

import json
from functools import cache

import pytest

import ppl
from examples import flu_1978, galton_board, sprinkler
from ppl.compiler import registry
from ppl.distributions import Bernoulli, Categorical, Integers, Normal, Poisson


def verdict(plan, method):
    """What one engine said about the first component."""
    return next(v for v in plan.routes[0].verdicts if v.method == method)


def test_equal_inputs_give_equal_plans_that_are_json():
    """Plans are data."""
    one, two = (ppl.compile(sprinkler.garden, {"wet": 1}, of="rain") for _ in range(2))
    assert one.to_dict() == two.to_dict()
    assert json.loads(json.dumps(one.to_dict())) == one.to_dict()
    assert str(one) == str(two)


@cache
def long_chain() -> ppl.Model:
    """Forty steps of a walk: 2^40 paths."""
    model = ppl.Model("walk")
    step = model.plate("step", 40, ordered=True)
    model.latent(
        lambda previous: Bernoulli([0.2, 0.7][previous]),
        name="s",
        plate=step,
        start=lambda: Bernoulli(0.5),
    )
    model.observed(lambda s: Bernoulli([0.4, 0.9][s]), name="y", plate=step)
    return model


def test_a_chain_is_eliminated_never_enumerated():
    """2^40 paths cost a few cells a step."""
    plan = ppl.compile(long_chain(), {"y": [1, 0] * 20})
    assert plan.routes[0].method == "exact"
    assert verdict(plan, "exact").cost["table cells"] < 40 * 8


def test_abc_is_never_chosen_for_a_tractable_model():
    """It stays able, it does not fit, and it says so; forced, the plan prints the objection."""
    plan = ppl.compile(sprinkler.garden, {"wet": 1}, of="rain")
    rejected = verdict(plan, "rejection")
    assert rejected.able
    assert not rejected.fits
    assert "likelihood" in rejected.reason
    forced = ppl.compile(sprinkler.garden, {"wet": 1}, of="rain", method="rejection")
    assert forced.routes[0].method == "rejection"
    assert "objection  exact would serve" in str(forced)


def test_rejection_is_not_chosen_in_many_dimensions():
    """The epidemic's fourteen counts are never matched."""
    plan = ppl.compile(flu_1978.flu, {"in_bed": flu_1978.IN_BED})
    assert plan.routes[0].method == "npe"
    assert not verdict(plan, "rejection").fits


def test_rejection_is_chosen_where_it_is_exact():
    """An opaque count that is often hit."""
    model = ppl.Model("m")
    model.theta(lambda: Integers(1, 20), name="rate")
    model.observed(lambda rate, rng: rng.poisson(rate), name="count")
    plan = ppl.compile(model, {"count": 7})
    assert plan.routes[0].method == "rejection"
    assert plan.routes[0].verdict.row == 6
    assert "exact hits" in plan.routes[0].verdict.reason


def test_nothing_is_simulated_for_what_has_no_path_to_the_data():
    """Row 0: the prior, whatever the other parts take; and a part that is d-separated is pruned."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="alone")
    model.theta(lambda: Bernoulli(0.5), name="tied")
    model.observed(lambda tied: Bernoulli([0.1, 0.9][tied]), name="x")
    found = ppl.infer(model, {"x": 1})
    routes = {r.ask: r.method for r in found.plan.routes}
    assert routes == {("alone",): "prior", ("tied",): "exact"}
    assert abs(float(found["alone"].mean)) < 5 * float(found["alone"].standard_error)
    assert found.log_evidence == pytest.approx(-0.6931, abs=1e-4)
    asked = ppl.compile(model, {"x": 1}, of="tied")
    assert [p.name for p in asked.pruned] == ["alone"]


def test_independent_parts_are_answered_in_one_pass_and_evidence_adds():
    """Two coins, one plan, one exact route for both; what is d-separated still counts in the evidence."""
    model = ppl.Model("m")
    for k in (0, 1):
        model.latent(lambda: Bernoulli(0.5), name=f"z{k}")
        model.observed(lambda z: Bernoulli([0.2, 0.6][z]), name=f"x{k}", parents={"z": f"z{k}"})
    both = ppl.infer(model, {"x0": 1, "x1": 0})
    assert [route.ask for route in both.plan.routes] == [("z0", "z1")]
    assert both.log_evidence == pytest.approx(float(sum(map(_log, (0.4, 0.6)))))
    one = ppl.infer(model, {"x0": 1, "x1": 0}, of="z0")
    assert one.log_evidence == pytest.approx(both.log_evidence)
    assert {p.name for p in one.plan.pruned} == {"z1"}


def _log(x):
    import math

    return math.log(x)


def test_missing_cells_open_paths_that_a_full_observation_blocks():
    """a → m → b: with m seen in every row a is cut off from b; with a gap it is not."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.observed(lambda a: Bernoulli([0.1, 0.9][a]), name="m")
    model.observed(lambda m: Bernoulli([0.3, 0.8][m]), name="b")
    seen = ppl.infer(model, {"m": 1, "b": 1})
    assert float(seen["a"].prob(1)) == pytest.approx(0.9)
    gap = ppl.infer(model, {"m": None, "b": 1})
    joint = [0.5 * sum(pm * pb for pm, pb in ((1 - p, 0.3), (p, 0.8))) for p in (0.1, 0.9)]
    assert float(gap["a"].prob(1)) == pytest.approx(joint[1] / sum(joint))


def test_elimination_is_refused_before_it_is_paid():
    """Thirty parents of one node: two to the thirty rows are never made."""
    model = ppl.Model("m")
    row = model.plate("row", 30)
    model.latent(lambda: Bernoulli(0.5), name="z", plate=row)
    model.observed(lambda z: Normal(z.sum(), 1), name="x")
    plan = ppl.compile(model, {"x": 15.0})
    assert not verdict(plan, "exact").able
    assert "1,073,741,824 combinations" in verdict(plan, "exact").reason


def test_a_countable_node_is_cut_openly():
    """A Poisson has no last value; the plan and the answer say how far it was followed, which is beyond the data."""
    model = ppl.Model("m")
    model.theta(lambda: Poisson(10.0), name="n")
    model.observed(lambda n: Normal(n, 1), name="x")
    plan = ppl.compile(model, {"x": 45.0})
    assert plan.routes[0].method == "exact"
    found = plan.posterior()
    end = int(found["n"].domain[-1])
    assert end > 45
    assert f"n to {end}" in verdict(plan, "exact").reason
    assert f"n was followed to {end}" in found.notes[0]
    assert f"n was followed to {end}" in str(found.summary())


def test_every_route_not_taken_has_a_reason():
    """And the modes of all bodies are printed."""
    plan = ppl.compile(galton_board.galton_board(), {"final": [22]}, of="slope")
    text = str(plan)
    for method in registry.methods():
        assert method in text
    assert all(v.reason for v in plan.routes[0].verdicts)
    assert set(plan.modes) >= {"slope", "left", "left (start)", "position", "final"}


def test_the_plan_draws():
    """The DAG coloured by route."""
    plan = ppl.compile(sprinkler.garden, {"rain": 1}, of="wet")
    assert "exact" in plan.draw().source


def test_a_third_party_engine_needs_only_an_entry_point(monkeypatch):
    """The registry finds it by name, the plan asks it like the others."""
    import sys
    import types

    from ppl.compiler import Verdict

    engine = types.ModuleType("their_engine")
    engine.judge = lambda query, budget: Verdict("theirs", False, 9, "it only looks")
    monkeypatch.setitem(sys.modules, "their_engine", engine)
    monkeypatch.setattr(registry, "_others", lambda: {"theirs": "their_engine"})
    registry.backend.cache_clear()
    plan = ppl.compile(sprinkler.garden, {"wet": 1}, of="rain")
    assert verdict(plan, "theirs").reason == "it only looks"
    registry.backend.cache_clear()


def test_categories_are_sent_to_a_classifier():
    """A nominal θ has no line to spread on, and needs none."""
    model = ppl.Model("m")
    model.theta(lambda: Categorical([0.2, 0.3, 0.5]), name="kind")
    model.observed(lambda kind, rng: rng.normal(kind), name="x")
    plan = ppl.compile(model, {"x": 1.0})
    assert verdict(plan, "npe").able
    assert plan.routes[0].method in ("nle", "rejection")


def test_the_picture_of_a_plan_says_what_its_colours_mean():
    """Each route by its colour, what is given in grey."""
    picture = ppl.compile(sprinkler.garden, {"wet": 1}, of="rain").draw().source
    assert "rain by exact, grade A" in picture
    assert ">given" in picture
    assert "asked: exact" in picture


def test_many_pruned_nodes_are_folded_into_one():
    """Twenty children that nobody asked about; they can be unfolded, and are pale then."""
    model = ppl.Model("family")
    model.latent(lambda: Bernoulli(0.5), name="parent")
    model.observed(lambda parent: Bernoulli([0.1, 0.8][parent]), name="seen")
    for i in range(20):
        model.latent(lambda parent: Bernoulli([0.2, 0.7][parent]), name=f"child{i}")
    plan = ppl.compile(model, {"seen": 1}, of="parent")
    assert "20 more nodes" in plan.draw().source
    assert "child7" not in plan.draw().source
    assert "child7" in plan.draw(folded=()).source
