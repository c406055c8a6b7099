"""The picture of a graph, in plate notation: grey nodes are observed, plates are boxes.

References:
    | Operations for learning with graphical models (Buntine, 1994), for the plates
    | https://doi.org/10.1613/jair.62
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Collection, Mapping

import graphviz

from .graph import Graph
from .node import Node, Plate
from .picture import Picture
from .story import SYMBOLS, set_to

__all__ = ["draw"]

INK, PALE, SHADE, MIST, PAPER = "#222222", "#B4B4B4", "#D2D2D2", "#F2F2F2", "#FFFFFF"
CUT = "#8A8A8A"
#: Beyond so many nodes names are written alone; with more than so many beside one another the picture runs from left to right.
CROWDED, WIDE = 60, 24
# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers can tell apart.
BORDERS = {"theta": "#0072B2", "nuisance": "#C75000"}


def draw(
    graph: Graph,
    kinds: Mapping[str, str] | None = None,
    colours: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    faded: Collection[str] = (),
    *,
    legend: bool = False,
) -> Picture:
    """The DAG in plate notation.

    Ellipses are random: θ, η and Z are open, X is shaded. A double border is deterministic, a bold
    box is a simulator without a density, a small flat box is an input. `t−1` marks what is read one
    member earlier, a dashed border a body that is called once for a whole plate. A hexagon was set
    by `do`, and its cut parents are dashed. Crossed plates have a box of their own, `student ×
    question`, because boxes that overlap halfway cannot be read.

    Args:
        graph: What to draw.
        kinds: By node, what its body was seen to return: `"explicit: Normal"`, `"opaque"`,
            `"deterministic"` or `"input"`.
        colours: By node, the colour to fill it with, `"#rrggbb"` or a name that Graphviz knows.
        notes: By node, a few words to write below it.
        faded: Nodes to draw in light grey: those that do not matter here.
        legend: Whether to explain below the picture the symbols that occur in it.

    Raises:
        QueryError: If `colours`, `notes` or `faded` name a node that the graph has not.

    Example:
        >>> from ppl.graph import Body, Graph, Node, Parent
        >>> rain = Node("rain", "latent", body=Body(print))
        >>> wet = Node("wet", "observed", body=Body(print, (Parent("rain", "rain"),)))
        >>> picture = draw(Graph("garden", {"rain": rain, "wet": wet}))
        >>> picture
        Picture of garden: .save("garden.svg"), or .source for its text
        >>> '"rain" -> "wet"' in picture.source
        True
    """
    kinds, colours, notes = dict(kinds or {}), dict(colours or {}), dict(notes or {})
    for name in (*colours, *notes, *faded):
        graph[name]
    # A body that returns a dict of one thing is that thing: the carrier is drawn as its child.
    merged = {
        node.parents[0]: node.name
        for node in graph.nodes.values()
        if node.picks is not None
        and node.parents[0] in graph
        and len(graph[node.parents[0]].outputs) == 1
    }
    shown = {name: node for name, node in graph.nodes.items() if name not in merged}
    kinds |= {child: kinds[carrier] for carrier, child in merged.items() if carrier in kinds}
    crowded, wide = len(shown) > CROWDED, _widest(graph, shown) > WIDE
    style = _style(crowded, wide, boxed=any(node.axes for node in shown.values()))
    # Escaped, a model called "<b>" is no HTML.
    picture = Picture(graphviz.escape(graph.name), **style)
    statements = {
        name: _node(
            node, kinds.get(name), colours.get(name), notes.get(name), name in faded, crowded
        )
        for name, node in shown.items()
    }
    picture.body += _boxes(graph, shown, statements)
    picture.body += _edges(graph, merged, set(faded))
    if legend and shown:
        picture.body.append(f"\tlabel=<{_small(_legend(shown, kinds), INK)}> labelloc=b\n")
    return picture


def _widest(graph: Graph, shown: Mapping[str, Node]) -> int:
    """How many nodes are equally many arrows away from where the longest paths begin, at most."""
    depth: dict[str, int] = {}
    for name in shown:
        above = [depth[p] for p in graph.parents(name) if p in depth]
        depth[name] = 1 + max(above, default=-1)
    return max(Counter(depth.values()).values(), default=0)


def _style(crowded: bool, wide: bool, boxed: bool) -> dict[str, dict[str, str]]:
    font = {"fontname": "Helvetica", "fontsize": "11" if crowded else "13", "fontcolor": INK}
    spaces = {"nodesep": "0.35", "ranksep": "0.45", "rankdir": "TB"}
    if crowded:
        spaces |= {"nodesep": "0.12", "ranksep": "0.35"}
        # Big boxes are ranked together, or they become as wide as the street. Without boxes,
        # unconnected parts are packed side by side; packing loses boxes.
        spaces |= {"newrank": "true"} if boxed else {"pack": "8", "packmode": "graph"}
    if crowded and wide:
        # A broad graph is read from left to right: pages scroll down, and names are flat.
        spaces |= {"rankdir": "LR", "nodesep": "0.05", "ranksep": "1.2"}
    return {
        # The paper is white, so that the ink can be read on a dark page too.
        "graph_attr": {**font, "bgcolor": PAPER, "pad": "0.15", **spaces},
        "node_attr": {
            **font,
            "shape": "ellipse",
            "style": "filled",
            "fillcolor": PAPER,
            "color": INK,
            "height": "0.25" if crowded else "0.4",
            "margin": "0.06,0.03",
        },
        "edge_attr": {**font, "fontsize": "10", "color": INK, "arrowsize": "0.7"},
    }


# -- nodes -----------------------------------------------------------------------------------------


def _node(
    node: Node,
    kind: str | None,
    colour: str | None,
    note: str | None,
    faded: bool,
    crowded: bool,
) -> str:
    family = (kind or "").partition(": ")[2]
    ink = PALE if faded else _readable_on(colour)
    border = PALE if faded else BORDERS.get(node.role, INK)
    known = node.role == "observed" and node.intervened != "value"
    fill = colour or ((MIST if faded else SHADE) if known else PAPER)
    look = {"fillcolor": fill, "color": border}
    styles = ["filled"]
    words = [] if node.role == "deterministic" else [SYMBOLS[node.role]]
    title = node.name
    if node.intervened:
        look |= {"shape": "hexagon", "penwidth": "1.8", "margin": "0.02,0.03"}
        title = f"do({node.name})"
        value = set_to(node)
        words += [
            {
                "value": "set" if value is None else f"set to {value}",
                "policy": "policy",
                "soft": family or "new distribution",
            }[node.intervened]
        ]
    elif node.is_input:
        look |= {"shape": "box", "height": "0.3", "penwidth": "0.6", "fillcolor": colour or MIST}
    elif kind == "opaque" or node.outputs:
        look |= {"shape": "box", "penwidth": "1.8"}
        words += ["simulator"] if kind == "opaque" else []
    elif node.role == "deterministic":
        look |= {"peripheries": "2"}
    elif family:
        words += [family]
    if node.over is not None:
        styles.append("dashed")
        words.append(f"all {node.over}")
    symbol = border if colour is None or faded else ink
    said = " · ".join(words)
    if crowded:
        # Among many nodes only names are written; the rest is told where the pointer rests.
        look["tooltip"] = " · ".join([node.name, *words])
        said = ""
    below = [_small(line, shade) for line, shade in ((said, symbol), (note, ink)) if line]
    label = "<br/>".join([f'<font color="{ink}">{_escaped(title)}</font>', *below])
    look["style"] = ",".join(styles)
    attributes = " ".join(f"{key}={_quoted(value)}" for key, value in look.items())
    return f"{_quoted(node.name)} [label=<{label}> {attributes}]"


def _readable_on(colour: str | None) -> str:
    """Dark or white ink, whichever can be read on `"#rrggbb"`; dark on a colour with a name."""
    if colour is None or not colour.startswith("#") or len(colour) < 7:
        return INK
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    # Luma of ITU-R BT.601, between 0 and 255.
    return PAPER if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else INK


def _small(words: str, colour: str) -> str:
    return f'<font point-size="9" color="{colour}">{_escaped(words)}</font>'


def _escaped(words: str) -> str:
    """Text for a label in Graphviz' HTML, in which a backslash still begins an escape."""
    printable = "".join(c if c.isprintable() else " " for c in words)
    return html.escape(printable.replace("\\", "\\\\"))


