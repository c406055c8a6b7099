"""UAI and .evid: bare numbers, read and written, with errors that name the place."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppl
from ppl.formats import read_evidence
from ppl.formats.network import network_of
from tests.networks import network

TWO = """BAYES
2
2 3
2
1 0
2 0 1

2
 0.8 0.2
6
 0.5 0.25 0.25
 0.1 0.2 0.7
"""


def read(tmp_path, text: str) -> ppl.Model:
    path = tmp_path / "net.uai"
    path.write_text(text)
    return ppl.read(path)


def test_the_last_variable_of_a_scope_is_the_child(tmp_path):
    model = read(tmp_path, TWO)
    assert abs(float(ppl.infer(model, {"x1": 1})["x0"].probs[1]) - 0.04 / 0.24) < 1e-15


def test_alarm_there_and_back(tmp_path):
    """Names are lost, numbers and order are kept; the evidence beside it names variables by number."""
    alarm = network("alarm")
    path = tmp_path / "alarm.uai"
    ppl.write(alarm, path, evidence={"HISTORY": "TRUE", "CVP": 2})
    again = ppl.read(path)
    names = list(network_of(alarm).labels)
    evidence = read_evidence(f"{path}.evid")[0]
    assert evidence == {f"x{names.index('HISTORY')}": 0, f"x{names.index('CVP')}": 2}
    one = ppl.infer(alarm, {"HISTORY": "TRUE", "CVP": 2}).log_evidence
    assert abs(ppl.infer(again, evidence).log_evidence - one) < 1e-12


def test_evidence_of_either_convention(tmp_path):
    """One line alone, or a first line that counts the observations."""
    path = tmp_path / "net.uai.evid"
    for text, expected in [
        ("2 0 1 1 2\n", [{"x0": 1, "x1": 2}]),
        ("1\n2 0 1 1 2\n", [{"x0": 1, "x1": 2}]),
        ("2\n1 0 1\n1 1 2\n", [{"x0": 1}, {"x1": 2}]),
        ("0\n", [{}]),
        ("", [{}]),
    ]:
        path.write_text(text)
        assert read_evidence(path) == expected, text
    path.write_text("3 0 1")
    with pytest.raises(ppl.FormatError, match="the counts do not fit"):
        read_evidence(path)


WRONG = {
    "markov": (TWO.replace("BAYES", "MARKOV"), "net.uai:1: a MARKOV network has no directions"),
    "kind": (
        TWO.replace("BAYES", "BAY"),
        "net.uai:1: a UAI file begins with BAYES or MARKOV; found 'BAY'",
    ),
    "truncated": (TWO[:-12], r"the file ends"),
    "variable": (
        TWO.replace("2 0 1", "2 0 5"),
        "net.uai:6: a variable of table 1 is a whole number from 0 to 1; found '5'",
    ),
    "count": (
        TWO.replace("BAYES\n2", "BAYES\n9999999999999999999999"),
        "net.uai:2: the number of variables",
    ),
    "entries": (
        TWO.replace("\n6\n", "\n7\n"),
        "net.uai:10: the table of x1 announces 7 entries; its scope has 6",
    ),
    "negative": (
        TWO.replace("0.25 0.25", "-0.25 0.75"),
        "net.uai:11: 'x1' has the probability -0.25",
    ),
    "sum": (
        TWO.replace("0.1 0.2 0.7", "0.1 0.2 0.8"),
        "the probabilities of 'x1' given x0=1 sum to 1.1",
    ),
    "twice": (
        TWO.replace("1 0\n2 0 1", "1 1\n2 0 1"),
        "net.uai:6: table 1 is a second table of x1",
    ),
    "cycle": (
        TWO.replace("1 0\n2 0 1\n\n2\n 0.8 0.2", "2 1 0\n2 0 1\n\n6\n 1 0 1 0 1 0"),
        "is its own ancestor",
    ),
    "more": (TWO + " 3", "unexpected '3' after the last table"),
    "huge": (TWO.replace("2 3\n2", "2 999999999999\n2"), "states and the file no room"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_an_error_that_names_the_place(case, tmp_path):
    text, message = WRONG[case]
    with pytest.raises(ppl.FormatError, match=message):
        read(tmp_path, text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 14),
            st.sampled_from(["-1", "0", "1", "2", "7", "99999999999", "x", "nan", "", "0.5"]),
        ),
        max_size=4,
    )
)
def test_a_mutated_file_is_read_or_refused(tmp_path_factory, edits):
    """Any word of the file replaced: a model or a FormatError, in no time."""
    words = TWO.split()
    for at, new in edits:
        words[at] = new
    path = tmp_path_factory.getbasetemp() / "mutated.uai"
    path.write_text(" ".join(words))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            model = ppl.read(path)
        except ppl.FormatError:
            return
    assert len(model.graph) == 2


def test_what_cannot_be_written_says_why(tmp_path):
    from ppl.distributions import Normal

    model = ppl.Model("m")
    model.latent(lambda: Normal(0, 1), name="z")
    with pytest.raises(ppl.QueryError, match=r"cannot be written as a network: 'z' is continuous"):
        ppl.write(model, tmp_path / "m.bif")
    alarm = network("alarm")
    with pytest.raises(ppl.QueryError, match="no place for evidence"):
        ppl.write(alarm, tmp_path / "m.bif", evidence={"HISTORY": 1})
    with pytest.raises(ppl.QueryError, match="'HISTORY' has no state 'MAYBE'"):
        ppl.write(alarm, tmp_path / "m.uai", evidence={"HISTORY": "MAYBE"})
