"""A model as flat vectors: the prior is a distribution over rows, the simulator maps rows to rows."""

import copy

import cloudpickle
import pytest
import torch
from torch.distributions import Distribution, biject_to, constraints

import ppl
from ppl.distributions import (
    Bernoulli,
    Dirichlet,
    Exponential,
    Gamma,
    Integers,
    LogNormal,
    Normal,
    Uniform,
)


def many() -> ppl.Model:
    """θ of several kinds, one of which depends on a nuisance, and latent nodes below them."""
    model = ppl.Model("many")
    row, day = model.plate("row", 3), model.plate("day", 4, ordered=True)

    @model.nuisance
    def spread():
        return Gamma(2, 1)

    @model.nuisance
    def unrelated():
        return Normal(0, 1)

    @model.theta
    def level(spread):
        return Normal(0, spread)

    @model.deterministic
    def shifted(level):
        return level + 1

    @model.theta(plate=row)
    def offset(shifted):
        return Normal([0, shifted], 1)

    @model.theta(plate=day, start=lambda: Normal(0, 1))
    def walk(previous):
        return Normal(previous, 1)

    @model.latent
    def hidden(level):
        return Normal(level, 1)

    @model.observed(plate=row)
    def y(offset, hidden, unrelated):
        return Normal(offset[1] + hidden + unrelated, 1)

    @model.observed
    def hits(level, walk):
        return Bernoulli(torch.sigmoid(level + walk.sum(0)))

    @model.summary
    def middle(y):
        return y.mean(0)

    return model


def test_a_row_holds_theta_and_what_it_depends_on():
    """A nuisance above θ is in the row, one beside it is not."""
    prior = many().prior
    assert isinstance(prior, Distribution)
    assert prior.names == ("spread", "level", "offset", "walk")
    assert prior.event_shape == (1 + 1 + 3 * 2 + 4,)
    assert prior.labels[2:5] == ["offset[0, 0]", "offset[0, 1]", "offset[1, 0]"]
    assert prior.batch_shape == ()
    assert prior.sample().shape == (12,)
    assert prior.sample((2, 5)).shape == (2, 5, 12)
    assert prior.sample((3,)).dtype == torch.float32


def test_rows_go_back_to_names():
    """And from names to rows, labels and plain lists included."""
    prior = many().prior
    rows = prior.sample((7,))
    values = prior.named(rows)
    assert values["offset"].shape == (7, 3, 2)
    assert torch.equal(prior.layout.flat(values).to(torch.float32), rows)
    one = {name: value[0] for name, value in values.items()}
    assert torch.equal(prior.flat(one), rows[0])
    with pytest.raises(ppl.QueryError, match="'spread' is missing"):
        prior.flat({"level": 1.0, "offset": torch.zeros(3, 2), "walk": [0.0] * 4})
    with pytest.raises(ppl.QueryError, match="has 12 numbers"):
        prior.named(torch.zeros(3, 5))


def test_the_density_of_a_row_is_that_of_the_model():
    """The log joint of the same nodes, and minus infinity outside the support or for nonsense."""
    model = many()
    alone = ppl.Model(
        "alone", model.graph.subgraph(["spread", "level", "shifted", "offset", "walk"])
    )
    prior = model.prior
    rows = prior.sample((5,)).to(torch.float64)
    expected = torch.stack(
        [alone.log_joint({k: v[i] for k, v in prior.named(rows).items()}) for i in range(5)]
    )
    torch.testing.assert_close(prior.log_prob(rows), expected)
    bad = rows.clone()
    bad[0, 0], bad[1, 3] = -1.0, torch.nan
    scores = prior.log_prob(bad)
    assert torch.isneginf(scores[:2]).all()
    torch.testing.assert_close(scores[2:], expected[2:])
    assert prior.log_prob(rows.reshape(1, 5, 12)).shape == (1, 5)
    assert prior.log_prob(rows.to(torch.float32)).dtype == torch.float32


