"""The posterior in a report: what was seen, and what follows for every node that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .figures import figure
from .image import Image
from .number import labelled, typeset

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["Answered", "Bars", "Numbers", "Seen", "answered"]

#: Entries of a node, rows of a table, and pictures.
MOST_MEMBERS, MOST_ROWS, MOST_PICTURES = 12, 120, 12
#: Numbers of an observed node that are listed.
MOST_LISTED = 24
#: Numbers for which pairs are drawn.
PAIRS = range(2, 7)


@dataclass(frozen=True)
class Seen:
    """One node of the observation."""

    name: str
    size: str
    values: str


@dataclass(frozen=True)
class Bars:
    """The probabilities of one finite node: value, probability, and its digits."""

    name: str
    bars: tuple[tuple[str, float, str], ...]

    @property
    def wide(self) -> int:
        """How wide the column of the values is, in digits; longer labels are broken."""
        return min(max((len(value) for value, _, _ in self.bars), default=0) + 2, 16)


@dataclass(frozen=True)
class Numbers:
    """One row of the table of numbers, by column; what has no figure for a column has an empty text."""

    name: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Answered:
    """A posterior.

    Args:
        seen: The observation.
        finite: Nodes with few values.
        numbers: All others.
        columns: Of their table.
        more: What was left out of the tables, in words.
        pictures: Of the numbers' marginals.
        fewer: What was left out of the pictures, in words.
        pairs: Of the numbers, if they are few.
        notes: What the engines want to be known.
    """

    seen: tuple[Seen, ...]
    finite: tuple[Bars, ...]
    numbers: tuple[Numbers, ...]
    columns: tuple[str, ...]
    more: tuple[str, ...]
    pictures: tuple[Image, ...]
    fewer: str
    pairs: Image | None
    notes: tuple[str, ...]


def answered(posterior: Posterior) -> Answered:
    """The answer of a posterior, as data for a page."""
    finite: list[Bars] = []
    numbers: list[Numbers] = []
    more: list[str] = []
    drawn: dict[str, int] = {}
    summary = posterior.summary()
    for name, group in groupby(summary.rows, key=lambda row: row["node"]):
        rows = list(group)
        if len(rows) > MOST_MEMBERS:
            more.append(
                f"{name} has {len(rows):,} entries, of which the first {MOST_MEMBERS} are shown"
            )
        if "probs" in rows[0]:
            finite += [_bars(row, summary.figures(row)) for row in rows[:MOST_MEMBERS]]
        else:
            numbers += [_numbers(row["name"], summary.figures(row)) for row in rows[:MOST_MEMBERS]]
            drawn[name] = len(rows)
    for table, what in ((finite, "tables of finite nodes"), (numbers, "numbers")):
        if len(table) > MOST_ROWS:
            more.append(
                f"There are {len(table):,} {what}, of which the first {MOST_ROWS} are shown"
            )
    pictures = [
        figure(posterior, "marginals", f"The posterior of {name}", name)
        for name in list(drawn)[:MOST_PICTURES]
    ]
    left = len(drawn) - MOST_PICTURES
    pairs = None
    if sum(drawn.values()) in PAIRS:
        pairs = figure(posterior, "pairs", "Every pair of numbers under the posterior")
    return Answered(
        tuple(_seen(posterior)),
        tuple(finite[:MOST_ROWS]),
        tuple(numbers[:MOST_ROWS]),
        tuple(dict.fromkeys(column for row in numbers for column in row.cells)),
        tuple(more),
        tuple(picture for picture in pictures if picture is not None),
        f"Pictures of {left:,} more nodes were left out." if left > 0 else "",
        pairs,
        posterior.notes,
    )


# -- what was seen -------------------------------------------------------------------------------


def _seen(posterior: Posterior) -> Iterator[Seen]:
    data, graph = posterior.observation, posterior.graph
    for name, values in {**data.observed, **data.inputs}.items():
        value, plates = values[0], graph[name].axes if name in graph else ()
        there = data.present[name][0] if name in data.present else None
        words = [labelled(float(v), graph[name].states) for v in value.reshape(-1)[:MOST_LISTED]]
        gaps = 0
        if there is not None:
            gaps = int((~there).sum())
            cells = there.reshape((*there.shape, *[1] * (value.dim() - there.dim())))
            known = cells.expand(value.shape).reshape(-1)[:MOST_LISTED].tolist()
            words = [word if k else "missing" for word, k in zip(words, known, strict=True)]
        beyond = value.numel() - len(words)
        lead = [f"{plate} {n:,}" for n, plate in zip(value.shape, plates, strict=False)]
        event = [str(n) for n in value.shape[len(plates) :]]
        size = " × ".join([*lead, *event])
        size += f"{', ' if size else ''}{gaps:,} missing" if gaps else ""
        size += f"{', ' if size else ''}input" if name in data.inputs else ""
        listed = ", ".join(words) + (f", and {beyond:,} more" if beyond else "")
        yield Seen(name, size, listed)
    for name in sorted(data.soft):
        yield Seen(name, "", "soft evidence: weighed, not fixed")


# -- what follows --------------------------------------------------------------------------------


def _numbers(name: str, told: Mapping[str, str]) -> Numbers:
    return Numbers(name, {column: typeset(text) for column, text in told.items()})


def _bars(row: Mapping[str, Any], told: Mapping[str, str]) -> Bars:
    masses = zip(row["probs"].items(), told.values(), strict=True)
    return Bars(row["name"], tuple((_value(value), p, text) for (value, p), text in masses))


def _value(value: Any) -> str:
    return labelled(value) if isinstance(value, int | float) else str(value)
