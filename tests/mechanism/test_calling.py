"""How user bodies are called: whatever a body does, the draws are right or the model is refused."""

import math
import random
import re

import numpy
import pyro.distributions
import pytest
import torch
from torch.distributions import Normal as TorchNormal

import ppl
from ppl import DistributionError, GaltonError, ModelError, SimulationError
from ppl.distributions import (
    Bernoulli,
    Categorical,
    Exponential,
    Integers,
    MultivariateNormal,
    Normal,
    Poisson,
    Uniform,
)

N = 2000


def close(sample, mean, spread, sigmas=5):
    """Whether a sample mean is within `sigmas` standard errors of the truth."""
    sample = torch.as_tensor(sample, dtype=torch.float64)
    return abs(float(sample.mean()) - mean) < sigmas * spread / math.sqrt(sample.numel())


def correlation(a, b):
    return float(
        torch.corrcoef(torch.stack([a.reshape(-1).double(), b.reshape(-1).double()]))[0, 1]
    )


def with_x(prior=lambda: Normal(0, 1)):
    """A model with one real variable x."""
    m = ppl.Model("m")
    m.latent(name="x")(prior)
    return m


def with_k(count):
    """A model with one whole number k, uniform below count."""
    m = ppl.Model("m")
    m.latent(name="k")(lambda count=count: Integers(0, count - 1))
    return m


# -- branches -------------------------------------------------------------------------------------


def test_a_branch_on_a_real_parent_is_taken_draw_by_draw():
    m = with_x()

    @m.deterministic
    def y(x):
        if x > 0:
            return x
        return -2 * x

    s = m.simulate(N, seed=1)
    assert torch.equal(s["y"], torch.where(s["x"] > 0, s["x"], -2 * s["x"]))


def test_a_branch_that_a_few_rows_take_is_taken_by_these_rows():
    m = with_x()

    @m.deterministic
    def y(x):
        return 100.0 if 1.0 < float(x) < 1.1 else 0.0

    s = m.simulate(N, seed=1)
    assert torch.equal(s["y"] == 100, (s["x"] > 1.0) & (s["x"] < 1.1))


def test_a_finite_parent_chooses_the_family():
    m = with_k(2)

    @m.observed
    def y(k):
        return Normal(10, 1) if k == 1 else Exponential(2.0)

    s = m.simulate(N, seed=2)
    normal, exponential = s["y"][s["k"] == 1], s["y"][s["k"] == 0]
    assert close(normal, 10, 1)
    assert close(exponential, 0.5, 0.5)
    assert (exponential >= 0).all()
    for k, law in ((1, TorchNormal(10.0, 1.0)), (0, torch.distributions.Exponential(2.0))):
        score = float(m.log_joint({"k": k, "y": 1.5}))
        assert score == pytest.approx(
            math.log(0.5) + float(law.log_prob(torch.tensor(1.5))), rel=1e-6
        )


def test_a_real_parent_chooses_the_family():
    m = with_x()

    @m.observed
    def y(x):
        return Normal(x, 1) if x > 0 else Poisson(3.0)

    s = m.simulate(N, seed=2)
    up = s["x"] > 0
    assert close((s["y"] - s["x"])[up], 0, 1)
    assert close(s["y"][~up], 3, math.sqrt(3))
    assert (s["y"][~up] == s["y"][~up].round()).all()
    expected = (
        float(TorchNormal(0.0, 1.0).log_prob(torch.tensor(-1.0)))
        + 2 * math.log(3)
        - 3
        - math.log(2)
    )
    assert float(m.log_joint({"x": -1.0, "y": 2})) == pytest.approx(expected, rel=1e-6)


def test_whole_and_real_parents_together_choose_the_family():
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, 2))

    @m.observed
    def y(k, x):
        return [Normal(x, 0.1), Exponential(x * x + 0.1), Normal(-x, 0.1)][k]

    s = m.simulate(N, seed=3)
    assert close((s["y"] - s["x"])[s["k"] == 0], 0, 0.1)
    assert close((s["y"] + s["x"])[s["k"] == 2], 0, 0.1)
    assert close((s["y"] * (s["x"] ** 2 + 0.1))[s["k"] == 1], 1, 1)


def test_a_distribution_for_some_whole_numbers_and_a_value_for_others_is_refused():
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, 1))

    @m.observed
    def y(k, x):
        return Normal(x, 1) if k == 0 else x

    with pytest.raises(ModelError):
        m.simulate(100, seed=0)


def test_a_distribution_for_some_reals_and_a_value_for_others_is_refused():
    m = with_x()

    @m.observed
    def y(x):
        return Normal(x, 1) if x > 0 else x

    with pytest.raises(ModelError, match="Delta"):
        m.simulate(100, seed=0)


# -- whole numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 20, 600])
def test_whole_numbers_arrive_as_python_integers(count):
    m = with_k(count)

    @m.deterministic
    def y(k):
        return 1 if isinstance(k, int) else 0

    assert (m.simulate(N, seed=0)["y"] == 1).all()


@pytest.mark.parametrize("count", [2, 20, 600])
def test_whole_numbers_beside_reals_arrive_as_python_integers(count):
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, count - 1))

    @m.deterministic
    def y(k, x):
        return x + (1.0 if isinstance(k, int) else 0.0)

    s = m.simulate(N, seed=0)
    assert torch.equal(s["y"], s["x"] + 1)


