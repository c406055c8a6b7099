"""The legend of a drawn graph: colours with what they stand for, and the symbols that occur."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .dot import escaped
from .node import Node

__all__ = ["legend"]


def legend(
    shown: Collection[Node],
    kinds: Mapping[str, str],
    key: Mapping[str, str],
    ink: str,
    across: int,
    common: str = "",
) -> str:
    """A table in Graphviz' HTML.

    Args:
        shown: The nodes.
        kinds: By node, what its body was seen to return.
        key: What colours stand for, by colour.
        ink: The colour of the words.
        across: Symbols beside one another.
        common: What most nodes are, where it is not written in them.
    """
    swatches = [
        f'<tr><td bgcolor="{colour}" border="1" color="#7A7A7A" width="16" height="10" fixedsize="true"></td>'
        f'<td align="left">{_words(words, ink)}</td></tr>'
        for colour, words in key.items()
    ]
    rows = [f'<tr><td align="left">{_table(swatches, 3)}</td></tr>'] if swatches else []
    said = _symbols(shown, kinds)
    said += [f"{common}, where nothing else is said"] if common else []
    rows += [
        f'<tr><td align="left">{_words("   |   ".join(said[k : k + across]), ink)}</td></tr>'
        for k in range(0, len(said), across)
    ]
    return _table(rows, 0)


def _table(rows: list[str], space: int) -> str:
    look = f'border="0" cellborder="0" cellspacing="{space}" cellpadding="2"'
    return f"<table {look}>{''.join(rows)}</table>"


def _words(words: str, ink: str) -> str:
    # A reader's font may be broader than the one that Graphviz measures.
    room = "\u2002" * (len(words) // 12 + 1)
    return f'<font point-size="10" color="{ink}">{escaped(words)}{room}</font>'


def _symbols(shown: Collection[Node], kinds: Mapping[str, str]) -> list[str]:
    roles = {node.role for node in shown}
    said = {
        "θ parameter": "theta" in roles,
        "η nuisance": "nuisance" in roles,
        "Z latent": "latent" in roles,
        "X observed (shaded)": "observed" in roles,
        "double border: deterministic": "deterministic" in roles,
        "bold box: simulator": any(kinds.get(node.name) == "opaque" for node in shown),
        "flat box: input": any(node.is_input for node in shown),
        "t−1: one member earlier": any(node.lags for node in shown),
        "dashed border: one call for the plate": any(node.over for node in shown),
        "hexagon: set by do": any(node.intervened for node in shown),
        "dashed arrow: cut": any(node.cut for node in shown),
    }
    return [words for words, occurs in said.items() if occurs]
