"""Reports: what is in the file, and what never gets there."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html import unescape
from statistics import NormalDist
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import ppl
from ppl.distributions import Normal
from ppl.errors import BackendError, QueryError, StoreError
from ppl.report.prediction import predicted

from .models import EVIL, answers, coin, scale, tossed, wicked


def text(path) -> str:
    """What a reader reads: tags are gone, entities are characters, blanks are single."""
    page = re.sub(r"(?s)<style>.*?</style>", "", path.read_text())
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


def images(path) -> list[bytes]:
    found = re.findall(r'src="data:[a-z/+]+;base64,([^"]*)"', path.read_text())
    return [base64.b64decode(one) for one in found]


@pytest.mark.parametrize("name", ["exact", "closed", "parts", "rejection", "coin"])
def test_every_route_has_a_whole_report(name, tmp_path):
    """Model, plan, posterior, predictive check, certificate and versions are told whatever the engine."""
    posterior = answers()[name]
    said = text(posterior.report(tmp_path / "out.html"))
    for words in (
        *("Model", "Plan", "Posterior", "Predictive check", "Certificate", "Reproduction"),
        *(posterior.method.split(" + ")),
        *(name for name in posterior.graph.nodes),
        posterior.certificate.statement,
        "torch 2",
        "seed 0",
        "300 seconds",
    ):
        assert words in said
    for route in posterior.plan.routes:
        for verdict in route.verdicts if route.ask else ():
            assert re.sub(r"\s+", " ", verdict.reason) in said


def test_equal_inputs_give_equal_files(tmp_path):
    """No clock, no address in memory and no random name is in a report."""
    for i, make in enumerate((wicked, tossed)):
        one, two = (make().report(tmp_path / f"{i}{k}.html").read_bytes() for k in "ab")
        assert one == two


def test_nothing_in_a_report_comes_from_elsewhere(tmp_path):
    """Every address in a tag is in the file itself."""
    page = answers()["parts"].report(tmp_path / "out.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) > 8
    assert all(one.startswith(("data:", "#")) for one in addresses)
    assert "<script" not in page
    assert "@import" not in page


def test_names_and_labels_are_text(tmp_path):
    """Whatever a model, a label or a file is called, the page shows it and does nothing else."""
    posterior = answers()["exact"]
    path = posterior.report(tmp_path / "<b>&'\".html")
    page, said = path.read_text(), text(path)
    for tag in ("<script", "<img src=http", "</style></", "<!--"):
        assert tag not in page
    assert page.count("</style>") == 1
    assert said.count(EVIL) >= 3
    assert "<img src=http://example.org/x.png onerror=alert(2)>" in said
    for content in images(path):
        assert not [e for e in ElementTree.fromstring(content).iter() if e.tag.endswith("script")]


def test_a_report_replaces_nothing_unless_forced(tmp_path):
    """A file that is there stays as it is, and an error says what to do."""
    posterior, path = coin(), tmp_path / "out.html"
    path.write_text("mine")
    for thing in (posterior, posterior.plan):
        with pytest.raises(StoreError, match="force=True"):
            thing.report(path)
        assert path.read_text() == "mine"
        assert thing.report(path, force=True) == path
        assert "coin" in path.read_text()
        path.write_text("mine")
    with pytest.raises(StoreError, match="folder"):
        posterior.report(tmp_path)
    with pytest.raises(StoreError, match="no folder"):
        posterior.report(tmp_path / "nowhere" / "out.html")
    with pytest.raises(QueryError, match="draws=-1"):
        posterior.report(tmp_path / "new.html", draws=-1)
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


def test_the_numbers_are_those_of_the_posterior(tmp_path):
    """Probabilities of finite nodes and moments of others are told to the digits that are known."""
    posterior = answers()["parts"]
    said = text(posterior.report(tmp_path / "out.html"))
    for p in posterior["kind"].probs.tolist():
        assert f"{p:.4g}" in said
    assert f"height[0, 1] {float(posterior['height'].mean[0, 1]):.5g}" in said
    assert "height has 60 entries, of which the first 12 are shown" in said
    assert "idle" in said


def test_labels_are_told_instead_of_codes_and_gaps_are_told(tmp_path):
    said = text(answers()["exact"].report(tmp_path / "one.html"))
    assert "ground day 2, 1 missing ]]>, missing" in said
    said = text(answers()["closed"].report(tmp_path / "two.html"))
    assert "reading weighing 4, 1 missing 0.5, missing, 0, 1.5" in said


def test_how_often_a_value_was_predicted():
    """After one head, the next toss is a head with probability E[bias | head] = 3/5."""
    draws = 4000
    (row,) = predicted(coin(1), draws).agreed
    assert (row.name, row.seen) == ("head", "1")
    assert row.share == pytest.approx(60, abs=4 * 100 * (0.6 * 0.4 / draws) ** 0.5)


def test_what_the_model_cannot_explain_lies_outside():
    """Readings as far apart as their noise fit; of those that are four times as far apart the mean fits, and the spread does not."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / 20) for i in range(20)]
    fit = predicted(scale(quantiles), 400)
    assert (fit.outside, len(fit.rows)) == (0, 4)
    wide = {row.what: row for row in predicted(scale([-4.0, 4.0] * 10), 400).rows}
    assert not wide["mean"].outside
    assert wide["sd"].outside
    assert wide["sd"].at > wide["sd"].high
    assert wide["smallest"].outside
    assert float(wide["sd"].beyond) == 0


