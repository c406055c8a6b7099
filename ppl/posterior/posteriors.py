"""Posteriors: one for each of many observations that were conditioned on together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..errors import QueryError, closest
from ..graph import Graph
from .answer import Answer
from .marginal import DrawnMarginal, Marginal, TableMarginal
from .posterior import Posterior
from .summary import Summary, chosen

if TYPE_CHECKING:
    from ..mechanism import Data

__all__ = ["Posteriors"]

#: Observations whose certificates a summary looks at.
GRADED = 1000


class Posteriors(Sequence):
    """A sequence of posteriors, in the order of the observations; `posteriors["rain"]` is a marginal for all of them at once.

    Args:
        graph: The model's whole graph.
        columns: For each component, its answers.
        of: The nodes that were asked for.
        plan: The plan that was followed.
        data: The observations.
        unasked: For each component without an asked node, its answers, or `None` where no engine can tell.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
        >>> many = ppl.compile(m, given=["wet"]).posteriors({"wet": [0, 1, 1]})
        >>> len(many), many["rain"].prob(1)
        (3, tensor([0.0270, 0.6923, 0.6923], dtype=torch.float64))
    """

    def __init__(
        self,
        graph: Graph,
        columns: Sequence[Sequence[Answer]],
        of: tuple[str, ...],
        plan: Any,
        data: Data,
        unasked: Sequence[Sequence[Answer] | None] = (),
    ):
        self.graph, self.of, self.plan, self.data = graph, of, plan, data
        self._columns, self._unasked = columns, unasked

    def __len__(self) -> int:
        return self.data.datasets

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            return self._marginal(which)
        if isinstance(which, slice):
            return [self[k] for k in range(len(self))[which]]
        if not -len(self) <= which < len(self):
            raise IndexError(which)
        which %= len(self)
        rest: float | None = 0.0
        for answers in self._unasked:
            part = None if answers is None else answers[which].log_evidence
            rest = None if rest is None or part is None else rest + part
        answers = [column[which] for column in self._columns]
        return Posterior(self.graph, answers, self.of, self.plan, self.data, rest, which)

    def _marginal(self, name: str) -> Marginal:
        """The marginal of a node, with a leading axis of observations."""
        for column in self._columns:
            whole = getattr(column, "marginal", None)
            if name in column[0].names:
                if whole is not None:
                    return whole(name)
                parts = [answer.marginal(name) for answer in column]
                plates = ("observation", *parts[0].plates)
                if isinstance(parts[0], TableMarginal):
                    probs = torch.stack([part.probs for part in parts])
                    return TableMarginal(
                        name, parts[0].domain, probs, plates, parts[0].states, parts[0].exact
                    )
                count = min(len(part._values) for part in parts)  # type: ignore[attr-defined]
                values = torch.stack([part._values[:count] for part in parts], dim=1)  # type: ignore[attr-defined]
                return DrawnMarginal(name, values, plates, parts[0].states)
        raise QueryError(
            f"The posteriors have no '{name}'; it was not asked for.{closest(name, self.of)}"
        )

    @property
    def log_evidence(self) -> torch.Tensor:
        """log p(observation) of each, `(observations,)`; absent where the route does not give it."""
        total = torch.zeros(len(self), dtype=torch.float64)
        for answers in (*self._columns, *self._unasked):
            parts = None if answers is None else getattr(answers, "log_evidence", None)
            if parts is None and answers is not None:
                known = [answer.log_evidence for answer in answers]
                parts = None if any(k is None for k in known) else known
            if parts is None:
                raise AttributeError("log_evidence is not known by the route that was taken.")
            total = total + torch.as_tensor(parts, dtype=torch.float64)
        return total

    def summary(
        self,
        *names: str,
        level: float = 0.95,
        interval: str = "hdi",
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    ) -> Summary:
        """A table of the marginals for all observations: `rain[2]` is the third observation's; see `Posterior.summary`."""
        chosen(level, interval, quantiles)
        marginals = {name: self[name] for name in names or self.of}
        grades = Counter(self[k].certificate.grade for k in range(min(len(self), GRADED)))
        among = f" of the first {GRADED:,}" if len(self) > GRADED else ""
        told = ", ".join(f"{grade} ({count:,})" for grade, count in sorted(grades.items()))
        return Summary(
            f"posteriors of {self.graph.name} for {len(self):,} observations",
            marginals,
            level,
            interval,
            tuple(quantiles),
            {"observations": len(self), "grades": dict(grades)},
            (f"grades{among}: {told}",),
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        return f"Posteriors({len(self)} observations; {', '.join(self.of)})"
