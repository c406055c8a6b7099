"""Assignments: `node=value` on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..graph import Graph, Node

__all__ = ["assigned", "names", "sizes", "value_of"]


def assigned(
    texts: Iterable[str] | None, graph: Graph, option: str, bare: bool = False
) -> dict[str, Any]:
    """Values by node.

    Args:
        texts: `node=value` each.
        graph: Its nodes know their labels.
        option: What to call the option in errors.
        bare: Whether names may stand without a value, which is then `...`.

    Raises:
        typer.BadParameter: If a node is named twice or not at all, or has no value.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not name:
            raise typer.BadParameter(f"'{text}' names no node.", param_hint=option)
        for each in [name] if equals else names([name]):
            if each in found:
                raise typer.BadParameter(f"'{each}' is there twice.", param_hint=option)
            if not equals and not bare:
                raise typer.BadParameter(
                    f"'{each}' has no value; write {option} {each}=1.", param_hint=option
                )
            found[each] = value_of(value, graph.nodes.get(each)) if equals else ...
    return found


def names(texts: Iterable[str] | None) -> list[str]:
    """Names that stand singly or in lists: `a,b`."""
    return [name.strip() for text in texts or () for name in text.split(",") if name.strip()]


def sizes(texts: Iterable[str] | None) -> dict[str, int]:
    """Sizes by plate.

    Raises:
        typer.BadParameter: If one is no whole number.
    """
    found = {}
    for text in texts or ():
        plate, _, size = text.partition("=")
        if not plate.strip() or not size.strip().isdigit():
            raise typer.BadParameter(
                f"'{text}': write a plate and its size, as in day=20.", param_hint="--size"
            )
        found[plate.strip()] = int(size)
    return found


def value_of(text: str, node: Node | None) -> Any:
    """A value as it was typed: a label of the node, a number, a list of them, or JSON. What is nothing of these stays a text.

    Example:
        >>> [value_of(text, None) for text in ("22", ".5", "1,2,,4", "[[1, 2], [3, null]]", "null", "wet")]
        [22, 0.5, [1, 2, None, 4], [[1, 2], [3, None]], None, 'wet']
    """
    text = text.strip()
    if node is not None and text in (node.states or ()):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    if "," in text and text[0] not in '[{"':
        return [None if not cell.strip() else value_of(cell, node) for cell in text.split(",")]
    return number(text)


def number(text: str) -> int | float | str:
    """A number if it is one, otherwise the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
