"""What Hamiltonian chains learn in warm-up: the mass matrix and the step size.

Reference:
    The No-U-Turn Sampler (Hoffman and Gelman, 2014), algorithm 5, for dual averaging.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

import numpy
from numpy import ndarray

__all__ = ["Mass", "StepSize"]

#: Up to this many dimensions the matrix is dense, once there are so many draws for each dimension.
DENSE, ENOUGH = 100, 5


class Mass:
    """A mass matrix by its inverse, which is the posterior's covariance: diagonal, or dense.

    Args:
        dimensions: How many.
        diagonal: The inverse mass of each coordinate.
        dense: The whole inverse mass matrix; then `diagonal` is not looked at.
    """

    def __init__(
        self, dimensions: int, diagonal: ndarray | None = None, dense: ndarray | None = None
    ):
        self.dimensions = dimensions
        self.diagonal = numpy.ones(dimensions) if diagonal is None else diagonal
        self.dense = dense
        if dense is not None:
            self._root = numpy.linalg.cholesky(dense)
            self._inverse_root = numpy.linalg.inv(self._root)

    @classmethod
    def of(cls, draws: ndarray, old: Mass) -> Mass:
        """From draws `(n, dimensions)`, shrunk towards a small multiple of the identity as Stan does."""
        n, dim = draws.shape
        if n < 2:
            return old
        share = n / (n + 5.0)
        rest = 1e-3 * (5.0 / (n + 5.0))
        if dim <= DENSE and n >= ENOUGH * dim:
            covariance = numpy.atleast_2d(numpy.cov(draws, rowvar=False))
            scale = numpy.sqrt(numpy.diag(covariance).clip(min=1e-300))
            # Correlations from few draws are pulled towards none.
            pull = dim / (n + dim)
            correlation = covariance / numpy.outer(scale, scale)
            correlation = (1 - pull) * correlation + pull * numpy.eye(dim)
            shrunk = share * correlation * numpy.outer(scale, scale) + rest * numpy.eye(dim)
            try:
                return cls(dim, dense=shrunk)
            except numpy.linalg.LinAlgError:
                pass
        return cls(dim, share * draws.var(axis=0, ddof=1) + rest)

    def momentum(self, rng: numpy.random.Generator, n: int) -> ndarray:
        """Momenta, `(n, dimensions)`."""
        z = rng.standard_normal((n, self.dimensions))
        if self.dense is None:
            return z / numpy.sqrt(self.diagonal)
        return z @ self._inverse_root

    def spread(self, z: ndarray) -> ndarray:
        """Standard normal numbers, shaped like the posterior's covariance."""
        return z * numpy.sqrt(self.diagonal) if self.dense is None else z @ self._root.T

    def velocity(self, p: ndarray) -> ndarray:
        """Inverse mass times momentum."""
        return p * self.diagonal if self.dense is None else p @ self.dense

    def kinetic(self, p: ndarray) -> ndarray:
        """Half of momentum times velocity, `(n,)`."""
        return 0.5 * (p * self.velocity(p)).sum(axis=1)


class StepSize:
    """Dual averaging towards an acceptance statistic.

    Args:
        target: That statistic.
    """

    def __init__(self, target: float):
        self.target, self.now = target, 0.1
        self._restart()

    def _restart(self) -> None:
        self._centre = log(2 * self.now)
        self._heard: list[float] = []
        self._count, self._error, self._mean = 0, 0.0, 0.0

    def guess(self, gradient, q: ndarray, lp: ndarray, g: ndarray, mass: Mass, rng) -> None:
        """A step of which about half is accepted, by doubling or halving; the median over the chains."""
        p = mass.momentum(rng, len(q))
        before = lp - mass.kinetic(p)

        def accepted(eps: float) -> float:
            half = p + 0.5 * eps * g
            there = q + eps * mass.velocity(half)
            value, slope = gradient(there)
            change = value - mass.kinetic(half + 0.5 * eps * slope) - before
            return float(numpy.median(numpy.where(numpy.isnan(change), -inf, change)))

        eps = self.now
        up = accepted(eps) > log(0.8)
        for _ in range(60):
            following = eps * 2 if up else eps / 2
            if (accepted(following) > log(0.8)) != up:
                eps = following if not up else eps
                break
            eps = following
        self.now = min(max(eps, 1e-12), 1e6)
        self._restart()

    def learn(self, statistics: ndarray, sizes: ndarray, enough: int) -> None:
        """Take notice of some trajectories' mean acceptance; the step moves when enough have reported.

        Args:
            statistics: The acceptance of each trajectory.
            sizes: The step that each was made with; those of an earlier step say nothing about this one.
            enough: How many are waited for.
        """
        self._heard += statistics[sizes == self.now].tolist()
        if len(self._heard) < enough:
            return
        statistic = sum(self._heard) / len(self._heard)
        self._heard = []
        self._count += 1
        weight = 1.0 / (self._count + 10)
        self._error = (1 - weight) * self._error + weight * (self.target - statistic)
        log_step = self._centre - sqrt(self._count) / 0.05 * self._error
        fade = self._count**-0.75
        self._mean = fade * log_step + (1 - fade) * self._mean
        self.now = exp(min(max(log_step, -30.0), 15.0))

    def settle(self) -> None:
        """From now on the averaged step."""
        if self._count:
            self.now = exp(min(max(self._mean, -30.0), 15.0))
