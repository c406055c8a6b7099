"""How far countable nodes must be followed, so that what is left out is at most 1e-10 of the evidence.

What lies beyond k is less than the prior's mass there, because what is observed has a probability of at most one. Where the observation is
unlikely, k grows until that bound is small beside its probability; and the posterior must have died out at k, which holds the bound against observed
densities above one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, log

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .calling import quiet
from .laws import laws
from .mechanism import Mechanism
from .tables import NotFinite

__all__ = ["OMITTED", "Tail", "countable", "cut"]

#: The share of the evidence that may be left out.
OMITTED = 1e-10
#: How often the ends are moved.
ROUNDS = 40
#: log of the evidence with some last values, and by node the posterior probabilities of its last two values, `(…, 2)`.
Look = Callable[[dict[str, Tensor]], tuple[float, Mapping[str, ndarray]]]

#: Draws of the parents, and whole numbers that are looked at.
DRAWS, LARGEST = 64, 2**18


def countable(mechanism: Mechanism, names: tuple[str, ...]) -> list[str]:
    """Those of some nodes that take countably many values and have a density."""
    facts = mechanism.facts
    return [
        n
        for n in names
        if facts[n].kind == "explicit" and facts[n].discrete and not facts[n].finite
    ]


class Tail:
    """log P(some member of a node exceeds k) for every whole number k, the average over draws of its parents.

    Args:
        mechanism: How bodies are called.
        name: The node.
        fixed: What is known, `(1, *plates, *event)` by node.
        seed: Decides the draws.

    Raises:
        NotFinite: If the values are not scalar whole numbers from some number on.
    """

    def __init__(self, mechanism: Mechanism, name: str, fixed: Mapping[str, Tensor], seed: int):
        self.name, facts = name, mechanism.facts[name]
        if facts.event_shape:
            raise NotFinite(f"'{name}' has countably many vectors as values ({facts.family})")
        self.low = int(getattr(facts.support, "lower_bound", -1))
        if self.low < 0 or hasattr(facts.support, "upper_bound"):
            raise NotFinite(f"'{name}' has countably many values ({facts.family})")
        self._laws = laws(mechanism, name, DRAWS, seed, fixed)
        self._mass = numpy.zeros(0)

    def beyond(self, level: float) -> int:
        """The smallest k for which log P(some member exceeds k) is at most `level`.

        Raises:
            NotFinite: If there is none below 262,144.
        """
        size = max(len(self._mass), 64)
        while size <= LARGEST:
            self._grow(size)
            # What lies beyond the end is less than what lies in the last half, once that falls by half at least.
            last = numpy.logaddexp.reduce(self._mass[size // 2 :])
            before = numpy.logaddexp.reduce(self._mass[size // 4 : size // 2])
            if last < level - log(4) and last < before - log(2):
                tail = numpy.logaddexp.accumulate(self._mass[::-1])[::-1]
                tail = numpy.logaddexp(tail, last)
                return self.low + int((tail > level).sum()) - 1 if level < 0 else self.low
            size *= 2
        raise NotFinite(
            f"'{self.name}' has countably many values, and more than {LARGEST:,} of them matter"
        )

    def _grow(self, size: int) -> None:
        """log of the expected number of members that take each value."""
        start = len(self._mass)
        if size <= start:
            return
        found: ndarray = numpy.full(size - start, -inf)
        for law in self._laws:
            assert law is not None
            lead = len(law.batch_shape)
            for at in range(start, size, 256):
                grid = torch.arange(at, min(at + 256, size)) + self.low
                with quiet(), torch.no_grad():
                    logs = law.log_prob(grid.reshape((-1, *[1] * lead)))
                flat = logs.expand((len(grid), *law.batch_shape)).reshape((len(grid), -1))
                total = torch.logsumexp(flat, dim=1).numpy() - log(law.batch_shape[0])
                place = slice(at - start, at - start + len(grid))
                found[place] = numpy.logaddexp(found[place], total)
        self._mass = numpy.concatenate([self._mass, found])


def cut(
    mechanism: Mechanism,
    names: Sequence[str],
    fixed: Mapping[str, Tensor],
    seed: int,
    look: Look | None,
) -> dict[str, Tensor]:
    """The values at which countable nodes are looked at.

    Args:
        mechanism: How bodies are called.
        names: The nodes.
        fixed: What is known, `(datasets, *plates, *event)` by node.
        seed: Decides the draws of their parents.
        look: Works out the evidence with some values; without it the prior alone decides.

    Raises:
        NotFinite: If a node has no end, or its end is too far.
    """
    known = {n: v[:1] for n, v in fixed.items()}
    tails = {n: Tail(mechanism, n, known, seed) for n in names}
    whole = [int(v.max()) for v in fixed.values() if v.numel() and not v.is_floating_point()]
    far = 16 * (64 + max(whole, default=0))
    floor = {n: int(fixed[n].max()) if n in fixed else 0 for n in names}
    level, log_evidence = log(OMITTED / len(names)), 0.0
    for _ in range(ROUNDS):
        last = {n: max(t.beyond(level + log_evidence), floor[n]) for n, t in tails.items()}
        values = {n: torch.arange(tails[n].low, k + 1) for n, k in last.items()}
        if look is None:
            return values
        found, ends = look(values)
        if found == -inf:
            if min(last.values()) > far:
                return values  # as far as that the observation is impossible: conditioning says so
            floor = {n: 2 * k + 16 for n, k in last.items()}
            continue
        going = [n for n, end in ends.items() if not _died_out(end)]
        if going:
            floor.update({n: 2 * last[n] + 16 for n in going})
        elif found >= log_evidence - 1e-9:
            return values
        else:
            log_evidence = found
    raise NotFinite(f"'{names[0]}' has countably many values, and no end of those that matter")


def _died_out(end: ndarray) -> bool:
    """Whether the last two probabilities fall so fast that what follows is next to nothing."""
    before, last = end[..., 0], end[..., 1]
    with numpy.errstate(divide="ignore", invalid="ignore"):
        ratio = numpy.where(last > 0, last / before, 0.0)
        rest = numpy.where(ratio < 1, last * ratio / (1 - ratio), inf)
    return bool((rest <= OMITTED).all())
