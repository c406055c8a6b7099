"""Truncated and censored: distributions made from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ..errors import DistributionError
from .distribution import Distribution, Family
from .domain import whole_numbers
from .tails import TAILS, log_difference
from .tensors import broadcast, to_tensor

__all__ = ["Censored", "Truncated"]

Parameters = Mapping[str, Tensor]

#: The logarithm of the largest probability below one: rounding must not send a draw to infinity.
NEARLY_ONE = -(2.0**-53)


def Truncated(base: Distribution, low: Any = None, high: Any = None) -> Distribution:
    """`base` restricted to low ≤ x ≤ high and renormalised, stable far out in the tails.

    Args:
        base: A distribution of one number with a known cdf.
        low: The lower bound, `None` for none.
        high: The upper bound, `None` for none.

    Raises:
        DistributionError: If the base has no cdf here.

    Example:
        >>> from ppl.distributions import Normal
        >>> float(Truncated(Normal(0, 1), low=30).log_prob(30.0).round(decimals=4))
        3.4023
    """
    return _bounded(base, low, high, "Truncated", _truncated)


def Censored(base: Distribution, low: Any = None, high: Any = None) -> Distribution:
    """`base` seen through a window: values beyond it are reported as its edge.

    A value at `high` (or `low`) carries the mass of the tail behind it; inside, the density is the base's.

    Example:
        >>> from ppl.distributions import Exponential
        >>> Censored(Exponential(0.5), high=4.0).log_prob([1.0, 4.0]).tolist()
        [-1.1931471805599454, -2.0]
    """
    return _bounded(base, low, high, "Censored", _censored)


def _bounded(
    base: Any, low: Any, high: Any, name: str, family: Callable[[Family], Family]
) -> Distribution:
    from .adopt import adopt

    inner = adopt(base)
    if inner is None:
        raise DistributionError(f"{name} takes a distribution first; it was given {base!r}.")
    if inner.family.name not in TAILS:
        raise DistributionError(
            f"{name} needs a cdf, which {inner.family.name} has not here; bases are {', '.join(TAILS)}."
        )
    tensors = dict(inner.parameters)
    tensors["lower"] = to_tensor(-torch.inf if low is None else low, name, "low")
    tensors["upper"] = to_tensor(torch.inf if high is None else high, name, "high")
    made = family(inner.family)
    return Distribution(made, broadcast(tensors, dict(made.ranks), name))


def _inner(q: Parameters) -> dict[str, Tensor]:
    return {k: v for k, v in q.items() if k not in ("lower", "upper")}


def _base(family: Family, q: Parameters) -> Distribution:
    """The base with every axis lifted: nothing is summed."""
    return Distribution(family, _inner(q), q["lower"].dim())


def _tail(family: Family, q: Parameters, x: Tensor, below: bool) -> Tensor:
    """log P(X ≤ x) or log P(X > x), where x may be infinite.

    An infinite x makes the gradients of every formula NaN, chosen or not; a finite stand-in takes its place.
    """
    stand_in = q.get("loc", torch.ones_like(x))
    if family.name == "LogNormal":
        stand_in = torch.ones_like(x)
    if family.name == "Uniform":
        stand_in = (q["low"] + q["high"]) / 2
    open_end = torch.isinf(x)
    tails = TAILS[family.name]
    mass = (tails.log_cdf if below else tails.log_sf)(
        q, torch.where(open_end, stand_in.detach(), x)
    )
    at_end = torch.where((x > 0) == below, 0.0, -torch.inf).to(mass.dtype)
    return torch.where(open_end, at_end, mass)


def _before(family: Family, q: Parameters) -> Tensor:
    """The last value that is cut off on the left."""
    return q["lower"].ceil() - 1 if family.discrete else q["lower"]


def _log_below(family: Family, q: Parameters) -> Tensor:
    """log P(X < lower)."""
    return _tail(family, q, _before(family, q), True)


def _log_from(family: Family, q: Parameters) -> Tensor:
    """log P(X ≥ lower)."""
    return _tail(family, q, _before(family, q), False)


def _log_beyond(family: Family, q: Parameters) -> Tensor:
    """log P(X > upper)."""
    return _tail(family, q, q["upper"], False)


def _log_mass(family: Family, q: Parameters) -> Tensor:
    """log P(lower ≤ X ≤ upper), from whichever tail keeps the digits."""
    upper_cdf, upper_sf = _tail(family, q, q["upper"], True), _log_beyond(family, q)
    below, above = _log_below(family, q), _log_from(family, q)
    by_cdf, by_sf = log_difference(upper_cdf, below), log_difference(above, upper_sf)
    return torch.where(above < below, by_sf, by_cdf)


def _demand(family: Family, censored: bool = False) -> Callable[[Parameters], str | None]:
    def demand(q: Parameters) -> str | None:
        Distribution(family, _inner(q), 0).check()
        bad = q["lower"] > q["upper"]
        if bool(bad.any()):
            low, high = float(q["lower"][bad][0]), float(q["upper"][bad][0])
            return f"has low > high ({low:g} and {high:g})"
        if censored:
            edges = torch.stack([q["lower"], q["upper"]])
            broken = torch.isfinite(edges) & (edges != edges.round())
            if family.discrete and bool(broken.any()):
                return f"counts, and was given an edge at {float(edges[broken][0]):g}"
            return None
        if bool(torch.isneginf(_log_mass(family, q)).any()):
            return "keeps a window in which the base has no mass"
        return None

    return demand


@cache
def _truncated(family: Family) -> Family:
    tails = TAILS[family.name]

    def score(q: Parameters, x: Tensor) -> Tensor:
        inside = (x >= q["lower"]) & (x <= q["upper"])
        scores = _base(family, q).log_prob(x) - _log_mass(family, q)
        return torch.where(inside, scores, torch.full_like(scores, -torch.inf))

    def draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
        if tails.from_cdf is None or tails.from_sf is None:
            return _search(family, q, shape)
        u = torch.rand(*shape, *q["lower"].shape, dtype=torch.float64).clamp(min=1e-300)
        mass, right = _log_mass(family, q), _log_from(family, q) < _log_below(family, q)
        # A share u of the mass, counted from the side on which the tail is small.
        log_cdf = torch.logaddexp(_log_below(family, q), u.log() + mass)
        log_sf = torch.logaddexp(_log_beyond(family, q), u.log() + mass)
        x = torch.where(
            right,
            tails.from_sf(q, log_sf.clamp(max=NEARLY_ONE)),
            tails.from_cdf(q, log_cdf.clamp(max=NEARLY_ONE)),
        )
        return torch.minimum(torch.maximum(x, q["lower"]), q["upper"])

    def values(q: Parameters) -> Tensor | None:
        return _window(family, q, q["lower"].ceil())

    def support(q: Parameters) -> Any:
        outer = _base(family, q).support
        low = torch.maximum(q["lower"], torch.as_tensor(getattr(outer, "lower_bound", -torch.inf)))
        high = torch.minimum(q["upper"], torch.as_tensor(getattr(outer, "upper_bound", torch.inf)))
        if family.discrete:
            low = torch.clamp(low, min=0).ceil()
            return (
                type(constraints.nonnegative_integer)(low)
                if bool(torch.isinf(high).any())
                else constraints.integer_interval(low, high.floor())
            )
        if bool(torch.isinf(low).all()):
            return (
                constraints.real if bool(torch.isinf(high).all()) else constraints.less_than(high)
            )
        return (
            constraints.greater_than_eq(low)
            if bool(torch.isinf(high).all())
            else constraints.interval(low, high)
        )

    return Family(
        f"Truncated[{family.name}]",
        {**family.ranks, "lower": 0, "upper": 0},
        discrete=family.discrete,
        score=score,
        draw=draw,
        values=values if family.discrete else None,
        support=support,
        demand=_demand(family),
        event=lambda q: (),
    )


def _window(family: Family, q: Parameters, low: Tensor, edges: str = "open") -> Tensor | None:
    """The whole numbers of the window, within the base's; `None` when there is no last one."""
    high = q["upper"].floor()
    if "total_count" in q and family.name == "Binomial":
        high = torch.minimum(high, q["total_count"])
        if edges == "closed":
            high = torch.maximum(high, low)
    return whole_numbers(low.clamp(min=0), torch.maximum(high, low.clamp(min=0)))


