"""Laws in closed form: fitted to a log density at a few points, proved at others.

Each has the same names: `fitted`, `log_total` (the log of the density's integral), `marginal`, `sample`, `log_prob`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import lgamma, log, pi, prod
from typing import Any, Protocol

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.errors import QueryError
from ppl.posterior import Marginal

__all__ = [
    "CONJUGATE",
    "GAUSSIAN",
    "Conjugate",
    "Gaussian",
    "Law",
    "LawMarginal",
    "Nowhere",
    "Scaled",
    "Unfitting",
]

#: Families that a quadratic log density makes Gaussian, and those with sufficient statistics of their own.
GAUSSIAN = ("Normal", "MultivariateNormal")
CONJUGATE = ("Beta", "Gamma", "Exponential", "Chi2", "InverseGamma", "Dirichlet")
#: How far the fitted form may be from the density at test points, relative to the values there.
AGREES = 1e-8
#: Points at which a form is proved.
TESTS = 12


class Unfitting(Exception):
    """There is no closed form; the reason is the message."""


class Nowhere(Unfitting):
    """The density is zero at every point that was tried."""


class LogDensity(Protocol):
    """A log density of some nodes' values."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one value of a node."""
        ...

    def prior(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Draws of the nodes from the prior, `(n, *plates, *event)`."""
        ...

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """The log density, `(n,)`."""
        ...

    def slopes(
        self, points: Tensor, values: Callable[[Tensor], Mapping[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The log density and its gradient at points `(n, size)`, of which `values` makes the nodes' values."""
        ...


class Law(Protocol):
    """The joint law of some nodes."""

    names: tuple[str, ...]
    size: int
    log_total: float

    def describe(self) -> str: ...
    def marginal(self, name: str) -> Any: ...
    def sample(self, n: int, rng: numpy.random.Generator) -> dict[str, Tensor]: ...
    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor: ...


class _Flat:
    """Nodes' values side by side in one vector."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self.starts, total = {}, 0
        for name, shape in self.shapes.items():
            self.starts[name] = total
            total += prod(shape)
        self.size = total

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([values[n].reshape((len(values[n]), -1)) for n in self.shapes], dim=1)

    def part(self, name: str) -> slice:
        return slice(self.starts[name], self.starts[name] + prod(self.shapes[name]))

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        return {n: flat[:, self.part(n)].reshape((len(flat), *s)) for n, s in self.shapes.items()}


class Gaussian:
    """A multivariate normal over some nodes.

    Args:
        flat: Where each node lies.
        mean: `(size,)`.
        precision: `(size, size)`.
        log_total: The log of the integral of the density that it was fitted to.
    """

    def __init__(self, flat: _Flat, mean: ndarray, precision: ndarray, log_total: float):
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
        flat = _Flat({n: density.shape(n) for n in names})

        return cls._of(density, flat, flat.join(density.prior(TESTS, 3)), flat.split)

    @classmethod
    def _of(
        cls,
        density: LogDensity,
        flat: _Flat,
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


# -- families with sufficient statistics ----------------------------------------------------------


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
        pairs = [f"that of {_article(f)} for {n}" for n, f in self.families.items()]
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
        inside = _inside(kinds, draws)
        draws = {n: v[inside] for n, v in draws.items()}
        columns = [torch.ones(int(inside.sum()), 1, dtype=torch.float64)]
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
            parameters[n], log_z = _law(n, f, first, second)
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


def _article(family: str) -> str:
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


def _law(
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


# -- a Gaussian whose scale is unknown --------------------------------------------------------------


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
        return f"quadratic in {', '.join(tuple(self.flat.shapes)[:3])}, and that of {_article(self.scale[1])} for {self.scale[0]}"

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
        flat = _Flat({n: density.shape(n) for n in names})
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
        (a, b), log_z = _law(name, kind, solution[1:2], solution[2:3])
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


class LawMarginal(Marginal):
    """The marginal of one node as a mixture of named laws, entry by entry.

    Args:
        name: The node.
        parts: SciPy's frozen laws, each over the shape of one value.
        weights: Of each part.
        plates: Names of the leading axes.
    """

    exact = True

    def __init__(self, name: str, parts: Sequence[Any], weights: ndarray, plates: tuple[str, ...]):
        self.name, self.plates, self.states = name, plates, None
        kept = weights > 1e-15
        self._parts = [p for p, k in zip(parts, kept, strict=True) if k]
        self._weights = weights[kept] / weights[kept].sum()

    @property
    def finite(self) -> bool:
        return False

    @property
    def domain(self) -> Tensor:
        raise QueryError(
            f"'{self.name}' is continuous; it has quantiles and draws, but no table of probabilities."
        )

    @property
    def probs(self) -> Tensor:
        return self.domain

    @property
    def mean(self) -> Tensor:
        total = sum(w * p.mean() for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    @property
    def sd(self) -> Tensor:
        mean = self.mean.numpy()
        total = sum(
            w * (p.var() + (p.mean() - mean) ** 2)
            for w, p in zip(self._weights, self._parts, strict=True)
        )
        return torch.as_tensor(numpy.sqrt(total), dtype=torch.float64)

    @property
    def standard_error(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def cdf(self, value: Any) -> Tensor:
        total = sum(w * p.cdf(value) for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    def density(self, value: Any) -> Tensor:
        """The posterior density, entry by entry."""
        total = sum(w * p.pdf(value) for w, p in zip(self._weights, self._parts, strict=True))
        return torch.as_tensor(total, dtype=torch.float64)

    def quantile(self, q: float) -> Tensor:
        ends = [numpy.asarray(p.ppf(q), dtype=float) for p in self._parts]
        low, high = numpy.minimum.reduce(ends), numpy.maximum.reduce(ends)
        if len(ends) > 1:
            for _ in range(200):
                middle = (low + high) / 2
                below = self.cdf(middle).numpy() < q
                low, high = numpy.where(below, middle, low), numpy.where(below, high, middle)
        return torch.as_tensor((low + high) / 2)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        rng = numpy.random.default_rng(seed)
        shape = self.mean.shape
        chosen = rng.choice(len(self._parts), n, p=self._weights)
        out = numpy.empty((n, *shape))
        for k, part in enumerate(self._parts):
            rows = chosen == k
            out[rows] = part.rvs(size=(int(rows.sum()), *shape), random_state=rng)
        return torch.from_numpy(out)
