"""Data from files: JSON, an object from node to value; or CSV, a column for each node.

What is wrong in a file is said with its file, line and column, in the words that `ppl.infer` has for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FormatError, ImpossibleError, QueryError

if TYPE_CHECKING:
    from ..graph import Graph

__all__ = ["Read", "located", "read"]


@dataclass(frozen=True)
class Read:
    """What a file says.

    Args:
        rows: Values by node: one mapping, or one for each observation.
        places: Where the value of a node stands, `file:line:column`.
        many: Whether each row is an observation of its own.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    places: Mapping[str, str] = field(default_factory=dict)
    many: bool = False


def read(path: Path, graph: Graph, rows: bool) -> Read:
    """The values in a file.

    Args:
        path: Ends in `.json`, `.csv` or `.tsv`.
        graph: Its nodes know their labels and plates.
        rows: Whether it holds many observations: a list of objects, or one in each row.

    Raises:
        FormatError: If the file is not what its name says.
        QueryError: If it names an unknown node, or a cell is neither a number nor a label.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv", ".tsv"):
        raise FormatError(f"{path}: the name of a data file ends in .json, .csv or .tsv.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: byte {error.start} is not UTF-8 text.") from None
    if suffix == ".json":
        found = _json(text, str(path), rows)
    else:
        from .columns import table

        found = table(text, str(path), graph, rows)
    return found


@contextmanager
def located(places: Mapping[str, str]) -> Iterator[None]:
    """Errors about a node whose value stands in a file, or in an option, say where."""
    try:
        yield
    except ImpossibleError:
        raise  # it is about all of the evidence together
    except QueryError as error:
        named = re.match(r"[^']*'([^']+)'", str(error))
        place = places.get(named[1]) if named else None
        if place is None:
            raise
        raise type(error)(f"{place}: {error}") from error.__cause__


# -- JSON ----------------------------------------------------------------------------------------

SPACE = re.compile(r"[ \t\n\r]*")


def _json(text: str, file: str, rows: bool) -> Read:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{file}:{error.lineno}:{error.colno}: {error.msg}.") from None
    except RecursionError:
        raise FormatError(f"{file}: the lists are nested too deeply.") from None
    kind = dict if not rows else list
    if not isinstance(whole, kind):
        hint = " Many observations are for galton infer --rows." if isinstance(whole, list) else ""
        wanted = "a list of objects" if rows else 'an object from node to value, {"x": 22}'
        raise FormatError(f"{file}:1:1: this should be {wanted}.{hint}")
    places: dict[str, str] = {}
    found = []
    for at in _items(text) if rows else [SPACE.match(text).end()]:  # type: ignore[union-attr]
        if text[at] != "{":
            raise FormatError(f"{file}:{_place(text, at)}: an observation is an object.")
        values: dict[str, Any] = {}
        for key, where, value in _members(text, at):
            here = f"{file}:{_place(text, where)}"
            if key in values:
                raise FormatError(f"{here}: '{key}' is there twice.")
            values[key] = _evidence(value, here, key)
            places.setdefault(key, here)
        found.append(values)
    return Read(found, places, rows)


def _evidence(value: Any, here: str, key: str) -> Any:
    """Virtual and soft evidence, spelled as an object; any other value as it is."""
    if not isinstance(value, dict):
        return value
    from ..mechanism import Belief, Likelihood

    kinds = {"likelihood": Likelihood, "belief": Belief}
    if len(value) != 1 or next(iter(value)) not in kinds:
        raise QueryError(
            f"{here}: '{key}' is a number, a label, null, a list of these, or evidence that is not certain: "
            '{"likelihood": [3, 1]} or {"belief": [0.5, 0.5]}.'
        )
    kind, weights = next(iter(value.items()))
    return kinds[kind](weights)


def _members(text: str, at: int) -> Iterator[tuple[str, int, Any]]:
    """Key, position and value of each member of the valid object that begins at `at`."""
    decoder = json.JSONDecoder()
    at = _skip(text, at + 1)
    while text[at] != "}":
        where = at
        key, at = decoder.raw_decode(text, at)
        value, at = decoder.raw_decode(text, _skip(text, _skip(text, at) + 1))
        yield key, where, value
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at


def _items(text: str) -> Iterator[int]:
    """Where the items of the valid list begin that is the whole text."""
    decoder = json.JSONDecoder()
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "]":
        yield at
        at = _skip(text, decoder.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    assert found is not None
    return found.end()


def _place(text: str, at: int) -> str:
    """`line:column`, both from 1."""
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"
