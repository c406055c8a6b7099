"""A manifest: which simulations a store holds, so that others are never mixed with them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy
import torch
from torch import Tensor

from ..graph import Graph
from ..graph.fingerprint import fingerprint
from ..mechanism import Mechanism

__all__ = ["FORMAT", "Manifest"]

#: Raised when older programs could not read what newer ones write.
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Which simulations a store holds.

    Args:
        model: The model's name.
        seed: Of the campaign.
        batch: Draws in a batch, a power of two.
        nodes: By node, its fingerprint, its parents, its kind and the shape of its value, `(*plates, *event)`.
        given: Digests of inputs, columns, sizes and fixed values.
        versions: Of the programs that began it; told, never compared.
        format: Of the files.
    """

    model: str
    seed: int
    batch: int
    nodes: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        mechanism: Mechanism,
        names: Iterable[str],
        seed: int,
        batch: int,
        fixed: Mapping[str, Tensor],
    ) -> Manifest:
        """That of a campaign which draws these nodes."""
        graph, data = mechanism.graph, mechanism.data
        nodes = {name: _described(mechanism, name) for name in names}
        given: dict[str, Tensor] = {f"input {k}": v for k, v in data.inputs.items() if k in nodes}
        for plate, columns in data.columns.items():
            given |= {f"column {plate}.{k}": v for k, v in columns.items()}
        given |= {f"fixed {k}": v for k, v in fixed.items()}
        digests = {key: _digest(value) for key, value in given.items()}
        used = {plate for name in names for plate in graph[name].axes}
        digests |= {f"size {p}": str(n) for p, n in data.sizes.items() if p in used}
        return cls(graph.name, seed, batch, nodes, digests, _versions())

    def written(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    def changed(self, graph: Graph) -> list[str]:
        """Nodes of a graph that this campaign has not, or has with another meaning, and those that depend on them."""
        own = [
            name
            for name, node in graph.nodes.items()
            if name not in self.nodes or self.nodes[name]["fingerprint"] != fingerprint(node)
        ]
        affected = graph.descendants_of(own) | set(own)
        return [name for name in graph.nodes if name in affected]

    def differences(self, other: Manifest) -> list[str]:
        """What is not the same in the campaign that somebody asks for, in words; nodes are told apart by `changed`."""
        found = []
        if other.seed != self.seed:
            found.append(f"its seed is {self.seed}, not {other.seed}")
        for key in sorted(set(self.given) | set(other.given)):
            mine, theirs = self.given.get(key), other.given.get(key)
            if mine != theirs and not (mine is None and key.startswith("size")):
                kind, _, name = key.partition(" ")
                what = {"input": "input", "column": "column", "size": "size of plate"}.get(
                    kind, "fixed value of"
                )
                found.append(f"the {what} '{name}' is another one")
        return found


def _described(mechanism: Mechanism, name: str) -> dict[str, Any]:
    node, facts = mechanism.graph[name], mechanism.facts[name]
    shape = (*(mechanism.sizes[p] for p in node.axes if p != node.over), *facts.event_shape)
    return {
        "fingerprint": fingerprint(node),
        "parents": sorted({*node.parents, *node.lags}),
        "kind": facts.kind,
        "shape": list(shape),
        "whole": facts.discrete,
    }


def _digest(value: Tensor) -> str:
    array = numpy.ascontiguousarray(value.detach().cpu().numpy())
    words = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(words + array.tobytes()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    try:
        own = version("galton")
    except PackageNotFoundError:  # a checkout that was not installed
        own = "unknown"
    return {
        "galton": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