@pytest.mark.parametrize("count", [4, 30, 1500])
def test_a_dictionary_with_a_default_is_looked_up_by_number(count):
    m = with_k(count)
    special = {count // 2 + 1: 7.0}

    @m.deterministic
    def y(k):
        return special.get(k, 0.0)

    s = m.simulate(3 * count + N, seed=0)
    expected = torch.tensor([special.get(k, 0.0) for k in s["k"].tolist()]).double()
    assert torch.equal(s["y"], expected)


@pytest.mark.parametrize("count", [4, 30, 1500])
def test_a_dictionary_with_a_default_beside_a_real_parent(count):
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, count - 1))
    special = {count // 2 + 1: 7.0}

    @m.deterministic
    def y(k, x):
        return x + special.get(k, 0.0)

    s = m.simulate(6000, seed=0)
    expected = s["x"] + torch.tensor([special.get(k, 0.0) for k in s["k"].tolist()]).double()
    assert torch.allclose(s["y"], expected)


def test_a_set_membership_in_a_chain_holds_for_numbers_that_appear_late():
    m = with_x(lambda: Uniform(1, 2))
    step = m.plate("step", 30, ordered=True)

    @m.latent(plate=step, start=lambda: Integers(0, 9))
    def count(previous, x):
        return Poisson(10000 * x if previous in {30, 31} else previous + x)

    s = m.simulate(500, seed=0)
    before, after = s["count"][:, :-1], s["count"][:, 1:]
    special = (before == 30) | (before == 31)
    assert special.sum() > 10
    # A Poisson of at least 10,000 is above 9,000 ten sigmas over.
    assert (after[special] > 9000).all()


def test_lists_and_numpy_tables_are_look_ups():
    m = with_k(12)
    table = numpy.arange(12.0) ** 2
    names = [float(i) for i in range(12)]

    @m.deterministic
    def y(k):
        return table[k] + names[k]

    @m.observed
    def z(k, y):
        return Categorical([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]][k % 2])

    s = m.simulate(N, seed=0)
    k = s["k"].double()
    assert torch.equal(s["y"], k**2 + k)
    assert (s["z"][s["k"] % 2 == 1] == 2).all()
    assert close(s["z"][s["k"] % 2 == 0], 0.5, 0.5)


def test_a_whole_number_of_a_plate_looks_up_a_table_of_another_plate():
    m = ppl.Model("mixture")
    row, point = m.plate("row", 3), m.plate("point", 5)

    @m.theta(plate=row)
    def level():
        return Normal(0, 10)

    @m.latent(plate=point)
    def z():
        return Categorical([0.2, 0.3, 0.5])

    @m.deterministic(plate=point)
    def y(z, level):
        return level[z]

    s = m.simulate(N, seed=0)
    assert torch.equal(s["y"], s["level"].gather(1, s["z"]))


# -- hidden randomness ----------------------------------------------------------------------------

GLOBALS = {
    "numpy": lambda: numpy.random.normal(),
    "random": lambda: random.gauss(0, 1),
    "torch": lambda: torch.randn(()),
}


@pytest.mark.parametrize("source", GLOBALS)
@pytest.mark.parametrize("real", [True, False])
def test_a_global_generator_is_seeded_once_for_each_draw_or_refused(source, real):
    noise = GLOBALS[source]
    m = with_x() if real else with_k(2)
    argument = "x" if real else "k"

    @m.observed(parents={"a": argument})
    def y(a):
        return a + noise()

    try:
        one, two, other = m.simulate(400, seed=1), m.simulate(400, seed=1), m.simulate(400, seed=2)
    except GaltonError:
        return
    noises = one["y"] - one[argument]
    assert torch.equal(one["y"], two["y"])
    assert not torch.equal(one["y"], other["y"])
    assert len(noises.round(decimals=9).unique()) == 400
    assert close(noises, 0, 1)
    assert abs(correlation(noises, one[argument])) < 5 / math.sqrt(400)


@pytest.mark.parametrize("source", GLOBALS)
def test_a_global_generator_that_only_some_real_draws_use_is_seeded_or_refused(source):
    noise = GLOBALS[source]
    m = ppl.Model("m")
    m.latent(name="x")(lambda rng: rng.normal())

    @m.observed
    def y(x):
        return noise() if abs(x) > 1.5 else 0.0

    answers = []
    for state in (1, 2):
        numpy.random.seed(state)
        random.seed(state)
        torch.manual_seed(state)
        try:
            answers.append(m.simulate(300, seed=3)["y"])
        except GaltonError:
            return
    assert torch.equal(*answers)


@pytest.mark.parametrize("source", GLOBALS)
def test_a_deterministic_node_that_draws_for_some_values_only_is_refused(source):
    noise = GLOBALS[source]
    m = with_x()

    @m.deterministic
    def y(x):
        return x + noise() if x < -1.0 else x

    with pytest.raises(ModelError):
        m.simulate(300, seed=3)


