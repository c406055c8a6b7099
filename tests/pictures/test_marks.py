"""What is chosen, marked and overlaid is what was asked for, and what cannot be is refused in the user's names."""

import numpy
import pytest
import torch

import ppl
from ppl.checks.calibration import Calibration, Pairs
from ppl.distributions import Bernoulli, Categorical, Integers, MultivariateNormal, Normal
from ppl.pictures import coverage, ranks, trace
from ppl.posterior import Certificate, Chains


def sky():
    """A label for each of three days, a vector, and a number with many values."""
    model = ppl.Model("sky")
    day = model.plate("day", 3)
    model.latent(
        lambda: Categorical([0.5, 0.3, 0.2]), name="sky", plate=day, states=("dry", "rain", "snow")
    )
    model.latent(lambda: MultivariateNormal([0.0, 1.0], [[1.0, 0.5], [0.5, 1.0]]), name="wind")
    model.latent(lambda: Integers(0, 100), name="drops")
    return ppl.infer(model, {}, of=["sky", "wind", "drops"])


@pytest.fixture(scope="module")
def answer():
    return sky()


def test_one_member_can_be_chosen(answer):
    """By the name that summaries print."""
    assert [a.get_title() for a in answer.plot(of="sky[1]").axes] == ["sky[1]"]
    assert [a.get_title() for a in answer.plot(of=["wind", "drops"]).axes] == [
        *("wind[0]", "wind[1]", "drops"),
    ]
    with pytest.raises(ppl.QueryError, match=r"'sky' has no member \[3\]; its last is sky\[2\]"):
        answer.plot(of="sky[3]")


def test_true_values_may_be_labels_and_arrays(answer):
    """Each at its own place."""
    truth = {"sky": ["rain", "dry", "snow"], "wind": [0.5, 1.5], "drops": 40}
    axes = answer.plot(truth=truth).axes
    assert [float(a.lines[-1].get_xdata()[0]) for a in axes] == [1, 0, 2, 0.5, 1.5, 40]


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"skye": 0}, "Did you mean 'sky'"),
        ({"sky": ["rain", "dry", "hail"]}, "no state 'hail'"),
        ({"wind": 1.0}, r"'wind' has the shape \(\), and its posterior \(2,\)"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(answer, truth, said):
    with pytest.raises(ppl.QueryError, match=said):
        answer.plot(truth=truth)


def test_numbers_that_never_occur_have_no_bar():
    """0 to 20, of which only 9, 10 and 11 are possible: three bars, and a truth elsewhere has no mark."""
    model = ppl.Model("m")
    model.latent(lambda: Integers(0, 20), name="n")
    model.observed(lambda n: Integers(n - 1, n + 1), name="x")
    found = ppl.infer(model, {"x": 10})
    (axes,) = found.plot(truth={"n": 3}).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["9", "10", "11"]
    assert len(axes.lines) == 0


def test_an_overlaid_posterior_that_knows_other_values_keeps_its_probabilities():
    """Bars stand by value, not by position."""

    def coin(low):
        model = ppl.Model("m")
        model.latent(lambda: Integers(low, low + 1), name="n")
        return ppl.infer(model, {})

    (axes,) = coin(0).plot(other=coin(1)).axes
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.5, 0, 0.5]


def test_only_some_kinds_overlay(answer):
    """The others say which do."""
    with pytest.raises(
        ppl.QueryError, match="'prior' shows one posterior, not 2; marginals and pairs"
    ):
        answer.plot(kind="prior", other=sky())


@pytest.mark.parametrize("kind", ["prior", "predictive"])
def test_a_posterior_from_a_file_cannot_simulate(answer, kind, tmp_path):
    """Its marginals can still be drawn."""
    answer.save(tmp_path / "sky")
    loaded = ppl.Posterior.load(tmp_path / "sky")
    with pytest.raises(ppl.QueryError, match=f"'{kind}' simulates the model"):
        loaded.plot(kind=kind)
    assert len(loaded.plot(of="wind").axes) == 2


def test_pairs_of_finite_numbers_are_circles_as_large_as_their_probability():
    """Two coins of which the second copies the first nine times of ten."""
    model = ppl.Model("m")
    model.latent(lambda: Bernoulli(0.5), name="a")
    model.latent(lambda a: Bernoulli(0.1 + 0.8 * a), name="b")
    figure = ppl.infer(model, {}, of=["a", "b"]).plot(kind="pairs")
    (circles,) = figure.axes[1].collections
    sizes = dict(zip(map(tuple, circles.get_offsets().tolist()), circles.get_sizes(), strict=True))
    # Of 2,000 draws: four standard errors of each share, relative to the largest.
    assert sizes[0, 1] / sizes[0, 0] == pytest.approx(1 / 9, abs=0.04)
    assert sizes[1, 0] / sizes[1, 1] == pytest.approx(1 / 9, abs=0.04)