def _search(family: Family, q: Parameters, shape: tuple[int, ...]) -> Tensor:
    """Draws where the cdf has no inverse: bisection on log P, to the last whole number or to 1e-14 of the draw."""
    tails = TAILS[family.name]
    full = (*shape, *q["lower"].shape)
    u = torch.rand(full, dtype=torch.float64).clamp(min=1e-300)
    mass, right = _log_mass(family, q), _log_from(family, q) < _log_below(family, q)
    from_left = torch.logaddexp(_log_below(family, q), u.log() + mass)
    from_right = torch.logaddexp(_log_beyond(family, q), u.log() + mass)
    # All bases without an inverse start at zero.
    low = q["lower"].clamp(min=0).expand(full).clone()
    low = low.ceil() - 1 if family.discrete else low.clamp(min=1e-300)
    high = torch.where(torch.isinf(q["upper"]), low.abs() * 2 + 64, q["upper"].expand(full))
    high = (
        high.floor() if family.discrete else high.clamp(max=1.0) if family.name == "Beta" else high
    )

    def past(x: Tensor) -> Tensor:
        # A rounding error at the far edge must not send the search away for ever, hence the upper bound below.
        return torch.where(right, tails.log_sf(q, x) < from_right, tails.log_cdf(q, x) >= from_left)

    for _ in range(64):
        short = ~past(high) & (high < q["upper"])
        if not bool(short.any()):
            break
        high = torch.where(short, torch.minimum(high * 2 + 1, q["upper"].expand(full)), high)
    for _ in range(130):
        middle = (low + high) / 2
        # By ratios while the ends are of different size, so that tiny draws keep their digits too.
        middle = (
            middle.floor()
            if family.discrete
            else torch.where(high > 2 * low, low.sqrt() * high.sqrt(), middle)
        )
        beyond = past(middle)
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        if bool((high - low <= (1.0 if family.discrete else 1e-14 * high)).all()):
            break
    return high


