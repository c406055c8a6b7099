"""The commands of `galton`, and the door through which all of them are called.

Nothing here loads the tensor library: a command does that when it is called, so that help comes at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .check import check
from .convert import convert
from .door import guarded
from .draw import draw
from .infer import infer
from .plan import plan
from .simulate import simulate
from .version import said, version

__all__ = ["app", "main"]

app = typer.Typer(
    name="galton",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(said())
        raise typer.Exit


@app.callback(no_args_is_help=True)
def galton(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Write a generative model once; the compiler finds the inference.

    [bold]How a model is named[/]

    [cyan]garden.py[/]  the only model of a file

    [cyan]garden.py:rain[/]  one of several

    [cyan]'weather.py:weather(days=20)'[/]  one of a family; the quotes are for the shell

    [cyan]alarm.bif[/]  a published network

    [bold]A first look[/]

    [cyan]galton draw garden.py --out garden.svg[/]  the DAG, as a picture

    [cyan]galton plan garden.py --given wet[/]  how it would be answered, and why

    [cyan]galton infer garden.py --given wet=1[/]  the answer, and its grade

    [bold]Exit codes[/]

    0 answered, 1 the model, the question or the data are wrong,
    2 the command is, 3 the answer is not verified, 130 interrupted
    """


for command in (draw, plan, simulate, infer, check, convert, version):
    app.command(no_args_is_help=command is not version)(guarded(command))


def main() -> None:
    """Run the command line."""
    app(prog_name="galton")
