"""One suite that every engine passes: the zoo's closed forms, and the contract of `Posterior`."""

from functools import cache

import pytest
import torch

import ppl
from ppl.compiler import registry

from .zoo import CASES

#: The engines that train nets, of which one is trained for every case, and those of them that close in on one observation.
SEQUENTIAL = ("apt", "snl", "snre")
NEURAL = ("npe", "nle", "nre", *SEQUENTIAL)
#: Simulations that each engine gets.
BUDGETS = {
    method: ppl.Budget(simulations=4_000 if method in NEURAL else 40_000, seconds=120)
    for method in registry.methods()
}
#: Nets that are trained for a shorter time than by default, in fewer rounds: there are many of them.
METHODS = {
    method: ppl.Method(method, epochs=30, **({"rounds": 3} if method in SEQUENTIAL else {}))
    if method in NEURAL
    else method
    for method in registry.methods()
}
#: Cases whose data rejection can match exactly within its budget; in the others a tolerance widens the answer.
MATCHED = {"coin", "tossed coin", "die", "chain"}
#: What an engine may add to the Monte-Carlo error, in posterior sds: exact draws nothing, a tolerance or a small flow a quarter.
SLACK = {"rejection": 0.25, "abc-smc": 0.25, "abc-mcmc": 0.25}
SLACK |= dict.fromkeys(NEURAL, 0.25)
#: What each engine establishes where all goes well.
GRADES = {"exact": "A", "closed": "A", "quadrature": "A′", "nuts": "B", "smc": "B"}


@cache
def verdict(case, method):
    """What the engine says about the case."""
    plan = ppl.compile(case.model, case.seen, case.ask, budget=BUDGETS[method])
    return next(v for v in plan.routes[0].verdicts if v.method == method)


@cache
def posterior(case, method):
    """The engine's posterior."""
    return ppl.infer(
        case.model, case.seen, case.ask, method=METHODS[method], budget=BUDGETS[method], seed=1
    )


PAIRS = [
    (case, method) for case in CASES for method in registry.methods() if verdict(case, method).able
]
each = pytest.mark.parametrize(("case", "method"), PAIRS, ids=[f"{c}-{m}" for c, m in PAIRS])


def slack(case, method):
    """Nothing where the data were matched."""
    return 0.0 if method == "rejection" and case.name in MATCHED else SLACK.get(method, 0.0)


def test_every_engine_but_the_prior_serves_some_case():
    """The suite would be empty otherwise."""
    assert {method for _, method in PAIRS} == set(registry.methods()) - {"prior"}


@each
def test_mean_is_the_closed_form(case, method):
    """Within four standard errors, plus the engine's stated slack."""
    marginal = posterior(case, method)[case.ask]
    expected, sd = (
        torch.as_tensor(case.mean, dtype=torch.float64),
        torch.as_tensor(case.sd, dtype=torch.float64),
    )
    allowed = 4 * marginal.standard_error + slack(case, method) * sd + 1e-9
    assert bool(((marginal.mean - expected).abs() <= allowed).all())


@each
def test_sd_is_the_closed_form(case, method):
    """An sd from n draws has a relative standard error of about 1 / √(2n) (more for skewed cases)."""
    marginal = posterior(case, method)[case.ask]
    expected = torch.as_tensor(case.sd, dtype=torch.float64)
    size = getattr(marginal, "effective_size", float("inf"))
    allowed = 4 / (2 * size) ** 0.5 * 1.5 + slack(case, method) + 1e-9
    assert bool(((marginal.sd / expected - 1).abs() <= allowed).all())


@each
def test_draws_have_the_shape_and_the_moments_of_the_marginal(case, method):
    """`sample` and the marginal tell one story."""
    found = posterior(case, method)
    draws = found.sample(4000, seed=3)[case.ask].to(torch.float64)
    marginal = found[case.ask]
    assert draws.shape == (4000, *marginal.mean.shape)
    error = (
        5 * marginal.sd / 4000**0.5
        + 5 * marginal.standard_error
        + 0.05 * marginal.sd * (method in NEURAL)
    )
    assert bool(((draws.mean(dim=0) - marginal.mean).abs() <= error).all())


@each
def test_equal_seeds_give_equal_bits(case, method):
    """One seed decides everything."""
    small = ppl.Budget(simulations=500 if method in NEURAL else 5_000)
    quick = method
    if method in NEURAL:  # nets need not be good to be equal
        quick = ppl.Method(method, epochs=4, **({"rounds": 2} if method in SEQUENTIAL else {}))
    one, two = (
        ppl.infer(case.model, case.seen, case.ask, method=quick, budget=small, seed=1)
        for _ in range(2)
    )
    assert torch.equal(one[case.ask].mean, two[case.ask].mean)
    assert all(torch.equal(one.sample(10, seed=2)[n], two.sample(10, seed=2)[n]) for n in one)


@each
def test_draws_stay_inside_the_support(case, method):
    """No draw outside the prior, ever."""
    draws = posterior(case, method).sample(2000)[case.ask]
    if case.ask == "bias":
        assert bool(((draws > 0) & (draws < 1)).all())
    if case.ask in ("face", "step", "state"):
        assert draws.dtype == torch.int64
        low, high = {"face": (1, 6), "step": (0, 32), "state": (0, 1)}[case.ask]
        assert bool(((draws >= low) & (draws <= high)).all())


@each
def test_the_grade_is_what_was_established(case, method):
    """An approximate answer never dresses as an exact one."""
    found = posterior(case, method)
    matched = "A" if case.name in MATCHED else "U"
    assert found.certificate.grade == GRADES.get(method, matched if method == "rejection" else "U")
    assert found[case.ask].exact == (method in ("exact", "closed"))
    assert found.method == method
    assert case.ask in str(found.summary())


@pytest.mark.parametrize("method", ["exact", "npe", "nle", "nre"])
def test_prepared_once_conditioned_many_times(method):
    """A batch of observations gives what single ones give, in order."""
    case = next(c for c in CASES if c.name == "grid")
    plan = ppl.compile(
        case.model, ["head"], case.ask, method=METHODS[method], budget=BUDGETS[method]
    )
    observations = [{"head": [1] * k + [0] * (8 - k)} for k in (2, 5, 7)]
    together = plan.posteriors(observations)
    apart = [plan.posterior(one) for one in observations]
    for a, b in zip(together, apart, strict=True):
        assert torch.allclose(a["step"].mean, b["step"].mean, rtol=1e-6)
    assert together[0]["step"].mean < together[1]["step"].mean < together[2]["step"].mean


def test_log_evidence_is_absent_where_it_is_not_known():
    """Rejection does not claim an evidence, elimination does."""
    case = next(c for c in CASES if c.name == "die")
    assert not hasattr(posterior(case, "rejection"), "log_evidence")
    assert posterior(case, "exact").log_evidence == pytest.approx(
        torch.tensor(1 / 6).log().item(), abs=1e-6
    )