def test_the_process_keeps_its_random_state_and_dtype():
    m = with_x()

    @m.observed
    def y(x):
        return x + numpy.random.normal() + random.random()

    numpy.random.seed(5)
    random.seed(5)
    torch.manual_seed(5)
    expected = numpy.random.normal(), random.random(), float(torch.randn(()))
    numpy.random.seed(5)
    random.seed(5)
    torch.manual_seed(5)
    m.simulate(10, seed=0)
    assert (numpy.random.normal(), random.random(), float(torch.randn(()))) == expected
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    "make",
    [lambda: numpy.random.default_rng(0).normal, lambda: random.Random(0).random],
    ids=["numpy", "random"],
)
@pytest.mark.parametrize(
    "prior", [lambda: Normal(0, 1), lambda: Integers(0, 1)], ids=["real", "whole"]
)
def test_a_private_generator_is_refused(make, prior):
    hidden = make()
    m = with_x(prior)

    @m.observed
    def y(x):
        return Normal(x + hidden(), 1)

    with pytest.raises(ModelError, match="rng"):
        m.simulate(100, seed=0)


def test_a_private_generator_for_one_whole_number_only_is_refused():
    hidden = numpy.random.default_rng(0)
    m = with_k(20)

    @m.observed
    def y(k):
        return hidden.normal() if k == 7 else 0.0

    with pytest.raises(ModelError):
        m.simulate(300, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_a_private_generator_in_half_of_the_draws_is_refused(seed):
    hidden = numpy.random.default_rng(0)
    m = with_x()

    @m.observed
    def y(x):
        return hidden.normal() if x < 0 else 0.0

    with pytest.raises(ModelError):
        m.simulate(300, seed=seed)


def test_a_deterministic_node_that_is_not_is_refused():
    for noise in GLOBALS.values():
        m = with_x()

        @m.deterministic
        def y(x, noise=noise):
            return x + noise()

        with pytest.raises(ModelError, match="deterministic"):
            m.simulate(10, seed=0)


def test_a_deterministic_node_returns_no_distribution():
    m = with_x()

    @m.deterministic
    def y(x):
        return Normal(x, 1)

    with pytest.raises(ModelError, match="deterministic"):
        m.simulate(10, seed=0)


# -- state ----------------------------------------------------------------------------------------


def test_a_memo_by_value_changes_nothing():
    m = with_k(30)
    memo = {}

    @m.deterministic
    def square(k):
        if k not in memo:
            memo[k] = k * k
        return memo[k]

    for seed in (0, 1):
        s = m.simulate(N, seed=seed)
        assert torch.equal(s["square"], s["k"] ** 2)


def test_a_memo_by_real_value_changes_nothing():
    m = with_x()
    memo = {}

    @m.deterministic
    def square(x):
        key = float(x)
        if key not in memo:
            memo[key] = key * key
        return memo[key]

    s = m.simulate(300, seed=0)
    assert torch.equal(s["square"], s["x"] ** 2)


@pytest.mark.parametrize(
    "prior",
    [lambda: Normal(0, 1), lambda: Integers(0, 1), lambda: Integers(0, 99)],
    ids=["real", "bit", "whole"],
)
def test_a_counter_in_the_answer_is_refused(prior):
    m = with_x(prior)
    count = [0]

    @m.observed
    def y(x):
        count[0] += 1
        return Normal(x + count[0], 1)

    with pytest.raises(ModelError):
        m.simulate(100, seed=0)

    m, total = with_x(prior), 0

    @m.observed
    def z(x):
        nonlocal total
        total += 1
        return Normal(x + total, 1)

    with pytest.raises(ModelError):
        m.simulate(100, seed=0)


def test_a_counter_that_matters_late_is_refused_or_without_effect():
    m = with_x()
    count = [0]

    @m.observed
    def y(x):
        count[0] += 1
        return float(x) if count[0] < 60 else 1000.0

    try:
        s = m.simulate(200, seed=0)
    except ModelError:
        return
    assert torch.equal(s["x"], s["y"])


@pytest.mark.parametrize("asks", [True, False], ids=["rng", "torch"])
def test_a_body_that_sorts_its_argument_in_place_leaves_the_parent_alone(asks):
    m = with_x(lambda: Normal([0.0] * 4, 1))

    if asks:

        @m.observed
        def y(x, rng):
            x.sort()
            return x[0] + rng.normal()
    else:

        @m.observed
        def y(x):
            x.clamp_(min=0)
            return Normal(x, 1)

    alone = m.simulate(200, seed=0, of="x")["x"]
    try:
        together = m.simulate(200, seed=0)["x"]
    except GaltonError:
        return
    assert torch.equal(alone, together)


# -- closures -------------------------------------------------------------------------------------


def test_a_loop_variable_that_moved_on_is_refused():
    m = ppl.Model("m")
    for l in range(3):  # noqa: E741

        @m.latent(name=f"z{l}")
        def z():
            return Normal(l, 1)  # noqa: B023

    with pytest.raises(ModelError, match="l=l"):
        m.simulate(10, seed=0)
    with pytest.raises(ModelError, match="l=l"):
        ppl.infer(m, {"z1": 0.0})


MODULE = """
import ppl
from ppl.distributions import Normal
m = ppl.Model("m")
for l in range(3):
    @m.latent(name=f"z{l}")
    def z():
        return Normal(BODY, 0.1)
"""


@pytest.mark.parametrize(
    "expression",
    ["l", "sum(w * l for w in [1.0])", "(lambda: l)()", "[l + i for i in range(2)][0]"],
)
def test_a_loop_variable_of_a_module_that_moved_on_is_refused(expression):
    scope = {"__name__": "module"}
    exec(MODULE.replace("BODY", expression), scope)
    with pytest.raises(ModelError, match="l=l"):
        scope["m"].simulate(10, seed=0)


def test_a_loop_variable_kept_as_a_default_is_right():
    m = ppl.Model("m")
    for l in range(3):  # noqa: E741

        @m.latent(name=f"z{l}")
        def z(l=l):  # noqa: E741
            return Normal(10 * l, 1)

    s = m.simulate(N, seed=0)
    for l in range(3):  # noqa: E741
        assert close(s[f"z{l}"], 10 * l, 1)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1.0, 2.0], lambda v: v.__setitem__(0, 5.0)),
        (numpy.ones(2), lambda v: v.__setitem__(0, 5.0)),
        (torch.ones(2), lambda v: v.__setitem__(0, 5.0)),
        ({0: 1.0, 1: 2.0}, lambda v: v.__setitem__(0, 5.0)),
    ],
    ids=["list", "array", "tensor", "dictionary"],
)
def test_a_table_that_changed_since_the_decorator_is_refused(value, change):
    m = with_k(2)

    @m.observed
    def y(k):
        return Normal(value[k], 1)

    change(value)
    with pytest.raises(ModelError, match="value=value"):
        m.simulate(10, seed=0)


