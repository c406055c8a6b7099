"""The certificate: how far an answer can be trusted, graded by what was actually established."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GRADES", "Certificate", "Check", "worst"]

#: From best to worst (DESIGN, section 4).
GRADES = ("A", "A′", "B", "C", "D", "U")
#: What each grade means, in a sentence.
MEANINGS = {
    "A": "exact, or exact draws with their standard errors",
    "A′": "numerical, with an error estimate that was met",
    "B": "Monte Carlo whose chains agree",
    "C": "checked against the explicit density, and in agreement with an independent sampler",
    "D": "calibrated on simulated data sets",
    "U": "unverified",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What was looked at.
        figure: What came out.
        limit: From where on, or up to where, it is good.
        passed: Whether it is; `None` where it could not be told.
        statement: What the figure is, in words.
        visible: The smallest error that could have been seen with so much work, in words.
    """

    name: str
    figure: float | int | str
    limit: str
    passed: bool | None
    statement: str
    visible: str = ""

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "?"}[self.passed]
        shown = f"{self.figure:.3g}" if isinstance(self.figure, float) else self.figure
        seen = f"; {self.visible}" if self.visible else ""
        limit = f" ({self.limit})" if self.limit else ""
        return f"{mark} {self.name}: {shown}{limit}. {self.statement}{seen}"


@dataclass(frozen=True)
class Certificate:
    """A grade, the sentence that it stands for, and the figures behind it.

    Args:
        grade: A exact, or exact draws; A′ numerical with an error estimate; B MCMC; C importance-checked; D calibrated by
            simulation; U unverified.
        statement: What was established, in words.
        checks: Figures of how the answer was found.
        tests: What was looked at beyond that, by `posterior.check()`.
        atypical: Whether the observation is unlike what the model predicts before it has seen any (the mark M).
        seed: Of the answer.
        versions: Of the programs that found it.

    Example:
        >>> print(Certificate("A", "exact by elimination", {"width": 2}))
        grade A: exact by elimination
          width: 2
    """

    grade: str
    statement: str
    checks: Mapping[str, float | int | str] = field(default_factory=dict)
    tests: tuple[Check, ...] = ()
    atypical: bool = False
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The grade, with the mark M where the observation is atypical."""
        return f"{self.grade}, M" if self.atypical else self.grade

    @property
    def meaning(self) -> str:
        """What the grade means, in a sentence."""
        marked = "; the observation is not typical of the model's predictions (M)"
        return MEANINGS[self.grade] + (marked if self.atypical else "")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "grade": self.grade,
            "label": self.label,
            "meaning": self.meaning,
            "statement": self.statement,
            "checks": dict(self.checks),
            "tests": [vars(test) for test in self.tests],
            "atypical": self.atypical,
            "seed": self.seed,
            "versions": dict(self.versions),
        }

    def _repr_html_(self) -> str:
        from ..html import printed

        return printed(self)

    def __str__(self) -> str:
        rows = [f"grade {self.label}: {self.statement}"]
        rows += [f"  {name}: {value}" for name, value in self.checks.items()]
        rows += [f"  {test}" for test in self.tests]
        return "\n".join(rows)


def worst(certificates: Iterable[Certificate]) -> Certificate:
    """The certificate of an answer that is made of parts.

    Example:
        >>> worst([Certificate("A", "exact"), Certificate("U", "unverified")]).grade
        'U'
    """
    parts = list(certificates)
    if len(parts) == 1:
        return parts[0]
    lowest = max(parts, key=lambda c: GRADES.index(c.grade))
    return Certificate(
        lowest.grade,
        "; ".join(dict.fromkeys(c.statement for c in parts)),
        {k: v for c in parts for k, v in c.checks.items()},
        tuple(test for c in parts for test in c.tests),
        any(c.atypical for c in parts),
        lowest.seed,
        lowest.versions,
    )
