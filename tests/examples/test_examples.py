"""Every example runs, and says what it should."""

from pathlib import Path

import numpy
import pytest
import torch
from torchdiffeq import odeint

import ppl
from backends.density.problem import problem
from examples import flu_1978, galton_board, sprinkler, tour
from ppl.distributions import Exponential, NegativeBinomial2, Normal, Truncated


def test_sprinkler_prints_story_plan_and_table(capsys):
    """The page runs from top to bottom."""
    sprinkler.main()
    printed = capsys.readouterr().out
    assert "row 1 of the decision table" in printed
    assert "P(rain | do(sprinkler on))         0.500000" in printed


def test_galton_board_three_ways_agree():
    """Integration, rejection and the neural posterior stand side by side, each with its own grade."""
    answers = galton_board.side_by_side(simulations=4_000)
    assert [a.certificate.grade for a in answers.values()] == ["A′", "A", "U"]
    exact = answers["quadrature"]["slope"]
    rejection = answers["rejection"]["slope"]
    assert abs(float(rejection.mean - exact.mean)) < 4 * float(rejection.standard_error)
    # A flow of 4,000 simulations sees about 130 balls at 22; their mean has a standard error of 0.09 sd.
    assert abs(float(answers["npe"]["slope"].mean - exact.mean)) < 0.3 * float(exact.sd)
    assert galton_board.furthest_apart(answers["quadrature"], answers["quadrature"]) == 0
    assert galton_board.furthest_apart(answers["quadrature"], answers["rejection"]) < 0.06


def test_flu_as_a_differential_equation():
    """Influenza with its density: no simulation, and the posterior of a grid (Grinsztajn et al. 2021)."""
    found = flu_1978.by_density()
    assert found.method == "nuts"
    assert found.certificate.grade == "B"
    published = {
        "infection": (1.735, 0.053),
        "recovery": (0.542, 0.045),
        "reproduction": (3.22, 0.28),
        "recovery_time": (1.86, 0.16),
    }
    for name, (mean, sd) in published.items():
        # The last printed digit, and five standard errors.
        slack = 0.5 * 10 ** -len(str(mean).split(".")[1]) + 5 * float(found[name].standard_error)
        assert float(found[name].mean) == pytest.approx(mean, abs=slack)
        assert float(found[name].sd) == pytest.approx(sd, rel=0.1)


def test_flu_with_a_solver_of_another_library():
    """torchdiffeq writes its solution in place; the density is that of our own four evaluations a step."""
    theirs = ppl.Model("flu_torchdiffeq")
    day = theirs.plate("day", 14)
    theirs.theta(lambda: Truncated(Normal(2, 1), low=0), name="infection")
    theirs.theta(lambda: Truncated(Normal(0.4, 0.5), low=0), name="recovery")
    theirs.theta(lambda: Exponential(5), name="scatter")

    @theirs.deterministic(over=day)
    def ill(infection, recovery):
        def change(t, state):
            infected = infection * state[0] * state[1] / flu_1978.BOYS
            return torch.stack([-infected, infected - recovery * state[1]])

        days = torch.arange(15, dtype=torch.float64)
        start = torch.tensor([flu_1978.BOYS - 1.0, 1.0], dtype=torch.float64)
        options = {"step_size": 1 / flu_1978.STEPS}
        return odeint(change, start, days, method="rk4", options=options)[1:, 1]

    theirs.observed(
        lambda ill, scatter: NegativeBinomial2(ill, 1 / scatter), name="in_bed", plate=day
    )
    found = []
    for model in (flu_1978.epidemic(), theirs):
        plan = ppl.compile(
            model, {"in_bed": flu_1978.IN_BED}, of=["infection", "recovery", "scatter"]
        )
        (route,) = plan.routes
        assert route.method == "nuts"
        target = problem(route.query, plan.budget).target
        assert not target.row_by_row
        found.append(target.log_prob(numpy.log([[1.7, 0.5, 0.1], [1.8, 0.6, 0.2]])))
    # Two rules of the fourth order: 112 steps of an eighth of a day.
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_flu_is_sent_to_the_neural_posterior():
    """The simulator is opaque and its data cannot be matched; the plan says so."""
    found = flu_1978.posterior(simulations=1_500)
    assert found.method == "apt"
    rejection = next(v for v in found.plan.routes[0].verdicts if v.method == "rejection")
    assert not rejection.fits
    assert "fewer than 1,000" in rejection.reason
    draws = found.sample(500)
    assert bool((draws["infection"] > 0).all())
    assert bool((draws["recovery"] > 0).all())
    assert torch.allclose(draws["reproduction"], draws["infection"] / draws["recovery"])


def test_tour_draws_the_dags(tmp_path: Path):
    """The pictures are written as files."""
    tour.pictures(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "sprinkler.svg",
        "sprinkler_do.svg",
        "galton_board.svg",
        "flu_1978.svg",
        "sprinkler_plan.svg",
    }
    assert all("<svg" in path.read_text() for path in tmp_path.iterdir())
