"""Summaries: a posterior as a table of plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
import torch

if TYPE_CHECKING:
    from .marginal import Marginal
    from .posterior import Posterior

__all__ = ["describe", "summary"]

#: Finite nodes with more values than this are summed up like numbers.
MOST_BARS = 8
#: Members of a plate that are listed.
MOST_MEMBERS = 8


def describe(marginal: Marginal) -> str:
    """One marginal on one line, or a line a member."""
    how = "exact" if marginal.exact else "approximate"
    rows = _rows(marginal)
    if len(rows) == 1:
        return f"{rows[0][0]}: {rows[0][1]} ({how})"
    return "\n".join([f"{marginal.name} ({how})", *(f"  {label}: {text}" for label, text in rows)])


def summary(posterior: Posterior) -> str:
    """All marginals, how they were found, and how far they can be trusted."""
    rows = [row for name in posterior for row in _rows(posterior[name])]
    width = max((len(label) for label, _ in rows), default=0)
    lines = [f"posterior of {posterior.graph.name} by {posterior.method}"]
    lines += [f"  {label:<{width}}  {text}" for label, text in rows]
    evidence = getattr(posterior, "log_evidence", None)
    if evidence is not None and posterior.data.observed:
        lines.append(f"  log-evidence {evidence:.6g}")
    lines += [f"  {line}" for line in str(posterior.certificate).splitlines()]
    lines += [f"  note: {note}" for note in posterior.notes]
    return "\n".join(lines)


def _rows(marginal: Marginal) -> list[tuple[str, str]]:
    """A label and a text for each number of the node, or for each member of a finite one."""
    if _as_bars(marginal):
        probs = marginal.probs
        members = list(numpy.ndindex(*probs.shape[:-1]))
        labels = marginal.states or [_plain(value) for value in marginal.domain]
        rows = [
            (
                _label(marginal.name, at),
                ", ".join(
                    f"{label} {float(p):.4g}" for label, p in zip(labels, probs[at], strict=False)
                ),
            )
            for at in members[:MOST_MEMBERS]
        ]
    else:
        mean, sd = marginal.mean, marginal.sd
        low, high = marginal.interval(0.95) if _ordered(marginal) else (None, None)
        members = list(numpy.ndindex(*mean.shape))
        rows = []
        for at in members[:MOST_MEMBERS]:
            text = f"mean {_number(marginal, mean[at], at)}  sd {float(sd[at]):.4g}"
            if low is not None and high is not None:
                text += f"  95% [{float(low[at]):.4g}, {float(high[at]):.4g}]"
            rows.append((_label(marginal.name, at), text))
    if len(members) > MOST_MEMBERS:
        rows.append((f"{marginal.name}[…]", f"{len(members) - MOST_MEMBERS} more"))
    return rows


def _as_bars(marginal: Marginal) -> bool:
    return marginal.finite and len(marginal.domain) <= MOST_BARS


def _ordered(marginal: Marginal) -> bool:
    return not (marginal.exact and marginal.finite and marginal.domain.dim() > 1)


def _number(marginal: Marginal, value: torch.Tensor, at: tuple[int, ...]) -> str:
    """A mean with no more digits than its Monte-Carlo error leaves; a table's mean has none to lose."""
    error = float(marginal.standard_error[at])
    if error <= 0 or not numpy.isfinite(error):
        return f"{float(value):.6g}"
    digits = min(max(-int(numpy.floor(numpy.log10(error))), 0), 6)
    return f"{float(value):.{digits}f} ± {error:.1g}"


def _label(name: str, at: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, at))}]" if at else name


def _plain(value: torch.Tensor) -> str:
    return f"{float(value):g}" if value.dim() == 0 else str(value.tolist())
