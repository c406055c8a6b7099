"""`galton simulate`: many draws from a model, kept where they are not lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import FormatError, StoreError
from .assignments import assigned, names, sizes
from .data import located, read
from .door import Reply
from .folder import may_write
from .options import Data, Debug, Do, Force, Given, Json, Of, Size, Store, Target, Workers
from .question import model_after

if TYPE_CHECKING:
    from ..campaign import Simulations

__all__ = ["simulate"]


def simulate(
    model: Target,
    n: Annotated[
        int,
        typer.Option(
            "-n", "--draws", min=1, rich_help_panel="The question", help="How many draws."
        ),
    ],
    of: Of = None,
    given: Given = None,
    data: Data = None,
    do: Do = None,
    size: Size = None,
    store: Store = None,
    workers: Workers = 0,
    seed: Annotated[
        int | None,
        typer.Option(
            rich_help_panel="The work",
            help="Decides every random number; 0 by default, or that of the store.",
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            rich_help_panel="The work",
            help="Keep draws that fail as rows with a status, instead of stopping at the first.",
        ),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            rich_help_panel="The work", help="Seconds that a batch may take; needs --workers."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            rich_help_panel="The output",
            help="Write the draws: a .parquet table, an .npz file, or a new folder of .npy files.",
        ),
    ] = None,
    as_json: Json = False,
    force: Force = False,
    debug: Debug = False,
) -> Reply:
    """Draw from a model many times: the prior, and the data that it predicts.

    The same seed gives the same numbers with any number of workers.
    With a --store the same command goes on where it was interrupted, a
    larger -n adds to a smaller one, and galton infer --store uses the draws.
    Inputs and columns of long-format plates come from --given or --data.

    [bold]Examples[/]

    [cyan]galton simulate queue.py -n 10000 --store runs --workers 2[/]

    [cyan]galton simulate queue.py -n 500 --seed 1 --out draws.parquet[/]

    [cyan]galton simulate line.py -n 100 --given x=0,1,2 --of y[/]
    """
    if out is not None:
        _check_out(out, force)
    made = model_after(model, do)
    inputs = {} if data is None else read(data, made.graph, rows=False).rows[0]
    inputs |= assigned(given, made.graph, "--given")
    _refuse_observations(inputs, made.graph)
    with located({name: "--given or --data" for name in inputs}):
        draws = made.simulate(
            n,
            seed=seed,
            inputs=inputs,
            of=names(of) or None,
            sizes=sizes(size),
            store=store,
            workers=workers,
            failures="record" if record else "raise",
            timeout=timeout,
        )
    if out is not None:
        _write(draws, out)
    text = f"{n:,} {draws}" + (f"\n\n{out}: the draws" if out is not None else "")
    return Reply(text, _document(draws, n, store, out) if as_json else None)


def _refuse_observations(inputs: dict[str, Any], graph: Any) -> None:
    """Simulating conditions on nothing: what is given must be inputs."""
    for name in inputs:
        if name in graph.nodes and not graph[name].is_input:
            raise typer.BadParameter(
                f"'{name}' is no input. To set it, say --do {name}=…; to condition on it, galton infer.",
                param_hint="--given",
            )


def _check_out(out: Path, force: bool) -> None:
    if out.suffix in (".parquet", ".npz"):
        may_write(out, force)
    elif out.suffix:
        raise FormatError(f"{out}: draws are written as .parquet, .npz, or a folder without a dot.")
    elif out.exists() and (not out.is_dir() or (any(out.iterdir()) and not force)):
        raise StoreError(f"{out} is there already. Take another name, or replace it with --force.")


def _write(draws: Simulations, out: Path) -> None:
    if out.suffix == ".parquet":
        draws.to_parquet(out)
    elif out.suffix == ".npz":
        import numpy

        columns = {name: value.numpy() for name, value in draws.items()}
        numpy.savez(out, status=draws.status.numpy(), **columns)  # type: ignore[arg-type]
    else:
        draws.to_numpy(out)


def _document(draws: Simulations, n: int, store: Path | None, out: Path | None) -> dict[str, Any]:
    return {
        "draws": n,
        "failed": int(draws.failed.sum()),
        "failures": dict(draws.failures),
        "seed": None if draws.campaign is None else draws.campaign.seed,
        "nodes": {name: list(value.shape) for name, value in draws.items()},
        "store": None if store is None else str(store),
        "out": None if out is None else str(out),
    }
