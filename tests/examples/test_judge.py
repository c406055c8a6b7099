"""The judge: right answers pass, wrong answers, wrong routes and vague answers do not, and the exit code says so."""

import json
from dataclasses import replace

import pytest

import ppl
from examples import cases, judge
from examples.case import Case, Found, Reference, about, at_most, digits
from examples.case import judge as judged

#: Cases whose answers take less than a few seconds together.
FAST = [
    "galton-forwards",
    "galton-one",
    "burglary",
    "sprinkler",
    "asia",
    "network-asia",
    "network-alarm",
    "network-insurance",
    "kidney-stones",
    "linear",
    "mixture",
]


@pytest.fixture(scope="module")
def found():
    """The fast cases, judged once."""
    return {result.case: result for result in judge.results(cases.named(FAST))}


@pytest.mark.parametrize("name", FAST)
def test_the_fast_cases_are_right(found, name):
    """Published numbers to their last digit, by the route that fits."""
    assert found[name].complaints == ()
    assert found[name].grade in ("A", "A′")


def test_the_table_has_a_line_for_each_case(found):
    """Route, the number that is furthest off, seconds, grade and verdict."""
    table = judge.table(found.values())
    heads = [str(column.header) for column in table.columns]
    assert heads == [
        "case", "route", "of", "reference", "answer", "error", "seconds", "grade", "",
    ]  # fmt: skip
    columns = dict(zip(heads, ([*c.cells] for c in table.columns), strict=True))
    assert sorted(columns["case"]) == sorted(FAST)
    assert set(columns["route"]) == {"exact", "quadrature", "closed"}
    assert all(0 <= float(error) <= 1 for error in columns["error"])
    every = judge.table(found.values(), figures=True)
    assert every.row_count == sum(len(result.figures) for result in found.values())


def test_every_case_has_a_page_and_a_name_of_its_own():
    """The gallery's page tells all of them."""
    names = [case.name for case in cases.CASES]
    assert len(set(names)) == len(names) > 25
    told = (judge.Path(__file__).parents[2] / "docs" / "gallery.md").read_text()
    assert [name for name in names if f"`{name}`" not in told and f"| {name} " not in told] == []
    for case in cases.CASES:
        module = __import__(f"examples.{case.page}", fromlist=["main"])
        assert module.__doc__.strip()
        assert callable(module.main)


def coin(answer=0.5, /, route: str = "exact", **references: Reference) -> Case:
    """A case that answers what it is told."""
    return Case("coin", "", "", "", lambda: Found({"p": answer}, route, "A"), references, "exact")


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        (coin(0.28418, p=digits("0.2841")), "p is 0.28418 and should be 0.2841"),
        (coin(0.2, p=at_most(0.1)), "p is 0.2 and may be at most 0.1"),
        (coin(float("nan"), p=digits("0.5")), "p is nan and should be 0.5"),
        (coin((0.5, 0.1), **about(0.5, 1.0, name="p")), "standard error of p is 0.10 posterior sd"),
        (coin((0.5, 0.01), **about(0.55, 1.0, name="p")), "p is 0.5 and should be 0.55"),
        (coin(0.5, route="npe", p=digits("0.5")), "went by npe, and exact fits the model"),
        (coin(0.5, q=digits("0.5")), "q was not answered"),
    ],
)
def test_what_is_wrong_is_told(case, complaint):
    """A digit, a bound, no number, too vague an answer, more than four standard errors, another route, no answer."""
    assert any(complaint in said for said in judged(case).complaints)


@pytest.mark.parametrize(
    "case",
    [
        coin(0.28414, p=digits("0.2841")),
        coin(0.1, p=at_most(0.1)),
        coin((0.53, 0.01), **{"p": about(0.5, 1.0, name="p")["p"]}),
        coin(1.09, p=about(0.0, 1.0, name="p")["sd of p"]),
    ],
)
def test_what_is_allowed_is_right(case):
    """Half a digit, the bound itself, four standard errors, a tenth of the sd."""
    assert judged(case).right


def test_an_error_is_a_wrong_answer_and_names_itself():
    """A case that is refused does not end the judge."""

    def refuses():
        return ppl.infer(cases.burglary.house, {"jon": 1})

    result = judged(replace(coin(), run=refuses))
    assert not result.right
    assert result.route == "none"
    assert "Did you mean 'john'?" in result.complaints[0]


def test_exit_codes_and_json(tmp_path, monkeypatch, capsys):
    """0 for right, 1 for wrong, 2 for what cannot be asked; the file is what was printed, and is not replaced by itself."""
    path = tmp_path / "out.json"
    assert judge.main(["kidney", "sprinkler", "--json", str(path)]) == 0
    assert "2 of 2 cases are right" in capsys.readouterr().out
    document = json.loads(path.read_text())
    assert document["right"] is True
    assert [case["case"] for case in document["cases"]] == ["sprinkler", "kidney-stones"]
    assert document["cases"][1]["figures"][0]["reference"] == 0.78

    assert judge.main(["kidney", "--json", str(path)]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert judge.main(["kidnei"]) == 2
    assert "There is no case 'kidnei'" in capsys.readouterr().err

    (case,) = cases.named(["kidney"])
    wrong = replace(case, references=case.references | {"P(recovered | A)": digits("0.779")})
    monkeypatch.setattr(cases, "CASES", (wrong,))
    assert judge.main(["kidney", "--json", str(path), "--force"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert "kidney-stones: P(recovered | A) is 0.78 and should be 0.779" in printed
    assert json.loads(path.read_text())["right"] is False