def test_the_density_is_differentiable():
    """Through parents and functions of them; a bad row spoils no other's gradient."""
    prior = many().prior
    rows = prior.sample((4,)).to(torch.float64)
    rows[3, 0] = -1.0
    rows.requires_grad_()
    prior.log_prob(rows)[:3].sum().backward()
    step = 1e-6
    for column in (0, 1, 3, 9):
        moved = rows.detach().clone()
        moved[0, column] += step
        with torch.no_grad():
            slope = (prior.log_prob(moved)[0] - prior.log_prob(rows)[0]) / step
        assert float(rows.grad[0, column]) == pytest.approx(float(slope), abs=1e-3)
    assert torch.isfinite(rows.grad).all()


def test_the_global_generator_decides():
    """As torch's own distributions have it."""
    prior, simulator = many().vectors()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        rows = prior.sample((4,))
        found.append((rows, simulator(rows), simulator(rows)))
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][1], found[0][2])


def test_means_and_deviations_are_those_of_the_draws():
    """Ten thousand draws; libraries standardise by them."""
    model = ppl.Model("m")
    model.theta(lambda: Normal([1.0, -2.0], [0.5, 3.0]), name="a")
    error = torch.tensor([0.5, 3.0]) / 100
    assert bool(((model.prior.mean - torch.tensor([1.0, -2.0])).abs() < 4 * error).all())
    assert bool(((model.prior.stddev - torch.tensor([0.5, 3.0])).abs() < 4 * error).all())


def supports() -> dict[str, ppl.Model]:
    """A model for each kind of support."""
    real, ranges, vectors, varying, whole = (
        ppl.Model(n) for n in ("real", "ranges", "vectors", "varying", "whole")
    )
    real.theta(lambda: Normal([0, 0], 1), name="a")
    ranges.theta(lambda: Uniform([0, 2], [1, 3]), name="a")
    ranges.theta(lambda: LogNormal(0, 1), name="b")
    ranges.theta(lambda: Normal(0, 1), name="c")
    vectors.theta(lambda: Dirichlet([1.0, 1, 1]), name="a", plate=vectors.plate("row", 2))
    vectors.theta(lambda: Uniform([0, 2], [1, 3]), name="b")
    varying.theta(lambda: Exponential(1), name="a")
    varying.theta(lambda a: Uniform(0, a), name="b")
    whole.theta(lambda: Integers(1, 6), name="a")
    return {m.name: m for m in (real, ranges, vectors, varying, whole)}


@pytest.mark.parametrize("kind", ["real", "ranges", "vectors"])
def test_a_support_knows_its_rows_and_how_to_reach_them(kind):
    """Draws are inside, and the bijection goes there and back with its determinant."""
    prior = supports()[kind].prior
    rows = prior.sample((50,))
    assert prior.support.check(rows).shape == (50,)
    assert bool(prior.support.check(rows).all())
    to = biject_to(prior.support)
    free = to.inv(rows[:5].to(torch.float64))
    torch.testing.assert_close(to(free), rows[:5].to(torch.float64), atol=1e-6, rtol=1e-5)
    assert to.log_abs_det_jacobian(free, to(free)).shape == (5,)
    noise = torch.randn(20, free.shape[1], dtype=torch.float64)
    assert bool(prior.support.check(to(noise)).all())
    if kind != "real":
        outside = rows.clone()
        outside[:, 0] = -0.5
        assert not bool(prior.support.check(outside).any())
    else:
        assert prior.support.base_constraint is constraints.real
    if kind != "vectors":
        full = torch.autograd.functional.jacobian(to, free[0])
        torch.testing.assert_close(
            to.log_abs_det_jacobian(free, to(free))[0], torch.linalg.slogdet(full)[1]
        )


def test_a_support_that_depends_on_parents_is_not_stated():
    """torch's word for it is NotImplementedError; the density knows."""
    prior = supports()["varying"].prior
    with pytest.raises(NotImplementedError, match="'b' depends on its parents"):
        prior.support  # noqa: B018
    scores = prior.log_prob(torch.tensor([[1.0, 0.5], [1.0, 1.5]]))
    assert torch.isfinite(scores).tolist() == [True, False]
    assert torch.isfinite(prior.log_prob(prior.sample((5000,)))).all()