# -- rng ------------------------------------------------------------------------------------------


def test_an_rng_body_gets_numpy_arrays_and_python_scalars():
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, 2))
    m.latent(name="v")(lambda: Normal([0.0, 1.0, 2.0], 1))

    @m.observed
    def y(x, k, v, rng):
        assert type(x) is float
        assert type(k) is int
        assert type(v) is numpy.ndarray
        assert v.dtype == numpy.float64
        assert isinstance(rng, numpy.random.Generator)
        return math.exp(x) + k + v.sum() + 0 * rng.normal()

    s = m.simulate(200, seed=0)
    assert torch.allclose(s["y"], s["x"].exp() + s["k"] + s["v"].sum(-1), rtol=1e-14)


def test_rng_gives_each_draw_and_member_its_own_noise():
    m = ppl.Model("m")
    row = m.plate("row", 3)

    @m.observed(plate=row)
    def y(rng):
        return rng.normal()

    one, two, other = (m.simulate(1000, seed=s)["y"] for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert len(one.unique()) == 3000
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(correlation(one[:, i], one[:, j])) < 5 / math.sqrt(1000)


def test_deterministic_with_rng_is_refused():
    m = with_x()

    @m.deterministic
    def y(x, rng):
        return x

    with pytest.raises(ModelError, match="rng"):
        m.simulate(10, seed=0)


# -- numbers --------------------------------------------------------------------------------------


def test_numbers_keep_float64_whatever_they_are_mixed_with():
    m = with_x()
    m.latent(name="k")(lambda: Integers(1, 3))

    @m.deterministic
    def y(x, k):
        return x / 3 + k / 3

    @m.deterministic
    def z(k):
        return k / 3

    @m.deterministic
    def w(x):
        return torch.tensor(0.1) + x + numpy.float64(0.2)

    @m.deterministic
    def branch(x):
        return 1 if x > 0 else x / 3

    s = m.simulate(N, seed=0)
    assert all(s[name].dtype == torch.float64 for name in "yzw")
    assert torch.allclose(s["y"], s["x"] / 3 + s["k"].double() / 3, rtol=1e-14, atol=1e-15)
    assert torch.equal(s["z"], s["k"].double() / 3)
    assert torch.allclose(s["w"], s["x"] + 0.1 + 0.2, rtol=1e-14, atol=1e-15)
    assert torch.equal(s["branch"], torch.where(s["x"] > 0, torch.ones(()), s["x"] / 3))


def test_a_chain_that_starts_whole_and_goes_on_real_keeps_its_fractions():
    m = with_x()
    step = m.plate("step", 3, ordered=True)

    @m.deterministic(plate=step, start=lambda: 0)
    def y(previous, x):
        return previous + x / 2

    s = m.simulate(100, seed=0)
    assert torch.allclose(s["y"], s["x"][:, None] * torch.tensor([0.0, 0.5, 1.0]))


# -- shapes and nonsense --------------------------------------------------------------------------


def test_shapes_that_change_from_draw_to_draw_are_refused():
    m = with_x()

    @m.observed
    def y(x):
        return [0.0] * (1 if x > 0 else 2)

    with pytest.raises(ModelError, match="shape"):
        m.simulate(100, seed=0)

    m = with_k(2)

    @m.observed
    def z(k):
        return Normal([0.0] * (k + 1), 1)

    with pytest.raises(ModelError, match="shape"):
        m.simulate(100, seed=0)

    m = with_x()
    m.latent(name="k")(lambda: Integers(0, 1))

    @m.observed
    def w(k, x):
        return Normal(x.expand(k + 1), 1)

    with pytest.raises(ModelError, match="shape"):
        m.simulate(100, seed=0)


@pytest.mark.parametrize(
    "prior", [lambda: Normal(0, 1), lambda: Integers(-1, 1)], ids=["real", "whole"]
)
def test_none_is_refused(prior):
    m = with_x(prior)

    @m.observed
    def y(x):
        Normal(x, 1)

    with pytest.raises(ModelError, match="None"):
        m.simulate(100, seed=0)

    m = with_x(prior)

    @m.observed
    def z(x):
        if x > 0:
            return Normal(x, 1)

    with pytest.raises(ModelError, match="None"):
        m.simulate(100, seed=0)


@pytest.mark.parametrize("thing", ["words", object(), {"a": 1.0}, 1j])
def test_what_is_no_number_is_refused(thing):
    m = with_x()

    @m.observed
    def y(x):
        return thing

    with pytest.raises(ModelError):
        m.simulate(10, seed=0)


# -- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        lambda x: Normal(x, float("nan")),
        lambda x: Normal(torch.sqrt(x), 1),
        lambda x: Normal(0, x),
        lambda x: Normal(0, float(x)),
        lambda x: Bernoulli(x),
        lambda x: TorchNormal(torch.zeros(()), x),
        lambda x: Categorical([0.5, 0.6]),
        lambda x: Categorical(torch.stack([x.abs() / 100 + 0.5, torch.tensor(0.5)])),
        lambda x: Uniform(x, 0.0),
        lambda x: Normal(0, 1) if x > 0 else Poisson(x),
        lambda x: torch.distributions.FisherSnedecor(x, torch.ones(())),
        lambda x: torch.distributions.Kumaraswamy(x, torch.ones(())),
    ],
    ids=[
        "nan",
        "sqrt",
        "scale",
        "float",
        "bernoulli",
        "torch",
        "row",
        "rows",
        "uniform",
        "branch",
        "foreign",
        "kumaraswamy",
    ],
)
def test_parameters_out_of_range_for_some_draws_are_refused(body):
    m = with_x(lambda: Normal(2, 1))
    m.observed(name="y")(body)

    with pytest.raises(DistributionError, match="y"):
        m.simulate(400, seed=0)


