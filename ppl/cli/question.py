"""The question that `plan`, `infer` and `check` ask: a model, perhaps after an intervention, and what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import QueryError
from .assignments import assigned, names, sizes
from .data import Read, located, read
from .target import called, model_of

if TYPE_CHECKING:
    from ..compiler import Budget, Plan
    from ..dsl import Model

__all__ = ["Question", "budget_of", "model_after"]


@dataclass(frozen=True)
class Question:
    """What was typed, before any of it is read.

    Args:
        target: `FILE:MODEL`.
        given: `node=value`; for a plan also bare names.
        data: A file of observations and inputs.
        of: The nodes to infer.
        do: Interventions, `node=value`.
        size: Sizes of plates, `plate=n`.
        method: The engine, if it is forced.
        budget: What the answer may cost.
        seed: Decides every random number.
        rows: Whether the data are many observations.
        workers: How many processes simulate.
        store: A folder that keeps simulations.
    """

    target: str
    given: Sequence[str] | None = None
    data: Path | None = None
    of: Sequence[str] | None = None
    do: Sequence[str] | None = None
    size: Sequence[str] | None = None
    method: str | None = None
    budget: tuple[int | None, float | None] = (None, None)
    seed: int = 0
    rows: bool = False
    workers: int = 0
    store: Path | None = None

    def plan(self, open_: bool = False) -> tuple[Plan, Read]:
        """The plan, and what is known.

        Args:
            open_: Whether nodes may be given by name alone, for a plan that is made before their values are known.

        Raises:
            typer.BadParameter: If a node is given without a value where one is needed.
            GaltonError: Whatever is wrong with the model, the question or the data.
        """
        from ..compiler import compile

        model = model_after(self.target, self.do)
        known = self._known(model, open_)
        bare = any(value is ... for value in known.rows[0].values())
        options: dict[str, Any] = {
            "method": _method(self.method),
            "budget": budget_of(*self.budget),
            "seed": self.seed,
            "sizes": sizes(self.size),
            "workers": self.workers,
            "store": self.store,
        }
        of = names(self.of) or None
        with located(known.places):
            if not bare and not known.many:
                return compile(model, known.rows[0], of, **options), known
            return self._open(model, known, of, options), known

    def _open(self, model: Model, known: Read, of: list[str] | None, options: dict) -> Plan:
        """A plan for nodes that are known by name."""
        from ..compiler import compile
        from ..mechanism import read_data

        graph = model.graph
        inputs = {
            name: value
            for name, value in known.rows[0].items()
            if name in graph.plates or (name in graph.nodes and graph[name].is_input)
        }
        observed = list(dict.fromkeys(n for row in known.rows for n in row if n not in inputs))
        values = {n: v for n, v in known.rows[0].items() if v is not ... and v is not None}
        # The first observation tells how many members the plates have.
        data = read_data(graph, values, sizes=options["sizes"])
        return compile(model, observed, of, **{**options, "sizes": dict(data.sizes)}, inputs=inputs)

    def _known(self, model: Model, bare: bool) -> Read:
        """What the file and the options say together."""
        found = Read([{}]) if self.data is None else read(self.data, model.graph, self.rows)
        if self.rows and self.data is None:
            raise typer.BadParameter(
                "many observations come from a file: --data.", param_hint="--rows"
            )
        typed = assigned(self.given, model.graph, "--given", bare)
        for name in typed:
            if name in found.places and typed[name] is not ...:
                raise QueryError(f"'{name}' is both in {found.places[name]} and in --given.")
        places = {**found.places, **{name: f"--given {name}" for name in typed}}
        return Read([{**row, **typed} for row in found.rows], places, found.many)


def model_after(target: str, do: Sequence[str] | None) -> Model:
    """The model that a target names, after the interventions.

    Raises:
        typer.BadParameter: If an intervention has no value.
    """
    model = model_of(target)
    wanted = assigned(do, model.graph, "--do")
    if not wanted:
        return model
    with located({name: f"--do {name}" for name in wanted}):
        return model.do(wanted)


def budget_of(simulations: int | None, seconds: float | None) -> Budget:
    """What an answer may cost."""
    from ..compiler import Budget

    return Budget(simulations) if seconds is None else Budget(simulations, seconds)


def _method(text: str | None) -> Any:
    """An engine by its name, perhaps with options of its own: `rejection(quantile=0.001)`."""
    if text is None:
        return None
    from ..compiler import Method

    name, bracket, rest = text.partition("(")
    if not bracket:
        return text
    _, values, options = called(f"method({rest}", "--method")
    if values:
        raise typer.BadParameter(
            f"'{text}': options have names, as in {name}(quantile=0.001).", param_hint="--method"
        )
    return Method(name.strip(), **options)
