"""A Gaussian whose scale is unknown, with the law of its precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import lgamma, log, pi, prod
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .conjugate import article, parameters_of
from .gaussian import Gaussian
from .law import TESTS, Flat, LogDensity, Unfitting

__all__ = ["Scaled"]


class Scaled:
    """Gaussian nodes whose precision is proportional to one unknown: a Gamma precision, or an InverseGamma variance.

    Args:
        flat: Where each Gaussian node lies.
        scale: The name of the unknown scale, and its family.
        mean: Of the Gaussian nodes, whatever the scale, `(size,)`.
        precision: At a scale of one, `(size, size)`.
        shape, rate: Of the Gamma law of the precision.
        log_total: The log of the integral of the density that it was fitted to.
    """

    def __init__(self, flat, scale, mean, precision, shape, rate, log_total):
        self.flat, self.scale, self.mean, self.precision = flat, scale, mean, precision
        self.a, self.b, self.log_total = shape, rate, log_total
        self.names = (*flat.shapes, scale[0])
        self.size = flat.size + 1
        self._root = numpy.linalg.cholesky(precision)
        inverse = numpy.linalg.inv(self._root)
        self.covariance = inverse.T @ inverse

    def describe(self) -> str:
        return f"quadratic in {', '.join(tuple(self.flat.shapes)[:3])}, and that of {article(self.scale[1])} for {self.scale[0]}"

    @classmethod
    def fitted(
        cls, density: LogDensity, names: Sequence[str], families: Mapping[str, str]
    ) -> Scaled:
        """The law that a log density is.

        Raises:
            Unfitting: If it is none of this kind.
        """
        if len(families) != 1:
            raise Unfitting("Gaussian nodes have a closed form beside one unknown scale at most")
        (name, family), *_ = families.items()
        if (
            family not in ("Gamma", "InverseGamma", "Exponential", "Chi2")
            or prod(density.shape(name)) != 1
        ):
            raise Unfitting("Gaussian nodes have a closed form beside one unknown scale at most")
        inverse = family == "InverseGamma"
        flat = Flat({n: density.shape(n) for n in names})
        shape = density.shape(name)
        draws = density.prior(TESTS, 3)

        def values(x: Tensor, precision: float) -> dict[str, Tensor]:
            value = 1 / precision if inverse else precision
            scale = torch.full((len(x), *shape), value, dtype=torch.float64)
            return {**flat.split(x), name: scale}

        precisions = [0.5, 1.0, 2.0, 3.7, 0.21, 9.0]
        joined = flat.join(draws)
        fits = [
            Gaussian._of(density, flat, joined, partial(values, precision=t)) for t in precisions
        ]
        unit = fits[1]
        for t, fit in zip(precisions, fits, strict=True):
            alike = numpy.allclose(fit.precision, t * unit.precision, rtol=1e-7, atol=1e-12)
            if not alike or not numpy.allclose(fit.mean, unit.mean, rtol=1e-7, atol=1e-9):
                raise Unfitting(
                    "the precision of the Gaussian nodes is not proportional to the unknown scale"
                )
        # What is left when the Gaussian nodes are integrated out, in the unknown's own value.
        tried = numpy.array(precisions)
        v = 1 / tried if inverse else tried
        features = numpy.stack([numpy.ones_like(v), numpy.log(v), 1 / v if inverse else v], axis=1)
        truth = numpy.array([fit.log_total for fit in fits])
        solution, *_ = numpy.linalg.lstsq(features[:4], truth[:4], rcond=None)
        gap = numpy.abs(features @ solution - truth)
        if not (gap <= 1e-7 * (1 + numpy.abs(features * solution).sum(axis=1))).all():
            raise Unfitting(f"the log joint is not linear in the statistics of '{name}'")
        kind = "InverseGamma" if inverse else "Gamma"
        (a, b), log_z = parameters_of(name, kind, solution[1:2], solution[2:3])
        total = float(solution[0]) + log_z
        return cls(
            flat, (name, kind, shape), unit.mean, unit.precision, float(a[0]), float(b[0]), total
        )

    def marginal(self, name: str) -> Any:
        from scipy import stats

        if name == self.scale[0]:
            a, b = numpy.full(self.scale[2], self.a), numpy.full(self.scale[2], self.b)
            return (
                stats.invgamma(a, scale=b)
                if self.scale[1] == "InverseGamma"
                else stats.gamma(a, scale=1 / b)
            )
        part, shape = self.flat.part(name), self.flat.shapes[name]
        spread = numpy.sqrt(numpy.diag(self.covariance)[part] * self.b / self.a).reshape(shape)
        return stats.t(2 * self.a, self.mean[part].reshape(shape), spread)

    def sample(self, n: int, rng: numpy.random.Generator) -> dict[str, Tensor]:
        from scipy.linalg import solve_triangular

        precision = rng.gamma(self.a, 1 / self.b, n)
        z = rng.standard_normal((self.flat.size, n)) / numpy.sqrt(precision)
        x = self.mean[:, None] + solve_triangular(self._root.T, z, lower=False)
        found = self.flat.split(torch.from_numpy(x.T.copy()))
        value = 1 / precision if self.scale[1] == "InverseGamma" else precision
        found[self.scale[0]] = torch.from_numpy(value.reshape((n, *self.scale[2])))
        return found

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        v = values[self.scale[0]].reshape(-1).numpy()
        t = 1 / v if self.scale[1] == "InverseGamma" else v
        away = self.flat.join(values).numpy() - self.mean
        half = ((away @ self._root) ** 2).sum(axis=1)
        d = self.flat.size
        log_x: ndarray = (
            -0.5 * t * half
            + 0.5 * d * numpy.log(t / (2 * pi))
            + numpy.log(numpy.diag(self._root)).sum()
        )
        sign = -1 if self.scale[1] == "InverseGamma" else 1
        log_v: ndarray = (self.a * sign - 1) * numpy.log(v) - self.b * t
        log_v = log_v + self.a * log(self.b) - lgamma(self.a)
        return torch.from_numpy(log_x + log_v)
