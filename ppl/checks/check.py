"""Checking a posterior: doing more work to know how far it can be trusted.

What is exact or numerical stays as it is, and so does Monte Carlo whose chains agree. Other answers are held against the explicit density if there is one (C),
else against data sets that are simulated with known parameters (D). Whatever the route, the observation is compared with what the model predicts (M).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..compiler.protocol import Budget
from ..errors import BackendError, QueryError
from ..posterior import Certificate, Check
from ..posterior.certificate import worst
from .calibration import DATASETS, Calibration, calibrate
from .component import Component
from .importance import importance
from .local import PAIRS, local_checks, more_pairs
from .typical import typical

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["LEVEL", "check"]

#: Seconds of a check by default.
SECONDS = 120.0
#: The share of calibrated posteriors that all checks of calibration together refuse, and how many there are.
LEVEL, KINDS = 0.005, 5


def check(
    posterior: Posterior, budget: Budget | None = None, seed: int = 0, progress: bool = False
) -> Certificate:
    """Do more work, and grade anew; see `Posterior.check`."""
    if posterior.saved:
        raise QueryError(
            "This posterior came from a file and knows no functions of the model: nothing can be simulated. Infer it anew, and check that."
        )
    if posterior.derived:
        raise QueryError(
            "This posterior was made of another one, by only() or given(): check that one, whose answers the engines can repeat."
        )
    plan = posterior.plan
    budget = budget or Budget(seconds=SECONDS)
    until = time.monotonic() + budget.seconds
    asked = [i for i, route in enumerate(plan.routes) if route.ask]
    found: list[Certificate] = []
    calibrations: list[Calibration] = []
    datasets = budget.simulations or DATASETS
    with _bar(progress, max(datasets, PAIRS) * len(asked)) as tick:
        for i, answer in zip(asked, posterior.answers, strict=True):
            route, left = plan.routes[i], max(until - time.monotonic(), 0.0)
            component = Component(
                route.query,
                route.method,
                plan._solver(i),
                answer,
                posterior.observation,
                plan.budget,
                seed,
                time.monotonic() + left / (len(asked) - len(found)),
            )
            certificate, calibration = _graded(component, datasets, tick)
            found.append(certificate)
            if calibration is not None:
                calibrations.append(calibration)
    # Seed and versions are those of the answer.
    stated = posterior.certificate
    posterior.certificate = replace(worst(found), seed=stated.seed, versions=stated.versions)  # type: ignore[misc]
    posterior.calibrations = tuple(calibrations)
    return posterior.certificate


def _graded(
    component: Component, datasets: int, tick: Callable[[], None]
) -> tuple[Certificate, Calibration | None]:
    """The certificate of one component."""
    stated, calibration = component.answer.certificate, None
    tests: list[Check] = []
    grade, statement = stated.grade, stated.statement
    if grade == "U":
        refuted = False
        if component.explicit:
            said = importance(component)
            if isinstance(said, str):
                tests.append(_untold("importance weights", said))
            else:
                tests += said
                # Draws that are not those of an independent sampler are wrong; heavy weights alone prove nothing.
                refuted = not said[-1].passed
                if all(test.passed for test in said):
                    grade = "C"
                    statement += (
                        ", which agrees with the explicit density and with an independent sampler"
                    )
        if grade == "U" and not refuted:
            calibration, more = calibrated(component, datasets, tick)
            tests += more
            if calibration is not None and all(test.passed for test in more):
                grade = "D"
                statement += f", calibrated on {len(calibration)} simulated data sets"
        if grade == "U":
            wrong = [test.name for test in tests if test.passed is False]
            statement += (
                f"; refused by: {', '.join(wrong)}" if wrong else "; it could not be checked"
            )
    outside = typical(component)
    tests += [] if outside is None else [outside]
    atypical = outside is not None and outside.passed is False
    graded = replace(
        stated, grade=grade, statement=statement, tests=tuple(tests), atypical=atypical
    )
    return graded, calibration


def calibrated(
    component: Component, datasets: int = DATASETS, tick: Callable[[], None] = lambda: None
) -> tuple[Calibration | None, list[Check]]:
    """All checks of calibration; together they refuse `LEVEL` of the posteriors that are right."""
    found = calibrate(component, datasets, tick)
    if isinstance(found, str):
        return None, [_untold("calibration", found)]
    level = LEVEL / KINDS
    tests = found.checks(level)
    try:
        tests += local_checks(component, more_pairs(component, found.pairs, tick), level)
    except (BackendError, QueryError) as error:
        tests.append(_untold("classifier at this observation", str(error)))
    return found, tests


def _untold(name: str, why: str) -> Check:
    return Check(name, "unknown", "", None, why)


@contextmanager
def _bar(wanted: bool, total: int) -> Any:
    """A progress bar over simulated data sets; yields what is called after each."""
    if not wanted:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc="checking", unit="data set", leave=False) as bar:
        yield bar.update
