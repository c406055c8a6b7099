"""Log tails of the gamma, beta and t distributions, as far out as wanted.

torch has the incomplete gamma functions, which underflow near 1e-308 and have no derivative in the shape; it has no
incomplete beta function. Derivatives in x are the density; those in the shapes are central differences of the logarithm,
good to about 1e-8.

References:
    | Numerical Recipes, 3rd edition, sections 6.2 and 6.4 (Press et al., 2007): series and continued fractions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, lgamma
from torch.special import gammainc, gammaincc

__all__ = ["log1mexp", "log_beta_below", "log_gamma_above", "log_gamma_below", "log_student_above"]

#: Terms of a series or a continued fraction; both stop as soon as they have converged.
MOST_TERMS = 3000
TINY = 1e-300
HALF = 0.5


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp(x)) for x ≤ 0 (Mächler 2012); minus infinity at 0, and without a gradient there.

    Example:
        >>> float(log1mexp(torch.tensor(-1e-20, dtype=torch.float64)).round(decimals=4))
        -46.0517
    """
    inside = x < 0
    x = torch.where(inside, x, torch.full_like(x, -1.0))
    near = x > -0.6931471805599453
    close = (-torch.expm1(torch.where(near, x, torch.full_like(x, -HALF)))).log()
    far = torch.log1p(-torch.where(near, torch.full_like(x, -1.0), x).exp())
    return torch.where(inside, torch.where(near, close, far), torch.full_like(x, -torch.inf))


def log_gamma_below(a: Tensor, x: Tensor) -> Tensor:
    """log P(X ≤ x) of the gamma with concentration a and rate 1."""
    return _Tail.apply(_gamma_below, lambda a, x: _gamma_density(a, x), *_same(a, x))


def log_gamma_above(a: Tensor, x: Tensor) -> Tensor:
    """log P(X > x) of the gamma with concentration a and rate 1.

    Example:
        >>> one = torch.ones((), dtype=torch.float64)
        >>> round(float(log_gamma_above(one, 800 * one)), 9)
        -800.0
    """
    return _Tail.apply(_gamma_above, lambda a, x: _gamma_density(a, x), *_same(a, x))


def log_beta_below(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """log P(X ≤ x) of the beta with concentrations a and b, for x in [0, 1]."""
    return _Tail.apply(_beta_below, _beta_density, *_same(a, b, x))


def log_student_above(df: Tensor, t: Tensor) -> Tensor:
    """log P(T > t) of Student's t."""
    return _Tail.apply(_student_above, _student_density, *_same(df, t))


class _Tail(torch.autograd.Function):
    """`tail(*shapes, x)`, whose derivative in x is ± exp(log density − log tail)."""

    @staticmethod
    def forward(ctx: Any, tail: Callable, density: Callable, *at: Tensor) -> Tensor:
        ctx.tail, ctx.density = tail, density
        value = tail(*at)
        ctx.save_for_backward(value, *at)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        value, *at = ctx.saved_tensors
        sign = -1.0 if ctx.tail in (_gamma_above, _student_above) else 1.0
        slopes: list[Tensor | None] = []
        for i, s in enumerate(at):
            if not ctx.needs_input_grad[i + 2]:
                slopes.append(None)
                continue
            if i == len(at) - 1:
                slope = sign * (ctx.density(*at) - value).exp()
            else:
                h = 1e-5 * s
                more, less = (ctx.tail(*at[:i], s + d, *at[i + 1 :]) for d in (h, -h))
                slope = (more - less) / (2 * h)
            # Where the tail is empty there is no slope to give; it must not poison others.
            kept = torch.isfinite(value) & torch.isfinite(slope)
            slopes.append(torch.where(kept, grad * slope, torch.zeros_like(slope)))
        return (None, None, *slopes)


def _same(*tensors: Tensor) -> list[Tensor]:
    return list(torch.broadcast_tensors(*tensors))


# -- gamma ---------------------------------------------------------------------------------------


def _gamma_density(a: Tensor, x: Tensor) -> Tensor:
    return (a - 1) * x.log() - x - lgamma(a)


def _gamma_below(a: Tensor, x: Tensor) -> Tensor:
    below, above = gammainc(a, x), gammaincc(a, x)
    value = torch.where(below > HALF, torch.log1p(-above), below.log())
    far = (value < -600) & (x > 0)
    if bool(far.any()):
        a, x = a[far], x[far]
        # P(a, x) = x^a e^−x / Γ(a) · Σ x^n / (a (a+1) … (a+n))
        term = total = 1 / a
        for n in range(1, MOST_TERMS):
            term = term * x / (a + n)
            total = total + term
            if bool((term < 1e-17 * total).all()):
                break
        value = value.masked_scatter(far, a * x.log() - x - lgamma(a) + total.log())
    return value


def _gamma_above(a: Tensor, x: Tensor) -> Tensor:
    below, above = gammainc(a, x), gammaincc(a, x)
    value = torch.where(above > HALF, torch.log1p(-below), above.log())
    far = (value < -600) & torch.isfinite(x)
    if bool(far.any()):
        a, x = a[far], x[far]
        # Q(a, x) = x^a e^−x / Γ(a) · 1 / (x+1−a − 1·(1−a) / (x+3−a − …)), by Lentz's method
        b = x + 1 - a
        c, d = torch.full_like(b, 1 / TINY), 1 / b
        h = d
        for i in range(1, MOST_TERMS):
            an, b = -i * (i - a), b + 2
            d, c = 1 / _off_zero(an * d + b), _off_zero(b + an / c)
            h = h * d * c
            if bool(((d * c - 1).abs() < 1e-15).all()):
                break
        value = value.masked_scatter(far, a * x.log() - x - lgamma(a) + h.log())
    return value


def _off_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < TINY, torch.full_like(x, TINY), x)


