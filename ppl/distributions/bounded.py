"""Truncated, censored, and one's own: distributions made from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.distributions import constraints

from ..errors import DistributionError
from .distribution import Distribution, Family
from .tails import TAILS, log1mexp, log_difference
from .tensors import broadcast, to_tensor

__all__ = ["Censored", "Density", "Truncated"]

Parameters = Mapping[str, Tensor]


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
    shape = inner._leading
    tensors["lower"] = to_tensor(-torch.inf if low is None else low, name, "low")
    tensors["upper"] = to_tensor(torch.inf if high is None else high, name, "high")
    made = family(inner.family)
    del shape
    return Distribution(made, broadcast(tensors, dict(made.ranks), name))


def _base(family: Family, q: Parameters) -> Distribution:
    tensors = {k: v for k, v in q.items() if k not in ("lower", "upper")}
    some = next(iter(tensors.values()))
    # Every axis counts as lifted: nothing is summed and nothing is checked again.
    return (
        Distribution(family, tensors, max(some.dim(), 1))
        if some.dim()
        else Distribution(family, tensors, 0)
    )


def _log_below(family: Family, q: Parameters) -> Tensor:
    """log P(X < lower)."""
    lower = q["lower"] - 1 if family.discrete else q["lower"]
    return TAILS[family.name].log_cdf(q, lower)


def _log_from(family: Family, q: Parameters) -> Tensor:
    """log P(X ≥ lower)."""
    lower = q["lower"] - 1 if family.discrete else q["lower"]
    return TAILS[family.name].log_sf(q, lower)


def _log_mass(family: Family, q: Parameters) -> Tensor:
    """log P(lower ≤ X ≤ upper), from whichever tail keeps the digits."""
    tails = TAILS[family.name]
    upper_cdf, upper_sf = tails.log_cdf(q, q["upper"]), tails.log_sf(q, q["upper"])
    below, above = _log_below(family, q), _log_from(family, q)
    by_cdf, by_sf = log_difference(upper_cdf, below), log_difference(above, upper_sf)
    return torch.where(above < below, by_sf, by_cdf)


def _demand(family: Family) -> Callable[[Parameters], str | None]:
    def demand(q: Parameters) -> str | None:
        inner = {k: v for k, v in q.items() if k not in ("lower", "upper")}
        Distribution(family, inner, 0).check()
        if bool((q["lower"] > q["upper"]).any()):
            return "has low > high"
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
        log_sf = torch.logaddexp(tails.log_sf(q, q["upper"]), u.log() + mass)
        x = torch.where(
            right, tails.from_sf(q, log_sf.clamp(max=0)), tails.from_cdf(q, log_cdf.clamp(max=0))
        )
        return torch.minimum(torch.maximum(x, q["lower"]), q["upper"])

    def values(q: Parameters) -> Tensor:
        low = max(float(q["lower"].min()), 0.0)
        return torch.arange(int(numpy.ceil(low)), int(q["upper"].max()) + 1)

    def support(q: Parameters) -> Any:
        outer = _base(family, q).support
        low = torch.maximum(q["lower"], torch.as_tensor(getattr(outer, "lower_bound", -torch.inf)))
        high = torch.minimum(q["upper"], torch.as_tensor(getattr(outer, "upper_bound", torch.inf)))
        if family.discrete:
            low = torch.clamp(low, min=0).ceil()
            return (
                constraints.greater_than_eq(low)
                if bool(torch.isinf(high).any())
                else constraints.integer_interval(low, high)
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


def _search(family: Family, q: Parameters, shape: tuple[int, ...]) -> Tensor:
    """Draws where the cdf has no inverse: bisection on log P, to the last whole number or 1e-12 of the range."""
    tails = TAILS[family.name]
    full = (*shape, *q["lower"].shape)
    u = torch.rand(full, dtype=torch.float64).clamp(min=1e-300)
    mass, right = _log_mass(family, q), _log_from(family, q) < _log_below(family, q)
    from_left = torch.logaddexp(_log_below(family, q), u.log() + mass)
    from_right = torch.logaddexp(tails.log_sf(q, q["upper"]), u.log() + mass)
    low = (
        torch.where(torch.isinf(q["lower"]), torch.zeros_like(q["lower"]), q["lower"])
        .clamp(min=0)
        .expand(full)
        .clone()
    )
    if family.discrete:
        low = low - 1
    high = torch.where(torch.isinf(q["upper"]), low.abs() * 2 + 64, q["upper"].expand(full)).clone()

    def past(x: Tensor) -> Tensor:
        # A rounding error at the far edge must not send the search away for ever, hence the upper bound below.
        return torch.where(right, tails.log_sf(q, x) < from_right, tails.log_cdf(q, x) >= from_left)

    for _ in range(64):
        short = ~past(high) & (high < q["upper"])
        if not bool(short.any()):
            break
        high = torch.where(short, torch.minimum(high * 2 + 1, q["upper"].expand(full)), high)
    for _ in range(100):
        middle = ((low + high) / 2).floor() if family.discrete else (low + high) / 2
        beyond = past(middle)
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        if bool((high - low <= (1.0 if family.discrete else 1e-12)).all()):
            break
    return high


@cache
def _censored(family: Family) -> Family:
    tails = TAILS[family.name]

    def score(q: Parameters, x: Tensor) -> Tensor:
        inner = _base(family, q).log_prob(x)
        edge = q["upper"] - 1 if family.discrete else q["upper"]
        scores = torch.where(x == q["lower"], tails.log_cdf(q, q["lower"]), inner)
        scores = torch.where(x == q["upper"], tails.log_sf(q, edge), scores)
        outside = (x < q["lower"]) | (x > q["upper"])
        return torch.where(outside, torch.full_like(scores, -torch.inf), scores)

    def draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
        x = _base(family, q).sample(shape).to(torch.float64)
        return torch.minimum(torch.maximum(x, q["lower"]), q["upper"])

    def values(q: Parameters) -> Tensor:
        return torch.arange(int(max(float(q["lower"].min()), 0.0)), int(q["upper"].max()) + 1)

    return Family(
        f"Censored[{family.name}]",
        {**family.ranks, "lower": 0, "upper": 0},
        discrete=family.discrete,
        score=score,
        draw=draw,
        values=values if family.discrete else None,
        support=lambda q: _closed(_base(family, q).support, q),
        demand=_demand(family),
        event=lambda q: (),
    )


def _closed(support: Any, q: Parameters) -> Any:
    """A censored value lies in the base's support or on an edge of the window."""
    low = torch.maximum(q["lower"], torch.as_tensor(getattr(support, "lower_bound", -torch.inf)))
    return constraints.interval(low.min(), q["upper"].max())


