"""The figures of a summary: what is said of each number of a node, and to how many digits."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from .marginal import DrawnMarginal, Marginal, member_name

__all__ = ["aligned", "bars", "entries", "few", "number", "numbers"]

#: Finite nodes with more values than this are summed up like numbers.
MOST_BARS = 8


def few(marginal: Marginal) -> bool:
    """Whether the values of a node are so few that each is told with its probability."""
    return marginal.finite and len(marginal.domain) <= MOST_BARS


def entries(marginal: Marginal) -> list[tuple[int, ...]]:
    """The coordinates of everything that has a row: members of finite nodes with few values, entries of the others."""
    shape = marginal.probs.shape[:-1] if few(marginal) else marginal.mean.shape
    return list(numpy.ndindex(*shape))


def bars(
    marginal: Marginal,
    where: list[tuple[int, ...]],
    level: float,
    interval: str,
    quantiles: tuple[float, ...],
) -> list[dict[str, Any]]:
    """The rows of a finite node with few values: their probabilities, and its mean and sd where the values are plain numbers."""
    probs, domain = marginal.probs, marginal.domain
    labels = marginal.states or [v.item() if v.dim() == 0 else tuple(v.tolist()) for v in domain]
    counted = marginal.states is None and domain.dim() == 1
    mean, sd = (marginal.mean, marginal.sd) if counted else (None, None)
    rows = []
    for at in where:
        row = _row(marginal, at)
        masses = [float(p) for p in probs[at]]
        row["probs"] = dict(zip(labels, masses, strict=False))
        if mean is not None and sd is not None:
            row |= {"mean": float(mean[at]), "sd": float(sd[at])}
        if isinstance(marginal, DrawnMarginal):
            row["ess"] = marginal.effective_size
        rows.append(row)
    return rows


def numbers(
    marginal: Marginal,
    where: list[tuple[int, ...]],
    level: float,
    interval: str,
    quantiles: tuple[float, ...],
) -> list[dict[str, Any]]:
    """The rows of a node whose values are numbers."""
    mean, sd, error = marginal.mean, marginal.sd, marginal.standard_error
    ordered = not (marginal.finite and marginal.domain.dim() > 1 and marginal.exact)
    tails = ((1 - level) / 2, (1 + level) / 2)
    drawn = marginal if isinstance(marginal, DrawnMarginal) else None
    ends: tuple[Tensor | None, Tensor | None] = (None, None)
    found: dict[float, Tensor] = {}
    if ordered:
        ends = marginal.hdi(level) if interval == "hdi" else marginal.interval(level)
        found = {q: marginal.quantile(q) for q in quantiles}
    doubts = {q: _doubt(marginal, q) for q in {*quantiles, *tails} if ordered}
    size = float("inf") if drawn is None else drawn.effective_size
    rows = []
    for at in where:
        row = _row(marginal, at)
        row |= {"mean": float(mean[at]), "sd": float(sd[at])}
        row |= {
            name: None if end is None else float(end[at])
            for name, end in zip(("low", "high"), ends, strict=True)
        }
        row["quantiles"] = {q: float(v[at]) for q, v in found.items()}
        # The ends are noisier than quantiles of their levels, at least as noisy as the noisier one.
        ends_error = max((float(doubts[q][at]) for q in tails), default=0.0) if ordered else 0.0
        row["errors"] = {
            "mean": float(error[at]),
            "sd": float(sd[at]) / (2 * size) ** 0.5,
            "low": ends_error,
            "high": ends_error,
            "quantiles": {q: float(doubts[q][at]) for q in found},
        }
        if drawn is not None:
            row |= _chained(drawn, at)
        rows.append(row)
    return rows


def _row(marginal: Marginal, at: tuple[int, ...]) -> dict[str, Any]:
    # Entries of a vector have coordinates after those of the plates.
    name = marginal.name
    return {"name": member_name(name, at), "node": name, "at": at, "exact": marginal.exact}


def _chained(marginal: DrawnMarginal, at: tuple[int, ...]) -> dict[str, float | None]:
    """ESS, and R-hat of chains; `None` where nothing moves."""
    if marginal.chains == 1:
        return {"ess": marginal.effective_size}
    # One at a time, for the few that are printed: of a thousand entries they take seconds.
    alone = marginal.entry(at)
    size, agree = float(alone.ess), float("nan") if alone.rhat is None else float(alone.rhat)
    return {
        "ess": size if numpy.isfinite(size) else None,
        "rhat": agree if numpy.isfinite(agree) else None,
    }


def _doubt(marginal: Marginal, q: float) -> Tensor:
    """The Monte-Carlo standard error of a quantile: by how much it moves when its level moves by that of a frequency."""
    if not isinstance(marginal, DrawnMarginal) or marginal.finite:
        return torch.zeros_like(
            marginal.mean
        )  # whole numbers are right or wrong, never nearly right
    step = (q * (1 - q) / marginal.effective_size) ** 0.5
    low, high = marginal.quantile(max(q - step, 0.0)), marginal.quantile(min(q + step, 1.0))
    return (high - low).to(torch.float64) / 2


def number(value: float, error: float, digits: int = 4) -> str:
    """A number with no more digits than its error leaves; with `digits` where there is no error to speak of.

    Example:
        >>> number(0.123456, 0.02), number(12345.6, 300.0), number(0.123456, 0.0)
        ('0.12', '12300', '0.1235')
    """
    if error <= 0 and abs(value) < 1e9 and value == int(value):
        return f"{value:.0f}"
    if not (numpy.isfinite(value) and numpy.isfinite(error)) or error <= 0:
        return f"{value:.{digits}g}"
    # 0.0096 is printed as 0.01, and leaves two places.
    places = -int(numpy.floor(numpy.log10(float(f"{error:.1g}"))))
    if 1e-3 <= abs(value) < 1e9 or value == 0:
        return f"{round(value, min(places, 6)):.{min(max(places, 0), 6)}f}"
    kept = int(numpy.floor(numpy.log10(abs(value)))) + places + 1
    return f"{value:.{min(max(kept, 1), 6)}g}"


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of cells as indented lines of text; a row of two cells is a title and a text that may be long."""
    full = [cells for cells in rows if len(cells) > 2]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)] or [0]
    widths[0] = max((len(cells[0]) for cells in rows), default=0)
    lines = []
    for cells in rows:
        if len(cells) == 2:
            lines.append(f"  {cells[0]:<{widths[0]}}  {cells[1]}".rstrip())
        else:
            padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            lines.append(f"  {'  '.join(padded)}".rstrip())
    return lines
