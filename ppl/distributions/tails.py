"""Tail probabilities and their inverses in log space, for what is truncated or censored.

A normal beyond 30 standard deviations has a mass of 1e-197, and its logarithm is an ordinary number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor
from torch.special import log_ndtr, ndtri

from .incomplete import (
    log1mexp,
    log_beta_below,
    log_gamma_above,
    log_gamma_below,
    log_student_above,
)

__all__ = ["TAILS", "Tails", "log_difference"]

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Tails:
    """log P(X ≤ x), log P(X > x), and the x at which either reaches a value; of (parameters, x or log p)."""

    log_cdf: Callable[[Parameters, Tensor], Tensor]
    log_sf: Callable[[Parameters, Tensor], Tensor]
    from_cdf: Callable[[Parameters, Tensor], Tensor] | None = None
    from_sf: Callable[[Parameters, Tensor], Tensor] | None = None


def log_difference(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) − exp(b)) for a ≥ b."""
    a, b = torch.broadcast_tensors(a, b)
    empty, whole = torch.isneginf(a), torch.isneginf(b)
    # The difference of two infinities is NaN, and so would be its gradient, chosen or not.
    gap = torch.where(empty | whole, 0 * b.new_ones(b.shape), b) - torch.where(
        empty | whole, torch.ones_like(a), a
    )
    return torch.where(whole | empty, a, a + log1mexp(gap))


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


def _half_normal_below(z: Tensor) -> Tensor:
    """log P(|Z| ≤ z): by erf near zero, by the other tail far from it."""
    near = z < 1
    close = _safe_log(torch.erf(torch.where(near, z, torch.ones_like(z)) / 2**0.5))
    far = log1mexp(log(2) + log_ndtr(-torch.where(near, torch.ones_like(z), z)))
    return torch.where(near, close, far)


def _half_normal_quantile(log_p: Tensor) -> Tensor:
    near = 2**0.5 * torch.erfinv(log_p.exp().clamp(max=0.5))
    return torch.where(log_p < -log(2), near, -_normal_quantile(log1mexp(log_p) - log(2)))


def _z(q: Parameters, x: Tensor) -> Tensor:
    return (x - q["loc"]) / q["scale"]


def _safe_log(x: Tensor) -> Tensor:
    """log x with minus infinity for x ≤ 0, and a gradient that is never NaN."""
    positive = x > 0
    return torch.where(
        positive, torch.where(positive, x, torch.ones_like(x)).log(), torch.full_like(x, -torch.inf)
    )


def _log_scaled(q: Parameters, x: Tensor) -> Tensor:
    """(log x − loc) / scale, at 1 instead of values that are not positive: callers see to those."""
    return (torch.where(x > 0, x, torch.ones_like(x)).log() - q["loc"]) / q["scale"]


def _log_normal(q: Parameters, x: Tensor, below: bool) -> Tensor:
    mass = log_ndtr(_log_scaled(q, x) if below else -_log_scaled(q, x))
    return torch.where(x > 0, mass, torch.full_like(mass, -torch.inf if below else 0.0))


def _gumbel_log_cdf(q: Parameters, x: Tensor) -> Tensor:
    return -(-_z(q, x)).clamp(max=700).exp()


def _gumbel_log_sf(q: Parameters, x: Tensor) -> Tensor:
    # Beyond 40, 1 − exp(−exp(−z)) is exp(−z) to the last digit.
    return torch.where(_z(q, x) > 40, -_z(q, x), log1mexp(_gumbel_log_cdf(q, x)))


def _gumbel_quantile_above(q: Parameters, p: Tensor) -> Tensor:
    return q["loc"] - q["scale"] * torch.where(p < -40, p, (-log1mexp(p.clamp(min=-41))).log())


def _laplace(z: Tensor) -> Tensor:
    """log P(Z ≤ z)."""
    return torch.where(z < 0, z - log(2), torch.log1p(-0.5 * (-z.abs()).exp()))


def _laplace_quantile(log_p: Tensor) -> Tensor:
    return torch.where(
        log_p < -log(2), log_p + log(2), -(2 * (-torch.expm1(log_p))).clamp(min=1e-320).log()
    )


