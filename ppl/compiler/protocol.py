"""The contract between the compiler and the engines.

An engine judges a query (able? with what guarantee, at what cost, and why), prepares once, and conditions on many observations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import QueryError

if TYPE_CHECKING:
    from ..mechanism import Data
    from ..posterior.answer import Answer
    from .query import Query

__all__ = ["Backend", "Budget", "Method", "Solver", "Verdict"]


@dataclass(frozen=True)
class Budget:
    """What an answer may cost.

    Args:
        simulations: Draws from the model; by default each engine's own number, which the plan prints.
        seconds: Wall-clock seconds for each component, preparation and conditioning together.
        memory: Bytes that an engine may allocate at once.
        cells: The total size of the factors that exact elimination may make.

    Raises:
        QueryError: If one of them is not positive.
    """

    simulations: int | None = None
    seconds: float = 300.0
    memory: int = 4 * 2**30
    cells: int = 2**27

    def __post_init__(self) -> None:
        for name in ("simulations", "seconds", "memory", "cells"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise QueryError(
                    f"Budget({name}={value!r}): a budget is positive; nothing can be done with none."
                )
        if self.simulations is not None and int(self.simulations) != self.simulations:
            raise QueryError(
                f"Budget(simulations={self.simulations!r}): simulations are counted in whole numbers."
            )


class Method:
    """An engine with options of its own, wherever `method=` takes an engine's name.

    Args:
        name: The engine.
        options: What the engine lets one choose; its own page says which, and a wrong one is refused by name.

    Example:
        >>> import ppl
        >>> ppl.Method("rejection", quantile=0.001, adjust="linear")
        Method('rejection', quantile=0.001, adjust='linear')
    """

    def __init__(self, name: str, **options: Any):
        self.name, self.options = name, options

    def __repr__(self) -> str:
        parts = [repr(self.name), *(f"{k}={v!r}" for k, v in self.options.items())]
        return f"Method({', '.join(parts)})"


@dataclass(frozen=True)
class Verdict:
    """What an engine says about a query.

    Args:
        method: The method's name, as `method=` takes it.
        able: Whether it can answer at all.
        row: The row of the decision table that it would serve; lower is preferred.
        fits: Whether the row's condition holds; an able engine that does not fit serves only when it is forced.
        reason: Why, or why not, in words.
        guarantee: What kind of answer it gives.
        grade: The grade that its answer can have.
        cost: Predicted cost in counts, such as simulations or table cells; seconds only where they follow from counts.
        remedy: What change to the model or query would open this route.
    """

    method: str
    able: bool
    row: int
    reason: str
    fits: bool = True
    guarantee: str = ""
    grade: str = "U"
    cost: Mapping[str, int | float] = field(default_factory=dict)
    remedy: str = ""


class Solver(Protocol):
    """A prepared engine: conditions on many observations at once.

    A solver that learned something, such as a trained net, may also have

        def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]

    which `plan.save` writes: tensors by name, and facts. Facts are plain data, since nothing is pickled: numbers, texts, `None`, and lists,
    tuples or dictionaries of them, tensors too. Everything comes back as it was, in its dtype, on the CPU, and in memory of its own. Then its backend has
    `restore`, which makes a solver that answers with equal bits:

        def restore(query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Solver

    The query is compiled again from the same model (whose likeness has been checked), data, seed and options; options that no file can hold were
    handed in again. What follows from these need not be in the state. A solver for which nothing is worth keeping has no `state`, and is
    prepared anew; `plan.save` then does not prepare it.
    """

    def condition(self, data: Data) -> Sequence[Answer]:
        """One answer for each of `data.datasets` observations, in order."""
        ...


class Backend(Protocol):
    """An engine: a module or object with these names."""

    def judge(self, query: Query, budget: Budget) -> Verdict:
        """Whether it can answer, how well, at what cost, and why. Runs no long work."""
        ...

    def prepare(self, query: Query, budget: Budget) -> Solver:
        """What can be done before the observation is known: an elimination order, a trained net."""
        ...
