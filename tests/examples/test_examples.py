"""Every example runs, and says what it should."""

from pathlib import Path

import torch

from examples import flu_1978, galton_board, sprinkler, tour


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


def test_flu_is_sent_to_the_neural_posterior():
    """The simulator is opaque and its data cannot be matched; the plan says so."""
    found = flu_1978.posterior(simulations=1_500)
    assert found.method == "npe"
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