def test_a_long_series_is_one_panel():
    """Thirteen members are intervals side by side."""
    model = ppl.Model("walk")
    step = model.plate("step", 13, ordered=True)
    model.latent(lambda: Normal(0, 1), name="z", plate=step)
    (axes,) = ppl.infer(model, {}).plot(truth={"z": numpy.zeros(13)}).axes
    wide = numpy.array(axes.collections[0].get_segments())[:, :, 1]
    assert wide.shape == (13, 2)
    assert axes.lines[0].get_ydata().tolist() == [0.0] * 13


def test_states_of_a_long_chain_are_shades_with_the_truth_on_them():
    """Fourteen days of three states: a shade each, as dark as the state is probable."""
    model = ppl.Model("days")
    day = model.plate("day", 14, ordered=True)
    states = ("dry", "rain", "snow")
    model.latent(lambda: Categorical([0.5, 0.3, 0.2]), name="sky", plate=day, states=states)
    found = ppl.infer(model, {})
    axes = found.plot(truth={"sky": ["rain"] * 14}).axes[0]
    (mesh,) = axes.collections
    assert pytest.approx(found["sky"].probs.numpy()) == mesh.get_array().T
    assert [text.get_text() for text in axes.get_yticklabels()] == list(states)
    assert axes.lines[0].get_ydata().tolist() == [1] * 14


def test_a_figure_shows_itself():
    """In a notebook that has not imported pyplot."""
    figure = sky().plot(of="drops")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_chains_that_stay_apart_leave_the_band():
    """Two chains of one mode each; those that mix stay inside."""
    graph = ppl.Model("m")
    graph.latent(lambda: Normal(0, 1), name="z")
    noise = torch.randn(4, 500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    apart = noise + torch.tensor([[0.0], [0.0], [3.0], [3.0]])
    for values, inside in ((noise, True), (apart, False)):
        chains = Chains(graph.graph, {"z": values}, Certificate("U", "made"), {"z": 2000.0})
        posterior = ppl.infer(graph, {}).like([chains], ("z",), None)
        right = trace.draw(posterior, [trace.Cell("z", ())]).axes[1]
        (band,) = [p for p in right.patches if hasattr(p, "get_height")]
        low, high = band.get_y(), band.get_y() + band.get_height()
        heights = numpy.concatenate([s.get_data().values for s in right.patches if s is not band])
        assert bool(((low <= heights) & (heights <= high)).all()) is inside


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: ranks(torch.tensor([[101]]), 99, ["a"]), "from 0 to 99"),
        (lambda: ranks(torch.zeros(5, 2, dtype=torch.int64), 99, ["a"]), "1 names"),
        (lambda: ranks(torch.zeros(0, 1, dtype=torch.int64), 99, ["a"]), "no data set"),
        (lambda: coverage(torch.zeros(5, 2, dtype=torch.int64), 99), "one statistic"),
        (lambda: coverage(torch.zeros(5), 99), "whole numbers"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(ppl.QueryError, match=said):
        wrong()


def test_ranks_and_coverage_come_from_the_check(answer):
    """Of each component a panel; the ranks that the check has left."""
    found = sky()
    even = torch.arange(100).reshape(100, 1).repeat(1, 2)
    calibration = Calibration(("drops", "density"), even, 99, Pairs(even, even, even))
    found.calibrations = (calibration, calibration)
    for panel in found.plot(kind="ranks").axes:
        lines = [line for line in panel.lines if len(line.get_xdata()) > 2]
        assert [line.get_label() for line in lines] == ["drops", "density"]
        assert abs(lines[0].get_ydata()).max() < 0.011
    one, two = found.plot(kind="coverage").axes
    held = one.lines[-1]
    assert held.get_ydata() == pytest.approx(held.get_xdata(), abs=0.011)
    assert two.get_title() == "drops"


def test_rounds_of_training_follow_one_another():
    """A line for each round, one after the other."""
    model = ppl.Model("noise")
    model.theta(lambda: Normal(0, 1), name="a")
    model.observed(lambda a, rng: a + rng.normal(), name="x")
    method = ppl.Method("apt", rounds=2, atoms=5)
    found = ppl.infer(model, {"x": 0.5}, method=method, budget=ppl.Budget(simulations=300))
    losses = found.answers[0].history
    assert list(losses) == ["loss of round 1", "loss of round 2"]
    (axes,) = found.plot(kind="training").axes
    first, second = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert second.get_xdata()[0] == first.get_xdata()[-1] + 1
    assert first.get_ydata() == pytest.approx(list(losses["loss of round 1"]))
