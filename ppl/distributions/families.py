"""Continuous families: Pyro's, with tensors that can be taken out and batched."""

from __future__ import annotations

from dataclasses import replace
from math import pi
from typing import Any

import pyro.distributions as pyro
import torch
from torch.distributions import constraints

from ..errors import DistributionError
from .distribution import Distribution, Family
from .tensors import broadcast, to_tensor

__all__ = [
    "Beta",
    "Cauchy",
    "Chi2",
    "Dirichlet",
    "Exponential",
    "Gamma",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "InverseGamma",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "Logistic",
    "MultivariateNormal",
    "Normal",
    "Pareto",
    "StudentT",
    "Uniform",
    "VonMises",
    "Weibull",
]

REAL = constraints.real


def _family(
    pyro_class: Any, discrete: bool = False, name: str | None = None, **ranks: int
) -> Family:
    """A family that is one of Pyro's classes with these parameters."""
    scalar = not any(ranks.values())
    return Family(
        name or pyro_class.__name__,
        ranks,
        lambda q: pyro_class(**q, validate_args=False),
        discrete=discrete,
        event=(lambda q: ()) if scalar else None,
    )


def _make(family: Family, **values: Any) -> Distribution:
    tensors = {k: to_tensor(v, family.name, k) for k, v in values.items()}
    return Distribution(family, broadcast(tensors, dict(family.ranks), family.name))


_NORMAL = replace(
    _family(pyro.Normal, loc=0, scale=0),
    draw=lambda q, shape: (
        torch.randn(*shape, *q["loc"].shape, dtype=torch.float64).mul_(q["scale"]).add_(q["loc"])
    ),
)
_LOG_NORMAL = _family(pyro.LogNormal, loc=0, scale=0)
_HALF_NORMAL = _family(pyro.HalfNormal, scale=0)
_HALF_CAUCHY = _family(pyro.HalfCauchy, scale=0)
_CAUCHY = _family(pyro.Cauchy, loc=0, scale=0)
_STUDENT = _family(pyro.StudentT, df=0, loc=0, scale=0)
_LAPLACE = _family(pyro.Laplace, loc=0, scale=0)
_GUMBEL = _family(pyro.Gumbel, loc=0, scale=0)
_LOGISTIC = _family(pyro.Logistic, loc=0, scale=0)
_EXPONENTIAL = _family(pyro.Exponential, rate=0)
_GAMMA = _family(pyro.Gamma, concentration=0, rate=0)
_INVERSE_GAMMA = _family(pyro.InverseGamma, concentration=0, rate=0)
_CHI2 = _family(pyro.Chi2, df=0)
_WEIBULL = _family(pyro.Weibull, scale=0, concentration=0)
_PARETO = _family(pyro.Pareto, scale=0, alpha=0)
_BETA = _family(pyro.Beta, concentration1=0, concentration0=0)
# torch calls its support real, where the density, being periodic, has no integral.
_VON_MISES = replace(
    _family(pyro.VonMises, loc=0, concentration=0),
    support=lambda q: constraints.interval(-pi, pi),
)
_DIRICHLET = _family(pyro.Dirichlet, concentration=1)


def _uniform_demand(q) -> str | None:
    bad = q["low"] >= q["high"]
    if bool(bad.any()):
        return f"was given low >= high ({float(q['low'][bad].reshape(-1)[0]):g} and {float(q['high'][bad].reshape(-1)[0]):g})"
    return None


_UNIFORM = Family(
    "Uniform",
    {"low": 0, "high": 0},
    lambda q: pyro.Uniform(q["low"], q["high"], validate_args=False),
    event=lambda q: (),
    demand=_uniform_demand,
    constraints={"low": REAL, "high": REAL},
    # Closed at both ends: an observation on the edge has the density of the inside.
    score=lambda q, x: torch.where(
        (x >= q["low"]) & (x <= q["high"]),
        -(q["high"] - q["low"]).log(),
        torch.full_like(x + q["low"], -torch.inf),
    ),
)


