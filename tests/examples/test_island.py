"""A model that nobody planned for: what its user meets on the way, errors first."""

import pytest

import ppl
from examples.island import SEEN, island

COMPLETE = {"hares": [60] * 12, "foxes": [20] * 12}


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda: ppl.infer(island, {"hare": [1] * 12}), ppl.QueryError, "Did you mean 'hares'"),
        (lambda: ppl.infer(island, {"hares": [1] * 11}), ppl.QueryError, "a missing one is None"),
        (lambda: ppl.infer(island, {"hares": "h.csv"}), ppl.QueryError, "takes numbers"),
        (lambda: ppl.infer(island, SEEN, budget=1000), ppl.QueryError, r"Budget\(simulations"),
        (lambda: ppl.infer(island, SEEN, method="nle"), ppl.BackendError, "method='npe' is"),
        (lambda: ppl.infer(island, SEEN, method="nuts"), ppl.BackendError, "is a simulator"),
    ],
)
def test_an_error_says_what_to_do(ask, error, said):
    """A misspelt node, a week too few, a file instead of its numbers, a bare number as budget, an engine that cannot."""
    with pytest.raises(error, match=said):
        ask()


def test_a_refusal_groups_the_engines_that_say_the_same():
    """The animals themselves are asked for: nobody can move them, and the reasons are read in one glance."""
    with pytest.raises(ppl.BackendError) as refused:
        ppl.infer(island, SEEN, of="animals")
    rows = str(refused.value).splitlines()
    reasons = [row.partition(": ")[2] for row in rows[1:]]
    assert len(set(reasons)) == len(reasons) < 12
    assert any(row.startswith("  quadrature, nuts, smc: 'animals' is a simulator") for row in rows)


def test_missing_weeks_are_planned_for_with_many_simulations_and_with_few():
    """Rounds take no gaps, so that the posterior net serves either way; without gaps few simulations go by rounds."""
    few = ppl.Budget(simulations=1_000)
    assert ppl.compile(island, SEEN).routes[0].method == "npe"
    assert ppl.compile(island, SEEN, budget=few).routes[0].method == "npe"
    assert ppl.compile(island, COMPLETE, budget=few).routes[0].method == "apt"
