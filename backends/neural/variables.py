"""Variables: what a conditional density describes, parameters or data, as codes of finite values and unbounded numbers.

A continuous node goes through `biject_to` of its support, so that no draw can leave it. Counts are spread uniformly over their cells first
(dequantised), so that a density on the line says how probable each is. Finite values that are no line are codes, for a classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from ppl.compiler import Query
from ppl.distributions.tensors import unbounded_shape
from ppl.mechanism.laws import fixed_support
from ppl.mechanism.tables import NotFinite, Tables, TooLarge

from .members import aligned, axes_of, facts_of, find, members

__all__ = [
    "Unsuitable",
    "Variable",
    "Variables",
    "closure",
    "datum",
    "heavy",
    "member_shape",
    "parameter",
]

#: Whole numbers with so many values are a line; with fewer they are codes.
FEWEST_VALUES = 16
#: Simulated whole numbers of up to so many values may be codes, and their entries are described one after the other up to so many.
MOST_CODES, MOST_ENTRIES = 64, 32
#: A value that has more than this share of simulated whole numbers is an atom.
ATOM = 0.25
#: Data whose standard deviation exceeds that of their middle half by this factor are squashed.
HEAVY = 4.0
#: Points in each cell of a line of whole numbers at which its density is averaged.
POINTS = 4


class Unsuitable(Exception):
    """A node that a net cannot be trained for; the reason is the message, the remedy its second argument."""

    def __init__(self, reason: str, remedy: str = ""):
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, eq=False)
class Variable:
    """One node, member by member.

    Args:
        name: The node.
        shape: The shape of one member's value.
        kind: `"real"`; `"line"` for ordered finite values, `"counts"` from a smallest value on, `"whole"` numbers on both sides; `"codes"`.
        support: Of `"real"`.
        domain: The values of `"line"` and `"codes"`, sorted.
        low: The smallest of `"counts"`.
        squash: Middle and width of heavy-tailed data, which are drawn together by the inverse hyperbolic sine.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    support: Any = None
    domain: Tensor | None = None
    low: int = 0
    squash: tuple[float, float] | None = None

    @property
    def size(self) -> int:
        """How many numbers it takes, or how many codes."""
        if self.kind != "real":
            return prod(self.shape)
        return prod(unbounded_shape(biject_to(self.support), self.shape))

    @property
    def coded(self) -> bool:
        """Whether a classifier describes it."""
        return self.kind == "codes"

    @property
    def facts(self) -> dict[str, Any]:
        """What was learned from simulations, as plain data; the rest follows from the node."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "kind": self.kind,
            "low": self.low,
            "squash": self.squash,
            "domain": None if self.domain is None else self.domain.tolist(),
            "whole": self.domain is not None and not self.domain.is_floating_point(),
        }

    @classmethod
    def of(cls, query: Query, facts: Mapping[str, Any]) -> Variable:
        """The way back."""
        domain = facts["domain"]
        if domain is not None:
            kind = torch.int64 if facts["whole"] else torch.float64
            domain = torch.tensor(domain, dtype=kind)
        name = facts["name"]
        support = support_of(query, name) if facts["kind"] == "real" else None
        squash = None if facts["squash"] is None else tuple(facts["squash"])
        return cls(
            name, tuple(facts["shape"]), facts["kind"], support, domain, facts["low"], squash
        )

    def codes(self, value: Tensor) -> Tensor:
        """Places in the domain, `(rows, size)`; values that are not in it get the length of the domain."""
        assert self.domain is not None
        flat = value.reshape((len(value), -1)).contiguous()
        place = torch.searchsorted(self.domain, flat).clamp(max=len(self.domain) - 1)
        return torch.where(self.domain[place] == flat, place, len(self.domain))

    def numbers(self, value: Tensor, noise: Tensor | None = None) -> Tensor:
        """`(rows, size)` from `(rows, *shape)`; whole numbers take their place in the cell from `noise`, `(rows, size)`, or its middle."""
        flat = value.reshape((len(value), -1))
        inside: Tensor | float = 0.5 if noise is None else noise
        if self.kind == "line":
            assert self.domain is not None
            index = torch.searchsorted(self.domain, flat.contiguous()).to(torch.float64)
            return torch.logit(((index + inside) / len(self.domain)).clamp(1e-9, 1 - 1e-9))
        if self.kind == "counts":
            return (flat.to(torch.float64) - self.low + inside).clamp(min=1e-9).log()
        if self.kind == "whole":
            return self._squashed(flat.to(torch.float64) + inside - 0.5)
        found = biject_to(self.support).inv(self._within(value.to(torch.float64)))
        return self._squashed(found.reshape((len(value), -1)))

    def _squashed(self, flat: Tensor) -> Tensor:
        return (
            flat if self.squash is None else torch.asinh((flat - self.squash[0]) / self.squash[1])
        )

    def _within(self, value: Tensor) -> Tensor:
        """Values on the very edge of the support, moved in by a rounding error: the map would send them to infinity."""
        lower, upper = (getattr(self.support, k, None) for k in ("lower_bound", "upper_bound"))
        if lower is not None:
            value = value.clamp(min=float(lower) + 1e-12 * max(abs(float(lower)), 1.0))
        if upper is not None:
            value = value.clamp(max=float(upper) - 1e-12 * max(abs(float(upper)), 1.0))
        return value

    def values(self, flat: Tensor) -> Tensor:
        """`(rows, *shape)` from numbers or codes `(rows, size)`."""
        shape = (len(flat), *self.shape)
        if self.kind == "codes":
            assert self.domain is not None
            return self.domain[flat].reshape(shape)
        if self.kind == "line":
            assert self.domain is not None
            index = (flat.sigmoid() * len(self.domain)).floor().clamp(0, len(self.domain) - 1)
            return self.domain[index.to(torch.int64)].reshape(shape)
        if self.kind == "counts":
            index = flat.clamp(max=40).exp().floor()
            return (self.low + index).to(torch.int64).reshape(shape)
        if self.squash is not None:
            flat = self.squash[0] + self.squash[1] * flat.clamp(-50, 50).sinh()
        if self.kind == "whole":
            return flat.round().to(torch.int64).reshape(shape)
        transform = biject_to(self.support)
        inner = unbounded_shape(transform, self.shape)
        return transform(flat.reshape((len(flat), *inner)))

    def log_slope(self, flat: Tensor) -> Tensor:
        """log |d numbers / d value|, summed, `(rows,)`: whole numbers count as cells of width one."""
        if self.kind == "line":
            assert self.domain is not None
            # One cell has the width 1 / cardinality in (0, 1): mass = density on (0, 1) / cardinality.
            slope = torch.nn.functional.logsigmoid(flat) + torch.nn.functional.logsigmoid(-flat)
            return -(slope + torch.tensor(float(len(self.domain))).log()).sum(dim=1)
        if self.kind == "counts":
            return -flat.sum(dim=1)
        total = torch.zeros(len(flat), dtype=flat.dtype)
        if self.squash is not None:
            middle, width = self.squash
            total = -(flat.cosh() * width).log().sum(dim=1)
            flat = middle + width * flat.clamp(-50, 50).sinh()
        if self.kind == "whole":
            return total
        transform = biject_to(self.support)
        u = flat.reshape((len(flat), *unbounded_shape(transform, self.shape)))
        log = transform.log_abs_det_jacobian(u, transform(u))
        return total - log.reshape((len(flat), -1)).sum(dim=1)


class Variables:
    """Some nodes, as rows of codes and numbers for each member of a plate.

    Args:
        query: The component.
        parts: The nodes.
        plate: The plate over whose members the rows run, or `None`.
    """

    def __init__(self, query: Query, parts: Sequence[Variable], plate: str | None = None):
        self.query, self.parts, self.plate = query, tuple(parts), plate
        self.coded = [v for v in self.parts if v.coded]
        self.numeric = [v for v in self.parts if not v.coded]

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes."""
        return tuple(v.name for v in self.parts)

    @property
    def size(self) -> int:
        """How many numbers a member takes."""
        return sum(v.size for v in self.numeric)

    @property
    def cards(self) -> tuple[int, ...]:
        """How many values each code has."""
        domains = [(v.domain, v.size) for v in self.coded if v.domain is not None]
        return tuple(len(domain) for domain, size in domains for _ in range(size))

    def encode(
        self, values: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes `(draws, members, codes)` and numbers `(draws, members, numbers)` of values `(draws, *plates, *event)`."""
        codes, numbers = [], []
        draws = max(len(values[v.name]) for v in self.parts)
        count = members(self.query, self.plate)
        for v in self.parts:
            flat = aligned(self.query, v.name, values[v.name], self.plate)
            flat = flat.expand((draws, count, flat.shape[2])).reshape((-1, *v.shape))
            if v.coded:
                codes.append(v.codes(flat).reshape((draws, count, -1)))
                continue
            noise = None
            if generator is not None and v.kind != "real":
                noise = torch.rand(len(flat), v.size, generator=generator, dtype=torch.float64)
            numbers.append(v.numbers(flat, noise).reshape((draws, count, -1)))
        none = torch.zeros(draws, count, 0, dtype=torch.float64)
        return (
            torch.cat(codes, dim=2) if codes else none.to(torch.int64),
            torch.cat(numbers, dim=2) if numbers else none,
        )

    def decode(self, codes: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        """Values `(draws, *plates, *event)` from codes and numbers."""
        found = {}
        places = {True: 0, False: 0}
        for v in self.parts:
            source, begin = (codes if v.coded else numbers), places[v.coded]
            places[v.coded] = begin + v.size
            part = source[..., begin : begin + v.size]
            value = v.values(part.reshape((-1, v.size)))
            value = value.reshape((*part.shape[:2], *v.shape))
            if self.plate is None:
                found[v.name] = value[:, 0]
                continue
            axes = axes_of(self.query, v.name)
            found[v.name] = value.movedim(1, 1 + axes.index(self.plate))
        return found

    def log_slope(self, numbers: Tensor) -> Tensor:
        """log |d numbers / d values| of each member, `(draws, members)`."""
        total = torch.zeros(numbers.shape[:2], dtype=numbers.dtype)
        begin = 0
        for v in self.numeric:
            part = numbers[..., begin : begin + v.size].reshape((-1, v.size))
            total = total + v.log_slope(part).reshape(numbers.shape[:2])
            begin += v.size
        return total


# -- which kind a node is -----------------------------------------------------------------------


def closure(query: Query) -> list[str]:
    """The random nodes that must be known for all asked nodes to follow, in the order of the graph."""
    names: set[str] = set()
    stack = list(query.ask)
    while stack:
        name = stack.pop()
        node = query.graph[name]
        if query.mechanism.facts[name].kind == "deterministic":
            stack += [p for p in (*node.parents, *node.lags) if p in query.free and p != name]
        elif name in query.free:
            names.add(name)
    return [name for name in query.graph.nodes if name in names]


def member_shape(query: Query, name: str, plate: str | None) -> tuple[int, ...]:
    """The shape of one member's value."""
    node, facts = find(query, name), facts_of(query, name)
    # The event of a block begins with its plate.
    plates = node.plates if node.over is not None and node.picks is None else node.axes
    rest = tuple(query.sizes[p] for p in plates if p != plate)
    event = facts.event_shape
    if node.over is not None and node.over == plate:
        event = event[1:]
    return (*rest, *event)


def parameter(query: Query, name: str, plate: str | None = None) -> Variable:
    """A node to be inferred.

    Raises:
        Unsuitable: If nothing is known of where its values can lie.
    """
    node, facts = query.graph[name], query.mechanism.facts[name]
    shape = member_shape(query, name, plate)
    if facts.kind == "opaque" and node.support is None:
        raise Unsuitable(
            f"'{name}' is a prior that can only be sampled, and declares no support=",
            "Give it a support that is the same for all draws: @model.theta(support=constraints.positive).",
        )
    if not facts.discrete:
        support = node.support if node.support is not None else settled(query, name)
        return Variable(name, shape, "real", support=support)
    if not facts.finite:
        low = getattr(facts.support, "lower_bound", None)
        if low is None or facts.event_shape:
            raise Unsuitable(f"'{name}' counts without a smallest value ({facts.family})")
        return Variable(name, shape, "counts", low=int(torch.as_tensor(low).reshape(-1)[0]))
    try:
        domain = Tables(query.mechanism).domain(name)
    except (NotFinite, TooLarge) as reason:
        raise Unsuitable(str(reason)) from reason
    if domain.dim() > 1:
        raise Unsuitable(f"'{name}' is a vector of finite values ({facts.family})")
    domain = domain.sort().values
    nominal = facts.family in ("Categorical", "Bernoulli")
    if not nominal and len(domain) >= FEWEST_VALUES:
        return Variable(name, shape, "line", domain=domain)
    if prod(shape) > MOST_ENTRIES:
        raise Unsuitable(
            f"'{name}' has {prod(shape)} finite entries, and a classifier describes {MOST_ENTRIES} one after the other"
        )
    return Variable(name, shape, "codes", domain=domain)


def datum(query: Query, name: str, plate: str | None, seen: Tensor) -> Variable:
    """An observed node whose density is to be learned.

    Args:
        seen: Simulated values, `(draws, *plates, *event)`, with the observation's among them where it is known.

    Raises:
        Unsuitable: If it has too many finite entries.
    """
    facts = facts_of(query, name)
    shape = member_shape(query, name, plate)
    if facts.discrete or not seen.is_floating_point():
        domain, counts = torch.unique(seen, return_counts=True)
        # Many values are a line, and neighbours tell of one another, unless one stands out: an excess of zeros is no density.
        several = len(domain) < FEWEST_VALUES or facts.family == "Categorical"
        several = several or float(counts.max() / counts.sum()) > ATOM
        if several and len(domain) <= MOST_CODES and prod(shape) <= MOST_ENTRIES:
            return Variable(name, shape, "codes", domain=domain)
        low = int(domain[0])
        if low >= 0 and facts.kind == "explicit":
            return Variable(name, shape, "counts", low=0)
        return Variable(name, shape, "whole", squash=heavy(seen.to(torch.float64)))
    support = support_of(query, name)
    raw = biject_to(support).inv(seen.to(torch.float64))
    return Variable(name, shape, "real", support=support, squash=heavy(raw))


def support_of(query: Query, name: str) -> Any:
    """The support that is declared, or known; the real line otherwise."""
    node, facts = find(query, name), facts_of(query, name)
    if node.support is not None:
        return node.support
    known = facts.kind == "explicit" and name in query.graph
    return (
        settled(query, name) if known and fixed_support(query.mechanism, name) else constraints.real
    )


def heavy(values: Tensor) -> tuple[float, float] | None:
    """Middle and width of values whose tails are heavy; `None` where they are not."""
    flat = values.reshape(-1)
    flat = flat[torch.isfinite(flat)]
    if len(flat) > 100_000:
        flat = flat[:: len(flat) // 100_000]
    if len(flat) < 20:
        return None
    low, middle, high = flat.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=flat.dtype)).tolist()
    width = (high - low) / 1.349
    if width <= 0 or float(flat.std()) <= HEAVY * width:
        return None
    return middle, width


def settled(query: Query, name: str) -> Any:
    """A node's support with plain numbers for bounds.

    Raises:
        Unsuitable: If it is not the same for every draw and member.
    """
    if not fixed_support(query.mechanism, name):
        raise Unsuitable(
            f"the support of '{name}' depends on its parents",
            "Make its bounds constant: infer a share of the range, and let a deterministic node stretch it.",
        )
    support = facts_of(query, name).support
    while isinstance(support, constraints.independent) and any(
        hasattr(support.base_constraint, k)
        for k in ("lower_bound", "upper_bound", "base_constraint")
    ):
        support = support.base_constraint
    bounds = {}
    for key in ("lower_bound", "upper_bound"):
        bound = getattr(support, key, None)
        if bound is not None:
            bounds[key] = float(torch.as_tensor(bound, dtype=torch.float64).reshape(-1)[0])
    if len(bounds) == 2:
        return constraints.interval(bounds["lower_bound"], bounds["upper_bound"])
    if "lower_bound" in bounds:
        return constraints.greater_than(bounds["lower_bound"])
    if "upper_bound" in bounds:
        return constraints.less_than(bounds["upper_bound"])
    return constraints.real if isinstance(support, constraints.independent) else support