# -- beta and t ----------------------------------------------------------------------------------


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _beta_density(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    return (a - 1) * x.log() + (b - 1) * torch.log1p(-x) - _log_beta(a, b)


def _beta_below(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    return _log_incomplete_beta(a, b, x, 1 - x)


def _log_incomplete_beta(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """log I_x(a, b), where y = 1 − x is given too, so that neither loses its digits."""
    swap = x > (a + 1) / (a + b + 2)
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    x, y = torch.where(swap, y, x), torch.where(swap, x, y)
    log_front = torch.special.xlogy(a, x) + torch.special.xlogy(b, y) - a.log() - _log_beta(a, b)
    value = log_front + _beta_fraction(a, b, x).log()
    return torch.where(swap, log1mexp(value), value.clamp(max=0))


def _beta_fraction(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """The continued fraction of I_x(a, b) a B(a, b) / (x^a y^b), by Lentz's method."""
    c, d = torch.ones_like(x), 1 / _off_zero(1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _off_zero(1 + even * d), _off_zero(1 + even / c)
        h = h * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _off_zero(1 + odd * d), _off_zero(1 + odd / c)
        h = h * d * c
        if bool(((d * c - 1).abs() < 1e-15).all()):
            break
    return h


def _student_density(df: Tensor, t: Tensor) -> Tensor:
    log_constant = _log_beta(df / 2, torch.full_like(df, HALF)) + HALF * df.log()
    return -(df + 1) / 2 * torch.log1p(t**2 / df) - log_constant


def _student_above(df: Tensor, t: Tensor) -> Tensor:
    # P(|T| > t) = I_x(df / 2, 1/2) with x = df / (df + t²); for huge t the ratio is formed without squaring
    r = t.abs() / df.sqrt()
    small = r < 1
    inverse = 1 / torch.where(small, torch.ones_like(r), r)
    x = torch.where(small, 1 / (1 + r.clamp(max=1) ** 2), inverse**2 / (1 + inverse**2))
    y = torch.where(small, r.clamp(max=1) ** 2 / (1 + r.clamp(max=1) ** 2), 1 / (1 + inverse**2))
    one_side = _log_incomplete_beta(df / 2, torch.full_like(df, HALF), x, y) - 0.6931471805599453
    return torch.where(t > 0, one_side, log1mexp(one_side))
