"""Sensitivity: how the log-evidence changes with the entries of one table.

The evidence is linear in each table that one factor uses: with that factor taken out, what is summed for each entry is its derivative
(Darwiche 2003, "A differential approach to inference in Bayesian networks").
"""

from __future__ import annotations

from dataclasses import replace

import numpy
import torch
from torch import Tensor

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.mechanism import Data
from ppl.mechanism.tables import Tables

from .factors import Family
from .network import Network
from .prepared import Prepared

__all__ = ["sensitivity"]


def sensitivity(query: Query, data: Data, name: str) -> Tensor:
    """The gradient of log p(observation) with respect to a node's table, `(*parents, own)`."""
    node = query.graph[name]
    if node.start is not None:
        raise QueryError(f"'{name}' is a chain with two tables; ask about a node with one.")
    # Its own family's nodes become variables, observed or not, so that every entry is there to be asked about.
    partial = query.partial | ({name, *node.parents} & set(query.given))
    sure = set(query.given) - partial
    loose = replace(
        query,
        free=tuple(
            n.name
            for n in query.graph.nodes.values()
            if n.name not in sure and not n.is_input and n.intervened != "value"
        ),
        evidence=query.given,
        partial=partial,
        ask=(),
    )
    known = {n: data.observed[n] for n in sure}
    tables = Tables(query.mechanism, known)
    table = tables.probabilities(node)
    if len(table) > 1:
        raise QueryError(f"'{name}' has a table for each of {len(table)} contexts, such as inputs.")
    shared = len(tables.members(node)) > 1
    if shared and (table == 0).any():
        raise QueryError(
            f"The table of '{name}' is shared by the members of its plate and has zeros, where its gradient is not known."
        )
    if not shared:
        tables.replace(node, "body", numpy.ones_like(table))
    network = Network(loose, tables)
    whole = Prepared(Network(loose, Tables(query.mechanism, known))).run(data, down=False)
    mine = next(f for f in network.families if f.node.name == name)
    scopes = _scopes(network, mine)
    free = [tuple(v for v in scope if len(network.reach[v]) > 1) for scope in scopes]
    result = Prepared(network, list(dict.fromkeys(s for s in free if s))).run(data)
    total = numpy.zeros(table.shape[1:])
    for scope, some in zip(scopes, free, strict=True):
        cells = numpy.ix_(*(network.reach[v] for v in scope))
        shape = [len(network.reach[v]) for v in scope]
        found = result.marginals[some][:, 0].reshape(shape) if some else numpy.ones(shape)
        total[cells] += found
    if shared:
        return torch.from_numpy(total / table[0])
    return torch.from_numpy(total * numpy.exp(result.log_evidence[0] - whole.log_evidence[0]))


def _scopes(network: Network, family: Family) -> list[tuple[int, ...]]:
    """The variables of each member's family, in the order of its table."""
    numbers = [
        network.first[slot.edge.source] + at
        for slot, at in zip(family.slots, family.parents, strict=True)
    ]
    numbers.append(network.first[family.node.name] + family.members)
    return [tuple(scope) for scope in numpy.stack(numbers, axis=1).tolist()]
