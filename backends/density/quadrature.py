"""Row 3 of the decision table: quadrature over at most two continuous dimensions, with elimination inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from backends.kernels.cubature import Cubature, Improper, integrate
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError
from ppl.mechanism import Data
from ppl.posterior import Answer, Certificate, Marginal, SmoothMarginal, TableMarginal

from .problem import problem, starts, target_of
from .target import Target
from .truncation import notes_of

__all__ = ["QuadratureSolver", "judge", "prepare"]

#: Dimensions that a grid can fill.
MOST = 2
#: The relative error that is aimed at.
TOLERANCE = 1e-6
#: Coordinates of bounded nodes further out than this are at the edge of what the square of a double can hold, e^-300.
BEYOND = 300.0
#: Numbers that are held at once.
CELLS = 2**21
#: Starts from which modes are looked for; the shorter of the two lengths of a call.
STARTS, SHORT = 64, 64
#: The most points whose finite part is drawn at once.
CHUNK = 1024
#: Strata of the posterior from which quantiles are read, in one and in two dimensions.
STRATA = (2**14, 2**16)


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when every density is known, the finite part can be summed out, and at most two continuous dimensions are left."""
    found = problem(query, budget)
    if found.target is None:
        return Verdict("quadrature", False, 3, found.reason, remedy=found.remedy)
    d = found.target.dimensions
    if not d:
        return Verdict("quadrature", False, 3, "nothing continuous is unobserved")
    if d > MOST:
        return Verdict(
            "quadrature", False, 3, f"{d} continuous dimensions are left, and a grid fills {MOST}"
        )
    finite = len(found.target.layout.sizes)
    inside = f", the {finite} finite variables summed out at each point" if finite else ""
    return Verdict(
        "quadrature",
        True,
        3,
        f"every density is explicit and {d} continuous dimension{'s are' if d > 1 else ' is'} left{inside}",
        guarantee=f"numerical, to a relative error of {TOLERANCE:g} or as reported",
        grade="A′",
        cost={"simulations": 0, "dimensions": d} | ({"finite variables": finite} if finite else {}),
    )


def prepare(query: Query, budget: Budget) -> QuadratureSolver:
    """Nothing: where the density lies depends on the observation."""
    return QuadratureSolver(query, budget)