def Normal(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """The normal with mean `loc` and standard deviation `scale`."""
    return _make(_NORMAL, loc=loc, scale=scale)


def LogNormal(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """exp of a normal with mean `loc` and standard deviation `scale`."""
    return _make(_LOG_NORMAL, loc=loc, scale=scale)


def HalfNormal(scale: Any = 1.0) -> Distribution:
    """The absolute value of a normal number of mean zero."""
    return _make(_HALF_NORMAL, scale=scale)


def HalfCauchy(scale: Any = 1.0) -> Distribution:
    """The absolute value of a Cauchy number around zero."""
    return _make(_HALF_CAUCHY, scale=scale)


def Cauchy(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """The Cauchy distribution."""
    return _make(_CAUCHY, loc=loc, scale=scale)


def StudentT(df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """Student's t with `df` degrees of freedom."""
    return _make(_STUDENT, df=df, loc=loc, scale=scale)


def Laplace(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """The double exponential."""
    return _make(_LAPLACE, loc=loc, scale=scale)


def Gumbel(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """The extreme-value distribution of maxima."""
    return _make(_GUMBEL, loc=loc, scale=scale)


def Logistic(loc: Any = 0.0, scale: Any = 1.0) -> Distribution:
    """The logistic distribution."""
    return _make(_LOGISTIC, loc=loc, scale=scale)


def Exponential(rate: Any = 1.0) -> Distribution:
    """Waiting times with mean 1 / `rate`."""
    return _make(_EXPONENTIAL, rate=rate)


def Gamma(concentration: Any, rate: Any = 1.0) -> Distribution:
    """Mean `concentration / rate`."""
    return _make(_GAMMA, concentration=concentration, rate=rate)


def InverseGamma(concentration: Any, rate: Any = 1.0) -> Distribution:
    """1 / x for a gamma x."""
    return _make(_INVERSE_GAMMA, concentration=concentration, rate=rate)


def Chi2(df: Any) -> Distribution:
    """Chi-squared with `df` degrees of freedom."""
    return _make(_CHI2, df=df)


def Weibull(scale: Any, concentration: Any) -> Distribution:
    """Survival exp(−(x / scale)^concentration)."""
    return _make(_WEIBULL, scale=scale, concentration=concentration)


def Pareto(scale: Any, alpha: Any) -> Distribution:
    """The power law above `scale`."""
    return _make(_PARETO, scale=scale, alpha=alpha)


def Beta(concentration1: Any, concentration0: Any) -> Distribution:
    """Mean `concentration1 / (concentration1 + concentration0)`."""
    return _make(_BETA, concentration1=concentration1, concentration0=concentration0)


def Uniform(low: Any = 0.0, high: Any = 1.0) -> Distribution:
    """Uniform between `low` and `high`."""
    return _make(_UNIFORM, low=low, high=high)


def VonMises(loc: Any, concentration: Any) -> Distribution:
    """The normal of the circle, on (−π, π]."""
    return _make(_VON_MISES, loc=loc, concentration=concentration)


def Dirichlet(concentration: Any) -> Distribution:
    """Rows of probabilities."""
    return _make(_DIRICHLET, concentration=concentration)


def _multivariate(name: str) -> Family:
    return Family(
        "MultivariateNormal",
        {"loc": 1, name: 2},
        lambda q: pyro.MultivariateNormal(**q, validate_args=False),
        event=lambda q: tuple(q["loc"].shape[-1:]),
        # By name: Pyro's object cannot be built to be asked when the matrix is not positive definite.
        constraints={
            "loc": constraints.real_vector,
            name: constraints.lower_cholesky
            if name == "scale_tril"
            else constraints.positive_definite,
        },
    )


_MULTIVARIATE = {
    n: _multivariate(n) for n in ("covariance_matrix", "precision_matrix", "scale_tril")
}


def MultivariateNormal(
    loc: Any, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None
) -> Distribution:
    """A normal vector, by its covariance, its precision, or the Cholesky factor of its covariance."""
    given = {
        "covariance_matrix": covariance_matrix,
        "precision_matrix": precision_matrix,
        "scale_tril": scale_tril,
    }
    named = {k: v for k, v in given.items() if v is not None}
    if len(named) != 1:
        raise TypeError(
            "MultivariateNormal takes one of covariance_matrix, precision_matrix and scale_tril."
        )
    return _make(_MULTIVARIATE[next(iter(named))], loc=loc, **named)


def LKJCholesky(dim: int, concentration: Any = 1.0) -> Distribution:
    """Cholesky factors of correlation matrices of this dimension.

    Raises:
        DistributionError: If the dimension is not a whole number from 2 on.
    """
    if not isinstance(dim, int) or dim < 2:
        raise DistributionError(
            f"LKJCholesky needs a whole number from 2 on for dim; it was given {dim!r}."
        )
    if dim not in _LKJ:
        _LKJ[dim] = Family(
            f"LKJCholesky[{dim}]",
            {"concentration": 0},
            lambda q: pyro.LKJCholesky(dim, **q, validate_args=False),
            event=lambda q: (dim, dim),
        )
    return _make(_LKJ[dim], concentration=concentration)


_LKJ: dict[int, Family] = {}