def test_whole_numbers_are_floats_in_rows_and_whole_by_name():
    """A fraction has no probability."""
    prior = supports()["whole"].prior
    rows = prior.sample((20,))
    assert rows.dtype == torch.float32
    assert prior.named(rows)["a"].dtype == torch.int64
    assert prior.support.is_discrete
    assert torch.isneginf(prior.log_prob(torch.tensor([[2.5]]))).all()


def test_draws_that_round_onto_an_open_edge_step_back():
    """Single precision has no number between 1 − 1e-9 and 1."""
    from ppl.distributions import Beta

    model = ppl.Model("edge")
    model.theta(lambda: Beta(1e-2, 1e-2), name="a")
    model.theta(lambda: Gamma(1e-2, 1), name="b")
    rows = model.prior.sample((3000,))
    assert bool(model.prior.support.check(rows).all())
    assert not torch.isnan(model.prior.log_prob(rows)).any()


# -- simulators ----------------------------------------------------------------------------------


def test_a_simulator_draws_data_given_rows():
    """Latent nodes are drawn afresh, means follow θ."""
    prior, simulator = many().vectors()
    assert simulator.labels == ["y[0]", "y[1]", "y[2]", "hits"]
    row = prior.flat({"spread": 1.0, "level": 2.0, "offset": [[0.0, 10.0]] * 3, "walk": [0.0] * 4})
    torch.manual_seed(0)
    data = simulator(row.expand(4000, -1))
    assert data.dtype == torch.float32
    # y = offset + hidden + unrelated + noise: mean 12, variance 3.
    assert abs(float(data[:, 0].mean()) - 12) < 4 * (3 / 4000) ** 0.5
    assert float(data[:, 0].var()) == pytest.approx(3, rel=0.12)
    assert simulator(row).shape == (4,)
    assert simulator(torch.zeros(0, 12)).shape == (0, 4)
    assert simulator.named(data)["hits"].dtype == torch.int64


def test_observations_become_rows_and_summaries_are_computed():
    """What is compared is what the user names."""
    model = many()
    _, simulator = model.vectors(given=["middle", "hits"])
    assert simulator.flat({"y": [1.0, 2.0, 6.0], "hits": 1}).tolist() == [3.0, 1.0]
    assert simulator(model.prior.sample((3,))).shape == (3, 2)
    _, whole = model.vectors()
    with pytest.raises(ppl.QueryError, match="'hits' is missing"):
        whole.flat({"y": [1.0, 2.0, 6.0]})
    with pytest.raises(ppl.QueryError, match="'y' has missing cells"):
        whole.flat({"y": [1.0, None, 6.0], "hits": 1})


def test_failed_simulations_are_rows_of_nan():
    """So are θ that cannot be; the others are not disturbed."""
    model = ppl.Model("pond")

    @model.theta
    def growth():
        return Uniform(0, 1)

    @model.observed
    def fish(growth, rng):
        if growth > 0.5:
            raise ArithmeticError("too many")
        return [growth, growth + rng.normal()]

    prior, simulator = model.vectors()
    torch.manual_seed(0)
    rows = prior.sample((200,))
    data = simulator(rows)
    assert torch.equal(torch.isnan(data).any(dim=1), rows[:, 0] > 0.5)
    assert torch.equal(data[rows[:, 0] <= 0.5, 0], rows[rows[:, 0] <= 0.5, 0])
    odd = simulator(torch.tensor([[-1.0], [torch.nan], [0.25]]))
    assert torch.isnan(odd).all(dim=1).tolist() == [True, True, False]


