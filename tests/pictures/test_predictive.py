"""Predictions are shown as what they are: a law, a band, intervals, or counts, each with what was seen."""

import numpy
import pytest

import ppl
from ppl.distributions import Bernoulli, Beta, Binomial, Normal, Poisson


def labels(figure):
    """The words of the legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_one_count_is_bars_with_a_line_at_what_was_seen():
    """Beta(2, 2) and 7 of 10: heights are shares of a thousand predictions, near the beta-binomial."""
    model = ppl.Model("coin")
    model.theta(lambda: Beta(2, 2), name="bias")
    model.observed(lambda bias: Binomial(10, bias), name="heads")
    (axes,) = ppl.infer(model, {"heads": 7}).plot(kind="predictive").axes
    from scipy.stats import betabinom

    names = [int(text.get_text()) for text in axes.get_xticklabels()]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx(betabinom(10, 9, 5).pmf(names), abs=4 * 0.5 / 1000**0.5)
    assert names[int(axes.lines[0].get_xdata()[0])] == 7


def test_labels_are_counted():
    """Nine of ten tosses were heads, and the intervals of both sides' counts hold ten together."""
    model = ppl.Model("coin")
    toss = model.plate("toss")
    model.theta(lambda: Beta(2, 2), name="bias")
    model.observed(lambda bias: Bernoulli(bias), name="face", plate=toss, states=("tails", "heads"))
    figure = ppl.infer(model, {"face": [1] * 9 + [0]}).plot(kind="predictive")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["tails", "heads"]
    assert axes.lines[0].get_ydata().tolist() == [1, 9]
    assert axes.get_ylabel() == "how many of 10"
    wide = axes.collections[0].get_segments()
    assert wide[0][0][1] + wide[1][1][1] == pytest.approx(10)
    assert labels(figure) == ["90% of predictions", "50% of predictions", "seen"]


def test_a_series_is_a_band_along_its_plate_and_a_gap_has_no_dot():
    """The day that nobody counted has predictions, too."""
    model = ppl.Model("shop")
    day = model.plate("day", ordered=True)
    model.theta(lambda: Normal(5, 1), name="level")
    model.observed(lambda level: Normal(level, 1), name="calls", plate=day)
    (axes,) = ppl.infer(model, {"calls": [5.0, None, 6.0, 4.0]}).plot(kind="predictive").axes
    (dots,) = axes.lines
    assert numpy.isnan(dots.get_ydata()).tolist() == [False, True, False, False]
    assert dots.get_xdata().tolist() == [0, 1, 2, 3]
    assert axes.get_xlabel() == "day"
    assert len(axes.collections) == 2


def test_rows_with_an_input_are_a_band_along_it():
    """In the order of the input, whatever the order of the rows."""
    model = ppl.Model("line")
    row = model.plate("row")
    model.input("x", plate=row)
    model.theta(lambda: Normal(0, 1), name="slope")
    model.observed(lambda x, slope: Normal(slope * x, 0.1), name="y", plate=row)
    data = {"x": [3.0, 1.0, 2.0, 2.5], "y": [3.1, 0.9, 2.0, 2.6]}
    (axes,) = ppl.infer(model, data).plot(kind="predictive").axes
    (dots,) = axes.lines
    assert dots.get_xdata().tolist() == [1.0, 2.0, 2.5, 3.0]
    assert dots.get_ydata().tolist() == pytest.approx([0.9, 2.0, 2.6, 3.1])
    assert axes.get_xlabel() == "x"


def test_a_band_holds_the_share_of_the_data_that_it_says():
    """Of 40 rows that the model made, the 50 % intervals hold about half, within four standard errors."""
    model = ppl.Model("rows")
    row = model.plate("row")
    model.theta(lambda: Normal(0, 1), name="level")
    model.observed(lambda level: Normal(level, 1), name="y", plate=row)
    data = numpy.random.default_rng(3).normal(0.3, 1, 40)
    (axes,) = ppl.infer(model, {"y": data}).plot(kind="predictive").axes
    narrow = numpy.array(axes.collections[1].get_segments())[:, :, 1]
    inside = ((narrow[:, 0] <= data) & (data <= narrow[:, 1])).mean()
    assert abs(inside - 0.5) < 4 * 0.5 / 40**0.5


def test_many_rows_without_an_order_are_counted_by_value():
    """Five hundred counts: the dots are how often each value was seen."""
    model = ppl.Model("many")
    row = model.plate("row")
    model.theta(lambda: Beta(1, 1), name="rate")
    model.observed(lambda rate: Poisson(2 * rate), name="y", plate=row)
    data = numpy.random.default_rng(0).poisson(1.0, 500)
    (axes,) = ppl.infer(model, {"y": data}).plot(kind="predictive").axes
    seen = axes.lines[0].get_ydata()
    assert seen[: data.max() + 1].tolist() == numpy.bincount(data).tolist()


def test_without_data_the_error_says_what_to_do():
    """A model that observes nothing predicts nothing by itself."""
    model = ppl.Model("prior")
    model.theta(lambda: Normal(0, 1), name="level")
    with pytest.raises(ppl.QueryError, match="prior observes nothing; name the nodes"):
        ppl.infer(model, {}).plot(kind="predictive")
