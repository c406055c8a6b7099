"""Columns: a table of text, a column for each node, or for each number of one (`y[0]`, `y[1]`, …)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import FormatError, QueryError, closest
from .assignments import number
from .data import Read

if TYPE_CHECKING:
    from ..graph import Graph, Node

__all__ = ["table"]

#: `y[0]`, or `y[0, 2]`: one number of a node.
ENTRY = re.compile(r"(?P<name>.+)\[(?P<at>\d+(?:\s*,\s*\d+)*)\]")


def table(text: str, file: str, graph: Graph, many: bool) -> Read:
    """The values in a table: of one row, or of a plate's members, or of many observations.

    Args:
        text: Separated by commas, semicolons or tabs; the first line names the columns, an empty cell is missing.
        file: Its name, for errors.
        graph: Its nodes know their labels and plates.
        many: Whether each row is an observation.

    Raises:
        FormatError: If rows are longer or shorter than the first, or columns have one name.
        QueryError: If a column is no node, a cell is neither number nor label, or a node outside of plates has several values.
    """
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or (
                len(cells) == 1 and lines and len(lines[0][1]) == 1
            ):
                lines.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise FormatError(f"{file}:{reader.line_num}: {error}.") from None
    if len(lines) < 2:
        raise FormatError(
            f"{file}: a table has a line with the names of the nodes, and at least one row below it."
        )
    (_, header), rows = lines[0], lines[1:]
    for line, cells in rows:
        if len(cells) != len(header):
            raise FormatError(
                f"{file}:{line}: this row has {len(cells)} cells; the first line names {len(header)} columns."
            )
    for position, title in enumerate(header):
        if title in header[:position]:
            raise FormatError(f"{file}:1:{position + 1}: there are two columns '{title}'.")
    owners = [_owner(graph, title, f"{file}:1:{i + 1}") for i, title in enumerate(header)]
    places: dict[str, str] = {}
    for position, (name, _) in enumerate(owners):
        places.setdefault(name, f"{file}, column {position + 1}")
    found = [
        [
            _cell(text, graph.nodes.get(name), f"{file}:{line}:{i + 1}", title)
            for i, (text, (name, _), title) in enumerate(zip(row, owners, header, strict=True))
        ]
        for line, row in rows
    ]
    observations = [[row] for row in found] if many else [found]
    values = [_values(one, owners, graph, file) for one in observations]
    return Read(values, places, many)


def _owner(graph: Graph, title: str, where: str) -> tuple[str, tuple[int, ...]]:
    """The node, or long-format plate, whose column it is, and the place of the number within its value."""
    known = {*graph.nodes, *graph.plates}
    entry = ENTRY.fullmatch(title)
    if title not in known and entry is not None and entry["name"] in known:
        return entry["name"], tuple(map(int, entry["at"].split(",")))
    if title not in known:
        raise QueryError(
            f"{where}: {graph.name} has no node '{title}' to observe.{closest(title, graph.nodes)}"
        )
    return title, ()


def _cell(text: str, node: Node | None, where: str, title: str) -> Any:
    """A label, a number, or nothing."""
    labels = () if node is None else node.states or ()
    if text in labels:
        return text
    if not text:
        return None
    value = number(text)
    if isinstance(value, str):
        if labels:
            raise QueryError(f"{where}: '{title}' has no state '{text}'.{closest(text, labels)}")
        raise QueryError(
            f"{where}: '{title}' cannot be '{text}'; it takes numbers. A missing cell is left empty."
        )
    return value


def _values(
    rows: Sequence[Sequence[Any]],
    owners: Sequence[tuple[str, tuple[int, ...]]],
    graph: Graph,
    file: str,
) -> dict[str, Any]:
    """Values by node, of one observation that stands in these rows."""
    columns: dict[str, dict[tuple[int, ...], list[Any]]] = {}
    for position, (name, at) in enumerate(owners):
        columns.setdefault(name, {})[at] = [row[position] for row in rows]
    return {name: _value(name, entries, graph, file) for name, entries in columns.items()}


def _value(name: str, entries: Mapping[tuple[int, ...], list[Any]], graph: Graph, file: str) -> Any:
    """The value of one node: the rows, if there are several, are its leading axis."""
    axes = graph.nodes[name].axes if name in graph.nodes else (name,)
    places, count = list(entries), len(next(iter(entries.values())))
    ranks = {len(at) for at in places}
    shape = tuple(max(k) + 1 for k in zip(*places, strict=True)) if len(ranks) == 1 else ()
    if len(ranks) > 1 or len(places) != math.prod(shape):
        raise QueryError(
            f"{file}: the columns of '{name}' are not the numbers of one array; {name}[0], {name}[1], … must all be there."
        )
    array: Any = numpy.empty((count, *shape), dtype=object)
    for at, column in entries.items():
        array[(slice(None), *at)] = column
    whole = array.tolist()
    if not axes:
        # Said once, or the same in every row.
        said = [row for row in whole if row is not None]
        if any(row != said[0] for row in said):
            raise QueryError(
                f"{file}: '{name}' is in no plate, and has different values in several rows. If every row is an observation of its own, "
                "say --rows."
            )
        return said[0] if said else None
    # One row of y[0], y[1], … is the whole of a node in a plate.
    return whole[0] if shape and count == 1 else whole