def test_probability_rows_that_do_not_sum_to_one_for_one_whole_number_are_refused():
    m = with_k(3)

    @m.observed
    def y(k):
        return Categorical([[0.5, 0.5], [0.5, 0.4], [1.0, 0.0]][k])

    with pytest.raises(DistributionError, match="y"):
        m.simulate(100, seed=0)


# -- raising --------------------------------------------------------------------------------------


def test_a_raising_body_says_node_draw_and_a_seed_that_fails_again():
    m = with_x()

    def body(x, rng):
        noise = rng.normal()
        if noise > 2.0:
            raise RuntimeError("diverged")
        return x + noise

    m.observed(name="y")(body)
    with pytest.raises(
        SimulationError, match=r"'y'.*diverged.*draw \d+.*default_rng\(\d+\)"
    ) as caught:
        m.simulate(N, seed=1)
    assert caught.value.node == "y"
    with pytest.raises(RuntimeError, match="diverged"):
        body(0.0, numpy.random.default_rng(caught.value.seed))


def test_a_raising_body_with_a_global_generator_fails_again_under_the_seed_it_names():
    m = with_x()

    def body(x):
        noise = numpy.random.normal()
        if noise > 2.0:
            raise RuntimeError("diverged")
        return x + noise

    m.observed(name="y")(body)
    with pytest.raises(SimulationError, match=r"draw \d+") as caught:
        m.simulate(N, seed=1)
    replay = re.search(r"numpy\.random\.seed\((\d+)\)", str(caught.value))
    assert replay is not None
    numpy.random.seed(int(replay[1]))
    with pytest.raises(RuntimeError, match="diverged"):
        body(0.0)


def test_a_body_without_noise_that_raises_says_node_draw_and_arguments():
    m = with_x()

    @m.observed
    def y(x):
        if x > 2.0:
            raise RuntimeError("too hot")
        return x

    with pytest.raises(SimulationError, match=r"'y'.*too hot.*draw \d+.*x=") as caught:
        m.simulate(N, seed=1)
    assert caught.value.node == "y"


