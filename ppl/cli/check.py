"""`galton check`: an answer is put to the test, and its certificate decides the exit code."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from .door import UNVERIFIED, Reply
from .options import (
    Data,
    Debug,
    Do,
    Given,
    Json,
    Method,
    Of,
    Seconds,
    Seed,
    Simulations,
    Size,
    Store,
    Target,
    Workers,
)
from .question import Question, budget_of

__all__ = ["check"]


class Grade(StrEnum):
    """What a certificate can establish, from best to worst; `A'` is A′ on a keyboard."""

    A = "A"
    NUMERICAL = "A'"
    B = "B"
    C = "C"
    D = "D"


def check(
    model: Target,
    given: Given = None,
    data: Data = None,
    of: Of = None,
    do: Do = None,
    size: Size = None,
    method: Method = None,
    simulations: Simulations = None,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Workers = 0,
    store: Store = None,
    datasets: Annotated[
        int | None,
        typer.Option(
            min=50,
            rich_help_panel="The work",
            help="How many simulated data sets are answered for grade D; 200 by default.",
        ),
    ] = None,
    at_least: Annotated[
        Grade,
        typer.Option(
            case_sensitive=False,
            rich_help_panel="The output",
            help="The grade below which the exit code is 3.",
        ),
    ] = Grade.D,
    as_json: Json = False,
    debug: Debug = False,
) -> Reply:
    """Answer a question, do more work to see whether the answer can be trusted, and print the certificate.

    The grades: A exact, A' numerical with an error estimate, B sampled and
    converged, C importance-checked, D calibrated by simulation, U unverified.
    The exit code is 3 if the grade is U, or worse than --at-least.

    [bold]Examples[/]

    [cyan]galton check garden.py --given wet=1[/]

    [cyan]galton check queue.py --given longest=9 --method npe --simulations 5000[/]

    [cyan]galton check flu.py:flu --data flu.json --at-least C[/]
    """
    from .infer import answer

    question = Question(
        model,
        given,
        data,
        of,
        do,
        size,
        method,
        (simulations, seconds),
        seed,
        workers=workers,
        store=store,
    )
    _, [posterior] = answer(question)
    certificate = posterior.check(
        budget=budget_of(datasets, seconds), seed=seed, progress=sys.stderr.isatty()
    )
    from ..posterior.certificate import GRADES

    wanted = at_least.value.replace("'", "′")
    enough = GRADES.index(certificate.grade) <= GRADES.index(wanted)
    found = certificate.to_dict() if as_json else None
    if enough:
        return Reply(certificate, found)
    why = f"the grade is {certificate.grade}; {at_least.value} was asked for."
    return Reply(certificate, found, UNVERIFIED, why)
