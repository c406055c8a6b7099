"""A model's likeness: what is kept of it to tell, later and elsewhere, whether another model is the same.

Each node is kept as the fingerprint of its code, what else it means, and a few numbers that its body gave when it was probed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..graph import Graph
from ..graph.fingerprint import fingerprint
from ..mechanism import Mechanism

__all__ = ["differences", "likeness", "moved"]

#: Numbers of each node's probes that are kept, and how closely they must agree.
PROBES, CLOSE = 32, 1e-6


def likeness(graph: Graph, mechanism: Mechanism) -> dict[str, Any]:
    """A model's likeness, as plain values and tensors.

    Args:
        graph: The whole graph.
        mechanism: Of the part of it that was probed.
    """
    return {
        "name": graph.name,
        "nodes": _described(graph),
        "plates": {p.name: [p.size, p.ordered, list(p.of)] for p in graph.plates.values()},
        "probes": _probes(mechanism),
    }


def differences(likeness: Mapping[str, Any], graph: Graph, sizes: Mapping[str, int]) -> list[str]:
    """What a graph has otherwise than a likeness, in words; nothing if they are the same.

    Args:
        likeness: Of the model as it was.
        graph: The model as it is.
        sizes: How many members the plates had.
    """
    old, new = likeness["nodes"], _described(graph)
    found = []
    added = [n for n in new if n not in old]
    gone = [n for n in old if n not in new]
    if added:
        found.append(f"added: {', '.join(added)}")
    if gone:
        found.append(f"gone: {', '.join(gone)}")
    changed = []
    for name in (n for n in new if n in old):
        parts = [part for part in new[name] if new[name][part] != old[name].get(part)]
        # Another parent is other code too; the parent tells more.
        told = [part for part in parts if part != "code"] or parts
        if told:
            changed.append(f"{name} ({', '.join(told)})")
    if changed:
        found.append(f"changed: {', '.join(changed)}")
    for name, plate in graph.plates.items():
        was = likeness["plates"].get(name)
        if was is None:
            found.append(f"added: plate {name}")
        elif was[1:] != [plate.ordered, list(plate.of)]:
            found.append(f"changed: plate {name}")
        elif plate.size not in (None, was[0], sizes.get(name)):
            found.append(f"changed: plate {name} has {plate.size} members, not {sizes.get(name)}")
    found += [f"gone: plate {name}" for name in likeness["plates"] if name not in graph.plates]
    if not found and (list(old) != list(new) or list(likeness["plates"]) != list(graph.plates)):
        found.append("the nodes or plates are declared in another order")
    return found


def moved(likeness: Mapping[str, Any], mechanism: Mechanism) -> list[str]:
    """The nodes whose bodies give other numbers than they did, under the same seed, in words.

    Only under the same versions of the programs: others may sample otherwise.
    """
    found = []
    for name, now in _probes(mechanism).items():
        then = likeness["probes"].get(name)
        if then is None or then.shape != now.shape or not _close(then, now):
            found.append(name)
    if not found:
        return []
    return [
        f"changed: {', '.join(found)} (the same code draws other numbers: something that it calls or reads is another one)"
    ]


def _described(graph: Graph) -> dict[str, Any]:
    """What each node means, in order of declaration."""
    return {
        name: {
            "code": fingerprint(node),
            "parents": sorted({*node.parents, *node.lags}),
            "plates": list(node.axes),
            "labels": None if node.states is None else list(map(str, node.states)),
            "support": None if node.support is None else repr(node.support),
            "summary": node.summary,
            "do": node.intervened,
        }
        for name, node in graph.nodes.items()
    }


def _probes(mechanism: Mechanism) -> dict[str, Tensor]:
    """The first numbers of what each body gave when it was probed: they change with whatever the code calls, wherever it is."""
    return {
        name: value.reshape(-1)[:PROBES].to(torch.float64)
        for name, value in mechanism.probed.items()
    }


def _close(then: Tensor, now: Tensor) -> bool:
    return torch.allclose(then, now, rtol=CLOSE, atol=CLOSE, equal_nan=True)
