"""`fit`: learn the tables of a finite model from data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .compiler import Budget, registry
from .errors import QueryError

if TYPE_CHECKING:
    from .posterior.fitted import Fitted

__all__ = ["fit"]


def fit(
    model: Any,
    data: Any,
    *,
    learn: Collection[str] | None = None,
    pseudo_counts: float | Mapping[str, Any] = 0.0,
    bdeu: float | None = None,
    restarts: int = 1,
    tolerance: float = 1e-9,
    iterations: int = 2000,
    seed: int = 0,
    nan: str = "error",
    inputs: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
) -> Fitted:
    """A new model whose tables are learned from data: by counting where every cell is there, by EM where cells are missing.

    Missing cells (`None`, NA, masked) are taken to be missing at random; a node that the data do not mention is latent.

    Args:
        model: The structure, and the tables to start from. A plate's members share one table, and so do the steps of a chain.
        data: Independent rows: a data frame, or a mapping from node to `(rows, *plates)` of values or labels.
        learn: The nodes whose tables are learned; by default all whose values and parents are finite. The others stay as they are.
        pseudo_counts: Added to the count of every cell of a table (a symmetric Dirichlet prior), or of each node's table by name.
        bdeu: Instead: the equivalent sample size of the BDeu prior, which spreads it evenly over each table.
        restarts: Runs of EM; the first starts from what the observed cells say, the others from random tables. The best is kept.
        tolerance: EM ends when the objective grows by less than this part of itself.
        iterations: EM ends after this many all the same, and says so.
        seed: Decides the random starts.
        nan: `"missing"` reads NaN as a missing cell, as data frames have it; otherwise it is an error.
        inputs: Values of inputs.
        budget: What elimination may cost.

    Returns:
        The new model, with the history of the log-likelihood.

    Raises:
        QueryError: For unknown nodes or labels, or nothing to learn.
        BackendError: If the nodes that are not seen cannot be summed out exactly.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent(states=("dry", "rain"))
        ... def weather(): return Bernoulli(0.5)
        >>> @m.observed
        ... def wet(weather): return Bernoulli([0.1, 0.9][weather])
        >>> data = {"weather": ["dry", "rain", "rain", "dry"], "wet": [0, 1, 1, 1]}
        >>> fitted = ppl.fit(m, data)
        >>> fitted.table("wet")
        array([[0.5, 0.5],
               [0. , 1. ]])
        >>> ppl.infer(fitted.model, {"wet": 1})["weather"]
        weather: dry 0.3333, rain 0.6667 (exact)
    """
    if bdeu is not None and pseudo_counts:
        raise QueryError("Give pseudo_counts or bdeu, not both: each is a prior.")
    if restarts < 1 or iterations < 1:
        raise QueryError("restarts and iterations are positive.")
    return registry.backend("exact").fit(  # type: ignore[attr-defined]
        model,
        data,
        learn=learn,
        pseudo_counts=pseudo_counts,
        bdeu=bdeu,
        restarts=restarts,
        tolerance=tolerance,
        iterations=iterations,
        seed=seed,
        nan=nan,
        inputs=inputs,
        budget=budget or Budget(),
    )