def test_a_body_that_raises_at_once_is_a_simulation_error():
    m = with_x()

    @m.observed
    def y(x):
        raise RuntimeError("no way")

    with pytest.raises(SimulationError, match="no way"):
        m.simulate(10, seed=0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_recorded_failures_are_counted_at_any_rate(rate):
    m = with_x(lambda: Uniform(0, 1))

    @m.observed
    def y(x, rng):
        if x < rate:
            raise RuntimeError("failed")
        return x + rng.normal()

    s = m.simulate(500, seed=0, failures="record")
    assert torch.equal(s.failed, s["x"] < rate)
    assert s.failures["y"] == int(s.failed.sum())


def test_recorded_failures_of_whole_numbers_are_counted():
    m = with_k(4)

    @m.observed
    def y(k):
        return 1 / k

    s = m.simulate(500, seed=0, failures="record")
    assert torch.equal(s.failed, s["k"] == 0)


@pytest.mark.parametrize("way", ["vmap", "single", "rng", "table"])
def test_nan_is_a_failure_however_the_body_is_called(way):
    m = with_x() if way != "table" else with_x(lambda: Integers(-1, 1))
    bodies = {
        "vmap": lambda x: torch.sqrt(x),
        "single": lambda x: math.sqrt(x) if x >= 0 else math.nan,
        "rng": lambda x, rng: math.sqrt(x) if x >= 0 else math.nan,
        "table": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    }
    m.observed(name="y")(bodies[way])
    s = m.simulate(500, seed=0)
    assert torch.equal(s.failed, s["x"] < 0)


# -- seeds ----------------------------------------------------------------------------------------


def everything():
    m = with_x()
    row = m.plate("row", 3)

    @m.latent(plate=row)
    def k():
        return Bernoulli(0.5)

    @m.observed(plate=row)
    def y(x, k):
        return Normal(x * k, 1)

    @m.observed(plate=row)
    def z(y, rng):
        return y + rng.normal()

    return m


def test_one_seed_gives_the_same_bits_and_another_does_not():
    a, b, c = (
        everything().simulate(300, seed=4),
        everything().simulate(300, seed=4),
        everything().simulate(300, seed=5),
    )
    for name in a:
        assert torch.equal(a[name], b[name])
        assert not torch.equal(a[name], c[name])


def test_a_second_simulation_of_one_model_gives_the_same_bits():
    m = everything()
    a = m.simulate(300, seed=4)
    m.simulate(300, seed=9)
    b = m.simulate(300, seed=4)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_members_of_a_plate_are_independent():
    m = ppl.Model("m")
    row = m.plate("row", 4)
    for name, body in {
        "a": lambda: Normal(0, 1),
        "b": lambda: Bernoulli(0.5),
        "c": lambda: torch.distributions.FisherSnedecor(torch.tensor(20.0), torch.tensor(20.0)),
        "d": lambda row: Normal(row, 1) if row < 2 else Exponential(1.0),
    }.items():
        m.latent(name=name, plate=row)(body)
    n = 4000
    s = m.simulate(n, seed=0)
    columns = [s[name][:, i] for name in "abcd" for i in range(4)]
    matrix = torch.corrcoef(torch.stack([c.double() for c in columns])) - torch.eye(
        16, dtype=torch.float64
    )
    assert matrix.abs().max() < 5 / math.sqrt(n)


# -- plates ---------------------------------------------------------------------------------------


def test_a_chain_remembers_its_last_member():
    m = ppl.Model("m")
    step = m.plate("step", 6, ordered=True)

    @m.latent(plate=step, start=lambda: Normal(0, 1))
    def walk(previous):
        return Normal(0.5 * previous, 1)

    @m.deterministic(plate=step, start=lambda walk: walk, parents={"last": ppl.previous("walk")})
    def change(walk, last):
        return walk - last

    n = 4000
    s = m.simulate(n, seed=0)
    path = s["walk"]
    variance = 1.0
    for t in range(6):
        # The variance of a sample variance of normals is 2 v^2 / n.
        assert abs(float(path[:, t].var()) - variance) < 5 * variance * math.sqrt(2 / n)
        variance = 0.25 * variance + 1
    noise = path[:, 1:] - 0.5 * path[:, :-1]
    matrix = torch.corrcoef(noise.T) - torch.eye(5, dtype=torch.float64)
    assert matrix.abs().max() < 5 / math.sqrt(n)
    assert torch.allclose(s["change"][:, 1:], path[:, 1:] - path[:, :-1])
    assert torch.equal(s["change"][:, 0], path[:, 0])


def test_a_chain_inside_a_plate_keeps_its_members_apart():
    m = ppl.Model("m")
    unit, step = m.plate("unit", 2), m.plate("step", 4, ordered=True)

    @m.theta(plate=unit)
    def drift():
        return Normal(0, 5)

    @m.deterministic(plate=(unit, step), start=lambda drift: drift)
    def path(previous, drift, step):
        return previous + drift * step

    s = m.simulate(50, seed=0)
    expected = s["drift"][:, :, None] * torch.tensor([1.0, 2.0, 4.0, 7.0])
    assert s["path"].shape == (50, 2, 4)
    assert torch.allclose(s["path"], expected.double())


def test_a_block_is_called_once_for_all_members():
    m = ppl.Model("m")
    unit, day = m.plate("unit", 2), m.plate("day", 3)

    @m.theta(plate=unit)
    def rate():
        return Normal(0, 1)

    @m.deterministic(plate=unit, over=day)
    def curve(rate):
        return torch.stack([rate * t for t in range(3)])

    @m.observed(plate=(unit, day))
    def y(curve):
        return Normal(curve, 0.01)

    s = m.simulate(400, seed=0)
    assert s["curve"].shape == (400, 2, 3)
    assert torch.allclose(s["curve"], s["rate"][..., None] * torch.arange(3.0))
    assert close(s["y"] - s["curve"], 0, 0.01)


def test_a_block_of_the_wrong_length_is_refused():
    m = with_x()
    day = m.plate("day", 3)

    @m.deterministic(over=day)
    def curve(x):
        return torch.stack([x, x])

    with pytest.raises(ModelError, match="day"):
        m.simulate(10, seed=0)


def test_long_format_gives_each_answer_its_own_student_and_question():
    m = ppl.Model("m")
    student, question = m.plate("student", 3), m.plate("question", 4)
    answer = m.plate("answer", of=(student, question))

    @m.latent(plate=student)
    def skill():
        return Normal(0, 1)

    @m.latent(plate=question)
    def ease():
        return Normal(0, 10)

    @m.latent(plate=(student, question))
    def luck():
        return Normal(0, 1)

    @m.deterministic(plate=answer)
    def total(skill, ease, luck, student, question):
        return skill + ease + luck + 100 * student + 1000 * question

    columns = {"student": [0, 2, 2, 1, 0], "question": [3, 0, 1, 2, 3]}
    s = m.simulate(100, seed=0, inputs=columns)
    i, j = torch.tensor(columns["student"]), torch.tensor(columns["question"])
    assert torch.allclose(
        s["total"], s["skill"][:, i] + s["ease"][:, j] + s["luck"][:, i, j] + 100 * i + 1000 * j
    )


def test_long_format_keeps_the_other_plate_as_a_leading_axis():
    m = ppl.Model("m")
    student, question = m.plate("student", 3), m.plate("question", 4)
    answer = m.plate("answer", of=student)

    @m.latent(plate=(student, question))
    def luck():
        return Normal([0.0, 0.0], 1)

    @m.deterministic(plate=answer)
    def sums(luck):
        assert luck.shape[-2:] == (4, 2)
        return luck.sum(0)

    i = [2, 0, 0, 1, 2]
    s = m.simulate(50, seed=0, inputs={"student": i})
    assert torch.allclose(s["sums"], s["luck"][:, i].sum(2))


def test_extra_plates_lead_in_order_of_declaration():
    m = ppl.Model("m")
    a, b, c = m.plate("a", 2), m.plate("b", 3), m.plate("c", 4)

    @m.latent(plate=(c, a, b))
    def z():
        return Normal([0.0] * 5, 1)

    @m.deterministic(plate=b)
    def y(z):
        assert tuple(z.shape) == (2, 4, 5)
        return z[1, 3, 2]

    s = m.simulate(50, seed=0)
    assert s["z"].shape == (50, 2, 3, 4, 5)
    assert torch.equal(s["y"], s["z"][:, 1, :, 3, 2])


def test_a_plate_index_arrives_as_an_integer():
    m = with_x()
    row = m.plate("row", 20)
    table = {i: float(i * i) for i in range(20)}

    @m.deterministic(plate=row)
    def y(row, x):
        return table.get(row, -1.0) + x

    s = m.simulate(50, seed=0)
    assert torch.allclose(s["y"] - s["x"][:, None], torch.arange(20.0).double() ** 2)


# -- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [True, False], ids=["rng", "vmap"])
def test_outputs_become_nodes(asks):
    m = with_x()
    body = (
        (lambda x, rng: {"a": x, "b": [x, 2 * x], "c": 3})
        if asks
        else (lambda x: {"a": x, "b": [x, 2 * x], "c": 3})
    )
    m.observed(name="town", outputs=("a", "b", "c"))(body)

    @m.deterministic(parents={"a": "town.a", "b": "town.b"})
    def back(a, b):
        return a + b[1]

    s = m.simulate(50, seed=0)
    x = s["x"]
    assert torch.equal(s["town.a"], x)
    assert torch.equal(s["town.b"], torch.stack([x, 2 * x], -1))
    assert s["town.c"].dtype == torch.int64
    assert (s["town.c"] == 3).all()
    assert torch.allclose(s["back"], 3 * x)


def test_outputs_that_are_whole_for_some_draws_keep_their_fractions():
    m = with_x()

    @m.observed(outputs=("a",))
    def town(x):
        return {"a": float(x) if x > 0 else 0}

    for seed in range(4):
        s = m.simulate(50, seed=seed)
        assert torch.equal(s["town.a"].double(), s["x"].clamp(min=0))


def test_outputs_beside_a_whole_number_are_right():
    m = with_x()
    m.latent(name="k")(lambda: Integers(0, 2))

    @m.observed(outputs=("a", "b"))
    def town(k, x):
        return {"a": x + k, "b": x * [1.0, 2.0, 3.0][k]}

    s = m.simulate(50, seed=0)
    assert torch.allclose(s["town.a"], s["x"] + s["k"])
    assert torch.allclose(s["town.b"], s["x"] * (s["k"] + 1))


def test_outputs_whose_shapes_trade_places_are_refused():
    m = with_x()

    @m.observed(outputs=("a", "b"))
    def town(x):
        return {"a": [1.0, 2.0], "b": [3.0]} if x > 0 else {"a": [1.0], "b": [2.0, 3.0]}

    with pytest.raises(ModelError):
        m.simulate(50, seed=0)


def test_outputs_with_a_key_missing_for_some_draws_are_refused():
    m = with_x()

    @m.observed(outputs=("a", "b"))
    def town(x):
        return {"a": 1.0, "b": 2.0} if x > 0 else {"a": 1.0}

    with pytest.raises(ModelError, match="outputs"):
        m.simulate(50, seed=0)


# -- whole batches --------------------------------------------------------------------------------


def test_a_kept_promise_of_whole_batches_is_right():
    m = with_x()
    row = m.plate("row", 3)

    @m.observed(plate=row, vectorized=True)
    def y(x):
        return x + torch.randn(len(x))

    @m.observed(plate=row, vectorized=True)
    def z(x, rng):
        return x + rng.normal(size=len(x))

    @m.observed(plate=row, vectorized=True)
    def w(x):
        return Normal(torch.stack([x, -x], -1), 1)

    s = m.simulate(N, seed=0)
    again = m.simulate(N, seed=0)
    for name in "yzw":
        assert torch.equal(s[name], again[name])
    for name in "yz":
        noise = s[name] - s["x"][:, None]
        assert noise.shape == (N, 3)
        assert close(noise, 0, 1)
        assert abs(correlation(noise[:, 0], noise[:, 1])) < 5 / math.sqrt(N)
    assert s["w"].shape == (N, 3, 2)
    assert close(s["w"][..., 0] + s["w"][..., 1], 0, math.sqrt(2))


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x - x.mean(0),
        lambda x: x.cumsum(0),
        lambda x: x.flip(0),
        lambda x: x.flip(0).cumsum(0).flip(0),
        lambda x: x.sort()[0],
        lambda x: x.sort(descending=True)[0],
        lambda x: x.roll(1),
        lambda x: Normal(x.cumsum(0), 1),
        lambda x: Normal(x - x.mean(), 1),
        lambda x: x + torch.randn(()),
        lambda x: Normal(x + torch.randn(()), 1),
        lambda x: x[0] + torch.zeros(len(x)),
    ],
    ids=[
        "mean",
        "cumsum",
        "flip",
        "reverse",
        "sort",
        "descending",
        "roll",
        "normal",
        "centre",
        "noise",
        "parameter",
        "first",
    ],
)
def test_a_promise_of_whole_batches_that_mixes_draws_is_refused(body):
    m = with_x()
    m.observed(name="y", vectorized=True)(body)
    with pytest.raises(ModelError, match="vectorized"):
        m.simulate(100, seed=0)