@cache
def _censored(family: Family) -> Family:
    def score(q: Parameters, x: Tensor) -> Tensor:
        inner = _base(family, q).log_prob(x)
        edge = q["upper"] - 1 if family.discrete else q["upper"]
        scores = torch.where(x == q["lower"], _tail(family, q, q["lower"], True), inner)
        scores = torch.where(x == q["upper"], _tail(family, q, edge, False), scores)
        # One point, all of the mass.
        scores = torch.where(q["lower"] == q["upper"], torch.zeros_like(scores), scores)
        outside = (x < q["lower"]) | (x > q["upper"])
        return torch.where(outside, torch.full_like(scores, -torch.inf), scores)

    def draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
        x = _base(family, q).sample(shape).to(torch.float64)
        return torch.minimum(torch.maximum(x, q["lower"]), q["upper"])

    def values(q: Parameters) -> Tensor | None:
        # The edges are values even where the base ends before them.
        return _window(family, q, q["lower"], "closed")

    return Family(
        f"Censored[{family.name}]",
        {**family.ranks, "lower": 0, "upper": 0},
        discrete=family.discrete,
        score=score,
        draw=draw,
        values=values if family.discrete else None,
        support=lambda q: _closed(_base(family, q).support, q),
        demand=_demand(family, censored=True),
        event=lambda q: (),
    )


def _closed(support: Any, q: Parameters) -> Any:
    """A censored value lies in the base's support or on an edge of the window."""
    start = torch.as_tensor(getattr(support, "lower_bound", -torch.inf))
    low = torch.maximum(q["lower"], start.to(q["lower"].dtype)).min()
    high = q["upper"].max()
    if getattr(support, "is_discrete", False):
        whole = type(constraints.nonnegative_integer)(low)
        return whole if bool(torch.isinf(high)) else constraints.integer_interval(low, high)
    if bool(torch.isinf(high)):
        return constraints.real if bool(torch.isinf(low)) else constraints.greater_than_eq(low)
    return constraints.interval(low, high)
