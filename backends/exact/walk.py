"""Walks down a tree that was summed upwards: exact draws, and most probable values.

Each clique's residual variables are chosen given its separator, whose variables were chosen above; a group of cliques at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.mechanism import Data

from .network import Network
from .prepared import Prepared
from .tree import Group

__all__ = ["decoded", "draw", "value_of", "values_of"]

#: Numbers that one step of drawing holds at once.
HELD = 2**22


def draw(
    prepared: Prepared, data: Data, wanted: Sequence[int], n: int, seed: int
) -> dict[int, ndarray]:
    """Exact joint draws of some variables given one observation, `(n,)` positions each."""
    if not hasattr(prepared.last, "joint"):
        prepared = Prepared(prepared.network, prepared.wanted, prepared.order, walking=True)
    prepared.run(data, down=False)
    joints = prepared.last.joint
    tree, rng = prepared.last.tree, numpy.random.default_rng(seed)
    free = [v for v in wanted if prepared.sizes[v] > 1]
    needed = _above(prepared, free)
    states: dict[int, ndarray] = {}
    for group in reversed(tree.groups):
        members = needed.get(group.number)
        if members is None:
            continue
        tables = joints[group.number][members][..., 0].reshape((len(members), -1, _residual(group)))
        rows = _rows(group, members, states, n)
        step = max(HELD // (len(members) * tables.shape[2]), 1)
        chosen = numpy.empty((len(members), n), dtype=int)
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            weights = tables[numpy.arange(len(members))[:, None], rows[:, part]]
            cdf = weights.cumsum(axis=-1)
            u = rng.random(cdf.shape[:2])[..., None] * cdf[..., -1:]
            # The last value with any weight, should rounding carry u beyond.
            chosen[:, part] = (cdf <= u).sum(axis=-1).clip(max=cdf.shape[-1] - 1)
        _assign(group, members, chosen, states)
    single = numpy.zeros(n, dtype=int)
    return {v: states.get(v, single) for v in wanted}


def decoded(prepared: Prepared) -> tuple[dict[int, int], float]:
    """Maximising positions of the variables that were maximised over, after an upward run for one observation, and the log of the
    joint there."""
    states: dict[int, int] = {}
    program = prepared.last
    for group in reversed(program.tree.groups):
        if not group.kind:
            continue
        held, shape = group.separator, group.shape
        tables = program.joint[group.number]
        for m, scope in enumerate(group.scopes):
            at = tuple([states[v] for v in scope[:held]])
            best = int(tables[(m, *at)].argmax())
            for axis in range(len(shape) - 1, held - 1, -1):
                best, states[scope[axis]] = divmod(best, shape[axis])
    return states, float(program.logs[0])


def value_of(network: Network, name: str, states: Mapping[int, int]) -> Tensor:
    """The value of a node from the positions of its variables among their reachable values, `(*plates, *event)`."""
    domain, grid = network.domains[name], network.grids[name]
    places = [int(network.reach[v][states.get(v, 0)]) for v in network.variables(name)]
    return domain[places[0]] if not grid else domain[torch.tensor(places).reshape(grid)]


def values_of(network: Network, name: str, states: Mapping[int, ndarray]) -> Tensor:
    """Values of a node from the positions of its variables among their reachable values, `(n, *plates, *event)`."""
    columns = [network.reach[v][states[v]] for v in network.variables(name)]
    index = numpy.stack(columns, axis=1).reshape((len(columns[0]), *network.grids[name]))
    return network.domains[name][torch.from_numpy(index)]


def _above(prepared: Prepared, wanted: Sequence[int]) -> dict[int, list[int]]:
    """By group, the cliques that hold a wanted variable, and those above them."""
    tree = prepared.last.tree
    found: dict[int, set[int]] = {}
    stack = [tree.place_of((v,)) for v in wanted]
    while stack:
        number, m = stack.pop()
        if m in found.setdefault(number, set()):
            continue
        found[number].add(m)
        parent = tree.groups[number].parents[m]
        if parent is not None:
            stack.append(parent)
    return {number: sorted(members) for number, members in found.items()}


def _residual(group: Group) -> int:
    return prod(group.shape[group.separator :])


def _rows(group: Group, members: list[int], states: dict[int, ndarray], n: int) -> ndarray:
    """The flat position of each clique's separator, `(cliques, n)`."""
    rows = numpy.zeros((len(members), n), dtype=int)
    for axis in range(group.separator):
        rows *= group.shape[axis]
        rows += numpy.stack([states[group.scopes[m][axis]] for m in members])
    return rows


def _assign(group: Group, members: list[int], chosen: ndarray, states: dict[int, ndarray]) -> None:
    """Take a flat position among the residual values apart."""
    for axis in range(len(group.shape) - 1, group.separator - 1, -1):
        chosen, value = numpy.divmod(chosen, group.shape[axis])
        for k, m in enumerate(members):
            states[group.scopes[m][axis]] = value[k]
