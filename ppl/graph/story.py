"""The story of a graph: how the data came about, in words. It is what `print(model)` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .graph import Graph
from .node import Body, Node, Plate

__all__ = ["SYMBOLS", "set_to", "story"]

#: How a role is written on paper.
SYMBOLS = {
    "theta": "θ",
    "nuisance": "η",
    "latent": "Z",
    "observed": "X",
    "input": "input",
    "deterministic": "=",
}


def story(graph: Graph, kinds: Mapping[str, str] | None = None) -> str:
    """The generative story, one line a node in drawing order, indented by plate.

    Args:
        graph: The graph to tell.
        kinds: By node, what its body was seen to return: `"explicit: Normal"`, `"opaque"`,
            `"deterministic"` or `"input"`. Nodes without an entry are told without it.

    Example:
        >>> from ppl.graph import Body, Graph, Node, Parent, Plate
        >>> day = Plate("day", 200, ordered=True)
        >>> hidden = Body(print, (Parent("previous", "state", "previous"), Parent("p", "p")))
        >>> seen = Body(print, (Parent("state", "state"),))
        >>> nodes = [
        ...     Node("p", "theta", body=Body(print)),
        ...     Node("state", "latent", body=hidden, plates=("day",), states=("dry", "rainy")),
        ...     Node("y", "observed", body=seen, plates=("day",)),
        ... ]
        >>> graph = Graph("weather", {node.name: node for node in nodes}, {"day": day})
        >>> print(story(graph, {"p": "explicit: Beta", "y": "opaque"}))
        weather
          θ  p      Beta
          for each day of 200, in order:
            Z  state  given state[t-1], p; states dry, rainy
            X  y      (simulator) given state
    """
    kinds = kinds or {}
    lines = [graph.name]
    wide = max((len(SYMBOLS[node.role]) for node in graph.nodes.values()), default=0)
    long = min(24, max((len(name) for name in graph.nodes), default=0))
    inside: tuple[str, ...] = ()
    for node in graph.nodes.values():
        shared = 0
        while shared < min(len(inside), len(node.plates)) and inside[shared] == node.plates[shared]:
            shared += 1
        for depth in range(shared, len(node.plates)):
            lines.append("  " * (depth + 1) + _heading(graph.plates[node.plates[depth]]))
        inside = node.plates
        line = (
            f"{SYMBOLS[node.role]:<{wide}}  {node.name:<{long}}  {_how(node, kinds.get(node.name))}"
        )
        lines.append("  " * (len(node.plates) + 1) + line.rstrip())
    lines += [f"  do: {_surgery(node)}" for node in graph.nodes.values() if node.intervened]
    return "\n".join(lines)


def set_to(node: Node) -> str | None:
    """The constant that `do` has set the node to, in the user's labels, if it is one short one."""
    if node.intervened != "value" or node.body is None or node.body.parents:
        return None
    value = node.body.function()
    value = value.tolist() if hasattr(value, "tolist") else value

    def word(item: object) -> str:
        if isinstance(item, list | tuple):
            return "[" + ", ".join(word(i) for i in item) + "]"
        if isinstance(item, int) and node.states and 0 <= item < len(node.states):
            return str(node.states[item])
        return f"{item:g}" if isinstance(item, float) else str(item)

    said = word(value)
    return said if len(said) <= 24 else None


def _heading(plate: Plate) -> str:
    words = f"for each {plate.name}"
    words += ", sized by the data" if plate.size is None else f" of {plate.size}"
    words += ", in order" if plate.ordered else ""
    words += f", with its {' and '.join(plate.of)}" if plate.of else ""
    return words + ":"


def _how(node: Node, kind: str | None) -> str:
    """What comes after the name: the mechanism, what it is given, what its values are called."""
    family = (kind or "").partition(": ")[2]
    if node.intervened:
        value = set_to(node)
        mechanism = {
            "value": "set by do" if value is None else f"set to {value}",
            "policy": "set by a policy",
            "soft": f"set to a draw of {family or 'another distribution'}",
        }[node.intervened]
    else:
        mechanism = "(simulator)" if kind == "opaque" else family
    if node.picks is not None:
        given = "part of " + ", ".join(node.parents)
    else:
        given = _given(node.body, "from" if node.role == "deterministic" else "given", node)
    clauses = [f"{mechanism} {given}".strip()]
    if node.start is not None and node.start.parents:
        clauses.append(_given(node.start, "first given", node))
    if node.is_input:
        clauses.append("prepared for a range" if node.body else "known")
    if node.outputs:
        clauses.append(f"returns {_listed(node.outputs)}")
    if node.over is not None:
        clauses.append(f"one call for all of {node.over}")
    if node.states is not None:
        labels = ", ".join(str(label) for label in node.states)
        clauses.append(
            f"states {labels}" if len(node.states) <= 6 else f"{len(node.states)} states"
        )
    return "; ".join(clause for clause in clauses if clause)


def _given(body: Body | None, word: str, node: Node) -> str:
    # The constant of an intervention may be one value a member; the look-up is no news.
    if body is None or not body.parents or node.intervened == "value":
        return ""
    patterns = {"value": "{}", "previous": "{}[t-1]", "index": "index of {}"}
    return (
        f"{word} {_listed(dict.fromkeys(patterns[p.kind].format(p.source) for p in body.parents))}"
    )


def _listed(names: Iterable[str]) -> str:
    """Names with commas, without letting one line grow over the page."""
    names = list(names)
    return (
        ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:7])} and {len(names) - 7} more"
    )


def _surgery(node: Node) -> str:
    """What an intervention did, as a sentence."""
    value = set_to(node)
    how = {
        "value": "was set from outside" if value is None else f"was set to {value}",
        "policy": f"was set by a policy {_given(node.body, 'that looks at', node)}".strip(),
        "soft": "was given a new distribution",
    }[node.intervened or "value"]
    cut = ["its own past" if parent == node.name else parent for parent in node.cut]
    return f"{node.name} {how}" + (f"; it no longer depends on {_listed(cut)}" if cut else "")
