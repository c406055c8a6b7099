"""The picture of a graph, in plate notation: grey nodes are observed, plates are boxes.

References:
    | Operations for learning with graphical models (Buntine, 1994), for the plates
    | https://doi.org/10.1613/jair.62
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import graphviz

from .boxes import boxes
from .dot import escaped, quoted, small
from .graph import Graph
from .legend import legend as explained
from .node import Node
from .picture import Picture
from .story import SYMBOLS, set_to

__all__ = ["draw"]

INK, PALE, SHADE, MIST, PAPER = "#222222", "#B4B4B4", "#D2D2D2", "#F2F2F2", "#FFFFFF"
CUT = "#8A8A8A"
#: More nodes than this are drawn smaller. A picture that is so many times as broad as it is high runs from left to right; what a node takes, in points.
CROWDED, BROAD, WIDTH, HEIGHT = 40, 1.5, 80, 55
#: The node that stands for those that are folded.
FOLDED = "…"
# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers can tell apart.
BORDERS = {"theta": "#0072B2", "nuisance": "#C75000"}


def draw(
    graph: Graph,
    kinds: Mapping[str, str] | None = None,
    colours: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    faded: Collection[str] = (),
    folded: Collection[str] = (),
    key: Mapping[str, str] | None = None,
    *,
    legend: bool | None = None,
) -> Picture:
    """The DAG in plate notation.

    Ellipses are random: θ, η and Z are open, X is shaded. A double border is deterministic, a bold
    box is a simulator without a density, a small flat box is an input. `t−1` marks what is read one
    member earlier, a dashed border a body that is called once for a whole plate. A hexagon was set
    by `do`, and its cut parents are dashed. Crossed plates have a box of their own, `student ×
    question`, because boxes that overlap halfway cannot be read.

    Among more than forty nodes the small print that most of them share is said once, in the legend.
    A graph that would be broad is drawn from left to right.

    Args:
        graph: What to draw.
        kinds: By node, what its body was seen to return: `"explicit: Normal"`, `"opaque"`,
            `"deterministic"` or `"input"`.
        colours: By node, the colour to fill it with, `"#rrggbb"` or a name that Graphviz knows.
        notes: By node, a few words to write below it.
        faded: Nodes to draw in light grey: those that do not matter here.
        folded: Nodes to draw as one, which says how many they are.
        key: What the colours stand for, by colour; the legend says it.
        legend: Whether to explain colours and the symbols that occur; by default where there is a
            key, or where there are many nodes.

    Raises:
        QueryError: If `colours`, `notes`, `faded` or `folded` name a node that the graph has not.

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
    for name in (*colours, *notes, *faded, *folded):
        graph[name]
    # A body that returns a dict of one thing is that thing: the carrier is drawn as its child.
    merged = {
        node.parents[0]: node.name
        for node in graph.nodes.values()
        if node.picks is not None
        and node.parents[0] in graph
        and len(graph[node.parents[0]].outputs) == 1
    }
    shown = {n: node for n, node in graph.nodes.items() if n not in merged and n not in folded}
    kinds |= {child: kinds[carrier] for carrier, child in merged.items() if carrier in kinds}
    crowded = len(shown) > CROWDED
    style = _style(crowded, _broad(graph, shown), any(n.axes for n in shown.values()))
    # Escaped, a model called "<b>" is no HTML.
    picture = Picture(graphviz.escape(graph.name), **style)
    said = {name: _said(node, kinds.get(name)) for name, node in shown.items()}
    most, times = Counter(said.values()).most_common(1)[0] if said else ("", 0)
    common = most if crowded and 2 * times > len(said) else None
    statements = {
        name: _node(
            node,
            kinds.get(name),
            colours.get(name),
            notes.get(name),
            name in faded,
            said[name],
            common is not None and (said[name] == common or name in faded),
        )
        for name, node in shown.items()
    }
    picture.body += boxes(graph, shown, statements)
    if folded:
        picture.body.append(_folded(len(folded)))
    picture.body += _edges(graph, merged, set(faded), set(folded))
    if shown and (bool(key) or crowded if legend is None else legend):
        across = 2 if len(shown) < 10 and not crowded else 4
        table = explained(shown.values(), kinds, key or {}, INK, across, common or "")
        place = "labelloc=t labeljust=l" if crowded else "labelloc=b"
        picture.body.append(f"\tlabel=<{table}> {place}\n")
    return picture


def _broad(graph: Graph, shown: Mapping[str, Node]) -> float:
    """About how many times as broad as high the picture would be if it ran downwards: the most nodes that lie equally deep, against the depth."""
    depth: dict[str, int] = {}
    for name in shown:
        above = [depth[p] for p in graph.parents(name) if p in depth]
        depth[name] = 1 + max(above, default=-1)
    widest = max(Counter(depth.values()).values(), default=0)
    return widest * WIDTH / ((1 + max(depth.values(), default=0)) * HEIGHT)


