"""`galton convert`: a network from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .assignments import assigned
from .data import located
from .door import Reply
from .folder import may_write
from .options import Debug, Do, Force, Given, Target
from .question import model_after

__all__ = ["convert"]


def convert(
    model: Target,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", show_default=False, help="The new file; it ends in .bif or .uai."
        ),
    ],
    given: Given = None,
    do: Do = None,
    force: Force = False,
    debug: Debug = False,
) -> Reply:
    """Write a network, or any model whose nodes are all finite, as BIF or UAI.

    UAI keeps no names: variable i is the model's i-th.
    What is --given is written beside it, as OUT.evid.

    [bold]Examples[/]

    [cyan]galton convert alarm.bif alarm.uai[/]

    [cyan]galton convert alarm.bif alarm.uai --given CVP=HIGH[/]

    [cyan]galton convert garden.py:garden garden.bif[/]
    """
    from ..formats import write

    may_write(out, force)
    beside = Path(f"{out}.evid")
    if given:
        may_write(beside, force)
    made = model_after(model, do)
    evidence = assigned(given, made.graph, "--given")
    with located({name: f"--given {name}" for name in evidence}):
        write(made, out, evidence=evidence or None)
    also = f", and {beside}" if given else ""
    return Reply(f"{out}: {made.name}, {len(made.graph)} variables{also}")