def _floor(x: Tensor) -> Tensor:
    return torch.where(torch.isinf(x), x, x.floor())


def _counted(k: Tensor, inside: Tensor, mass: Tensor, below: bool) -> Tensor:
    """A tail at the count k, with what lies before the first and behind the last one."""
    empty, full = torch.full_like(mass, -torch.inf), torch.zeros_like(mass)
    before, behind = (empty, full) if below else (full, empty)
    return torch.where(inside, mass, torch.where(k < 0, before, behind))


def _poisson(q: Parameters, x: Tensor, below: bool) -> Tensor:
    k = _floor(x)
    inside = (k >= 0) & ~torch.isinf(k)
    shape = torch.where(inside, k + 1, torch.ones_like(k))
    tail = log_gamma_above if below else log_gamma_below  # P(X ≤ k) = Q(k + 1, rate)
    return _counted(k, inside, tail(shape, q["rate"]), below)


def _binomial(q: Parameters, x: Tensor, below: bool) -> Tensor:
    k, n = torch.broadcast_tensors(_floor(x), q["total_count"])
    inside = (k >= 0) & (k < n)
    one, safe_n = torch.ones_like(n), torch.where(inside, n, 2 * torch.ones_like(n))
    safe_k = torch.where(inside, k, one)
    success, failure = (
        (q["probs"], 1 - q["probs"])
        if "probs" in q
        else (q["logits"].sigmoid(), (-q["logits"]).sigmoid())
    )
    # P(X ≤ k) = I_{1−p}(n − k, k + 1), P(X > k) = I_p(k + 1, n − k)
    mass = (
        log_beta_below(safe_n - safe_k, safe_k + 1, failure)
        if below
        else log_beta_below(safe_k + 1, safe_n - safe_k, success)
    )
    return _counted(k, inside, mass, below)


def _negative_binomial(q: Parameters, x: Tensor, below: bool) -> Tensor:
    if "mean" in q:
        r, total = q["dispersion"], q["mean"] + q["dispersion"]
        go_on, stop = q["mean"] / total, q["dispersion"] / total
    elif "logits" in q:
        r, go_on, stop = q["total_count"], q["logits"].sigmoid(), (-q["logits"]).sigmoid()
    else:
        r, go_on, stop = q["total_count"], q["probs"], 1 - q["probs"]
    k, r = torch.broadcast_tensors(_floor(x), r)
    inside = (k >= 0) & ~torch.isinf(k)
    safe = torch.where(inside, k, torch.zeros_like(k))
    # P(X ≤ k) = I_{1−p}(r, k + 1)
    mass = log_beta_below(r, safe + 1, stop) if below else log_beta_below(safe + 1, r, go_on)
    return _counted(k, inside, mass, below)


def _geometric_log_sf(q: Parameters, x: Tensor) -> Tensor:
    count = (_floor(x) + 1).clamp(min=0)
    log_failure = (
        torch.nn.functional.logsigmoid(-q["logits"]) if "logits" in q else _safe_log(1 - q["probs"])
    )
    mass = torch.where(count > 0, count, torch.ones_like(count)) * log_failure
    return torch.where(count > 0, mass, torch.zeros_like(mass))


def _weibull(q: Parameters, x: Tensor) -> Tensor:
    ratio = torch.where(x > 0, x, torch.ones_like(x)) / q["scale"]
    power = ratio ** q["concentration"]
    return torch.where(x > 0, -power, torch.zeros_like(power))


def _student(q: Parameters, x: Tensor, above: bool) -> Tensor:
    return log_student_above(q["df"], _z(q, x) if above else -_z(q, x))


