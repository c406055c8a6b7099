"""`galton infer`: the answer to a question, and how far it can be trusted."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .door import UNVERIFIED, Reply
from .folder import Folder
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
    Store,
    Target,
    Workers,
)
from .question import Question

if TYPE_CHECKING:
    from ..compiler import Plan
    from ..posterior import Posterior

__all__ = ["answer", "document", "infer"]

#: So many answers are printed; the others are in the files.
SHOWN = 20


def infer(
    model: Target,
    given: Given = None,
    data: Data = None,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows",
            rich_help_panel="The question",
            help="Every row of the CSV, or every object in the JSON list, is an observation of its own: many answers.",
        ),
    ] = False,
    of: Of = None,
    do: Do = None,
    size: Size = None,
    method: Method = None,
    simulations: Simulations = None,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Workers = 0,
    store: Store = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            rich_help_panel="The output",
            help="Check an answer of grade U, and end with exit code 3 if it stays U.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            rich_help_panel="The output",
            help="A folder for summary, draws, pictures, plan and report.",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(min=1, rich_help_panel="The output", help="How many draws --out keeps."),
    ] = 4000,
    as_json: Json = False,
    force: Force = False,
    debug: Debug = False,
) -> Reply:
    """Answer a question: the posterior of what is asked for, given what was seen.

    [bold]Examples[/]

    [cyan]galton infer garden.py --given wet=1[/]

    [cyan]galton infer alarm.bif --given CVP=HIGH --given BP=LOW --of LVFAILURE[/]

    [cyan]galton infer 'board.py:board(balls=3)' --data balls.csv --out answer[/]

    [cyan]galton infer garden.py --do sprinkler=1 --given wet=1 --json[/]
    """
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
        rows,
        workers,
        store,
    )
    folder = None if out is None else Folder(out, force)
    with nullcontext() if folder is None else folder.opened():
        plan, posteriors = answer(question)
        if strict:
            _verify(posteriors, seed)
        found = document(plan, posteriors, rows) if as_json or folder is not None else {}
        written = [] if folder is None else folder.write(plan, posteriors, found, draws)
    text = _told(posteriors, rows)
    if folder is not None:
        text += f"\n\n{folder.path}: {', '.join(written)}"
    if strict and any(p.certificate.grade == "U" for p in posteriors):
        why = "the answer was checked, and its grade is still U."
        return Reply(text, found, UNVERIFIED, why)
    return Reply(text, found)


def answer(question: Question) -> tuple[Plan, list[Posterior]]:
    """The plan that was followed, and one posterior, or one for each observation."""
    plan, known = question.plan()
    if not known.many:
        return plan, [plan.posterior()]
    from .data import located

    graph = plan.model
    rows = [
        {n: v for n, v in row.items() if n not in graph.plates and not graph[n].is_input}
        for row in known.rows
    ]
    with located(known.places):
        return plan, list(plan.posteriors(rows))


def _verify(posteriors: list[Posterior], seed: int) -> None:
    """Do more work on the answers that nothing vouches for."""
    for posterior in posteriors:
        if posterior.certificate.grade == "U":
            posterior.check(seed=seed, progress=sys.stderr.isatty())


def document(plan: Plan, posteriors: list[Posterior], many: bool) -> dict[str, Any]:
    """What `--json` prints: the question, and one answer or a list of them."""
    answers = [
        {
            "posterior": posterior.summary().to_dict(),
            "certificate": posterior.certificate.to_dict(),
        }
        for posterior in posteriors
    ]
    question = {
        "model": plan.model.name,
        "given": list(plan.query.given),
        "of": list(plan.query.ask),
        "seed": plan.query.seed,
    }
    return {**question, **({"answers": answers} if many else answers[0])}


def _told(posteriors: list[Posterior], many: bool) -> str:
    if not many:
        return str(posteriors[0].summary())
    shown = [
        f"observation {k}\n{posterior.summary()}" for k, posterior in enumerate(posteriors[:SHOWN])
    ]
    if len(posteriors) > SHOWN:
        shown.append(f"… and {len(posteriors) - SHOWN} more; --out and --json give them all.")
    return "\n\n".join(shown)