def _style(crowded: bool, broad: float, boxed: bool) -> dict[str, dict[str, str]]:
    font = {"fontname": "Helvetica", "fontsize": "11" if crowded else "13", "fontcolor": INK}
    spaces = {"nodesep": "0.35", "ranksep": "0.45", "rankdir": "TB"}
    if crowded:
        spaces |= {"nodesep": "0.12", "ranksep": "0.35"}
        # Big boxes are ranked together, or they become as wide as the street. Without boxes,
        # unconnected parts are packed side by side; packing loses boxes.
        spaces |= {"newrank": "true"} if boxed else {"pack": "8", "packmode": "graph"}
    if crowded and broad > BROAD:
        # Read from left to right: pages scroll down, and names are flat. Many arrows need room.
        room = min(0.1 * broad, 1.2)
        spaces |= {"rankdir": "LR", "nodesep": "0.05", "ranksep": f"{room:.1f}"}
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
    said: str,
    hushed: bool,
) -> str:
    ink = PALE if faded else _readable_on(colour)
    border = PALE if faded else BORDERS.get(node.role, INK)
    known = node.role == "observed" and node.intervened != "value"
    fill = colour or ((MIST if faded else SHADE) if known else PAPER)
    look = {"fillcolor": fill, "color": border}
    styles = ["filled"]
    title = node.name
    if node.intervened:
        look |= {"shape": "hexagon", "penwidth": "1.8", "margin": "0.02,0.03"}
        title = f"do({node.name})"
    elif node.is_input:
        look |= {"shape": "box", "height": "0.3", "penwidth": "0.6", "fillcolor": colour or MIST}
    elif kind == "opaque" or node.outputs:
        look |= {"shape": "box", "penwidth": "1.8", "margin": "0.1,0.04"}
    elif node.role == "deterministic":
        look |= {"peripheries": "2"}
    if node.over is not None:
        styles.append("dashed")
    symbol = border if colour is None or faded else ink
    if hushed:
        # The legend says it, and the pointer where it rests.
        look["tooltip"], said = f"{node.name} · {said}", ""
    below = [small(line, shade) for line, shade in ((said, symbol), (note, ink)) if line]
    label = "<br/>".join([f'<font color="{ink}">{escaped(title)}</font>', *below])
    look["style"] = ",".join(styles)
    attributes = " ".join(f"{key}={quoted(value)}" for key, value in look.items())
    return f"{quoted(node.name)} [label=<{label}> {attributes}]"


def _said(node: Node, kind: str | None) -> str:
    """The small print: role, family, and what was done to it."""
    family = (kind or "").partition(": ")[2]
    words = [] if node.role == "deterministic" else [SYMBOLS[node.role]]
    if node.intervened:
        value = set_to(node)
        words += [
            {
                "value": "set" if value is None else f"set to {value}",
                "policy": "policy",
                "soft": family or "new distribution",
            }[node.intervened]
        ]
    elif kind == "opaque":
        words += ["simulator"]
    elif family and not node.is_input and node.role != "deterministic" and not node.outputs:
        words += [family]
    if node.over is not None:
        words.append(f"all {node.over}")
    return " · ".join(words)


def _folded(count: int) -> str:
    words = f"{count} more node{'s' if count > 1 else ''},<br/>which cannot change the answer"
    look = f'shape=box style="dashed,rounded" color="{PALE}" fontcolor="#6A6A6A" fontsize=10'
    return f'\t{quoted(FOLDED)} [label=<{words}> {look} margin="0.2,0.05"]\n'


def _readable_on(colour: str | None) -> str:
    """Dark or white ink, whichever can be read on `"#rrggbb"`; dark on a colour with a name."""
    if colour is None or not colour.startswith("#") or len(colour) < 7:
        return INK
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    # Luma of ITU-R BT.601, between 0 and 255.
    return PAPER if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else INK


# -- edges -----------------------------------------------------------------------------------------


def _edges(graph: Graph, merged: Mapping[str, str], faded: set[str], folded: set[str]) -> list[str]:
    position = {name: i for i, name in enumerate([*graph.nodes, FOLDED])}
    lines: dict[str, None] = {}

    def edge(source: str, target: str, **look: str) -> None:
        if source not in graph:
            return
        source, target = merged.get(source, source), merged.get(target, target)
        source, target = (FOLDED if end in folded else end for end in (source, target))
        if source == target == FOLDED:
            return
        if FOLDED in (source, target):
            look = {"color": PALE, "style": "dashed", "arrowhead": "none"}
        elif source in faded or target in faded:
            look = {"color": PALE, "fontcolor": PALE, **look}
        # What is read from a later line would otherwise turn the picture upside down.
        if position[source] > position[target]:
            look["constraint"] = "false"
        attributes = " ".join(f"{key}={quoted(value)}" for key, value in look.items())
        arrow = f"\t{quoted(source)} -> {quoted(target)}"
        lines[arrow + (f" [{attributes}]\n" if attributes else "\n")] = None

    for node in graph.nodes.values():
        for source in node.parents:
            if merged.get(source) != node.name:
                edge(source, node.name)
        for source in node.lags:
            edge(source, node.name, label=" t−1 ")
        for source in node.cut:
            past = {"label": " t−1 "} if source == node.name else {}
            look = {"style": "dashed", "color": CUT, "arrowhead": "tee", "arrowsize": "1.3"}
            edge(source, node.name, **look, **past)
    return list(lines)
