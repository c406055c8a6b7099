"""What bad input gets: an error that names the node, the place and the closest remedy, before any long work."""

import numpy as np
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Beta, Binomial, Categorical, Integers, Normal


def coin() -> ppl.Model:
    """A coin with a beta prior."""
    model = ppl.Model("coin")

    @model.theta
    def bias():
        return Beta(2, 2)

    @model.observed
    def heads(bias):
        return Binomial(10, bias)

    return model


def rows() -> ppl.Model:
    """Three switches, each seen through noise."""
    model = ppl.Model("rows")
    row = model.plate("row", 3)

    @model.latent(plate=row, states=("off", "on"))
    def switch():
        return Bernoulli(0.5)

    @model.observed(plate=row)
    def light(switch):
        return Normal(switch, 1)

    return model


def simulator(body, **options) -> ppl.Model:
    """A standard normal and one node below it."""
    model = ppl.Model("m")

    @model.theta
    def a():
        return Normal(0, 1)

    model.observed(body, name="y", **options)
    return model


def declare_misspelt():
    model = coin()

    @model.observed
    def toss(bais):
        return Bernoulli(bais)


def declare_twice():
    model = coin()

    @model.observed
    def heads(bias):
        return Bernoulli(bias)


def declare_cycle():
    model = coin()

    @model.latent
    def loop(loop):
        return Normal(loop, 1)


def start_without_previous():
    model = coin()
    day = model.plate("day", 3, ordered=True)

    @model.latent(plate=day, start=lambda: Normal(0, 1))
    def walk():
        return Normal(0, 1)


def previous_without_start():
    model = coin()
    day = model.plate("day", 3, ordered=True)

    @model.latent(plate=day)
    def walk(previous):
        return Normal(previous, 1)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (declare_misspelt, r"'toss' \(test_errors.py:\d+\).*'bais'.*Did you mean 'bias'"),
        (declare_twice, r"already has a node 'heads' \(declared at test_errors.py:\d+"),
        (declare_cycle, "itself as a parent"),
        (start_without_previous, "never asks for 'previous'"),
        (previous_without_start, "start="),
        (lambda: coin().latent(lambda *x: 1, name="z"), r"\*x"),
        (
            lambda: coin().latent(lambda bias: 1, name="z", parents={"bais": "bias"}),
            "bais.*Did you mean 'bias'",
        ),
        (lambda: coin().latent(lambda: 1, name="z", sates=("a",)), "option 'sates'.*'states'"),
        (lambda: coin().plate("row", 0), "positive"),
        (lambda: coin().latent(lambda: 1), "no name"),
        (lambda: coin().latent(lambda: 1, name="rng"), "reserved"),
    ],
)
def test_a_wrong_declaration_fails_at_its_own_line(declare, says):
    """At the decorator, not when the model is used."""
    with pytest.raises(ppl.ModelError, match=says):
        declare()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda a: None, r"'y' \(test_errors.py:\d+\) returned None.*return"),
        (lambda a: "text", "neither a distribution nor a number"),
        (lambda a: {"b": 1}, "outputs="),
        (lambda a: Normal(a * float("nan"), 1), "'y'.*NaN for loc"),
        (lambda a: Normal(0, a), "'y'.*scale = -.*> 0"),
        (lambda a: Categorical([0.3, 0.3, 0.3]), r"sums to 0.9, not to one: \[0.3, 0.3, 0.3\]"),
        (lambda a, rng: rng.normal(size=rng.integers(1, 4)), "shape changes from draw to draw"),
    ],
)
def test_a_body_that_returns_nonsense_is_named(body, says):
    """With its file and line, and what it returned."""
    with pytest.raises(ppl.ModelError, match=says):
        simulator(body).simulate(100)


def test_a_deterministic_body_that_is_not():
    """Another seed gave another value."""
    model = coin()
    generator = np.random.default_rng(0)
    model.deterministic(lambda bias: bias + generator.normal(), name="noisy")
    with pytest.raises(ppl.ModelError, match=r"'noisy'.*rng"):
        model.simulate(10)


