"""Graphviz' SVG, made fit for pages: words stay in the middle of their nodes, whatever font the reader has.

Graphviz measures Helvetica and writes where each line begins. A reader's font may be wider, and then words lean to the right and leave their nodes.
"""

from __future__ import annotations

from xml.etree import ElementTree

__all__ = ["tidied"]

SVG = "http://www.w3.org/2000/svg"
#: Most systems have one of these.
FONTS = "Helvetica, Arial, 'Liberation Sans', sans-serif"
#: A picture of more points keeps its size on a narrow page, which then scrolls, because words would become too small.
SHRUNK = 900


def tidied(content: bytes) -> bytes:
    """The same picture, anchored where things are rather than where they begin."""
    for prefix, space in (("", SVG), ("xlink", "http://www.w3.org/1999/xlink")):
        ElementTree.register_namespace(prefix, space)
    root = ElementTree.fromstring(content)
    for text in _all(root, "text"):
        text.set("font-family", FONTS)
    for group in _all(root, "g"):
        if group.get("class") == "node":
            middle = _middle(group)
            for text in _all(group, "text") if middle is not None else ():
                text.set("text-anchor", "middle")
                text.set("x", f"{middle:.2f}")
        elif group.get("class") == "cluster":
            for frame in (*group.findall(f"{{{SVG}}}path"), *group.findall(f"{{{SVG}}}polygon")):
                _moved_to_the_right(group, frame)
    if float((root.get("width") or "0").removesuffix("pt")) <= SHRUNK:
        root.set("style", "max-width: 100%; height: auto")
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _all(group: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return list(group.iter(f"{{{SVG}}}{name}"))


def _middle(group: ElementTree.Element) -> float | None:
    """The middle of a node's border, from left to right."""
    for ellipse in _all(group, "ellipse"):
        return float(ellipse.get("cx", "0"))
    for border in (*_all(group, "polygon"), *_all(group, "path")):
        across = _across(border)
        return (min(across) + max(across)) / 2 if across else None
    return None


def _moved_to_the_right(group: ElementTree.Element, frame: ElementTree.Element) -> None:
    """A plate's label ends inside of its right border."""
    across = _across(frame)
    if across:
        for text in _all(group, "text"):
            text.set("text-anchor", "end")
            text.set("x", f"{max(across) - 8:.2f}")


def _across(shape: ElementTree.Element) -> list[float]:
    """Where the points of a polygon or a path are, from left to right."""
    written = shape.get("points") or shape.get("d") or ""
    pairs = written.replace("M", " ").replace("C", " ").replace("L", " ").split()
    return [float(pair.partition(",")[0]) for pair in pairs if "," in pair]
