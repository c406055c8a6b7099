"""The certificate: how far an answer can be trusted, graded by what was actually established."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["GRADES", "Certificate", "worst"]

#: From best to worst (DESIGN, section 4).
GRADES = ("A", "A′", "B", "C", "D", "U")


@dataclass(frozen=True)
class Certificate:
    """A grade, the sentence that it stands for, and the figures behind it.

    Args:
        grade: A exact, or exact draws; A′ numerical with an error estimate; B MCMC; C importance-checked; D calibrated by
            simulation; U unverified.
        statement: What was established, in words.
        checks: Each check with its figure.
    """

    grade: str
    statement: str
    checks: Mapping[str, float | int | str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        from ..html import printed

        return printed(self)

    def __str__(self) -> str:
        rows = [f"grade {self.grade}: {self.statement}"]
        rows += [f"  {name}: {value}" for name, value in self.checks.items()]
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
    statements = "; ".join(dict.fromkeys(c.statement for c in parts))
    return Certificate(lowest.grade, statements, {k: v for c in parts for k, v in c.checks.items()})
