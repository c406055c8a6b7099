"""Tail probabilities and their inverses in log space, for what is truncated or censored.

A normal beyond 30 standard deviations has a mass of 1e-197, and its logarithm is an ordinary number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor
from torch.special import gammainc, gammaincc, log_ndtr, ndtri

__all__ = ["TAILS", "Tails", "log_difference"]

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Tails:
    """log P(X ≤ x), log P(X > x), and the x at which either reaches a value; of (parameters, x or log p)."""

    log_cdf: Callable[[Parameters, Tensor], Tensor]
    log_sf: Callable[[Parameters, Tensor], Tensor]
    from_cdf: Callable[[Parameters, Tensor], Tensor] | None = None
    from_sf: Callable[[Parameters, Tensor], Tensor] | None = None


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp(x)) for x ≤ 0 (Mächler 2012)."""
    x = x.clamp(max=0.0)
    near = x > -log(2)
    return torch.where(
        near, (-torch.expm1(torch.where(near, x, -torch.ones_like(x)))).log(), torch.log1p(-x.exp())
    )


def log_difference(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) − exp(b)) for a ≥ b."""
    b = torch.where(torch.isneginf(a), torch.full_like(b, -torch.inf), b)
    gap = torch.where(torch.isneginf(b), torch.full_like(a - b, -torch.inf), b - a)
    return a + log1mexp(gap)


def _normal_quantile(log_p: Tensor) -> Tensor:
    """The standard normal quantile of exp(log_p), for tails as far as wanted."""
    z = ndtri(log_p.exp())
    far = log_p < -300
    guess = -(-2 * log_p.clamp(max=-10)).sqrt()
    z = torch.where(far, guess, z)
    for _ in range(6):  # Newton on log Φ, which is concave and nearly quadratic out there
        step = (log_ndtr(z) - log_p) * (log_ndtr(z) + 0.5 * z**2 + 0.5 * log(2 * pi)).exp()
        z = torch.where(far, z - step, z)
    return z


def _z(q: Parameters, x: Tensor) -> Tensor:
    return (x - q["loc"]) / q["scale"]


def _log_x(x: Tensor) -> Tensor:
    return x.clamp(min=0).log()


def _gumbel_log_cdf(q: Parameters, x: Tensor) -> Tensor:
    return -(-_z(q, x)).exp()


def _laplace(z: Tensor) -> Tensor:
    """log P(Z ≤ z)."""
    return torch.where(z < 0, z - log(2), torch.log1p(-0.5 * (-z.abs()).exp()))


def _laplace_quantile(log_p: Tensor) -> Tensor:
    return torch.where(
        log_p < -log(2), log_p + log(2), -(2 * (-torch.expm1(log_p))).clamp(min=1e-320).log()
    )


def _floor(x: Tensor) -> Tensor:
    return torch.where(torch.isinf(x), x, x.floor())


def _poisson_log_cdf(q: Parameters, x: Tensor) -> Tensor:
    k = _floor(x)
    inside = (k >= 0) & ~torch.isinf(k)
    mass = gammaincc(torch.where(inside, k + 1, torch.ones_like(k)), q["rate"]).log()
    return torch.where(
        inside, mass, torch.where(k < 0, torch.full_like(mass, -torch.inf), torch.zeros_like(mass))
    )


def _poisson_log_sf(q: Parameters, x: Tensor) -> Tensor:
    k = _floor(x)
    inside = (k >= 0) & ~torch.isinf(k)
    mass = gammainc(torch.where(inside, k + 1, torch.ones_like(k)), q["rate"]).log()
    return torch.where(
        inside, mass, torch.where(k < 0, torch.zeros_like(mass), torch.full_like(mass, -torch.inf))
    )


def _geometric_log_sf(q: Parameters, x: Tensor) -> Tensor:
    return (_floor(x) + 1).clamp(min=0) * torch.log1p(-q["probs"])


def _weibull(q: Parameters, x: Tensor) -> Tensor:
    return -((x.clamp(min=0) / q["scale"]) ** q["concentration"])


def _uniform(q: Parameters, x: Tensor) -> Tensor:
    return ((x - q["low"]) / (q["high"] - q["low"])).clamp(0, 1)


def _half_cauchy_log_sf(q: Parameters, x: Tensor) -> Tensor:
    return (torch.atan2(q["scale"], x.clamp(min=0)) * 2 / pi).log()


TAILS: dict[str, Tails] = {
    "Normal": Tails(
        lambda q, x: log_ndtr(_z(q, x)),
        lambda q, x: log_ndtr(-_z(q, x)),
        lambda q, p: q["loc"] + q["scale"] * _normal_quantile(p),
        lambda q, p: q["loc"] - q["scale"] * _normal_quantile(p),
    ),
    "LogNormal": Tails(
        lambda q, x: log_ndtr(_z(q, _log_x(x))),
        lambda q, x: log_ndtr(-_z(q, _log_x(x))),
        lambda q, p: (q["loc"] + q["scale"] * _normal_quantile(p)).exp(),
        lambda q, p: (q["loc"] - q["scale"] * _normal_quantile(p)).exp(),
    ),
    "HalfNormal": Tails(
        lambda q, x: log1mexp(log(2) + log_ndtr(-x.clamp(min=0) / q["scale"])),
        lambda q, x: (log(2) + log_ndtr(-x.clamp(min=0) / q["scale"])).clamp(max=0),
        lambda q, p: -q["scale"] * _normal_quantile(log1mexp(p) - log(2)),
        lambda q, p: -q["scale"] * _normal_quantile(p - log(2)),
    ),
    "Exponential": Tails(
        lambda q, x: log1mexp(-q["rate"] * x.clamp(min=0)),
        lambda q, x: -q["rate"] * x.clamp(min=0),
        lambda q, p: -log1mexp(p) / q["rate"],
        lambda q, p: -p / q["rate"],
    ),
    "Weibull": Tails(
        lambda q, x: log1mexp(_weibull(q, x)),
        _weibull,
        lambda q, p: q["scale"] * (-log1mexp(p)) ** (1 / q["concentration"]),
        lambda q, p: q["scale"] * (-p) ** (1 / q["concentration"]),
    ),
    "Logistic": Tails(
        lambda q, x: -torch.nn.functional.softplus(-_z(q, x)),
        lambda q, x: -torch.nn.functional.softplus(_z(q, x)),
        lambda q, p: q["loc"] + q["scale"] * (p - log1mexp(p)),
        lambda q, p: q["loc"] - q["scale"] * (p - log1mexp(p)),
    ),
    "Laplace": Tails(
        lambda q, x: _laplace(_z(q, x)),
        lambda q, x: _laplace(-_z(q, x)),
        lambda q, p: q["loc"] + q["scale"] * _laplace_quantile(p),
        lambda q, p: q["loc"] - q["scale"] * _laplace_quantile(p),
    ),
    "Gumbel": Tails(
        _gumbel_log_cdf,
        lambda q, x: log1mexp(_gumbel_log_cdf(q, x)),
        lambda q, p: q["loc"] - q["scale"] * (-p).log(),
        lambda q, p: q["loc"] - q["scale"] * (-log1mexp(p)).log(),
    ),
    "Cauchy": Tails(
        lambda q, x: (torch.atan2(torch.ones_like(_z(q, x)), -_z(q, x)) / pi).log(),
        lambda q, x: (torch.atan2(torch.ones_like(_z(q, x)), _z(q, x)) / pi).log(),
        lambda q, p: q["loc"] - q["scale"] / torch.tan(pi * p.exp()),
        lambda q, p: q["loc"] + q["scale"] / torch.tan(pi * p.exp()),
    ),
    "HalfCauchy": Tails(
        lambda q, x: log1mexp(_half_cauchy_log_sf(q, x)),
        _half_cauchy_log_sf,
        lambda q, p: q["scale"] * torch.tan(pi / 2 * p.exp()),
        lambda q, p: q["scale"] / torch.tan(pi / 2 * p.exp()),
    ),
    "Uniform": Tails(
        lambda q, x: _uniform(q, x).log(),
        lambda q, x: (1 - _uniform(q, x)).log(),
        lambda q, p: q["low"] + (q["high"] - q["low"]) * p.exp(),
        lambda q, p: q["high"] - (q["high"] - q["low"]) * p.exp(),
    ),
    "Gamma": Tails(
        lambda q, x: gammainc(q["concentration"], q["rate"] * x.clamp(min=0)).log(),
        lambda q, x: gammaincc(q["concentration"], q["rate"] * x.clamp(min=0)).log(),
    ),
    "Poisson": Tails(_poisson_log_cdf, _poisson_log_sf),
    "Geometric": Tails(lambda q, x: log1mexp(_geometric_log_sf(q, x)), _geometric_log_sf),
}
