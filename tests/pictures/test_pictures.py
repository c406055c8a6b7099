"""Pictures show what they should: bars are probabilities, lines are truths, bands hold what they say."""

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Categorical, Normal
from ppl.pictures import KINDS, coverage, plot, ranks


def town():
    """A finite node with labels, a number, and data in a plate."""
    model = ppl.Model("town")
    model.theta(lambda: Categorical([0.2, 0.3, 0.5]), name="mood", states=("low", "middle", "high"))
    model.theta(lambda: Normal(0, 1), name="level")
    row = model.plate("row", 5)
    model.observed(lambda level, mood: Normal(level + mood, 1), name="x", plate=row)
    return model


def legend_of(figure):
    """The words of the one legend, which stands above all panels."""
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.fixture(scope="module")
def answer():
    """Quadrature, with the finite node summed out."""
    return ppl.infer(town(), {"x": [1.0, 2.0, None, 0.5, 1.2]})


def test_bars_are_probabilities_with_their_labels(answer):
    """One bar for each state, as high as it is probable; the truth is a line at its bar."""
    figure = answer.plot(of="mood", truth={"mood": 2})
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx(answer["mood"].probs.tolist())
    assert [t.get_text() for t in axes.get_xticklabels()] == ["low", "middle", "high"]
    assert axes.lines[0].get_xdata()[0] == 2


def test_a_density_integrates_to_one_and_stays_between_the_draws(answer):
    """Smoothed, without leaking out; another posterior is a second line that fits into the panel."""
    other = ppl.infer(town(), {"x": [1.0] * 5})
    (axes,) = answer.plot(of="level", other={"all seen": other}).axes
    for line in axes.lines:
        x, y = line.get_xdata(), line.get_ydata()
        assert float(numpy.trapezoid(y, x)) == pytest.approx(1, abs=0.02)
        assert y.max() <= axes.get_ylim()[1]
    assert legend_of(axes.figure) == ["this", "all seen"]


def test_pairs_have_a_panel_for_each_two_numbers(answer):
    """Two numbers: two marginals and one cloud, whose points are draws, shaken where there are bars."""
    figure = answer.plot(kind="pairs", truth={"level": 0.5})
    first, middle, last = figure.axes
    assert [bar.get_height() for bar in first.patches] == pytest.approx(
        answer["mood"].probs.tolist()
    )
    (cloud,) = [line for line in middle.lines if len(line.get_xdata()) > 2]
    draws = answer.sample(2000)
    assert cloud.get_xdata().round().tolist() == draws["mood"].tolist()
    assert cloud.get_ydata() == pytest.approx(draws["level"].numpy())
    assert middle.get_xlim() == first.get_xlim(), "one number, one axis"
    assert last.lines[-1].get_xdata()[0] == 0.5


def test_the_prior_stands_beside_the_posterior(answer):
    """Grey bars have the prior's heights, up to 4,000 draws."""
    (axes,) = answer.plot(kind="prior", of="mood").axes
    heights = [bar.get_height() for bar in axes.patches[:3]]
    # Five standard errors of the least certain share.
    assert heights == pytest.approx([0.2, 0.3, 0.5], abs=5 * 0.5 / 4000**0.5)


def test_predictions_are_bands_with_the_data_in_them(answer):
    """The missing member has a band and no point."""
    (axes,) = answer.plot(kind="predictive").axes
    (points,) = axes.lines
    seen = numpy.asarray(points.get_ydata(), dtype=float)
    assert numpy.isnan(seen).tolist() == [False, False, True, False, False]
    wide, narrow = (c.get_datalim(axes.transData) for c in axes.collections)
    assert wide.height > narrow.height


def test_coverage_of_a_narrow_posterior_lies_below_the_diagonal():
    """A truth that is less dense than nearly all draws is held by large regions only."""
    low_density = torch.zeros(100, dtype=torch.int64)
    axes = coverage(low_density, 99).axes[0]
    line = axes.lines[-1]
    assert max(line.get_ydata()[:-1]) == 0
    dense = torch.full((100,), 99)
    assert min(coverage(dense, 99).axes[0].lines[-1].get_ydata()) == 1


def test_ranks_have_a_line_each():
    """Named in the legend."""
    figure = ranks(torch.randint(100, (60, 2)), 99, ["a", "b"])
    assert legend_of(figure)[1:] == ["a", "b"]


@pytest.mark.parametrize("kind", ["trace", "training", "tolerance", "ranks", "coverage"])
def test_what_a_route_cannot_have_is_said(answer, kind):
    """Not an empty picture."""
    with pytest.raises(ppl.QueryError, match=f"'{kind}'"):
        answer.plot(kind=kind)


def test_unknown_kinds_and_nodes_are_named(answer):
    """With the closest that there is."""
    with pytest.raises(ppl.QueryError, match="Did you mean 'pairs'"):
        answer.plot(kind="pair")
    with pytest.raises(ppl.QueryError, match="Did you mean 'mood'"):
        answer.plot(of="moood")
    assert "marginals" in KINDS


def test_chains_are_traces(tmp_path):
    """A line for each chain, and ranks that count every draw; saved where it was asked."""
    found = ppl.infer(town(), {"x": [1.0, 2.0, 0.0, 0.5, 1.2]}, of="level", method="nuts", seed=1)
    figure = plot(found, "trace", tmp_path / "trace.png")
    left = figure.axes[0]
    chains = found.answers[0].chains["level"]
    assert len(left.lines) == len(chains)
    assert left.lines[0].get_ydata()[3] == pytest.approx(float(chains[0, 3]))
    assert (tmp_path / "trace.png").stat().st_size > 1000


def test_sequential_abc_and_nets_remember_how_they_came_about():
    """Tolerances, acceptance and losses have an entry for each step."""
    model = ppl.Model("noise")
    model.theta(lambda: Normal(0, 1), name="a")
    model.observed(lambda a, rng: a + rng.normal(), name="x")
    budget = ppl.Budget(simulations=3000)
    found = ppl.infer(model, {"x": 0.5}, method="abc-smc", budget=budget)
    tolerance, share = found.plot(kind="tolerance").axes
    assert min(tolerance.lines[0].get_ydata()) > 0
    assert len(share.lines[0].get_ydata()) == int(found.certificate.checks["generations"])
    quick = ppl.Method("npe", epochs=3)
    net = ppl.infer(model, {"x": 0.5}, method=quick, budget=ppl.Budget(simulations=300))
    (axes,) = net.plot(kind="training").axes
    assert len(axes.lines[0].get_ydata()) == 3