def _student_quantile(q: Parameters, log_p: Tensor) -> Tensor:
    """The t > 0 whose upper tail is exp(log_p), or its mirror image: Newton on the tail as a function of log t.

    That function is concave and falls with a slope between 0 and −df, so that Newton never overshoots twice.
    """
    df, log_p = torch.broadcast_tensors(q["df"], log_p)
    upper = log_p < -log(2)
    target = torch.where(upper, log_p, log1mexp(log_p))
    s = torch.zeros_like(target)
    for _ in range(60):
        t = s.exp()
        value = log_student_above(df, t)
        log_density = (
            -(df + 1) / 2 * torch.log1p(t**2 / df)
            - torch.lgamma(df / 2)
            - torch.lgamma(torch.full_like(df, 0.5))
            + torch.lgamma((df + 1) / 2)
            - 0.5 * df.log()
        )
        step = (value - target) * (value - log_density - s).exp()
        s = (s + step).clamp(-700, 340)
        if bool((step.abs() < 1e-14 * (1 + s.abs())).all()):
            break
    return torch.where(upper, s.exp(), -s.exp())


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
        lambda q, x: _log_normal(q, x, True),
        lambda q, x: _log_normal(q, x, False),
        lambda q, p: (q["loc"] + q["scale"] * _normal_quantile(p)).exp(),
        lambda q, p: (q["loc"] - q["scale"] * _normal_quantile(p)).exp(),
    ),
    "HalfNormal": Tails(
        lambda q, x: _half_normal_below(x.clamp(min=0) / q["scale"]),
        lambda q, x: (log(2) + log_ndtr(-x.clamp(min=0) / q["scale"])).clamp(max=0),
        lambda q, p: q["scale"] * _half_normal_quantile(p),
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
        _gumbel_log_sf,
        lambda q, p: q["loc"] - q["scale"] * (-p).log(),
        _gumbel_quantile_above,
    ),
    "Cauchy": Tails(
        lambda q, x: (torch.atan2(torch.ones_like(_z(q, x)), -_z(q, x)) / pi).log(),
        lambda q, x: (torch.atan2(torch.ones_like(_z(q, x)), _z(q, x)) / pi).log(),
        lambda q, p: q["loc"] - q["scale"] / torch.tan(pi * p.exp()),
        lambda q, p: q["loc"] + q["scale"] / torch.tan(pi * p.exp()),
    ),
    "HalfCauchy": Tails(
        lambda q, x: _safe_log(torch.atan2(x.clamp(min=0), q["scale"]) * 2 / pi),
        _half_cauchy_log_sf,
        lambda q, p: q["scale"] * torch.tan(pi / 2 * p.exp()),
        lambda q, p: q["scale"] / torch.tan(pi / 2 * p.exp()),
    ),
    "Uniform": Tails(
        lambda q, x: _safe_log(_uniform(q, x)),
        lambda q, x: _safe_log(1 - _uniform(q, x)),
        lambda q, p: q["low"] + (q["high"] - q["low"]) * p.exp(),
        lambda q, p: q["high"] - (q["high"] - q["low"]) * p.exp(),
    ),
    "StudentT": Tails(
        lambda q, x: _student(q, x, False),
        lambda q, x: _student(q, x, True),
        lambda q, p: q["loc"] - q["scale"] * _student_quantile(q, p),
        lambda q, p: q["loc"] + q["scale"] * _student_quantile(q, p),
    ),
    "Gamma": Tails(
        lambda q, x: log_gamma_below(q["concentration"], q["rate"] * x.clamp(min=0)),
        lambda q, x: log_gamma_above(q["concentration"], q["rate"] * x.clamp(min=0)),
    ),
    "Beta": Tails(
        lambda q, x: log_beta_below(q["concentration1"], q["concentration0"], x.clamp(0, 1)),
        lambda q, x: log_beta_below(q["concentration0"], q["concentration1"], 1 - x.clamp(0, 1)),
    ),
    "Poisson": Tails(lambda q, x: _poisson(q, x, True), lambda q, x: _poisson(q, x, False)),
    "Geometric": Tails(lambda q, x: log1mexp(_geometric_log_sf(q, x)), _geometric_log_sf),
    "Binomial": Tails(lambda q, x: _binomial(q, x, True), lambda q, x: _binomial(q, x, False)),
    "NegativeBinomial": Tails(
        lambda q, x: _negative_binomial(q, x, True), lambda q, x: _negative_binomial(q, x, False)
    ),
    "NegativeBinomial2": Tails(
        lambda q, x: _negative_binomial(q, x, True), lambda q, x: _negative_binomial(q, x, False)
    ),
}