def test_a_raising_simulator_names_draw_and_seed():
    """And the seed raises again."""

    def body(a, rng):
        x = rng.random()
        if x > 0.9:
            raise ValueError(f"too hot: {x}")
        return x

    with pytest.raises(
        ppl.SimulationError,
        match=r"'y' \(test_errors.py:\d+\) raised ValueError: too hot.*draw \d+.*default_rng\(\d+\)",
    ) as caught:
        simulator(body).simulate(200)
    with pytest.raises(ValueError, match="too hot"):
        body(0.0, np.random.default_rng(caught.value.seed))


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"ligth": [0, 0, 0]}, "no node 'ligth'.*'light'"),
        ({"light": 1.0}, "needs one value a member"),
        ({"light": [1.0, 2.0]}, "2 members along plate 'row', which has 3"),
        ({"light": [[1.0], [2.0], [3.0]]}, r"values of shape \(\)"),
        ({"light": [1.0, 2.0, float("nan")]}, "1 NaN.*None.*nan='missing'"),
        ({"light": [1.0, 2.0, float("inf")]}, "infinite"),
        ({"switch": ["on", "of", "on"]}, "no state 'of'.*'off'"),
        ({"switch": [0, 1, 2]}, "outside its support|2 states"),
        ({"switch": [0, 0.5, 1]}, "whole numbers"),
        ({"row": [0, 1, 2]}, "is a plate"),
        ([1, 2, 3], "dictionary"),
    ],
)
def test_a_wrong_observation(seen, says):
    """Unknown names and labels, wrong shapes, NaN, values outside the support."""
    with pytest.raises(ppl.QueryError, match=says):
        ppl.infer(rows(), seen)


@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (
            lambda: ppl.infer(coin(), {"heads": 3}, of="bais"),
            ppl.QueryError,
            "asks for 'bais'.*'bias'",
        ),
        (
            lambda: ppl.infer(coin(), {"heads": 3}, of="heads"),
            ppl.QueryError,
            "which the observation gives",
        ),
        (
            lambda: ppl.infer(coin(), {"heads": 11}, method="rejection"),
            ppl.QueryError,
            "'heads' was observed as 11.*from 0 to 10",
        ),
        (
            lambda: ppl.infer(coin(), {"heads": 3}, method="exact"),
            ppl.BackendError,
            "'exact' cannot serve bias: 'bias' is continuous",
        ),
        (
            lambda: ppl.infer(coin(), {"heads": 3}, method="exakt"),
            ppl.QueryError,
            "Did you mean 'exact'",
        ),
        (
            lambda: ppl.infer(coin(), {"heads": 3}, method="nlee"),
            ppl.QueryError,
            "There is no method 'nlee'. Did you mean 'nle'",
        ),
        (lambda: ppl.infer(coin().do(heads=3), {"heads": 3}), ppl.QueryError, "set by do"),
        (lambda: coin().do(haeds=3), ppl.QueryError, "'haeds'.*'heads'"),
        (lambda: coin().do(bias=lambda heads: heads), ppl.QueryError, "depends on 'bias' itself"),
        (lambda: rows().do(switch="on?"), ppl.QueryError, "no such state"),
        (lambda: ppl.Budget(simulations=0), ppl.QueryError, "positive"),
        (lambda: ppl.Budget(seconds=0), ppl.QueryError, "positive"),
        (lambda: coin().simulate(0), ppl.QueryError, "positive"),
        (lambda: coin().log_joint({"heads": 3}), ppl.QueryError, "needs a value for 'bias'"),
        (lambda: ppl.infer(ppl.Model("empty"), {}), ppl.QueryError, "no nodes"),
    ],
)
def test_a_wrong_question(ask, error, says):
    """Each with its own reason."""
    with pytest.raises(error, match=says):
        ask()


def test_an_impossible_observation_is_said_to_be_one():
    """Never a NaN posterior."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.observed(lambda a: Bernoulli(0.0 * a), name="b")
    with pytest.raises(ppl.ImpossibleError, match="probability zero"):
        ppl.infer(model, {"b": 1})


def test_a_missing_input_and_a_missing_size_are_asked_for():
    """By name, with how to give them."""
    model = ppl.Model("m")
    row = model.plate("row")
    model.input("x", plate=row)
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.observed(lambda a, x: Normal(a * x, 1), name="y", plate=row)
    with pytest.raises(ppl.QueryError, match="Input 'x' is not given"):
        ppl.infer(model, {"y": [1.0, 2.0]})
    with pytest.raises(ppl.QueryError, match="size is not known"):
        model.simulate(3)
    with pytest.raises(ppl.QueryError, match="3 members along plate 'row', which has 2"):
        ppl.infer(model, {"y": [1.0, 2.0], "x": [1.0, 2.0, 3.0]})


def test_a_loop_variable_that_has_moved_on():
    """The usual trap of closures is named, with its cure."""
    model = ppl.Model("m")
    for level in (1, 2):
        model.latent(lambda: Integers(0, level), name=f"n{level}")  # noqa: B023 (the trap itself)
    with pytest.raises(ppl.ModelError, match="level=level"):
        model.simulate(3)


def test_a_plan_refuses_what_it_was_not_made_for():
    """Another set of observed nodes, another input."""
    plan = ppl.compile(rows(), ["light"])
    with pytest.raises(ppl.QueryError, match="not planned"):
        plan.posterior({"light": [0.0, 1.0, 0.0], "switch": [0, 0, 0]})
    with pytest.raises(ppl.QueryError, match="pass an observation"):
        plan.posterior()
    assert torch.isfinite(plan.posterior({"light": [0.0, 1.0, 0.0]})["switch"].probs).all()
