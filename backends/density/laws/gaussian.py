"""A multivariate normal: what a quadratic log density is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log, pi
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .law import AGREES, TESTS, Flat, LogDensity, Nowhere, Unfitting

__all__ = ["GAUSSIAN", "Gaussian"]

#: Families that a quadratic log density makes Gaussian.
GAUSSIAN = ("Normal", "MultivariateNormal")


class Gaussian:
    """A multivariate normal over some nodes.

    Args:
        flat: Where each node lies.
        mean: `(size,)`.
        precision: `(size, size)`.
        log_total: The log of the integral of the density that it was fitted to.
    """

    def __init__(self, flat: Flat, mean: ndarray, precision: ndarray, log_total: float):
        self.flat, self.names, self.size = flat, tuple(flat.shapes), flat.size
        self.mean, self.precision, self.log_total = mean, precision, log_total
        self._root = numpy.linalg.cholesky(precision)
        inverse = numpy.linalg.inv(self._root)
        self.covariance = inverse.T @ inverse

    def describe(self) -> str:
        return f"quadratic in {', '.join(self.names[:4])}"

    @classmethod
    def fitted(cls, density: LogDensity, names: Sequence[str]) -> Gaussian:
        """The Gaussian that a log density is.

        Raises:
            Unfitting: If it is not quadratic, or has no integral.
        """
        flat = Flat({n: density.shape(n) for n in names})

        return cls._of(density, flat, flat.join(density.prior(TESTS, 3)), flat.split)

    @classmethod
    def _of(
        cls,
        density: LogDensity,
        flat: Flat,
        draws: Tensor,
        values: Callable[[Tensor], dict[str, Tensor]],
    ) -> Gaussian:
        d = flat.size
        scale = draws.std(dim=0).clamp(min=1e-6)
        origin = draws[0]
        steps = torch.cat([torch.zeros(1, d), torch.diag(scale)]).to(torch.float64) + origin
        value, slope = density.slopes(steps, values)
        if torch.isneginf(value).all():
            raise Nowhere("the density is zero at draws from the prior")
        if not torch.isfinite(slope).all():
            raise Unfitting("the density has no gradient at draws from the prior")
        precision = -((slope[1:] - slope[0]) / scale[:, None]).numpy()
        asymmetry = numpy.abs(precision - precision.T).max()
        if asymmetry > 1e-6 * max(numpy.abs(precision).max(), 1e-300):
            raise Unfitting("the log joint is not quadratic")
        precision = (precision + precision.T) / 2
        gradient = slope[0].numpy()
        generator = torch.Generator().manual_seed(17)
        wide = torch.randn((TESTS, d), generator=generator, dtype=torch.float64) * scale * 5
        tests = torch.cat([draws, origin + wide])
        truth = density(values(tests)).numpy()
        away = (tests - origin).numpy()
        terms = away @ gradient, -0.5 * numpy.einsum("ni,ij,nj->n", away, precision, away)
        claimed = float(value[0]) + terms[0] + terms[1]
        size = numpy.abs(truth) + numpy.abs(terms[0]) + numpy.abs(terms[1]) + 1.0
        if not (numpy.abs(truth - claimed) <= AGREES * size).all():
            raise Unfitting("the log joint is not quadratic in its Gaussian nodes")
        try:
            step = numpy.linalg.solve(precision, gradient)
            root = numpy.linalg.cholesky(precision)
        except numpy.linalg.LinAlgError as error:
            raise Unfitting(
                "the log joint is quadratic, but falls off in no direction of some"
            ) from error
        mean = origin.numpy() + step
        top = float(value[0]) + 0.5 * gradient @ step
        log_total = top + 0.5 * d * log(2 * pi) - numpy.log(numpy.diag(root)).sum()
        return cls(flat, mean, precision, float(log_total))

    def marginal(self, name: str) -> Any:
        from scipy import stats

        part, shape = self.flat.part(name), self.flat.shapes[name]
        sd = numpy.sqrt(numpy.diag(self.covariance)[part]).reshape(shape)
        return stats.norm(self.mean[part].reshape(shape), sd)

    def sample(self, n: int, rng: numpy.random.Generator) -> dict[str, Tensor]:
        from scipy.linalg import solve_triangular

        z = rng.standard_normal((self.size, n))
        x = self.mean[:, None] + solve_triangular(self._root.T, z, lower=False)
        return self.flat.split(torch.from_numpy(x.T.copy()))

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        away = self.flat.join(values).numpy() - self.mean
        half = away @ self._root
        log_p = -0.5 * (half**2).sum(axis=1) - 0.5 * self.size * log(2 * pi)
        return torch.from_numpy(log_p + numpy.log(numpy.diag(self._root)).sum())
