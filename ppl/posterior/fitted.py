"""What `fit` hands back: a model with learned tables, and how the log-likelihood came to rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from ..errors import QueryError, closest

__all__ = ["Fitted"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model.

    Args:
        model: A new model, whose learned nodes look up their tables.
        tables: By learned node, `(*parents, own)`; of a chain's first step as `"name (start)"`.
        history: The objective after each step of EM, in nats: the log-likelihood, plus the log prior density (up to a constant)
            where there is a prior. It never falls. Complete data take one step.
        log_likelihood: log p(data) under the new model, without the prior.
        converged: Whether the last step was below the tolerance.
        rows: How many rows there were.
        missing: By node, how many cells were missing; nodes that the data do not mention are missing everywhere.
        unseen: By node, how many rows of its table no data speak of; they keep what the model said.
        runs: The final objective of each restart.
    """

    model: Any
    tables: Mapping[str, ndarray]
    history: tuple[float, ...]
    log_likelihood: float
    converged: bool
    rows: int
    missing: Mapping[str, int]
    unseen: Mapping[str, int]
    runs: tuple[float, ...]

    def table(self, name: str) -> ndarray:
        """The learned table of a node, `(*parents, own)`."""
        if name not in self.tables:
            raise QueryError(f"'{name}' was not learned.{closest(name, self.tables)}")
        return self.tables[name]

    def _repr_html_(self) -> str:
        from ..html import printed

        return printed(self)

    def __repr__(self) -> str:
        rows = [
            f"fitted {self.model.name}: {len(self.tables)} tables from {self.rows:,} rows, log-likelihood {self.log_likelihood:.4f}",
        ]
        if len(self.history) > 1:
            how = "converged" if self.converged else "stopped before it converged"
            rows.append(f"  EM {how} after {len(self.history)} steps")
        gaps = {name: n for name, n in self.missing.items() if n}
        if gaps:
            shown = ", ".join(f"{name} {n}" for name, n in list(gaps.items())[:8])
            rows.append(f"  missing cells: {shown}{', …' if len(gaps) > 8 else ''}")
        if self.unseen:
            shown = ", ".join(f"{name} {n}" for name, n in list(self.unseen.items())[:8])
            more = ", …" if len(self.unseen) > 8 else ""
            rows.append(f"  rows that no data speak of, kept as they were: {shown}{more}")
        return "\n".join(rows)
