"""`galton draw`: a model as a story, or as the picture of its DAG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .door import Reply
from .folder import may_write
from .options import Debug, Do, Force, Target
from .question import model_after

__all__ = ["draw"]


def draw(
    model: Target,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            rich_help_panel="The output",
            help="The picture: its name ends in .svg, .png or .pdf; anything else gets the text that Graphviz reads.",
        ),
    ] = None,
    do: Do = None,
    legend: Annotated[
        bool,
        typer.Option(
            "--legend",
            rich_help_panel="The output",
            help="Explain the symbols below the picture.",
        ),
    ] = False,
    force: Force = False,
    debug: Debug = False,
) -> Reply:
    """Show a model: as a story in words, or its DAG as a picture.

    [bold]Examples[/]

    [cyan]galton draw garden.py[/]

    [cyan]galton draw garden.py:garden --out garden.svg --legend[/]

    [cyan]galton draw garden.py --do sprinkler=1 --out after.svg[/]  the cut edges are dashed
    """
    if out is not None:
        may_write(out, force)
    shown = model_after(model, do)
    if out is None:
        return Reply(shown)
    shown.draw(legend=legend or None).save(out)
    return Reply(f"{out}: {shown.name}, {len(shown.graph)} nodes")
