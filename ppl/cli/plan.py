"""`galton plan`: how a question would be answered, and why; nothing is answered yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .door import UNVERIFIED, Reply
from .folder import may_write
from .options import (
    Data,
    Debug,
    Do,
    Force,
    Given,
    Json,
    Method,
    Of,
    Seconds,
    Seed,
    Simulations,
    Size,
    Target,
)
from .question import Question

__all__ = ["plan"]


def plan(
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
    report: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel="The output", help="Write the plan as one self-contained HTML file."
        ),
    ] = None,
    as_json: Json = False,
    force: Force = False,
    debug: Debug = False,
) -> Reply:
    """Say how a question would be answered, what it would cost, and why not otherwise.

    What is given may be named without a value: then the plan is for any observation of it.

    [bold]Examples[/]

    [cyan]galton plan garden.py --given wet --of rain[/]

    [cyan]galton plan garden.py --given wet=1 --method rejection[/]  and what speaks against it

    [cyan]galton plan alarm.bif --given CVP=HIGH --json[/]
    """
    if report is not None:
        may_write(report, force)
    question = Question(model, given, data, of, do, size, method, (simulations, seconds), seed)
    made, _ = question.plan(open_=True)
    if report is not None:
        made.report(report, force=force)
    able = all(route.verdict is not None for route in made.routes if route.ask)
    text = made if report is None else f"{made}\n\n{report}: the plan as a page"
    if able:
        return Reply(text, made.to_dict() if as_json else None)
    why = "no engine can answer; the plan says what change to the model would open one."
    return Reply(text, made.to_dict() if as_json else None, UNVERIFIED, why)
