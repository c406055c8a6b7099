"""The distributions that a node's body builds for draws of its parents, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from .calling import quiet
from .forward import forward
from .mechanism import Mechanism, Window

__all__ = ["fixed_support", "laws", "seems_fixed"]

#: Draws of the parents at which a support is looked at.
DRAWS = 64


def laws(
    mechanism: Mechanism, name: str, draws: int, seed: int, fixed: Mapping[str, Tensor]
) -> list[Any]:
    """The distributions of a node over draws of its parents, `(draws, *plates)`; of a chain first the start's, then the body's.

    Args:
        mechanism: How bodies are called.
        name: A node with a density.
        draws: How many draws.
        seed: Decides them.
        fixed: What is known, `(1, *plates, *event)` by node.
    """
    node, sizes = mechanism.graph[name], mechanism.sizes
    known = {n: v for n, v in fixed.items() if n != name}
    above = set(mechanism.graph.ancestors_of((name,))) | {name}
    values = forward(mechanism, draws, (seed, 78), fixed=known, only=above).values
    plate = mechanism.graph.chain_plate(name)
    windows: list[Window | None] = [None]
    if plate is not None and plate in node.plates and node.lags:
        windows = [(plate, 0, 1)]
        windows += [(plate, 1, sizes[plate])] if sizes[plate] > 1 else []
    with quiet(), torch.no_grad():
        return [
            mechanism.outcome(node, values, draws, seed, window, audit=False).distribution
            for window in windows
        ]


def fixed_support(mechanism: Mechanism, name: str) -> bool:
    """Whether a node's support is the same whatever its parents are."""
    support, node = mechanism.facts[name].support, mechanism.graph[name]
    if not seems_fixed(support):
        return False
    unbounded = all(b is None for b in _bounds(support))
    if unbounded or mechanism.facts[name].kind != "explicit" or not (node.parents or node.lags):
        return True
    # The two draws of probing may agree by chance.
    found = [law.support for law in laws(mechanism, name, DRAWS, 0, {})]
    if not all(map(seems_fixed, found)):
        return False
    seen = [_first(b) for b in _bounds(support)]
    return all([_first(b) for b in _bounds(s)] == seen for s in found)


def _bounds(support: Any) -> list[Any]:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]


def _first(bound: Any) -> float | None:
    return None if bound is None else float(torch.as_tensor(bound).reshape(-1)[0])


def seems_fixed(support: Any) -> bool:
    """Whether the support was the same for every draw that was seen."""
    return all(
        not isinstance(b, Tensor) or b.dim() == 0 or bool((b == b.reshape(-1)[0]).all())
        for b in _bounds(support)
    )
