"""The certificate in a report: the grade, what it means, and everything that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .figures import figure
from .image import Image
from .number import number

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["Trust", "trust"]

#: How a better grade can be had.
REMEDIES = {
    "A": "There is no better grade.",
    "A′": "There is little to gain: only a model that can be summed out, or solved in closed form, is answered better than numerically.",
    "B": "More draws make the Monte-Carlo errors smaller. A better grade needs a model that fits a row of the decision table above this one; the plan says what speaks against each.",
    "C": "More draws make the errors smaller. A better grade needs another route; the plan says what speaks against each.",
    "D": "A larger budget for posterior.check() sees smaller errors. A better grade needs explicit densities; the plan says what declaring them would open.",
    "U": "posterior.check() does more work: it compares with the explicit density where there is one (grade C), or answers simulated data sets whose parameters are known (grade D).",
}
#: How a better grade can be had where the checks have not raised it.
REFUTED = "The checks that failed say what is wrong: with more simulations, or by another method, the answer may pass them."
UNTOLD = "What could not be told may be told with a larger budget: posterior.check(budget=...)."

#: Pictures of how the answer was found and checked, of those that a route has.
PICTURES = {
    "trace": "The chains, and the ranks of each among all",
    "training": "The loss on held-out simulations while the nets learned",
    "tolerance": "Distances and acceptance, generation by generation",
    "ranks": "Ranks of the true values in simulated data sets; inside the band they are calibrated",
    "coverage": "How often regions held the true values of simulated data sets",
}


@dataclass(frozen=True)
class Trust:
    """How far an answer can be trusted.

    Args:
        label: The grade and its marks.
        meaning: What the grade means.
        statement: What was established.
        figures: How the answer was found, in figures.
        tests: What was looked at beyond that.
        atypical: Whether the observation is unlike what the model predicts.
        remedy: How to raise the grade.
        pictures: Of how the answer was found and checked.
    """

    label: str
    meaning: str
    statement: str
    figures: Mapping[str, str]
    tests: tuple[Mapping[str, Any], ...]
    atypical: bool
    remedy: str
    pictures: tuple[Image, ...]


def trust(posterior: Posterior) -> Trust:
    """The certificate of a posterior, as data for a page."""
    certificate = posterior.certificate
    grade = certificate.grade
    tests = tuple(
        {
            "name": test.name,
            "figure": f"{test.figure:.3g}"
            if isinstance(test.figure, float)
            else number(test.figure),
            "limit": test.limit,
            "passed": test.passed,
            "statement": test.statement,
            "visible": test.visible,
        }
        for test in certificate.tests
    )
    drawn = [figure(posterior, kind, words) for kind, words in PICTURES.items()]
    return Trust(
        certificate.label,
        certificate.meaning,
        certificate.statement,
        {name: number(value) for name, value in certificate.checks.items()},
        tests,
        certificate.atypical,
        _remedy(grade, tests),
        tuple(picture for picture in drawn if picture is not None),
    )


def _remedy(grade: str, tests: tuple[Mapping[str, Any], ...]) -> str:
    """How to raise the grade, as far as it is known what holds it down."""
    if grade != "U" or not tests:
        return REMEDIES[grade]
    return REFUTED if any(test["passed"] is False for test in tests) else UNTOLD