def test_opaque_priors_are_drawn_and_not_scored():
    """The error says which node, and what does without."""
    model = ppl.Model("m")

    @model.theta(outputs=("a", "b"))
    def pair(rng):
        return {"a": rng.normal(), "b": rng.normal(size=2)}

    pick = {"parents": {"a": "pair.a"}}
    model.observed(lambda a: Normal(a, 1), name="y", **pick)
    prior, simulator = model.vectors()
    assert prior.names == ("pair.a", "pair.b")
    rows = prior.sample((6,))
    assert rows.shape == (6, 3)
    assert simulator(rows).shape == (6, 1)
    with pytest.raises(ppl.QueryError, match=r"'pair.a' .* can only be sampled.*prior=None"):
        prior.log_prob(rows)


def test_sizes_and_inputs_are_asked_for_by_name():
    """The plain properties say what they lack, and how to give it."""
    model = ppl.Model("line")
    row = model.plate("row")
    model.input("x", plate=row)

    @model.theta
    def slope():
        return Normal(0, 1)

    @model.observed(plate=row)
    def y(slope, x):
        return Normal(slope * x, 0.001)

    assert model.prior.sample((3,)).shape == (3, 1)  # needs neither
    with pytest.raises(
        ppl.QueryError, match=r"size of plate 'row'.*vectors\(sizes=\{'row': 10\}\)"
    ):
        model.simulator  # noqa: B018
    with pytest.raises(ppl.QueryError, match=r"input 'x'.*vectors\(inputs=\{'x': ...\}\)"):
        model.vectors(sizes={"row": 2})
    with pytest.raises(ppl.QueryError, match="holds 'y', which is no input"):
        model.vectors(inputs={"y": [1.0, 2.0]})
    _, simulator = model.vectors(inputs={"x": [1.0, 10.0]})
    assert simulator(torch.tensor([2.0])).tolist() == pytest.approx([2, 20], abs=0.01)


def test_an_input_with_a_range_may_be_data():
    """Then a net learns to take it into account."""
    model = ppl.Model("dose")

    @model.input
    def dose():
        return Uniform(0, 1)

    @model.theta
    def effect():
        return Normal(0, 1)

    @model.observed
    def y(effect, dose):
        return Normal(effect * dose, 1)

    with pytest.raises(ppl.QueryError, match="input 'dose'"):
        model.vectors()
    prior, simulator = model.vectors(given=["dose", "y"])
    data = simulator(prior.sample((500,)))
    assert 0 <= float(data[:, 0].min()) < 0.1 < 0.9 < float(data[:, 0].max()) <= 1
    assert simulator.flat({"dose": 0.5, "y": 1.0}).tolist() == [0.5, 1.0]


def test_what_cannot_be_is_refused():
    """In the user's names."""
    model = ppl.Model("m")

    @model.observed
    def x():
        return Normal(0, 1)

    @model.theta
    def a(x):
        return Normal(x, 1)

    @model.observed
    def y(a):
        return Normal(a, 1)

    with pytest.raises(ppl.QueryError, match="'a' depends on 'x', which is observed"):
        model.prior  # noqa: B018
    assert model.vectors(of=["a", "x"])[0].names == ("x", "a")
    with pytest.raises(ppl.QueryError, match="has no node 'b'"):
        model.vectors(of=["b"])
    with pytest.raises(ppl.QueryError, match="given= names 'z'"):
        model.vectors(of=["a", "x"], given=["z"])
    with pytest.raises(ppl.QueryError, match="'a' is in the rows"):
        model.vectors(of=["a", "x"], given=["a", "y"])
    with pytest.raises(ppl.QueryError, match="observes nothing"):
        supports()["real"].simulator  # noqa: B018
    with pytest.raises(ppl.QueryError, match="Nothing among a is random"):
        supports()["whole"].do(a=1).vectors(of="a")


def test_both_travel():
    """Libraries copy priors and send simulators to their workers."""
    prior, simulator = many().vectors()
    rows = prior.sample((3,))
    for other in (copy.deepcopy(prior), cloudpickle.loads(cloudpickle.dumps(prior))):
        torch.testing.assert_close(other.log_prob(rows), prior.log_prob(rows))
    again = cloudpickle.loads(cloudpickle.dumps(simulator))
    torch.manual_seed(1)
    expected = simulator(rows)
    torch.manual_seed(1)
    assert torch.equal(again(rows), expected)
