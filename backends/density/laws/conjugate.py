"""Families with sufficient statistics: what a log density that is linear in them is."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .law import AGREES, TESTS, LogDensity, Nowhere, Unfitting

__all__ = ["CONJUGATE", "Conjugate", "article", "parameters_of"]

#: Families with sufficient statistics of their own.
CONJUGATE = ("Beta", "Gamma", "Exponential", "Chi2", "InverseGamma", "Dirichlet")


def _statistics(family: str, x: Tensor) -> list[Tensor]:
    """The sufficient statistics of each scalar (or of each row), `(n, …)`."""
    if family == "Beta":
        return [x.log(), torch.log1p(-x)]
    if family == "InverseGamma":
        return [x.log(), 1 / x]
    if family == "Dirichlet":
        return [x.log()]
    return [x.log(), x]


class Conjugate:
    """Independent nodes, each in a family of its own.

    Args:
        families: The posterior's family of each node.
        parameters: Its parameters, each of the shape of one value.
        log_total: The log of the integral of the density that it was fitted to.
    """

    def __init__(
        self, families: Mapping[str, str], parameters: Mapping[str, list[ndarray]], log_total: float
    ):
        self.families, self.parameters, self.log_total = dict(families), parameters, log_total
        self.names = tuple(families)
        self.size = sum(p[0].size for p in parameters.values())

    def describe(self) -> str:
        pairs = [f"that of {article(f)} for {n}" for n, f in self.families.items()]
        return ", ".join(pairs[:4])

    @classmethod
    def fitted(cls, density: LogDensity, families: Mapping[str, str]) -> Conjugate:
        """The laws that a log density is, node by node.

        Raises:
            Unfitting: If it is not linear in their statistics, or has no integral.
        """
        kinds = {n: "Gamma" if f in ("Exponential", "Chi2") else f for n, f in families.items()}
        shapes = {n: density.shape(n) for n in kinds}
        count = 1 + sum(prod(shapes[n]) * (1 if f == "Dirichlet" else 2) for n, f in kinds.items())
        draws = density.prior(2 * count + TESTS, 3)
        there = _inside(kinds, draws)
        draws = {n: v[there] for n, v in draws.items()}
        columns = [torch.ones(int(there.sum()), 1, dtype=torch.float64)]
        for n, f in kinds.items():
            columns += [s.reshape((len(s), -1)) for s in _statistics(f, draws[n])]
        features = torch.cat(columns, dim=1).numpy()
        truth = density(draws).numpy()
        coefficients = _solved(features, truth, count)
        parameters, place, total = {}, 1, float(coefficients[0])
        for n, f in kinds.items():
            size = prod(shapes[n])
            first = coefficients[place : place + size].reshape(shapes[n])
            place += size
            second = None
            if f != "Dirichlet":
                second = coefficients[place : place + size].reshape(shapes[n])
                place += size
            parameters[n], log_z = parameters_of(n, f, first, second)
            total += log_z
        return cls(kinds, parameters, total)

    def marginal(self, name: str) -> Any:
        from scipy import stats

        family, q = self.families[name], self.parameters[name]
        if family == "Beta":
            return stats.beta(*q)
        if family == "Gamma":
            return stats.gamma(q[0], scale=1 / q[1])
        if family == "InverseGamma":
            return stats.invgamma(q[0], scale=q[1])
        return stats.beta(q[0], q[0].sum(axis=-1, keepdims=True) - q[0])

    def sample(self, n: int, rng: numpy.random.Generator) -> dict[str, Tensor]:
        found = {}
        for name, family in self.families.items():
            q = self.parameters[name]
            if family == "Beta":
                x = rng.beta(q[0], q[1], size=(n, *q[0].shape))
            elif family == "Gamma":
                x = rng.gamma(q[0], 1 / q[1], size=(n, *q[0].shape))
            elif family == "InverseGamma":
                x = q[1] / rng.gamma(q[0], size=(n, *q[0].shape))
            else:
                g = rng.gamma(q[0], size=(n, *q[0].shape))
                x = g / g.sum(axis=-1, keepdims=True)
            found[name] = torch.from_numpy(numpy.asarray(x, dtype=float))
        return found

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        total = numpy.zeros(len(next(iter(values.values()))))
        for name, family in self.families.items():
            x, q = values[name].numpy(), self.parameters[name]
            if family == "Dirichlet":
                with numpy.errstate(divide="ignore"):
                    part = ((q[0] - 1) * numpy.log(x)).sum(axis=-1)
                part = part + _gammaln(q[0].sum(axis=-1)) - _gammaln(q[0]).sum(axis=-1)
            else:
                frozen = self.marginal(name)
                part = frozen.logpdf(x)
            total = total + part.reshape((len(x), -1)).sum(axis=1)
        return torch.from_numpy(total)


def article(family: str) -> str:
    return f"an {family}" if family[0] in "EI" else f"a {family}"


def _inside(kinds: Mapping[str, str], draws: Mapping[str, Tensor]) -> Tensor:
    """The draws that are not on the edge of their support, where statistics are infinite."""
    n = len(next(iter(draws.values())))
    good = torch.ones(n, dtype=torch.bool)
    for name, family in kinds.items():
        for statistic in _statistics(family, draws[name]):
            good &= torch.isfinite(statistic).reshape((n, -1)).all(-1)
    return good


def _solved(features: ndarray, truth: ndarray, count: int) -> ndarray:
    """Coefficients from half of the points, held against all of them.

    Raises:
        Unfitting: If they do not agree.
    """
    there = numpy.isfinite(truth)
    if not there.any():
        raise Nowhere("the density is zero at draws from the prior")
    if there.sum() < count + 4:
        raise Unfitting("the density is zero at most draws from the prior")
    features, truth = features[there], truth[there]
    norm = numpy.abs(features).max(axis=0)
    half = (len(truth) + count) // 2
    solution, *_ = numpy.linalg.lstsq(features[:half] / norm, truth[:half], rcond=None)
    gap = numpy.abs(features / norm @ solution - truth)
    size = (numpy.abs(features / norm) * numpy.abs(solution)).sum(axis=1) + 1.0
    if not (gap <= AGREES * size).all():
        raise Unfitting("the log joint is not linear in the statistics of its nodes' families")
    return solution / norm


def parameters_of(
    name: str, family: str, first: ndarray, second: ndarray | None
) -> tuple[list[ndarray], float]:
    """Parameters from coefficients, and the log of the integral of the unnormalised density."""
    if family == "Beta":
        assert second is not None
        q = [first + 1, second + 1]
        log_z = _gammaln(q[0]) + _gammaln(q[1]) - _gammaln(q[0] + q[1])
    elif family == "Gamma":
        assert second is not None
        q = [first + 1, -second]
        log_z = _gammaln(q[0]) - q[0] * numpy.log(numpy.where(q[1] > 0, q[1], numpy.nan))
    elif family == "InverseGamma":
        assert second is not None
        q = [-first - 1, -second]
        log_z = _gammaln(q[0]) - q[0] * numpy.log(numpy.where(q[1] > 0, q[1], numpy.nan))
    else:
        q = [first + 1]
        log_z = _gammaln(q[0]).sum(axis=-1) - _gammaln(q[0].sum(axis=-1))
    if not all((p > 1e-12).all() for p in q):
        raise Unfitting(f"the posterior of '{name}' is improper")
    return q, float(numpy.sum(log_z))


def _gammaln(x: ndarray) -> ndarray:
    from scipy.special import gammaln

    return gammaln(x)
