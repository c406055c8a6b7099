"""Questions about several finite nodes at once: their joint table, events, information, most probable values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import QueryError, closest
from ..html import printed

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = [
    "Joint",
    "MostProbable",
    "cell",
    "information",
    "joint",
    "most_probable",
    "named",
    "probability",
]

#: One member of a node: its name and the coordinates along its plates.
Cell = tuple[str, tuple[int, ...]]
#: Combinations of values for which an event is evaluated.
COMBINATIONS = 2**22


@dataclass(frozen=True, eq=False)
class Joint:
    """The joint probabilities of some finite nodes.

    Args:
        names: The nodes; a plate's member is written `z[3]`.
        domains: Their values, `(cardinality, *event)` each.
        probs: `(*cardinalities,)`.
        states: Their labels, or `None`.
    """

    names: tuple[str, ...]
    domains: tuple[Tensor, ...]
    probs: Tensor
    states: tuple[tuple | None, ...]

    @property
    def entropy(self) -> float:
        """H in nats."""
        p = self.probs[self.probs > 0]
        return max(float(-(p * p.log()).sum()), 0.0)

    def _repr_html_(self) -> str:
        return printed(self)

    def __repr__(self) -> str:
        rows = [f"joint of {', '.join(self.names)}"]
        order = self.probs.flatten().argsort(descending=True, stable=True)[:8]
        for flat in order.tolist():
            at = torch.unravel_index(torch.tensor(flat), self.probs.shape)
            said = [
                f"{name}={states[int(i)] if states else domain[i].tolist()}"
                for name, states, domain, i in zip(
                    self.names, self.states, self.domains, at, strict=True
                )
            ]
            rows.append(f"  {float(self.probs[at]):.4f}  {', '.join(said)}")
        if self.probs.numel() > 8:
            rows.append(f"  and {self.probs.numel() - 8} more")
        return "\n".join(rows)


class MostProbable(Mapping):
    """The jointly most probable values of some nodes: a mapping from node to value, `(*plates, *event)`.

    Args:
        values: By node.
        log_prob: The log of their posterior probability.
        labels: By node, its states, where it has labels.
    """

    def __init__(self, values: Mapping[str, Tensor], log_prob: float, labels: Mapping[str, tuple]):
        self._values, self.log_prob, self._labels = values, log_prob, labels

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _repr_html_(self) -> str:
        return printed(self)

    def __repr__(self) -> str:
        said = []
        for name, value in self._values.items():
            plain = value.dim() == 0 and name in self._labels
            said.append(f"{name}={self._labels[name][int(value)] if plain else value.tolist()}")
        return f"{', '.join(said)} (log-probability {self.log_prob:.4f})"


def named(posterior: Posterior, text: str) -> Cell:
    """A node and the coordinates behind it: `z[3]` is `("z", (3,))`.

    Raises:
        QueryError: If the posterior is not about the node.
    """
    found = re.fullmatch(r"(.+?)\[(\d+(?:,\s*\d+)*)\]", text)
    name, at = (text, "") if text in posterior or not found else (found[1], found[2])
    if name not in posterior:
        raise QueryError(
            f"The posterior has no '{name}'; it was not asked for.{closest(name, posterior.of)}"
        )
    return name, tuple(int(k) for k in at.split(",")) if at else ()


def cell(posterior: Posterior, text: str) -> Cell:
    """A node without plates, or one member `z[3]` of a node in plates.

    Raises:
        QueryError: If there is none.
    """
    name, place = named(posterior, text)
    plates = posterior.graph[name].axes
    if len(place) != len(plates):
        raise QueryError(
            f"'{name}' is in plate {', '.join(plates)}: say which member, as '{name}[0]'."
            if plates
            else f"'{name}' is in no plate; it has no member {list(place)}."
        )
    sizes = [posterior.data.sizes[p] for p in plates]
    for k, size, plate in zip(place, sizes, plates, strict=True):
        if k >= size:
            raise QueryError(f"'{text}': plate '{plate}' has {size} members, numbered from 0.")
    return name, place


def joint(posterior: Posterior, names: Sequence[str]) -> Joint:
    """The joint table; see `Posterior.joint`."""
    if not names:
        raise QueryError("joint() was given no node.")
    if len(set(names)) < len(names):
        raise QueryError("joint() was given a node twice.")
    cells = [cell(posterior, text) for text in names]
    whole = torch.ones((), dtype=torch.float64)
    order: list[int] = []
    domains: dict[int, Tensor] = {}
    for answer in posterior.answers:
        mine = [i for i, (name, _) in enumerate(cells) if name in answer.names]
        if not mine:
            continue
        found, probs = answer.joint([cells[i] for i in mine])
        domains.update(zip(mine, found, strict=True))
        order += mine
        whole = whole.reshape((*whole.shape, *[1] * len(mine))) * probs
    turned = whole.permute([order.index(i) for i in range(len(names))])
    states = tuple(_labels(posterior, name, domains[i]) for i, (name, _) in enumerate(cells))
    return Joint(tuple(names), tuple(domains[i] for i in range(len(names))), turned, states)


def _labels(posterior: Posterior, name: str, domain: Tensor) -> tuple | None:
    states = posterior.graph[name].states
    if states is None or domain.dim() > 1 or int(domain.max()) >= len(states):
        return None
    return tuple(states[int(v)] for v in domain)


def probability(posterior: Posterior, event: Callable[..., Any], named: Mapping[str, str]) -> float:
    """p(event | observation); see `Posterior.probability`."""
    arguments = [
        p.name for p in inspect.signature(event).parameters.values() if p.default is p.empty
    ]
    names = [named.get(argument, argument) for argument in arguments]
    if not names:
        raise QueryError("An event is a function of nodes: lambda rain, wet: rain < wet.")
    unused = [argument for argument in named if argument not in arguments]
    if unused:
        raise QueryError(f"The event has no argument '{unused[0]}'.{closest(unused[0], arguments)}")
    table = joint(posterior, list(dict.fromkeys(names)))
    places = [table.names.index(name) for name in names]
    if table.probs.numel() > COMBINATIONS:
        raise QueryError(
            f"The event looks at {table.probs.numel():,} combinations of values; {COMBINATIONS:,} is the limit."
        )
    total = 0.0
    for at in (table.probs > 0).nonzero().tolist():
        values = [table.domains[i][at[i]] for i in places]
        plain = [v.item() if v.dim() == 0 else v for v in values]
        if bool(event(*plain)):
            total += float(table.probs[tuple(at)])
    return min(total, 1.0)


def information(posterior: Posterior, one: Sequence[str], two: Sequence[str]) -> float:
    """Mutual information in nats; see `Posterior.mutual_information`."""
    if set(one) & set(two):
        raise QueryError(f"'{next(iter(set(one) & set(two)))}' is on both sides.")
    both = joint(posterior, [*one, *two]).probs
    left = both.sum(dim=tuple(range(len(one), both.dim())), keepdim=True)
    right = both.sum(dim=tuple(range(len(one))), keepdim=True)
    some = both > 0
    ratio = both[some] / (left * right)[some]
    return max(float((both[some] * ratio.log()).sum()), 0.0)


def most_probable(posterior: Posterior, names: Sequence[str]) -> MostProbable:
    """The most probable values; see `Posterior.most_probable`."""
    for name in names:
        if name not in posterior:
            raise QueryError(
                f"The posterior has no '{name}'; it was not asked for.{closest(name, posterior.of)}"
            )
    values: dict[str, Tensor] = {}
    total = 0.0
    for answer in posterior.answers:
        mine = [name for name in names if name in answer.names]
        if mine:
            found, log_prob = answer.most_probable(mine)
            values.update(found)
            total += log_prob
    labels = {name: posterior.graph[name].states for name in names}
    return MostProbable(
        {name: values[name] for name in names}, total, {k: v for k, v in labels.items() if v}
    )
