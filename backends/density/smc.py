"""Row 5 of the decision table: tempered SMC, for explicit densities that are not differentiable, have several modes, or a finite part that cannot be
summed out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from backends.kernels.diagnostics import Diagnosis, diagnose
from backends.kernels.smc import ROUNDS, Cloud, smc
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError
from ppl.mechanism import Data
from ppl.posterior import Certificate, Chains

from .layout import NotExplicit
from .problem import differentiable, problem, stand_in, target_of
from .quadrature import CELLS, draws_at
from .target import Target
from .truncation import notes_of, truncated

__all__ = ["SmcSolver", "judge", "log_joint", "prepare", "tempered"]

#: Islands of particles, and particles on each.
ISLANDS, PARTICLES = 8, 1024
#: Numbers that one evaluation of all particles may make; with more there are fewer particles, but at least so many on each island.
NUMBERS, LEAST = 2**22, 64


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when every density is explicit."""
    found = problem(query, budget)
    if found.target is None and not found.explicit:
        return Verdict("smc", False, 5, found.reason, remedy=found.remedy)
    finite = 0
    if found.target is None:
        try:
            target = Target(query, query.observation or stand_in(query), summed=False)
        except NotExplicit as error:
            return Verdict("smc", False, 5, str(error), remedy=error.remedy)
        finite = len(_cards(target))
        why = f"every density is explicit, but {found.reason}"
    else:
        target = found.target
        if not target.dimensions:
            return Verdict("smc", False, 5, "nothing continuous is unobserved")
        why = "every density is explicit"
        reason = differentiable(target)
        why += f", but {reason}" if reason else ""
    return Verdict(
        "smc",
        True,
        5,
        why,
        guarantee="particles of the posterior and the evidence, with the spread between independent islands",
        grade="B",
        cost={"dimensions": target.dimensions, "particles": ISLANDS * _particles(target)}
        | ({"finite variables carried": finite} if finite else {}),
    )


def prepare(query: Query, budget: Budget) -> SmcSolver:
    """Nothing: the path to the posterior depends on the observation."""
    return SmcSolver(query, budget)


def log_joint(query: Query, budget: Budget, data: Data) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The explicit joint density, with which the draws of other engines are weighed.

    Args:
        query: The component.
        budget: What an elimination inside may cost.
        data: One observation.

    Returns:
        A function from values of the asked nodes, `(batch, *plates, *event)`, to log p(values, observation), `(batch,)`.

    Raises:
        BackendError: If some unobserved continuous node was not asked for, or a finite one was, so that this is no density of the asked nodes.
    """
    target = target_of(query, budget, data)
    free = set(target.layout.free)
    hidden = sorted(free - set(query.ask))
    summed = [n for n in query.ask if target.layout.kinds.get(n) == "finite"]
    if hidden or summed:
        what = f"'{hidden[0]}' was integrated out" if hidden else f"'{summed[0]}' is finite"
        raise BackendError(f"the explicit density is not one of the asked nodes alone: {what}")
    return lambda values: target.log_joint({n: values[n] for n in target.layout.free})


class SmcSolver:
    """Carries particles to the posterior of each observation.

    Args:
        query: The component.
        budget: Seconds, and what an elimination inside may cost.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget

    def condition(self, data: Data) -> Sequence[Chains]:
        """One answer for each observation.

        Raises:
            BackendError: If no particle has a positive density.
        """
        return [self._one(data.one(i)) for i in range(data.datasets)]

    def _one(self, data: Data) -> Chains:
        until = time.monotonic() + self.budget.seconds
        try:
            target = Target(truncated(self.query, self.budget, data), data, self.budget.cells)
        except NotExplicit as error:
            if not error.finite:
                raise BackendError(f"{error}. {error.remedy}".rstrip()) from error
            target = Target(self.query, data, summed=False)
        cloud = tempered(target, ISLANDS, _particles(target), self.query.seed, until)
        return self._answer(target, cloud)

    def _answer(self, target: Target, cloud: Cloud) -> Chains:
        islands, size, d = cloud.u.shape
        rng = numpy.random.default_rng(self.query.seed)
        flat_u = cloud.u.reshape((-1, d))
        given = _values(target, cloud.codes.reshape((islands * size, -1)))
        if given:
            found = target.values(flat_u, given)
            values = {n: found[n] for n in self.query.ask}
        else:
            values = draws_at(target, flat_u, self.query.ask, rng)
        shaped = {n: v.reshape((islands, size, *v.shape[1:])) for n, v in values.items()}
        worst, sizes = _agreement(shaped)
        log_evidence, error = cloud.evidence
        passed = worst.rhat < 1.01 and worst.bulk >= 400 and cloud.complete
        if not cloud.complete:
            statement = f"tempered SMC stopped by the clock at the power {cloud.powers[-1]:.3g} of the likelihood"
        elif passed:
            statement = "tempered SMC whose independent islands agree"
        else:
            statement = "tempered SMC whose independent islands do not agree closely"
        certificate = Certificate(
            "B" if passed else "U",
            statement,
            {
                "rank R-hat between islands": float(f"{worst.rhat:.4f}"),
                "effective particles": int(worst.bulk),
                "log-evidence error": float(f"{error:.2g}"),
                "temperatures": len(cloud.powers) - 1,
                "particles": islands * size,
            },
        )
        domains = {}
        for n in self.query.ask:
            if n in target.layout.domains:
                domains[n] = target.layout.domains[n]
            elif n in target.particles:
                domains[n] = target.layout.tables.domain(n)
        notes = notes_of(target.query)
        answer = Chains(self.query.graph, shaped, certificate, sizes, domains, notes)
        answer.unit = "island"
        answer.log_evidence = log_evidence
        return answer


