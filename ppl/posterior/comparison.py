"""Two posteriors side by side: how far they are apart, node by node, and which one is the better established."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..errors import QueryError
from ..html import table
from .certificate import GRADES
from .figures import aligned, few, number
from .marginal import Marginal, member_name

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["Comparison", "compare"]

#: Levels at which two quantile functions are compared.
LEVELS = (numpy.arange(100) + 0.5) / 100
#: Rows of one node that are printed.
MOST_MEMBERS = 8


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far one posterior is from another.

    Args:
        title: Of what.
        rows: For each number `name`, `node`, `at`; of a finite node with few values `variation`, the total variation distance; of the others
            `distance` (Wasserstein's, in sds of the other posterior), `shift` of the mean in the same unit with `shift_error`, its Monte-Carlo
            standard error, and `ratio` of the sds. `chance` is the distance that equal posteriors would be at, for the draws that there are.
        log_bayes_factor: log p(data | this) - log p(data | other), where both are known and the data are the same.
        grades: Of this posterior and of the other.
        notes: What else should be known.
    """

    title: str
    rows: tuple[Mapping[str, Any], ...]
    log_bayes_factor: float | None
    grades: tuple[str, str]
    notes: tuple[str, ...] = ()

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        head = ["", "distance", "shift of mean", "ratio of sd"]
        rows, seen = [], dict.fromkeys((row["node"] for row in self.rows), 0)
        for row in self.rows:
            seen[row["node"]] += 1
            if seen[row["node"]] > MOST_MEMBERS:
                continue
            chance = f" ({row['chance']:.1g} by chance)" if row["chance"] > 0 else ""
            if "variation" in row:
                rows.append([row["name"], f"{row['variation']:.3g} total variation{chance}"])
                continue
            shift = number(row["shift"], row["shift_error"], 3)
            if row["shift_error"] > 0:
                shift += f" ± {row['shift_error']:.1g}"
            cells = [f"{row['distance']:.3g} sd{chance}", f"{shift} sd", f"{row['ratio']:.3g}"]
            rows.append([row["name"], *cells])
        for node, count in seen.items():
            if count > MOST_MEMBERS:
                rows.append([f"{node}[…]", f"{count - MOST_MEMBERS:,} more"])
        return head if any(len(cells) > 2 for cells in rows) else head[:2], rows

    def _below(self) -> list[str]:
        lines = []
        if self.log_bayes_factor is not None:
            lines.append(f"log Bayes factor {self.log_bayes_factor:.4g}")
        one, other = self.grades
        places = [GRADES.index(grade) for grade in self.grades]
        verdict = "equally well established"
        if places[0] != places[1]:
            verdict = f"the {'first' if places[0] < places[1] else 'second'} is better established"
        lines.append(f"grades {one} and {other}: {verdict}")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def __str__(self) -> str:
        head, rows = self._shown()
        lines = [self.title, *aligned([head, *rows])]
        return "\n".join([*lines, *(f"  {line}" for line in self._below())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table(*self._shown(), self.title, self._below())

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain data, ready for JSON."""
        return {
            "title": self.title,
            "rows": [{**row, "at": list(row["at"])} for row in self.rows],
            "log_bayes_factor": self.log_bayes_factor,
            "grades": list(self.grades),
            "notes": list(self.notes),
        }


def compare(one: Posterior, other: Posterior) -> Comparison:
    """How far one posterior is from another; see `Posterior.compare`."""
    if not hasattr(other, "of") or not hasattr(other, "certificate"):
        raise QueryError(f"compare() takes another posterior; it was given {other!r}.")
    shared = [name for name in one.of if name in other.of]
    if not shared:
        raise QueryError(
            f"The two posteriors have no node in common: {', '.join(one.of)}; {', '.join(other.of)}."
        )
    rows = [row for name in shared for row in _rows(one[name], other[name])]
    factor, why = _bayes_factor(one, other)
    apart = [name for name in (*one.of, *other.of) if name not in shared]
    notes = [f"only one of them is about {', '.join(dict.fromkeys(apart))}"] if apart else []
    notes += [why] if why else []
    title = f"posterior of {one.graph.name} by {one.method} against {other.graph.name} by {other.method}"
    grades = (one.certificate.grade, other.certificate.grade)
    return Comparison(title, tuple(rows), factor, grades, tuple(notes))


def _rows(one: Marginal, other: Marginal) -> list[dict[str, Any]]:
    if few(one) and few(other):
        return _finite(one, other)
    if one.mean.shape != other.mean.shape:
        raise QueryError(
            f"'{one.name}' has the shape {tuple(one.mean.shape)} in one posterior and {tuple(other.mean.shape)} in the other."
        )
    quantiles = [m._quantiles(LEVELS).to(torch.float64) for m in (one, other)]
    gap = (quantiles[0] - quantiles[1]).abs().mean(dim=0)
    shift, error = one.mean - other.mean, (one.standard_error**2 + other.standard_error**2).sqrt()
    unit = other.sd
    steps = quantiles[0].diff(dim=0)
    level = torch.from_numpy(LEVELS[1:] + LEVELS[:-1]).reshape((-1, *[1] * one.mean.dim())) / 2
    # E|F_n - F| = √(2 F (1 - F) / π n) at each value, summed over the values.
    chance = ((2 * level * (1 - level) * _noise(one, other) / math.pi).sqrt() * steps).sum(dim=0)
    return [
        {
            "name": member_name(one.name, at),
            "node": one.name,
            "at": at,
            "distance": _over(gap[at], unit[at]),
            "chance": _over(chance[at], unit[at]),
            "shift": _over(shift[at], unit[at]),
            "shift_error": _over(error[at], unit[at]),
            "ratio": _over(one.sd[at], unit[at]),
        }
        for at in numpy.ndindex(*one.mean.shape)
    ]


def _finite(one: Marginal, other: Marginal) -> list[dict[str, Any]]:
    """The total variation, over all values that either of them can take."""
    shape = one.probs.shape[:-1]
    if shape != other.probs.shape[:-1] or one.domain.shape[1:] != other.domain.shape[1:]:
        raise QueryError(f"'{one.name}' has another shape in the other posterior.")
    if one.states and other.states and one.states != other.states:
        raise QueryError(f"'{one.name}' has other labels in the other posterior.")
    values = torch.unique(torch.cat([one.domain, other.domain.to(one.domain.dtype)]), dim=0)
    spreads = [_spread(m, values) for m in (one, other)]
    gap = (spreads[0] - spreads[1]).abs().sum(dim=-1) / 2
    p = (spreads[0] + spreads[1]) / 2
    chance = (2 * p * (1 - p) * _noise(one, other) / math.pi).sqrt().sum(dim=-1) / 2
    return [
        {
            "name": member_name(one.name, at),
            "node": one.name,
            "at": at,
            "variation": float(gap[at]),
            "chance": float(chance[at]),
        }
        for at in numpy.ndindex(*shape)
    ]


def _noise(one: Marginal, other: Marginal) -> float:
    """1 / n + 1 / m for marginals that are known by n and by m draws; 0 for what is known without any."""
    sizes = [getattr(marginal, "effective_size", math.inf) for marginal in (one, other)]
    return 1 / sizes[0] + 1 / sizes[1]


def _spread(marginal: Marginal, values: Tensor) -> Tensor:
    """Its probabilities over these values, `(*plates, values)`."""
    domain = marginal.domain.to(values.dtype)
    same = (domain.unsqueeze(1) == values).reshape((len(domain), len(values), -1)).all(dim=2)
    return marginal.probs.to(torch.float64) @ same.to(torch.float64)


def _over(value: Tensor, unit: Tensor) -> float:
    """A share of a unit that may be zero."""
    if float(unit) == 0:
        return 0.0 if float(value) == 0 else math.copysign(math.inf, float(value))
    return float(value) / float(unit)


def _bayes_factor(one: Posterior, other: Posterior) -> tuple[float | None, str]:
    """log p(data | one) - log p(data | other), or why there is none."""
    evidences = [getattr(posterior, "log_evidence", None) for posterior in (one, other)]
    if evidences[0] is None or evidences[1] is None:
        return None, ""
    data = [posterior.observation for posterior in (one, other)]
    same = data[0].observed.keys() == data[1].observed.keys() and all(
        torch.equal(value.to(torch.float64), data[1].observed[name].to(torch.float64))
        and torch.equal(data[0].present[name], data[1].present[name])
        for name, value in data[0].observed.items()
    )
    if not same or data[0].soft or data[1].soft:
        return None, "they were not given the same data, so there is no Bayes factor"
    return evidences[0] - evidences[1], ""