def test_mixing_draws_of_a_rare_event_is_refused():
    m = ppl.Model("m")
    m.latent(name="k")(lambda: Bernoulli(0.05))

    @m.observed(vectorized=True)
    def y(k):
        return Normal(k - k.double().mean(), 1)

    with pytest.raises(ModelError, match="vectorized"):
        m.simulate(500, seed=0)


def test_a_deterministic_promise_of_whole_batches_is_probed():
    m = with_x()

    @m.deterministic(vectorized=True)
    def y(x):
        return x + torch.randn(len(x))

    with pytest.raises(ModelError, match="deterministic"):
        m.simulate(100, seed=0)


def test_a_promise_of_whole_batches_without_parents_is_right_or_refused():
    m = ppl.Model("m")

    @m.latent(vectorized=True)
    def z():
        return Normal(0, 1)

    try:
        s = m.simulate(500, seed=0)
    except GaltonError:
        return
    assert len(s["z"].unique()) == 500


def test_a_promise_of_whole_batches_with_the_wrong_length_is_refused():
    m = with_x()

    @m.observed(vectorized=True)
    def y(x):
        return x[:5]

    with pytest.raises(ModelError, match="leading axis"):
        m.simulate(100, seed=0)

    m = with_x()

    @m.observed(vectorized=True)
    def z(x):
        return Normal(x[:8], 1)

    with pytest.raises(ModelError, match="leading axis"):
        m.simulate(100, seed=0)