def Density(
    log_prob: Callable[[Tensor], Any],
    sample: Callable[[numpy.random.Generator], Any],
    support: Any = constraints.real,
) -> Distribution:
    """One's own distribution.

    Args:
        log_prob: The log density of one value, normalised.
        sample: One draw, from a seeded generator.
        support: A `torch.distributions.constraints` object.

    Example:
        >>> half = Density(lambda x: torch.log(2 * x), lambda rng: rng.random() ** 0.5, constraints.unit_interval)
        >>> round(float(half.log_prob(0.5)), 6)
        0.0
    """
    event = tuple(torch.as_tensor(sample(numpy.random.default_rng(0))).shape)

    def score(q: Parameters, x: Tensor) -> Tensor:
        rows = x.reshape((-1, *event))
        inside = support.check(rows)
        inside = inside.reshape((len(rows), -1)).all(-1)
        scored = [
            torch.as_tensor(log_prob(row), dtype=torch.float64).reshape(())
            if bool(ok)
            else torch.tensor(-torch.inf, dtype=torch.float64)
            for row, ok in zip(rows, inside, strict=True)
        ]
        return torch.stack(scored).reshape(x.shape[: x.dim() - len(event)])

    def draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
        count = int(numpy.prod(shape, dtype=int))
        seeds = torch.randint(2**62, (count,)).tolist()
        values = [
            torch.as_tensor(sample(numpy.random.default_rng(s)), dtype=torch.float64) for s in seeds
        ]
        return torch.stack(values).reshape((*shape, *event))

    family = Family(
        "Density",
        {"none": 0},
        score=score,
        draw=draw,
        support=lambda q: support,
        event=lambda q: event,
        liftable=False,
    )
    return Distribution(family, {"none": torch.zeros((), dtype=torch.float64)})


del log1mexp