def test_the_interval_of_predictions_is_that_of_the_predictive_distribution():
    """One reading r gives weight ~ N(r/2, 1/2); the next is N(r/2, 3/2), whose central 90 % are r/2 ± 1.645 · 1.2247."""
    (row,) = predicted(scale([1.0]), 20_000).rows
    low, high = (float(end.replace("−", "-")) for end in row.interval.strip("[]").split(", "))
    assert low == pytest.approx(0.5 - 1.645 * 1.5**0.5, abs=0.06)
    assert high == pytest.approx(0.5 + 1.645 * 1.5**0.5, abs=0.06)


def test_a_model_that_cannot_predict_says_why(tmp_path):
    """A report is written although there is nothing to compare with, or the user wants no simulations."""
    posterior = coin()

    def predict(*_, **__):
        raise BackendError("The functions are not in <this> file.")

    posterior.predict = predict
    said = text(posterior.report(tmp_path / "out.html"))
    assert "could not be asked for predictions. The functions are not in <this> file." in said
    assert "left out" in text(posterior.report(tmp_path / "none.html", draws=0))


def test_nothing_given_nothing_compared(tmp_path):
    model = ppl.Model("alone")

    @model.theta
    def level():
        return Normal(0, 1)

    said = text(ppl.infer(model, {}).report(tmp_path / "out.html"))
    assert "Nothing was given: these are the model's own probabilities." in said
    assert "nothing to compare with" in said


def test_a_plan_says_why_in_advance(tmp_path):
    """The report of a plan has no answer, and every objection; also where no engine is left."""
    plan = answers()["rejection"].plan
    stuck = replace(plan, routes=(replace(plan.routes[0], verdict=None),))
    for one, headline in ((plan, "bias → rejection"), (stuck, "bias → none no engine can answer")):
        said = text(one.report(tmp_path / "out.html", force=True))
        assert headline in said
        assert "Certificate" not in said
        assert "Predictive check" not in said
        assert all(v.reason in said for v in one.routes[0].verdicts)


def test_each_check_is_told_with_its_limit_and_what_it_could_have_seen(tmp_path):
    """A failed check is said to have failed, and one that could not be told is neither."""
    posterior = coin()

    def check(name, passed):
        words = {"limit": f"< 7 of {name}", "statement": f"says {name}", "visible": f"sees {name}"}
        return SimpleNamespace(name=name, figure=0.25, passed=passed, **words)

    posterior.__dict__["certificate"] = SimpleNamespace(
        grade="U",
        label="U, M",
        meaning="unverified",
        statement="a net",
        checks={"epochs": 31},
        tests=(check("<one>", True), check("two", False), check("three", None)),
        atypical=True,
        seed=0,
        versions={"galton": "9.9"},
    )
    path = posterior.report(tmp_path / "out.html")
    said = text(path)
    assert "<one> 0.25 < 7 of <one> ✓ passed says <one> sees <one>" in said
    assert "two 0.25 < 7 of two ✗ failed says two sees two" in said
    assert "three 0.25 < 7 of three ? not told says three sees three" in said
    assert "U, M" in said
    assert "The checks that failed say what is wrong" in said
    assert "galton 9.9" in said
