"""A published case: what is asked of the library, what is known of the answer, and how near is near enough.

A reference is compared in units of what it allows: its own last digit, four Monte-Carlo standard errors of the answer, a share of the value. Beyond one
unit the answer is wrong. An answer by another route than the one that fits the model is wrong as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ppl

__all__ = ["Case", "Figure", "Found", "Reference", "Result", "about", "at_most", "digits", "judge"]

#: A Monte-Carlo standard error may be this share of the posterior sd (CASES: otherwise four of them would forgive too much).
MOST_ERROR = 0.05


@dataclass(frozen=True)
class Reference:
    """A number that is known, and how far an answer may be from it.

    Args:
        value: The number.
        slack: How far the number itself may be off: half of its last digit, or what its source leaves open.
        share: How far an answer may be off, as a share of the value.
        sd: The posterior sd where the number is a posterior mean; the answer's standard error may be 5 % of it.
        bound: Whether less is right as well.
    """

    value: float
    slack: float = 0.0
    share: float = 0.0
    sd: float | None = None
    bound: bool = False


@dataclass(frozen=True)
class Found:
    """What a run answered.

    Args:
        values: A number, or a number and its Monte-Carlo standard error, under the name of its reference.
        route: The method, or the methods, that the compiler chose.
        grade: Of the certificate.
    """

    values: Mapping[str, float | tuple[float, float]]
    route: str
    grade: str


@dataclass(frozen=True)
class Case:
    """A case of the gallery.

    Args:
        name: By which the judge is asked for it.
        title: What it is, in a few words.
        page: The module of `examples` that tells it.
        source: Whose model it is and where the numbers are from.
        run: Answers; takes nothing.
        references: What is known, by name.
        route: The method that an expert would take.
        slow: Whether it takes more than half a minute, and is left out unless it is named or all are asked for.
    """

    name: str
    title: str
    page: str
    source: str
    run: Callable[[], Found]
    references: Mapping[str, Reference]
    route: str
    slow: bool = False


@dataclass(frozen=True)
class Figure:
    """One reference beside its answer.

    Args:
        name: What it is.
        reference: The number that is known.
        answer: The number that was found.
        standard_error: Of the answer; zero where it is not random.
        error: Their distance in units of what is allowed; right up to one.
    """

    name: str
    reference: float
    answer: float
    standard_error: float
    error: float


@dataclass(frozen=True)
class Result:
    """What became of a case.

    Args:
        case: Its name.
        expected: The route that fits the model.
        route: The route that was taken.
        grade: Of the certificate.
        seconds: Wall-clock time.
        figures: All references beside their answers.
        complaints: What is wrong, in words; nothing where all is right.
    """

    case: str
    expected: str
    route: str
    grade: str
    seconds: float
    figures: tuple[Figure, ...]
    complaints: tuple[str, ...] = field(default=())

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.complaints

    @property
    def worst(self) -> Figure | None:
        """The figure with the largest error."""
        return max(self.figures, key=lambda figure: figure.error, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The result as data, ready for JSON."""
        return {**asdict(self), "right": self.right}


def digits(text: str, units: float = 0.5) -> Reference:
    """A number as it was printed, right to half a unit of its last digit unless said.

    Example:
        >>> known = digits("0.28")
        >>> known.value, round(known.slack, 6)
        (0.28, 0.005)
    """
    places = len(text.partition(".")[2])
    # A little more than half a unit: the halves themselves are no binary numbers.
    return Reference(float(text), units * 10**-places * 1.00002)


def about(mean: float, sd: float, slack: float = 0.0, name: str = "") -> dict[str, Reference]:
    """A posterior's mean, within four standard errors, and its sd, within 10 %.

    Args:
        mean: Of the reference.
        sd: Of the reference.
        slack: How far the reference itself may be off.
        name: Of the quantity.

    Example:
        >>> list(about(4.411, 3.31, name="mu"))
        ['mu', 'sd of mu']
    """
    return {name: Reference(mean, slack, sd=sd), f"sd of {name}": Reference(sd, share=0.1)}


def at_most(value: float) -> Reference:
    """A number that the answer must not pass."""
    return Reference(value, bound=True)


def judge(case: Case) -> Result:
    """Run a case and hold the answer against what is known.

    Example:
        >>> import ppl
        >>> coin = Case("coin", "a coin", "", "", lambda: Found({"p": 0.5}, "exact", "A"), {"p": digits("0.4")}, "exact")
        >>> judge(coin).complaints
        ('p is 0.5 and should be 0.4',)
    """
    begun = time.monotonic()
    try:
        found = case.run()
    except ppl.errors.GaltonError as error:
        said = f"{type(error).__name__}: {error}"
        spent = time.monotonic() - begun
        return Result(case.name, case.route, "none", "", spent, (), (said,))
    spent = time.monotonic() - begun
    figures, complaints = [], []
    if found.route != case.route:
        complaints.append(f"went by {found.route}, and {case.route} fits the model")
    for name, reference in case.references.items():
        if name not in found.values:
            complaints.append(f"{name} was not answered")
            continue
        value = found.values[name]
        answer, error = value if isinstance(value, tuple) else (value, 0.0)
        figures.append(_figure(name, reference, float(answer), float(error)))
        if not figures[-1].error <= 1:
            what = "may be at most" if reference.bound else "should be"
            complaints.append(f"{name} is {answer:.6g} and {what} {reference.value:.6g}")
        if reference.sd is not None and not error <= MOST_ERROR * reference.sd:
            complaints.append(
                f"the standard error of {name} is {error / reference.sd:.2f} posterior sd"
            )
    return Result(
        case.name, case.route, found.route, found.grade, spent, tuple(figures), tuple(complaints)
    )


def _figure(name: str, reference: Reference, answer: float, error: float) -> Figure:
    if reference.bound:
        return Figure(name, reference.value, answer, error, answer / reference.value)
    allowed = reference.slack + 4 * error + reference.share * abs(reference.value)
    distance = abs(answer - reference.value)
    units = distance / allowed if allowed else math.inf if distance else 0.0
    return Figure(name, reference.value, answer, error, units)