# -- raw distributions ----------------------------------------------------------------------------

RAW = {
    "torch": lambda x: TorchNormal(x, torch.tensor(0.5)),
    "pyro": lambda x: pyro.distributions.Normal(x, 0.5),
    "affine": lambda x: torch.distributions.TransformedDistribution(
        TorchNormal(torch.zeros(()), torch.ones(())), [torch.distributions.AffineTransform(x, 0.5)]
    ),
    "branch": lambda x: TorchNormal(x, torch.tensor(0.5)) if x > 0 else Normal(x, 0.5),
}


@pytest.mark.parametrize("kind", RAW)
def test_raw_distributions_are_adopted(kind):
    m = with_x()
    m.observed(name="y")(RAW[kind])
    s = m.simulate(1000, seed=0)
    noise = s["y"] - s["x"]
    assert close(noise, 0, 0.5)
    assert abs(float(noise.var()) - 0.25) < 5 * 0.25 * math.sqrt(2 / 1000)
    expected = float(
        TorchNormal(0.0, 1.0).log_prob(torch.tensor(0.3))
        + TorchNormal(0.3, 0.5).log_prob(torch.tensor(1.0))
    )
    assert float(m.log_joint({"x": 0.3, "y": 1.0})) == pytest.approx(expected, rel=1e-6)


def test_raw_vectors_are_adopted():
    m = with_x()

    @m.observed
    def y(x):
        return pyro.distributions.Normal(x.expand(3), 0.5).to_event(1)

    @m.observed
    def z(x):
        return torch.distributions.MultivariateNormal(x.expand(2), torch.eye(2))

    @m.observed
    def w(x):
        return MultivariateNormal(x.expand(2), torch.eye(2))

    s = m.simulate(500, seed=0)
    assert s["y"].shape == (500, 3)
    assert close(s["y"] - s["x"][:, None], 0, 0.5)
    assert close(s["z"] - s["x"][:, None], 0, 1)
    assert close(s["w"] - s["x"][:, None], 0, 1)


def test_a_raw_discrete_distribution_gives_whole_numbers_to_its_children():
    m = ppl.Model("m")
    m.latent(name="k")(lambda: torch.distributions.Binomial(3, torch.tensor(0.5)))

    @m.deterministic
    def y(k):
        return {0: 1.0, 1: 2.0, 2: 4.0, 3: 8.0}[k]

    s = m.simulate(500, seed=0)
    assert s["k"].dtype == torch.int64
    assert torch.equal(s["y"], 2.0 ** s["k"].double())


# -- answers --------------------------------------------------------------------------------------


def test_a_dictionary_look_up_is_inferred_exactly():
    m = with_k(12)

    @m.observed
    def y(k):
        return Bernoulli({3: 0.9}.get(k, 0.1))

    probability = ppl.infer(m, {"y": 1})["k"].probs
    assert float(probability[3]) == pytest.approx(0.9 / (0.9 + 11 * 0.1))
