"""Every quick route through the zoo, answered once: what the tests of the posterior's contract run over."""

from functools import cache

import pytest

import ppl

from ..backends.zoo import CASES

#: Engines that answer in a moment; between them they make every kind of answer and of marginal but the neural ones.
METHODS = ("exact", "closed", "quadrature", "nuts", "smc", "rejection")
ROUTES = [
    (case, method)
    for case in CASES
    for method in METHODS
    if (method != "nuts" or case.name == "coin")  # chains take longest, and are the same for all
    and next(
        v
        for v in ppl.compile(case.model, case.seen, case.ask).routes[0].verdicts
        if v.method == method
    ).able
]
each = pytest.mark.parametrize(("case", "method"), ROUTES, ids=[f"{c}-{m}" for c, m in ROUTES])


@cache
def answered(case, method):
    """The posterior of a case by one of the methods."""
    budget = ppl.Budget(simulations=10_000)
    return ppl.infer(case.model, case.seen, case.ask, method=method, budget=budget, seed=1)
