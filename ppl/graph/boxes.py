"""Plates as boxes: nested where the plates are, and one box more where they cross."""

from __future__ import annotations

from collections.abc import Mapping

from .dot import escaped, quoted
from .graph import Graph
from .node import Node, Plate

__all__ = ["boxes"]

Box = frozenset[str]


def boxes(graph: Graph, shown: Mapping[str, Node], statements: Mapping[str, str]) -> list[str]:
    """The nodes, in boxes: one box for every set of plates, inside the boxes of its subsets."""
    inside = _nested({frozenset(n.axes) for n in shown.values()}, list(graph.plates))
    position = {name: i for i, name in enumerate(graph.plates)}

    def around(box: Box) -> list[Box]:
        return [box, *around(inside[box])] if box in inside else [box]

    def lines(box: Box, indent: str) -> list[str]:
        found = [
            f"{indent}{statements[n.name]}\n" for n in shown.values() if frozenset(n.axes) == box
        ]
        children = [b for b, outer in inside.items() if outer == box]
        for child in sorted(children, key=lambda b: sorted(position[p] for p in b)):
            content = lines(child, indent + "\t")
            if not content:
                continue
            ordered = sorted(child, key=position.__getitem__)
            members = {n.name for n in shown.values() if child in around(frozenset(n.axes))}
            label = " × ".join(_plate(graph.plates[p]) for p in ordered if p not in box)
            found += [
                f"{indent}subgraph {quoted('cluster_' + '/'.join(ordered))} {{\n",
                f"{indent}\tlabel=<{escaped(label)}> labelloc={_loc(graph, members)} labeljust=r "
                f'fontsize=10 style=rounded color="#7A7A7A" penwidth=0.9 margin=10\n',
                *content,
                f"{indent}}}\n",
            ]
        return found

    return lines(frozenset(), "\t")


def _loc(graph: Graph, members: set[str]) -> str:
    """Where the label goes: at the bottom, or at the top if arrows only leave the box."""
    came = any(p not in members for name in members for p in graph.parents(name))
    left = any(child not in members for name in members for child in graph.children(name))
    return "t" if left and not came else "b"


def _nested(boxes: set[Box], order: list[str]) -> dict[Box, Box]:
    """The box around each box.

    Plates that are nested become nested boxes. Where two plates cross, neither is inside the other,
    so what is in both has its own box, inside whatever the two share.
    """
    boxes = boxes - {frozenset()}
    while more := {a & b for a in boxes for b in boxes} - boxes - {frozenset()}:
        boxes = boxes | more
    outer: dict[Box, Box] = {}
    for box in sorted(boxes, key=lambda b: (len(b), sorted(map(order.index, b)))):
        smaller = [other for other in boxes if other < box]
        largest = [b for b in smaller if not any(b < other for other in smaller)]
        around = frozenset.intersection(*largest) if largest else frozenset()
        if len(largest) < 2:
            # Several plates, and nothing in only some of them: the first declared is outermost.
            for plate in sorted(box - around, key=order.index)[:-1]:
                outer[around | {plate}] = around
                around = around | {plate}
        outer[box] = around
    return outer


def _plate(plate: Plate) -> str:
    notes = [str(plate.size)] if plate.size is not None else []
    notes += ["in order"] if plate.ordered else []
    words = plate.name + (f" of {', '.join(plate.of)}" if plate.of else "")
    return words + (f" ({', '.join(notes)})" if notes else "")
