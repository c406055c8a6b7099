"""Continuous and counting families: Pyro's, with tensors that can be taken out and batched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyro.distributions as pyro
import torch
from torch.distributions import constraints

from .distribution import Distribution, Family
from .tensors import broadcast, to_tensor

__all__ = [
    "Beta",
    "BetaBinomial",
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
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "NegativeBinomial2",
    "Normal",
    "Pareto",
    "Poisson",
    "StudentT",
    "Uniform",
    "VonMises",
    "Weibull",
    "ZeroInflatedPoisson",
]

POSITIVE, REAL, PROBABILITY = constraints.positive, constraints.real, constraints.unit_interval


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
_VON_MISES = _family(pyro.VonMises, loc=0, concentration=0)
_DIRICHLET = _family(pyro.Dirichlet, concentration=1)
_POISSON = _family(pyro.Poisson, True, rate=0)
_NEGATIVE = _family(pyro.NegativeBinomial, True, total_count=0, probs=0)
_BETA_BINOMIAL = _family(pyro.BetaBinomial, True, concentration1=0, concentration0=0, total_count=0)
_ZERO_POISSON = _family(pyro.ZeroInflatedPoisson, True, rate=0, gate=0)


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
    """|x| for a normal x of mean zero."""
    return _make(_HALF_NORMAL, scale=scale)


def HalfCauchy(scale: Any = 1.0) -> Distribution:
    """|x| for a Cauchy x around zero."""
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


def Poisson(rate: Any) -> Distribution:
    """Counts with mean `rate`."""
    return _make(_POISSON, rate=rate)


def NegativeBinomial(total_count: Any, probs: Any = None, logits: Any = None) -> Distribution:
    """Successes before `total_count` failures, as in Pyro: mean `total_count · probs / (1 − probs)`."""
    if (probs is None) == (logits is None):
        raise TypeError("NegativeBinomial takes either probs or logits.")
    p = to_tensor(logits, "NegativeBinomial", "logits").sigmoid() if probs is None else probs
    return _make(_NEGATIVE, total_count=total_count, probs=p)


def NegativeBinomial2(mean: Any, dispersion: Any) -> Distribution:
    """Counts with variance mean + mean² / dispersion (Stan's neg_binomial_2)."""
    m, phi = (
        to_tensor(mean, "NegativeBinomial2", "mean"),
        to_tensor(dispersion, "NegativeBinomial2", "dispersion"),
    )
    return _make(_NEGATIVE, total_count=phi, probs=m / (m + phi))


def BetaBinomial(concentration1: Any, concentration0: Any, total_count: Any = 1) -> Distribution:
    """A binomial whose probability is a beta."""
    return _make(
        _BETA_BINOMIAL,
        concentration1=concentration1,
        concentration0=concentration0,
        total_count=total_count,
    )


def ZeroInflatedPoisson(rate: Any, gate: Any) -> Distribution:
    """Zero with probability `gate`, otherwise a Poisson."""
    return _make(_ZERO_POISSON, rate=rate, gate=gate)


def _multivariate(name: str) -> Family:
    return Family(
        "MultivariateNormal",
        {"loc": 1, name: 2},
        lambda q: pyro.MultivariateNormal(**q, validate_args=False),
        event=lambda q: tuple(q["loc"].shape[-1:]),
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


def _multinomial_score(q, value):
    n, p = q["total_count"], q["probs"]
    inside = (value >= 0).all(-1) & (value == value.round()).all(-1) & (value.sum(-1) == n)
    k = torch.where(inside.unsqueeze(-1), value, torch.zeros_like(value + p))
    positive = p > 0
    log_p = torch.where(
        positive, torch.where(positive, p, torch.ones_like(p)).log(), torch.full_like(p, -torch.inf)
    )
    terms = torch.where(k == 0, torch.zeros_like(k), k * log_p)
    scores = torch.lgamma(n + 1) - torch.lgamma(k + 1).sum(-1) + terms.sum(-1)
    return torch.where(inside, scores, torch.full_like(scores, -torch.inf))


def _multinomial_draw(q, shape):
    """Counts category by category: what is left is binomial (works for a different total in every row)."""
    p = q["probs"].expand((*shape, *q["probs"].shape))
    left = q["total_count"].expand(p.shape[:-1]).clone()
    mass, counts = torch.ones_like(left), []
    for k in range(p.shape[-1]):
        share = torch.where(
            mass > 0, p[..., k] / mass.clamp(min=1e-300), torch.ones_like(mass)
        ).clamp(0, 1)
        share = torch.ones_like(share) if k == p.shape[-1] - 1 else share
        drawn = torch.binomial(left.contiguous(), share.contiguous())
        counts.append(drawn)
        left, mass = left - drawn, mass - p[..., k]
    return torch.stack(counts, dim=-1)


_MULTINOMIAL = Family(
    "Multinomial",
    {"total_count": 0, "probs": 1},
    discrete=True,
    rows=("probs",),
    score=_multinomial_score,
    draw=_multinomial_draw,
    support=lambda q: constraints.independent(constraints.nonnegative_integer, 1),
    event=lambda q: tuple(q["probs"].shape[-1:]),
    constraints={"total_count": constraints.nonnegative_integer},
)


def Multinomial(total_count: Any, probs: Any) -> Distribution:
    """Counts of `total_count` independent categories."""
    return _make(_MULTINOMIAL, total_count=total_count, probs=probs)


def LKJCholesky(dim: int, concentration: Any = 1.0) -> Distribution:
    """Cholesky factors of correlation matrices of this dimension."""
    if dim not in _LKJ:
        _LKJ[dim] = Family(
            f"LKJCholesky[{dim}]",
            {"concentration": 0},
            lambda q: pyro.LKJCholesky(dim, **q, validate_args=False),
            event=lambda q: (dim, dim),
        )
    return _make(_LKJ[dim], concentration=concentration)


_LKJ: dict[int, Family] = {}
