"""The target: a log density over unconstrained real vectors, for batches of them, with its gradient.

The continuous nodes live on the unconstrained space of their supports, the finite ones are summed out. What the bodies do is recorded once as a
list of tensor operations, which later evaluations run without calling a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor
from torch.distributions import biject_to, constraints

from ppl.compiler import Query
from ppl.graph import Node
from ppl.mechanism import Data
from ppl.mechanism.laws import fixed_support
from ppl.mechanism.outcome import Outcome

from .factors import Factors
from .layout import Layout
from .native import Draft, Native
from .recorded import Recorded
from .summation import Key, Summation

__all__ = ["LOCATION_SCALE", "Block", "Target"]

#: Families that are a fixed law, moved and stretched; the names of the two parameters are these.
LOCATION_SCALE = ("Normal", "StudentT", "Cauchy", "Laplace", "Logistic", "Gumbel")

#: Operations are recorded when a batch of one length is evaluated for so manyth a time.
WORTH = 3
#: They are written out as C after so many operations in all, and compiled after so many for each statement of it: by then
#: compiling takes no longer than what was done, and what is still to come is likely to be more.
DRAFTED, COMPILED = 12_000, 25
#: Draws from the prior at which everything is evaluated with all checks and audits, once.
FIRST = 16
#: Draws for which probing saw a support.
PROBED = 2


@dataclass(frozen=True, eq=False)
class Block:
    """Where one node's coordinates lie.

    Args:
        node: The node.
        start: The first coordinate.
        shape: The shape of its unconstrained value.
        transform: From there to its value; `None` where the support depends on parents.
        missing: Positions of the missing cells of a node that is observed in part, in its flattened plates.
    """

    node: Node
    start: int
    shape: tuple[int, ...]
    transform: Any
    missing: Tensor | None = None

    @property
    def stop(self) -> int:
        """One after the last coordinate."""
        return self.start + prod(self.shape)

    @property
    def plain(self) -> bool:
        """Whether the coordinates are the values themselves."""
        return self.transform is not None and _identity(self.transform)


class Target:
    """log p(x, θ) on unconstrained space, the finite part summed out.

    Args:
        query: The component.
        data: One observation.
        cells: The largest total size of the elimination's cliques.
        summed: Whether finite nodes are summed out; otherwise their values come beside the coordinates.

    Raises:
        NotExplicit: If the density is not known, or its finite part cannot be summed out.
    """

    def __init__(self, query: Query, data: Data, cells: int = 2**27, summed: bool = True):
        self.query, self.data = query, data
        self.layout = Layout(query, data, summed)
        self.factors = Factors(self.layout)
        #: Location-scale nodes whose coordinates are standardised ("not centred").
        self.standardised: frozenset[str] = frozenset()
        self._cells_limit = cells
        self._prior_sum: list[Summation] | None = None
        self.summation: Summation | None = None
        #: Families of observed nodes.
        self.likelihood = frozenset(
            key for key in self.layout.families if self.layout.kinds[key[0]] == "seen"
        )
        self.blocks = self._blocks()
        self.dimensions = self.blocks[-1].stop if self.blocks else 0
        #: Values of finite nodes, where these are not summed out.
        self.given: Mapping[str, Tensor] = {}
        if self.particles:
            values = self.prior(FIRST, 0)
            self.given = {n: values[n] for n in self.particles}
        with torch.no_grad():
            place = self._place_at(torch.from_numpy(self.start(FIRST, 0)), [])
            first = self.factors.evaluate(place, FIRST).logs
        if summed and self.layout.sizes:
            self.summation = Summation(self.layout, self.factors._constant, cells)
        moving = self.summation.moving if self.summation is not None else []
        #: Families whose tables are the same whatever the coordinates are.
        self._alike = {key for key in moving if len(first[key]) == 1}
        self._recorded: dict[tuple, Recorded | None] = {}
        self._drafts: dict[str, Draft | None] = {}
        self._natives: dict[str, Native] = {}
        self._uses: dict[tuple, int] = {}
        self.evaluations = 0
        #: Whether some body is called once for every point: what it does for one is not what it does for the next.
        self.row_by_row = any(
            c.mode == "single"
            for (name, _), c in self.layout.mechanism.callers.items()
            if name in self.layout.graph
        )

    # -- coordinates -----------------------------------------------------------------------------

    def _blocks(self) -> list[Block]:
        blocks, start = [], 0
        for name in self.layout.free:
            node, facts = self.layout.graph[name], self.layout.mechanism.facts[name]
            grid = tuple(self.layout.mechanism.sizes[p] for p in node.plates)
            shape = (*grid, *facts.event_shape)
            missing = None
            if name in self.layout.present:
                there = self.layout.present[name].reshape(-1)
                missing = (~there).nonzero()[:, 0]
                shape = (len(missing),)
            support = facts.support
            fixed = fixed_support(self.layout.mechanism, name)
            transform = _alike(support) if fixed else None
            if transform is not None:
                inner = transform.inverse_shape(torch.Size(shape))
            else:
                # Bounds that differ from draw to draw have an axis of draws in front.
                inner = biject_to(support).inverse_shape(torch.Size((PROBED, *shape)))[1:]
            block = Block(node, start, tuple(inner), transform, missing)
            blocks.append(block)
            start = block.stop
        return blocks

    def _place_at(self, u: Tensor, jacobian: list[Tensor]) -> Callable[..., Tensor]:
        """Values from coordinates; what the change of variables adds to the log density is appended to `jacobian`."""
        blocks = {b.node.name: b for b in self.blocks}

        def place(node: Node, law: Callable[[], Outcome] | None, batch: int) -> Tensor:
            if node.name not in blocks:
                return self.given[node.name]
            block = blocks[node.name]
            raw = u[:, block.start : block.stop].reshape((batch, *block.shape))
            if node.name in self.standardised:
                d = law().distribution  # type: ignore[misc]
                loc, scale = d.parameters["loc"], d.parameters["scale"]  # type: ignore[union-attr]
                jacobian.append(_total(scale.log().expand(raw.shape)))
                return loc + scale * raw
            transform = block.transform
            if transform is None:
                transform = biject_to(law().distribution.support)  # type: ignore[misc, union-attr]
            value = transform(raw)
            if not _identity(transform):
                jacobian.append(_total(transform.log_abs_det_jacobian(raw, value)))
            if block.missing is not None:
                whole = self.data.observed[node.name]
                flat = whole.reshape((1, -1)).expand((batch, whole.numel()))
                flat = flat.index_copy(1, block.missing, value)
                value = flat.reshape((batch, *whole.shape[1:]))
            return value

        return place

    def coordinates(self, values: Mapping[str, Tensor]) -> ndarray:
        """The coordinates of values of the continuous nodes, `(batch, dimensions)`."""
        batch = max(len(v) for v in values.values()) if values else 1
        blocks = {b.node.name: b for b in self.blocks}
        found: dict[str, Tensor] = {}

        def place(node: Node, law: Callable[[], Outcome] | None, batch: int) -> Tensor:
            value = values[node.name].expand((batch, *values[node.name].shape[1:]))
            if node.name not in blocks:
                return value
            block = blocks[node.name]
            if block.missing is not None:
                part = value.reshape((batch, -1))[:, block.missing]
            else:
                part = value
            if node.name in self.standardised:
                d = law().distribution  # type: ignore[misc]
                raw = (part - d.parameters["loc"]) / d.parameters["scale"]  # type: ignore[union-attr]
            else:
                transform = block.transform
                if transform is None:
                    transform = biject_to(law().distribution.support)  # type: ignore[misc, union-attr]
                raw = transform.inv(part)
            found[node.name] = raw.reshape((batch, -1))
            return value

        with torch.no_grad():
            self.factors.evaluate(place, batch, scored=False)
        columns = [found[b.node.name] for b in self.blocks]
        joined = torch.cat(columns, dim=1) if columns else torch.zeros(batch, 0)
        return joined.to(torch.float64).numpy()

    def start(self, batch: int, seed: int) -> ndarray:
        """Coordinates of draws from the prior, `(batch, dimensions)`."""
        values = self.prior(batch, seed)
        found = self.coordinates({n: values[n] for n in self.layout.free + self.particles})
        return numpy.clip(numpy.nan_to_num(found, posinf=30, neginf=-30), -1e8, 1e8)

    @property
    def particles(self) -> list[str]:
        """The finite nodes whose values come beside the coordinates."""
        if self.layout.summed:
            return []
        return [n for n, kind in self.layout.kinds.items() if kind == "finite"]

    def prior(self, batch: int, seed: int) -> dict[str, Tensor]:
        """Draws of every node, with what is seen as it is."""
        from ppl.mechanism import forward

        layout = self.layout
        fixed = {n: v for n, v in layout.data.inputs.items() if n in layout.graph}
        fixed.update(layout.seen)
        return forward(layout.mechanism, batch, (seed, 77), fixed=fixed).values

    def values(self, u: ndarray, given: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The values of all nodes that are no finite part, `(batch, *plates, *event)`."""
        self.given = given or self.given
        with torch.no_grad():
            place = self._place_at(torch.from_numpy(numpy.ascontiguousarray(u)), [])
            found = self.factors.evaluate(place, len(u), scored=False).values
        return {n: v.expand((len(u), *v.shape[1:])) for n, v in found.items()}

    # -- the density -----------------------------------------------------------------------------

    def _parts(self, u: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The log prior with its change of variables and the log likelihood, as far as no finite variable is in them, and the tables."""
        jacobian: list[Tensor] = []
        batch = len(u)
        found = self.factors.evaluate(self._place_at(u, jacobian), batch)
        prior = seen = torch.zeros(batch, dtype=torch.float64)
        for part in jacobian:
            prior = prior + part
        for key, logs in found.logs.items():
            if self._table(self.layout.families[key]):
                continue
            if key in self.likelihood:
                seen = seen + _total(logs)
            else:
                prior = prior + _total(logs)
        moving = self.summation.moving if self.summation is not None else []
        return prior, seen, [found.logs[k] for k in moving]

    @property
    def cells(self) -> int:
        """Numbers that one evaluation of the density makes, about."""
        layout = self.layout
        count = self.dimensions + 1
        for family in layout.families.values():
            if family.scored:
                own = len(layout.domains[family.node.name]) if family.own else 1
                count += prod(family.grid) * prod(layout.cards(family)) * own
        return count

    def _table(self, family) -> bool:
        return self.layout.summed and bool(family.slots or family.own)

    def split(
        self, u: ndarray, given: Mapping[str, Tensor] | None = None
    ) -> tuple[ndarray, ndarray]:
        """log prior with its change of variables, and log likelihood, `(batch,)` each.

        Args:
            u: Coordinates.
            given: Values of the finite nodes, where they are not summed out.
        """
        tensor = torch.from_numpy(numpy.ascontiguousarray(u, dtype=float))
        self.given = given or {}
        recorded = None if self.given else self._record("value", tensor)
        with torch.no_grad():
            prior, seen, tables = recorded(tensor) if recorded else self._parts(tensor)
        self.evaluations += len(u)
        first, second = prior.numpy(), seen.numpy()
        if self.summation is not None:
            total = self._summed(tables, len(u), down=False)
            if self._above:
                named = self._named(tables)
                above = self._above[0].run(named, len(u), down=False)
                return first + above, second + total - above
            second = second + total
        return first, second

    @property
    def _above(self) -> list[Summation]:
        """The sum over the finite part of the prior alone, where continuous nodes have finite parents."""
        if self._prior_sum is None:
            layout, self._prior_sum = self.layout, []
            if any(f.slots and layout.kinds[k[0]] == "free" for k, f in layout.families.items()):
                keys = [k for k in layout.families if k not in self.likelihood]
                constant = self.factors._constant
                self._prior_sum = [Summation(layout, constant, self._cells_limit, keys)]
        return self._prior_sum

    def log_prob(self, u: ndarray) -> ndarray:
        """log p at some coordinates, `(batch,)`; minus infinity where it is zero or no number."""
        tensor = torch.from_numpy(numpy.ascontiguousarray(u, dtype=float))
        recorded = self._record("value", tensor)
        with torch.no_grad():
            prior, seen, tables = recorded(tensor) if recorded else self._parts(tensor)
        self.evaluations += len(u)
        return _finite((prior + seen).numpy() + self._summed(tables, len(u), down=False))

    def log_joint(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p(values, observation) of the continuous nodes' values, `(batch,)`: a density of the values, not of their coordinates."""
        u = self.coordinates(values)
        jacobian: list[Tensor] = []
        with torch.no_grad():
            place = self._place_at(torch.from_numpy(u), jacobian)
            self.factors.evaluate(place, len(u), scored=False)
        return torch.from_numpy(self.log_prob(u)) - sum(jacobian, torch.zeros(len(u)))

    def gradient(self, u: ndarray, power: float = 1.0) -> tuple[ndarray, ndarray]:
        """log p with the likelihood to a power, and its gradient, `(batch,)` and `(batch, dimensions)`."""
        tensor = torch.from_numpy(numpy.ascontiguousarray(u, dtype=float))
        self.evaluations += len(u)
        share = torch.full((len(u),), power, dtype=torch.float64)
        if self.summation is None:
            recorded = self._record("gradient", tensor, share)
            run = recorded or self._plain_gradient
            base, slope = run(tensor, share)
            return _finite(base.numpy()), numpy.nan_to_num(slope.numpy(), posinf=0, neginf=0)
        recorded = self._record("value", tensor)
        with torch.no_grad():
            prior, seen, tables = recorded(tensor) if recorded else self._parts(tensor)
        total = self._summed(tables, len(u), down=True)
        weights = [share, *self._weights(power)]
        recorded = self._record("back", tensor, weights)
        if isinstance(recorded, Native):
            slope = recorded(tensor, weights)
        else:
            weights[1:] = self._gathered(weights[1:])
            slope = recorded(tensor, weights) if recorded else self._back(tensor, weights)
        value = prior.numpy() + power * (seen.numpy() + total)
        return _finite(value), numpy.nan_to_num(slope.numpy(), posinf=0, neginf=0)

    def _named(self, tables: list[Tensor]) -> dict[Key, ndarray]:
        assert self.summation is not None
        return {k: t.numpy() for k, t in zip(self.summation.moving, tables, strict=True)}

    def _summed(self, tables: list[Tensor], batch: int, down: bool) -> ndarray:
        if self.summation is None:
            return numpy.zeros(batch)
        return self.summation.run(self._named(tables), batch, down)

    def _weights(self, power: float = 1.0) -> list[Tensor]:
        """The posterior probability of every entry of every table, row by row."""
        assert self.summation is not None
        shares = self.summation.shares()
        found = [
            torch.from_numpy(numpy.ascontiguousarray(shares[k])) for k in self.summation.moving
        ]
        return found if power == 1.0 else [share * power for share in found]

    def _gathered(self, weights: list[Tensor]) -> list[Tensor]:
        """The same, for tables that are given once for all rows."""
        assert self.summation is not None
        moving = self.summation.moving
        return [
            w.sum(dim=0, keepdim=True) if key in self._alike else w
            for key, w in zip(moving, weights, strict=True)
        ]

    def _back(self, u: Tensor, weights: list[Tensor]) -> Tensor:
        """The gradient, given how much each log likelihood and each entry of a table weighs."""
        with torch.enable_grad():
            v = u.detach().requires_grad_(True)
            prior, seen, tables = self._parts(v)
            outputs, cotangents = [], []
            whole = (torch.ones_like(prior), *weights)
            for out, cotangent in zip((prior, seen, *tables), whole, strict=True):
                if out.requires_grad:
                    outputs.append(out)
                    cotangents.append(cotangent)
            (slope,) = torch.autograd.grad(outputs, v, cotangents)
        return slope

    def _plain_gradient(self, u: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            v = u.detach().requires_grad_(True)
            prior, seen, _ = self._parts(v)
            total = prior + power * seen
            (slope,) = torch.autograd.grad(total.sum(), v)
        return total.detach(), slope

    # -- recording -------------------------------------------------------------------------------

    def _record(self, what: str, *example) -> Recorded | Native | None:
        """The recorded operations for batches of this length, or nothing where they cannot be recorded."""
        functions: dict[str, Callable[..., Any]] = {
            "value": self._parts,
            "gradient": self._plain_gradient,
            "back": self._back,
        }
        function = functions[what]
        calls = self._uses[what, None] = self._uses.get((what, None), 0) + 1
        if what in self._natives:
            return self._natives[what]
        if self.row_by_row:
            return None
        key = what, len(example[0])
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] < WORTH:
            return None
        if key not in self._recorded:
            once = example
            if what == "back":
                once = (example[0], [example[1][0], *self._gathered(example[1][1:])])
            self._recorded[key] = Recorded.of(function, once)
        recorded = self._recorded[key]
        if recorded is not None:
            done = calls * recorded.steps
            if done >= DRAFTED and what not in self._drafts:
                self._drafts[what] = Draft.of(function, example)
            draft = self._drafts.get(what)
            if draft is not None and done >= COMPILED * draft.statements:
                self._drafts[what] = None
                native = draft.compiled(example)
                if native is not None:
                    self._natives[what] = native
                    return native
        return recorded

    def forget(self) -> None:
        """Drop what was recorded: the coordinates mean something else now."""
        for held in (self._recorded, self._uses, self._drafts, self._natives):
            held.clear()  # type: ignore[attr-defined]

    def followed(self, values: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
        """Functions of finite and continuous nodes at values of these, `(batch, *plates, *event)`."""
        from ppl.mechanism import forward

        layout = self.layout
        known = {n: v for n, v in values.items() if layout.kinds.get(n) != "through"}
        through = [n for n, kind in layout.kinds.items() if kind == "through"]
        batch = max(len(v) for v in known.values())
        found = forward(layout.mechanism, batch, 0, fixed=known, only=through).values
        return {n: found[n].expand((batch, *found[n].shape[1:])) for n in names}

    def volume(self, u: ndarray) -> ndarray:
        """The log of how much the change of variables stretches, `(batch,)`: log p(coordinates) less log p(values)."""
        jacobian: list[Tensor] = []
        with torch.no_grad():
            self.factors.evaluate(
                self._place_at(torch.from_numpy(u), jacobian), len(u), scored=False
            )
        total = torch.zeros(len(u), dtype=torch.float64)
        for part in jacobian:
            total = total + part
        return total.numpy()

    def marginals(self, u: ndarray) -> dict[str, Tensor]:
        """The posterior of each finite node at some coordinates, `(batch, *plates, cardinality)`."""
        self._run(u)
        assert self.summation is not None
        return self.summation.marginals()

    def finite(self, u: ndarray, rng: numpy.random.Generator) -> dict[str, Tensor]:
        """One exact joint draw of the finite nodes for each of some coordinates, `(batch, *plates, *event)`."""
        self._run(u)
        assert self.summation is not None
        return self.summation.draw(rng)

    def _run(self, u: ndarray) -> None:
        assert self.summation is not None
        with torch.no_grad():
            _, _, tables = self._parts(torch.from_numpy(numpy.ascontiguousarray(u)))
        self._summed(tables, len(u), down=True)


def _total(logs: Tensor) -> Tensor:
    """The sum of everything but the batch."""
    return logs.reshape((len(logs), -1)).sum(dim=1)


def _finite(logs: ndarray) -> ndarray:
    return numpy.where(numpy.isnan(logs) | (logs == numpy.inf), -numpy.inf, logs)


def _identity(transform) -> bool:
    return transform == torch.distributions.transforms.identity_transform or (
        isinstance(transform, torch.distributions.transforms.ComposeTransform)
        and not transform.parts
    )


def _alike(support):
    """A transform for one shape: bounds that are equal for every draw lose the axis of draws."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    for name in ("lower_bound", "upper_bound"):
        bound = getattr(support, name, None)
        if isinstance(bound, Tensor) and bound.dim():
            support = type(support)(
                *(
                    float(torch.as_tensor(getattr(support, n)).reshape(-1)[0])
                    for n in ("lower_bound", "upper_bound")
                    if hasattr(support, n)
                )
            )
            break
    return biject_to(support)