def _quoted(words: str) -> str:
    """A DOT identifier; quoted, a colon is no port and `<b>` no HTML."""
    printable = "".join(c if c.isprintable() else " " for c in words)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- edges -----------------------------------------------------------------------------------------


def _edges(graph: Graph, merged: Mapping[str, str], faded: set[str]) -> list[str]:
    position = {name: i for i, name in enumerate(graph.nodes)}
    lines: dict[str, None] = {}

    def edge(source: str, target: str, **look: str) -> None:
        if source not in graph:
            return
        source, target = merged.get(source, source), merged.get(target, target)
        if source in faded or target in faded:
            look = {"color": PALE, "fontcolor": PALE, **look}
        # What is read from a later line would otherwise turn the picture upside down.
        if position[source] > position[target]:
            look["constraint"] = "false"
        attributes = " ".join(f"{key}={_quoted(value)}" for key, value in look.items())
        arrow = f"\t{_quoted(source)} -> {_quoted(target)}"
        lines[arrow + (f" [{attributes}]\n" if attributes else "\n")] = None

    for node in graph.nodes.values():
        for source in node.parents:
            if merged.get(source) != node.name:
                edge(source, node.name)
        for source in node.lags:
            edge(source, node.name, label="t−1")
        for source in node.cut:
            past = {"label": "t−1"} if source == node.name else {}
            look = {"style": "dashed", "color": CUT, "arrowhead": "tee", "arrowsize": "1.3"}
            edge(source, node.name, **look, **past)
    return list(lines)


# -- plates ----------------------------------------------------------------------------------------

Box = frozenset[str]


def _boxes(graph: Graph, shown: Mapping[str, Node], statements: Mapping[str, str]) -> list[str]:
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
                f"{indent}subgraph {_quoted('cluster_' + '/'.join(ordered))} {{\n",
                f"{indent}\tlabel=<{_escaped(label)}> labelloc={_loc(graph, members)} labeljust=r "
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


def _legend(shown: Mapping[str, Node], kinds: Mapping[str, str]) -> str:
    nodes = shown.values()
    roles = {node.role for node in nodes}
    said = {
        "θ parameter": "theta" in roles,
        "η nuisance": "nuisance" in roles,
        "Z latent": "latent" in roles,
        "X observed (shaded)": "observed" in roles,
        "double border: deterministic": "deterministic" in roles,
        "bold box: simulator": any(kinds.get(node.name) == "opaque" for node in nodes),
        "flat box: input": any(node.is_input for node in nodes),
        "t−1: one member earlier": any(node.lags for node in nodes),
        "dashed border: one call for the plate": any(node.over for node in nodes),
        "hexagon: set by do": any(node.intervened for node in nodes),
        "dashed arrow: cut": any(node.cut for node in nodes),
    }
    return "   |   ".join(words for words, occurs in said.items() if occurs)