def _particles(target: Target) -> int:
    """Particles on each island."""
    return min(max(NUMBERS // (ISLANDS * target.cells), LEAST), PARTICLES)


def tempered(
    target: Target,
    islands: int,
    size: int,
    seed: int,
    until: float,
    last: int = 4,
    rounds: int = ROUNDS,
    slopes: bool = True,
) -> Cloud:
    """Carry the prior's draws to the posterior of a target, with moves along its gradient if wanted and if there is one.

    Raises:
        BackendError: If no draw of the prior has a positive density.
    """
    count = islands * size
    values = target.prior(count, seed)
    names = target.layout.free + target.particles
    whole = {n: values[n].expand((count, *values[n].shape[1:])) for n in names}
    u = numpy.clip(numpy.nan_to_num(target.coordinates(whole), posinf=30, neginf=-30), -1e8, 1e8)
    if not len(u) or u.shape[0] != count:
        u = numpy.zeros((count, target.dimensions))
    codes, cards = _codes(target, whole, count), _cards(target)
    chunk = max(CELLS // target.cells, 16)

    def split(points: ndarray, code: ndarray) -> tuple[ndarray, ndarray]:
        parts = []
        for start in range(0, len(points), chunk):
            part = slice(start, start + chunk)
            parts.append(target.split(points[part], _values(target, code[part])))
        return tuple(numpy.concatenate(p) for p in zip(*parts, strict=True))  # type: ignore[return-value]

    gradient = None
    if slopes and not target.particles and not target._above and not differentiable(target):

        def gradient(points: ndarray, power: float) -> tuple[ndarray, ndarray]:
            parts = [
                target.gradient(points[start : start + chunk], power)
                for start in range(0, len(points), chunk)
            ]
            return tuple(numpy.concatenate(p) for p in zip(*parts, strict=True))  # type: ignore[return-value]

    cloud = smc(
        split,
        u,
        codes,
        cards,
        seed,
        islands=islands,
        gradient=gradient,
        until=until,
        last=last,
        rounds=rounds,
    )
    if not numpy.isfinite(cloud.log_evidence).any():
        raise BackendError(
            f"The density is zero at all {count:,} draws from the prior of {', '.join(names[:4])}: the observation may be impossible."
        )
    return cloud


def _cards(target: Target) -> ndarray:
    """How many values each carried finite variable has."""
    found = []
    for name in target.particles:
        domain = target.layout.tables.domain(name)
        grid = prod(target.layout.mechanism.sizes[p] for p in target.layout.graph[name].axes)
        found += [len(domain)] * grid
    return numpy.array(found, dtype=int)


def _codes(target: Target, values: dict[str, Tensor], count: int) -> ndarray:
    """The places of the carried finite values in their domains, `(count, variables)`."""
    columns = [numpy.zeros((count, 0), dtype=int)]
    for name in target.particles:
        domain, value = target.layout.tables.domain(name), values[name]
        event = domain.dim() - 1
        rows = value.unsqueeze(value.dim() - event)
        same = rows == domain
        same = same.flatten(same.dim() - event).all(-1) if event else same
        columns.append(same.to(torch.int8).argmax(-1).reshape((count, -1)).numpy())
    return numpy.concatenate(columns, axis=1)


def _values(target: Target, codes: ndarray) -> dict[str, Tensor]:
    """The way back, `(count, *plates, *event)` by node."""
    found, start = {}, 0
    for name in target.particles:
        domain = target.layout.tables.domain(name)
        grid = tuple(target.layout.mechanism.sizes[p] for p in target.layout.graph[name].axes)
        part = codes[:, start : start + prod(grid)]
        start += prod(grid)
        found[name] = domain[torch.from_numpy(part.reshape((len(codes), *grid)))]
    return found


def _agreement(values: dict[str, Tensor]) -> tuple[Diagnosis, dict[str, float]]:
    """How well the islands agree: R-hat, and effective sizes from the spread of their means."""
    sizes, parts = {}, []
    for name, value in values.items():
        flat = value.to(torch.float64).reshape((*value.shape[:2], -1)).numpy()
        islands, size = flat.shape[:2]
        within = flat.reshape((islands * size, -1)).var(axis=0)
        between = flat.mean(axis=1).var(axis=0, ddof=1)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            effective = numpy.where(
                between > 0, islands * within / (islands * between) * islands, islands * size
            )
        effective = numpy.minimum(effective, islands * size)
        # A spread between few islands is itself known to a factor of about two only: the median stands for all entries.
        sizes[name] = float(numpy.median(effective))
        found = diagnose(flat)
        parts.append((found.rhat, sizes[name]))
    rhat = max(r for r, _ in parts)
    least = min(s for _, s in parts)
    return Diagnosis(rhat, least, least, numpy.zeros(0)), sizes
