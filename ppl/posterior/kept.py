"""What a file keeps of an answer that is more than draws: its marginals, joint draws, and a small joint table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ..graph import Graph
from .answer import Draws
from .certificate import Certificate
from .marginal import ContinuousMarginal, Marginal

__all__ = ["KeptAnswer", "TabulatedMarginal", "tabulated"]

#: Levels at which a quantile function is kept: every percent, the usual tails, and steps of a quarter on the scale of log-odds.
LEVELS = numpy.unique(
    [
        *(numpy.arange(1, 100) / 100),
        *(0.005, 0.025, 0.975, 0.995),
        *(1 / (1 + numpy.exp(-numpy.arange(-13.75, 14, 0.25)))),
    ]
)
#: The interval that summaries show.
SHOWN = 0.95


class KeptAnswer(Draws):
    """An answer as it was when it was saved.

    Args:
        graph: Where the nodes' plates and labels are.
        values: Joint draws by node, `(draws, *plates, *event)`.
        certificate: What is known about its quality.
        notes: What the user should know.
        marginals: By node.
        table: The joint table of members of finite nodes: `cells`, `domains`, `probs`; or `None`.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Tensor],
        certificate: Certificate,
        notes: tuple[str, ...],
        marginals: Mapping[str, Marginal],
        table: dict[str, Any] | None,
    ):
        super().__init__(graph, values, certificate, None, notes)
        self._marginals, self.table = dict(marginals), table

    def marginal(self, name: str) -> Marginal:
        return self._marginals[name]

    def only(self, names: Sequence[str]) -> KeptAnswer:
        found = KeptAnswer(
            self._graph,
            {name: self._values[name] for name in names},
            self.certificate,
            self.notes,
            {name: self._marginals[name] for name in names},
            self.table,
        )
        found.log_evidence = self.log_evidence
        return found

    def joint(self, cells: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[Tensor], Tensor]:
        if self.table is None:
            return super().joint(cells)
        known = [(name, tuple(at)) for name, at in self.table["cells"]]
        if any(one not in known for one in cells):
            return super().joint(cells)
        places = [known.index(one) for one in cells]
        gone = [i for i in range(len(known)) if i not in places]
        probs = self.table["probs"].sum(dim=gone) if gone else self.table["probs"]
        left = sorted(places)
        turned = probs.permute([left.index(i) for i in places])
        return [self.table["domains"][i] for i in places], turned


class TabulatedMarginal(ContinuousMarginal):
    """A continuous marginal whose moments are kept as they were, and whose quantiles are read off a table.

    Args:
        name: The node.
        plates: Names of the leading axes.
        states: No labels.
        exact: Whether the numbers were exact.
        mean: `(*plates, *event)`.
        sd: Of the same shape.
        standard_error: Of the same shape.
        levels: The levels of the table, growing, `(levels,)`.
        table: The quantiles, `(levels, *plates, *event)`.
        shown: The ends of the 95 % highest-density interval, `(2, *plates, *event)`.
        draws: `(draws, *plates, *event)`.
    """

    def __init__(
        self,
        name: str,
        plates: tuple[str, ...],
        states: tuple | None,
        exact: bool,
        mean: Tensor,
        sd: Tensor,
        standard_error: Tensor,
        levels: Tensor,
        table: Tensor,
        shown: Tensor,
        draws: Tensor,
    ):
        self.name, self.plates, self.states, self.exact = name, plates, states, exact
        self._mean, self._sd, self._error = mean, sd, standard_error
        self._levels, self._table, self._shown, self._draws = levels, table, shown, draws

    def state(self) -> dict[str, Any]:
        """What is to be written, but for the draws."""
        return {
            "exact": self.exact,
            "mean": self._mean,
            "sd": self._sd,
            "standard_error": self._error,
            "levels": self._levels,
            "table": self._table,
            "shown": self._shown,
        }

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def sd(self) -> Tensor:
        return self._sd

    @property
    def standard_error(self) -> Tensor:
        return self._error

    def quantile(self, q: float) -> Tensor:
        return self._quantiles(numpy.array([q]))[0]

    def _quantiles(self, levels: ndarray) -> Tensor:
        from scipy.interpolate import PchipInterpolator

        known, table = self._levels.numpy(), self._table
        inside = levels.clip(known[0], known[-1])
        near = numpy.abs(known - inside[:, None]).argmin(axis=1)
        there = torch.from_numpy(numpy.abs(known[near] - inside) < 1e-12)
        # Between the levels the quantiles are smooth in the log-odds.
        curve = PchipInterpolator(_log_odds(known), table.numpy(), axis=0)
        found = torch.from_numpy(curve(_log_odds(inside)))
        return torch.where(there.reshape((-1, *[1] * self.mean.dim())), table[near], found)

    def hdi(self, level: float = SHOWN) -> tuple[Tensor, Tensor]:
        return (self._shown[0], self._shown[1]) if level == SHOWN else super().hdi(level)

    def cdf(self, value: float) -> Tensor:
        odds, table = _log_odds(self._levels.numpy()), self._table.reshape((len(self._table), -1))
        ends = [
            0.0 if value < column[0] else 1.0 if value > column[-1] else _share(value, column, odds)
            for column in table.T.numpy()
        ]
        return torch.tensor(ends, dtype=torch.float64).reshape(self._mean.shape)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return self._draws[torch.randint(len(self._draws), (n,), generator=generator)]


def tabulated(marginal: Marginal, draws: Tensor) -> TabulatedMarginal:
    """A continuous marginal as a table."""
    return TabulatedMarginal(
        marginal.name,
        marginal.plates,
        marginal.states,
        marginal.exact,
        marginal.mean,
        marginal.sd,
        marginal.standard_error,
        torch.from_numpy(LEVELS),
        marginal._quantiles(LEVELS),
        torch.stack(marginal.hdi(SHOWN)),
        draws,
    )


def _share(value: float, column: ndarray, odds: ndarray) -> float:
    return float(1 / (1 + numpy.exp(-numpy.interp(value, column, odds))))


def _log_odds(levels: ndarray) -> ndarray:
    return numpy.log(levels) - numpy.log1p(-levels)
