"""The factors of a density at given values of the continuous nodes, for a whole batch of them, differentiable.

Each family gives one tensor of log densities, `(batch, *plates, *values of the finite variables)`. Bodies are called as everywhere else: lifted over
the batch and the plates, and here over the finite variables too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ppl.distributions import Distribution
from ppl.distributions.tracing import recording
from ppl.graph import Node, Parent
from ppl.mechanism import quiet
from ppl.mechanism.outcome import Outcome

from .layout import Family, Layout

__all__ = ["Factors", "Placing"]


class Placing(Protocol):
    """Where the values of the free nodes come from."""

    def __call__(self, node: Node, law: Callable[[], Outcome] | None, batch: int) -> Tensor:
        """The value of a node, `(batch, *plates, *event)`.

        Args:
            node: The node.
            law: Its distribution given its parents' values; `None` for a chain, whose parents are its own values.
            batch: The length of the batch.
        """
        ...


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Factors at some values.

    Args:
        values: Every node's value but those of finite and looked-through ones, `(batch or 1, *plates, *event)`.
        logs: By family, `(batch or 1, *plates, *cards)`; nothing is repeated in memory along axes that it does not vary along.
    """

    values: Mapping[str, Tensor]
    logs: Mapping[tuple[str, str], Tensor]


class Factors:
    """Evaluates a layout.

    Args:
        layout: What each node is.
    """

    def __init__(self, layout: Layout):
        self.layout, self.mechanism, self.graph = layout, layout.mechanism, layout.graph
        self._constant: dict[tuple[str, str], Tensor] = {}
        self._moving = {name: self._moves(name) for name in layout.kinds}
        self._settled: dict[str, Tensor] = {}
        #: Whether lifted calls are compared with single ones; the first evaluation does.
        self.audit = True

    def _moves(self, name: str) -> bool:
        """Whether a node's value differs from one evaluation to another."""
        kind = self.layout.kinds[name]
        if kind == "free" or (kind == "finite" and not self.layout.summed):
            return True
        if kind in ("seen", "finite"):
            return False
        node = self.graph[name]
        return any(
            self._moves(p)
            for p in (*node.parents, *node.lags)
            if p in self.layout.kinds and p != name and p not in self._around(name)
        )

    def _around(self, name: str) -> set[str]:
        """The other members of a chain's group that come after this node."""
        group = next(g for g in self.graph.strata if name in g)
        return set(group[group.index(name) :])

    # -- evaluation ------------------------------------------------------------------------------

    def evaluate(self, place: Placing, batch: int, scored: bool = True) -> Evaluated:
        """Every factor, with values from `place`; without `scored` the values alone."""
        layout = self.layout
        values: dict[str, Tensor] = {
            **{n: v for n, v in self.mechanism.data.inputs.items() if n in self.graph},
            **{n: v for n, v in layout.data.inputs.items() if n in self.graph},
            **layout.seen,
            **self._settled,
        }
        through: dict[str, Tensor] = {}
        logs: dict[tuple[str, str], Tensor] = {}
        # Samplers try everything: where a parameter is out of range the density is no number, which they read as zero.
        with quiet(), nullcontext() if self.audit else recording():
            for group in self.graph.strata:
                chain = self.graph.chain_plate(group[0])
                if chain is not None:
                    self._chain(group, chain, values, place, batch)
                for name in group:
                    self._node(name, values, through, logs, place, batch, scored)
        self.audit = self.audit and not scored
        return Evaluated(values, logs)

    def _node(self, name, values, through, logs, place: Placing, batch: int, scored: bool) -> None:
        layout, node = self.layout, self.graph[name]
        kind = layout.kinds[name]
        families = [layout.families.get((name, part)) for part in ("start", "body")]
        mine = [f for f in families if f is not None]
        if kind == "value" and name not in values:
            self._value(node, values, batch)
            return
        if kind == "through":
            if not scored:
                return
            through[name] = self._looked_through(mine[0], values, through, batch)
            return
        law: Callable[[], Outcome] | None = None
        once: list[Outcome] = []
        if len(mine) == 1 and not node.lags:

            def law() -> Outcome:
                if not once:
                    once.append(self._outcome(mine[0], values, through, batch))
                return once[0]

        if (kind == "free" or (kind == "finite" and not layout.summed)) and name not in values:
            values[name] = place(node, law, batch)
        for family in mine:
            if not (family.scored and scored):
                continue
            key = name, family.part
            if key in self._constant:
                logs[key] = self._constant[key]
                continue
            outcome = law() if law is not None else self._outcome(family, values, through, batch)
            logs[key] = self._scored(family, outcome, values)
            if not self._varies(family):
                self._constant[key] = logs[key].detach()

    def _varies(self, family: Family) -> bool:
        own = family.node.name
        return self._moving[own] or any(
            self._moving.get(edge.source, False)
            for edge in family.body.parents
            if edge.kind != "index"
        )

    def _value(self, node: Node, values: dict[str, Tensor], batch: int) -> None:
        """A function of values."""
        if node.picks is not None:
            carrier = node.parents[0]
            packing = self.mechanism.packings[carrier]
            values[node.name] = packing.unpack(values[carrier], node.picks)
            return
        moving = self._moving[node.name]
        outcome = self.mechanism.outcome(
            node, values, batch if moving else 1, 0, None, audit=self.audit
        )
        if outcome.distribution is not None:
            raise AssertionError(f"'{node.name}' is random and was taken for a function")
        shape = self.mechanism.shape(node, 1)
        value = outcome.value
        assert value is not None
        value = value.expand((len(value), *shape[1:], *value.shape[len(shape) :]))
        values[node.name] = value
        if not moving:
            self._settled[node.name] = value.detach()

    def _chain(self, group, plate: str, values, place: Placing, batch: int) -> None:
        """Functions along a chain, step by step; free nodes of the chain have all their values first."""
        layout = self.layout
        names = [n for n in group if layout.kinds[n] == "value" and n not in values]
        for name in group:
            if layout.kinds[name] == "free" or (
                layout.kinds[name] == "finite" and not layout.summed
            ):
                values[name] = place(self.graph[name], None, batch)
        if not names:
            return
        steps: dict[str, list[Tensor]] = {name: [] for name in names}
        moving = any(self._moving[n] for n in names)
        for t in range(self.mechanism.sizes[plate]):
            for name in names:
                node = self.graph[name]
                outcome = self.mechanism.outcome(
                    node,
                    values,
                    batch if moving else 1,
                    0,
                    (plate, t, t + 1),
                    audit=self.audit and t < 2,
                )
                value = outcome.value
                assert value is not None
                axis = 1 + node.axes.index(plate)
                shape = self.mechanism.shape(node, len(value), (plate, t, t + 1))
                value = value.expand((len(value), *shape[1:], *value.shape[len(shape) :]))
                steps[name].append(value)
                widest = max(len(v) for v in steps[name])
                values[name] = torch.cat(
                    [v.expand((widest, *v.shape[1:])) for v in steps[name]], dim=axis
                )
        if not moving:
            self._settled.update({name: values[name].detach() for name in names})

    # -- one family ------------------------------------------------------------------------------

    def _outcome(self, family: Family, values, through, batch: int) -> Outcome:
        """What the body gives over `(batch, *plates, *cards)`."""
        node, cards = family.node, self.layout.cards(family)
        lead = batch if self._varies(family) else 1
        shape = (*self.mechanism.shape(node, lead, family.window), *cards)
        arguments = [
            self._argument(family, edge, cards, values, through) for edge in family.body.parents
        ]
        caller = self.mechanism.callers[node.name, family.part]
        return caller(arguments, shape, 0, self.audit)

    def _argument(self, family: Family, edge: Parent, cards, values, through) -> Tensor:
        node, window = family.node, family.window
        lead = 1 + len(node.plates)
        kind = "seen" if edge.kind == "index" else self.layout.kinds[edge.source]
        if edge in family.axes:
            inner = self.layout.families[edge.source, "body"]
            depth = len(inner.slots)
            other = self.graph[edge.source]
            outer = 1 + len(other.plates)
            source = through[edge.source]
            # Its finite axes travel behind its plates' while these are aligned, and then become axes of this family.
            found = self.mechanism.argument(node, edge, {edge.source: source}, window)
            del outer
            sizes = [1] * len(cards)
            order = sorted(range(depth), key=lambda i: family.axes[edge][i])
            tail = range(lead + depth, found.dim())
            found = found.permute(*range(lead), *(lead + i for i in order), *tail)
            for i in family.axes[edge]:
                sizes[i] = cards[i]
            return found.reshape((*found.shape[:lead], *sizes, *found.shape[lead + depth :]))
        if kind == "finite" and self.layout.summed:
            slots = tuple(e.slot for e in family.slots)
            found = self.layout.tables.enumerated(node, edge, slots, list(cards))
            return found.reshape((1, *[1] * len(node.plates), *found.shape[1:]))
        found = self.mechanism.argument(node, edge, values, window)
        return found.reshape((*found.shape[:lead], *[1] * len(cards), *found.shape[lead:]))

    def _looked_through(self, family: Family, values, through, batch: int) -> Tensor:
        """A function's values, `(batch or 1, *plates, *cards, *event)`."""
        outcome = self._outcome(family, values, through, batch)
        assert outcome.value is not None
        cards = self.layout.cards(family)
        plates = self.mechanism.shape(family.node, 1, family.window)[1:]
        value = outcome.value
        lead = 1 + len(plates) + len(cards)
        return value.expand((len(value), *plates, *cards, *value.shape[lead:]))

    def _scored(self, family: Family, outcome: Outcome, values: Mapping[str, Tensor]) -> Tensor:
        """log p(value | parents), `(batch or 1, *plates, *cards)`; with the node's own values last, if it is finite."""
        node, cards = family.node, self.layout.cards(family)
        lead = 1 + len(node.plates)
        plates = self.mechanism.shape(node, 1, family.window)[1:]
        if family.own:
            domain = self.layout.domains[node.name]
            value = domain.reshape((len(domain), *[1] * (lead + len(cards)), *domain.shape[1:]))
        else:
            value = values[node.name]
            if family.window is not None:
                plate, start, end = family.window
                value = value.narrow(1 + node.plates.index(plate), start, end - start)
            value = value.reshape((*value.shape[:lead], *[1] * len(cards), *value.shape[lead:]))
        if outcome.distribution is not None:
            # A free value was made by the transform onto the support.
            inside = self.layout.kinds[node.name] == "free" and node.name not in self.layout.present
            law = outcome.distribution
            law = law.collapsed() if isinstance(law, Distribution) else law
            logs = law.log_prob(value, inside)
        else:
            found = outcome.value
            assert found is not None
            same = found == value
            event = found.dim() - lead - len(cards)
            if event:
                same = same.flatten(same.dim() - event).all(-1)
            logs = torch.where(same, 0.0, -torch.inf).to(torch.float64)
        if family.own:
            logs = logs.movedim(0, -1)
        rest = (*cards, *((len(self.layout.domains[node.name]),) if family.own else ()))
        logs = logs.expand((logs.shape[0], *plates, *rest))
        there = self.layout.present.get(node.name)
        if there is not None and self.layout.kinds[node.name] == "seen":
            if family.window is not None:
                plate, start, end = family.window
                there = there.narrow(1 + node.plates.index(plate), start, end - start)
            mask = there.reshape((*there.shape[:lead], -1)).all(-1)
            mask = mask.reshape((*mask.shape, *[1] * len(rest)))
            logs = torch.where(mask, logs, torch.zeros_like(logs))
        return logs
