"""The options that several commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Data",
    "Debug",
    "Do",
    "Force",
    "Given",
    "Json",
    "Method",
    "Of",
    "Seconds",
    "Seed",
    "Simulations",
    "Size",
    "Store",
    "Target",
    "Workers",
]

_QUESTION, _WORK, _OUTPUT = "The question", "The work", "The output"

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE:MODEL",
        show_default=False,
        help="A Python file or module, and a model or a factory in it, as in 'weather.py:weather(days=20)'; without :MODEL the only one "
        "of the file. Or a network: .bif, .uai.",
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        "-g",
        metavar="NODE=VALUE",
        rich_help_panel=_QUESTION,
        help="What was observed: a number, a label, a list as in y=1,2,3, or JSON. An empty place and null are missing. May be repeated.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        "-d",
        exists=True,
        dir_okay=False,
        rich_help_panel=_QUESTION,
        help="Observations and inputs from a file: a JSON object from node to value, or CSV with a column for each node.",
    ),
]
Of = Annotated[
    list[str] | None,
    typer.Option(
        "--of",
        metavar="NODE",
        rich_help_panel=_QUESTION,
        help="What to infer; by default the θ, or the latents of a model without. May be repeated, or a list: --of slope,noise.",
    ),
]
Do = Annotated[
    list[str] | None,
    typer.Option(
        "--do",
        metavar="NODE=VALUE",
        rich_help_panel=_QUESTION,
        help="Intervene before asking: set a node, and cut its parents off. May be repeated.",
    ),
]
Size = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="PLATE=N",
        rich_help_panel=_QUESTION,
        help="The size of a plate that neither the model nor the data tell. May be repeated.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        rich_help_panel=_WORK,
        help="Force an engine, perhaps with options: nuts, npe, 'rejection(quantile=0.001)'. By default the compiler decides.",
    ),
]
Simulations = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=_WORK, help="The most simulations that an answer may cost."
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_WORK,
        help="The most seconds that each independent part of the answer may take; 300 by default.",
    ),
]
Seed = Annotated[int, typer.Option(rich_help_panel=_WORK, help="Decides every random number.")]
Workers = Annotated[
    int,
    typer.Option(
        min=0,
        rich_help_panel=_WORK,
        help="How many processes of this machine simulate; 0 is this one alone.",
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_WORK,
        help="A folder that keeps the simulations; what was interrupted goes on from there.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        rich_help_panel=_OUTPUT,
        help="Print JSON on the standard output, and nothing else there.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=_OUTPUT, help="Replace files that are there already."),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", rich_help_panel=_OUTPUT, help="Show Python's traceback of what went wrong."
    ),
]
