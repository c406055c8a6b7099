"""Brute force: a random network, and every answer by enumeration of its joint table."""

from __future__ import annotations

import numpy

import ppl
from ppl.formats.network import Family, Network


class Brute:
    """A random Bayesian network of up to ten nodes with two to four states, some of its probabilities zero.

    Args:
        seed: Decides everything.
        nodes: How many nodes; by default between 2 and 10.
    """

    def __init__(self, seed: int, nodes: int | None = None):
        rng = self.rng = numpy.random.default_rng(seed)
        count = int(rng.integers(2, 11)) if nodes is None else nodes
        cards = rng.integers(2, 5, size=count)
        if count == 10:  # the joint stays below a million cells
            cards = cards.clip(max=3)
        network = Network(f"random {seed}")
        names = [f"v{i}" for i in range(count)]
        self.joint = numpy.ones((1,) * count)
        for i, name in enumerate(names):
            parents = (
                sorted(rng.choice(i, size=min(i, int(rng.integers(0, 4))), replace=False).tolist())
                if i
                else []
            )
            table = rng.dirichlet(numpy.ones(cards[i]), size=[cards[p] for p in parents])
            zero = rng.random(table.shape) < rng.choice([0.0, 0.0, 0.3])
            zero &= ~zero.all(axis=-1, keepdims=True)
            table = numpy.where(zero, 0.0, table)
            table /= table.sum(axis=-1, keepdims=True)
            network.labels[name] = tuple(f"s{k}" for k in range(cards[i]))
            # The file need not list parents in the order of the variables.
            turn = rng.permutation(len(parents)).tolist()
            listed = tuple(names[parents[k]] for k in turn)
            network.families[name] = Family(listed, table.transpose(*turn, len(parents)), "here")
            shape = [1] * count
            for p in (*parents, i):
                shape[p] = cards[p]
            self.joint = self.joint * table.reshape(shape)
        self.network, self.names, self.cards = network, names, cards
        self.model: ppl.Model = network.model()

    def draw(self) -> dict[str, int]:
        """One draw of all nodes."""
        flat = self.rng.choice(self.joint.size, p=self.joint.ravel() / self.joint.sum())
        return dict(
            zip(self.names, map(int, numpy.unravel_index(flat, self.joint.shape)), strict=True)
        )

    def evidence(self, share: float = 0.4) -> dict[str, int]:
        """Some of the values of a draw: an observation that is possible; at least one node stays free."""
        drawn = self.draw()
        seen = {name: v for name, v in drawn.items() if self.rng.random() < share}
        if len(seen) == len(drawn):
            seen.pop(self.names[int(self.rng.integers(len(self.names)))])
        return seen

    def given(self, evidence: dict[str, int]) -> numpy.ndarray:
        """p(everything, evidence), with axes of the full joint; the other values of what is seen are zero."""
        table = self.joint.copy()
        for name, value in evidence.items():
            axis = self.names.index(name)
            mask = numpy.zeros(self.cards[axis])
            mask[value] = 1
            table = table * mask.reshape([-1 if a == axis else 1 for a in range(table.ndim)])
        return table

    def marginal(self, table: numpy.ndarray, *names: str) -> numpy.ndarray:
        """Normalised joint of some nodes."""
        keep = [self.names.index(n) for n in names]
        gone = tuple(a for a in range(table.ndim) if a not in keep)
        small = table.sum(axis=gone)
        order = numpy.argsort(numpy.argsort(keep))
        return (small / small.sum()).transpose(order)