class QuadratureSolver:
    """Integrates the density of each observation.

    Args:
        query: The component.
        budget: What the elimination inside may cost.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget

    def condition(self, data: Data) -> Sequence[QuadratureAnswer]:
        """One answer for each observation.

        Raises:
            BackendError: If the density has no integral.
        """
        return [self._one(data.one(i)) for i in range(data.datasets)]

    def _one(self, data: Data) -> QuadratureAnswer:
        target = target_of(self.query, self.budget, data)
        begin, _ = starts(target, STARTS, self.query.seed)
        try:
            found = integrate(lambda u: chunked(target, target.log_prob, u), begin, TOLERANCE)
        except Improper as error:
            raise BackendError(
                f"The posterior of {', '.join(target.layout.free)} is improper: its density does not fall off."
            ) from error
        points, share = found.points()
        for block in target.blocks:
            far = numpy.abs(points[:, block.start : block.stop]).max(axis=1) > BEYOND
            if not block.plain and share[far].sum() > TOLERANCE:
                raise BackendError(
                    f"The posterior of '{block.node.name}' is improper: its density grows without bound towards the edge of its support."
                )
        return QuadratureAnswer(self.query, target, found)


def chunked(target: Target, function, u: ndarray) -> ndarray:
    """A function of many points, a few at a time, in calls of two lengths only."""
    longest = min(max(CELLS // target.cells, 16), 512)
    size = longest if len(u) > SHORT else min(SHORT, longest)
    parts = []
    for start in range(0, len(u), size):
        part = u[start : start + size]
        full = numpy.concatenate([part, numpy.repeat(part[-1:], size - len(part), axis=0)])
        parts.append(function(full)[: len(part)])
    return numpy.concatenate(parts) if parts else numpy.zeros(0)


def _chunk(target: Target) -> int:
    """Points whose finite part is looked at at once."""
    return min(max(CELLS // target.cells, 16), CHUNK)


class QuadratureAnswer(Answer):
    """The posterior as an integral.

    Args:
        query: The component.
        target: Its density.
        found: Where it was integrated.
    """

    def __init__(self, query: Query, target: Target, found: Cubature):
        self.names, self._query, self._target, self._found = query.ask, query, target, found
        self.log_evidence = found.log_integral
        self.notes = notes_of(target.query)
        self.certificate = Certificate(
            "A′" if found.met else "U",
            "numerical integration, with its error estimate"
            if found.met
            else "numerical integration that did not reach its error within its evaluations",
            {
                "relative error": float(f"{found.error:.2g}"),
                "evaluations": found.evaluations,
            },
        )
        self._points, self._weights = found.points()
        self._values: Mapping[str, Tensor] | None = None
        self._table: Mapping[str, Tensor] | None = None
        self._marginals: Mapping[str, Tensor] | None = None

    def marginal(self, name: str) -> Marginal:
        node = self._query.graph[name]
        target = self._target
        if name in target.layout.domains:
            if self._marginals is None:
                self._marginals = self._mixed()
            return TableMarginal(
                name,
                target.layout.domains[name],
                self._marginals[name],
                node.axes,
                node.states,
                exact=False,
            )
        if self._values is None:
            self._values = target.values(self._points)
            self._table = target.values(self._strata())
        if name not in self._values:
            # A function of finite and of continuous nodes: strata of both.
            from ppl.posterior import DrawnMarginal

            return DrawnMarginal(name, self.sample(STRATA[0], 1)[name], node.axes)
        assert self._table is not None
        weights = torch.from_numpy(self._weights)
        lines = _lines(target, self._found, name)
        return SmoothMarginal(
            name, self._values[name], weights, self._table[name], node.axes, lines=lines
        )

    def _strata(self) -> ndarray:
        """Equally likely points, spread evenly."""
        d = self._found.dimensions
        n = STRATA[d - 1]
        if d == 1:
            uniform = ((numpy.arange(n) + 0.5) / n)[:, None]
            return self._found.inverse(numpy.concatenate([uniform, uniform], axis=1))
        from scipy.stats import qmc

        return self._found.inverse(qmc.Sobol(1 + d, rng=0).random(n))

    def _mixed(self) -> dict[str, Tensor]:
        """Marginals of the finite nodes: those at every point, weighted."""
        total: dict[str, Tensor] = {}
        kept = self._weights > 1e-12
        points, weights = self._points[kept], self._weights[kept] / self._weights[kept].sum()
        chunk = _chunk(self._target)
        for start in range(0, len(points), chunk):
            part = torch.from_numpy(weights[start : start + chunk])
            for name, probs in self._target.marginals(points[start : start + chunk]).items():
                share = torch.tensordot(part, probs, dims=1)
                total[name] = total.get(name, torch.zeros_like(share)) + share
        return total

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        rng = numpy.random.default_rng(seed)
        u = self._found.inverse(rng.random((n, 1 + self._found.dimensions)))
        return draws_at(self._target, u, self.names, rng)

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        target = self._target
        if set(values) != set(target.layout.free):
            raise BackendError(
                f"The density is known jointly for {', '.join(target.layout.free)}; ask for exactly these (of=...)."
            )
        u = target.coordinates(values)
        return torch.from_numpy(target.log_prob(u) - target.volume(u) - self._found.log_integral)


class Coordinate:
    """The law of a number that is a growing or falling function of one coordinate.

    Args:
        found: The density.
        axis: The coordinate.
        transform: From the coordinate to the number.
    """

    def __init__(self, found: Cubature, axis: int, transform: Any):
        self._found, self._axis, self._transform = found, axis, transform
        ends = self._at(numpy.array([-1.0, 1.0]))
        self._grows = bool(ends[1] > ends[0])

    def _at(self, u: ndarray) -> ndarray:
        return self._transform(torch.from_numpy(u)).numpy()

    def cdf(self, value: float) -> float:
        """P(number ≤ value)."""
        u = float(self._transform.inv(torch.tensor(float(value), dtype=torch.float64)))
        if numpy.isnan(u):  # outside the support
            return float(value > float(self._at(numpy.zeros(1))[0]))
        share = float(self._found.cdf(self._axis, numpy.array([u]))[0])
        return share if self._grows else 1 - share

    def quantiles(self, levels: ndarray) -> ndarray:
        """Where the cdf has these values, `(levels,)`."""
        return self._at(self._found.quantiles(self._axis, levels if self._grows else 1 - levels))


def _lines(target: Target, found: Cubature, name: str) -> list[Coordinate]:
    """The law of each entry of a node, where each is a function of one coordinate."""
    for block in target.blocks:
        transform = block.transform
        if block.node.name == name and block.missing is None and transform is not None:
            if name in target.standardised or transform.codomain.event_dim:
                return []
            return [Coordinate(found, axis, transform) for axis in range(block.start, block.stop)]
    return []


def draws_at(
    target: Target, u: ndarray, names: Sequence[str], rng: numpy.random.Generator
) -> dict[str, Tensor]:
    """Values of some nodes at given coordinates, the finite ones and what follows from them drawn, `(n, *plates, *event)`."""
    values = dict(target.values(u))
    kinds = target.layout.kinds
    if any(kinds[name] in ("finite", "through") for name in names):
        chunk = _chunk(target)
        parts = [target.finite(u[start : start + chunk], rng) for start in range(0, len(u), chunk)]
        finite = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        values.update(finite)
        if any(kinds[name] == "through" for name in names):
            values.update(target.followed(values, [n for n in names if kinds[n] == "through"]))
    return {name: values[name] for name in names}
