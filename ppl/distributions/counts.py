"""Counting families, scored so that true zeros stay zero: a rate of zero, a gate that is open or shut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro.distributions as pyro
import torch
from torch import Tensor, lgamma
from torch.distributions import constraints

from .distribution import Distribution, Family
from .domain import whole_numbers
from .finite import _either, _log_chances, _safe_log, _weighted
from .tensors import broadcast, to_tensor

__all__ = [
    "BetaBinomial",
    "DirichletMultinomial",
    "Multinomial",
    "NegativeBinomial",
    "NegativeBinomial2",
    "Poisson",
    "ZeroInflatedPoisson",
]

Parameters = Mapping[str, Tensor]


def Poisson(rate: Any) -> Distribution:
    """Counts with mean `rate`.

    Example:
        >>> Poisson(0).log_prob([0, 1]).tolist()
        [0.0, -inf]
    """
    return _made(_POISSON, rate=rate)


def ZeroInflatedPoisson(rate: Any, gate: Any) -> Distribution:
    """Zero with probability `gate`, otherwise a Poisson."""
    return _made(_ZERO_POISSON, rate=rate, gate=gate)


def NegativeBinomial(total_count: Any, probs: Any = None, logits: Any = None) -> Distribution:
    """Successes before `total_count` failures, as in Pyro: mean `total_count · probs / (1 − probs)`."""
    return _either(
        "NegativeBinomial", _NEGATIVE, _NEGATIVE_LOGITS, probs, logits, total_count=total_count
    )


def NegativeBinomial2(mean: Any, dispersion: Any) -> Distribution:
    """Counts with variance mean + mean² / dispersion (Stan's neg_binomial_2)."""
    return _made(_NEGATIVE_2, mean=mean, dispersion=dispersion)


def BetaBinomial(concentration1: Any, concentration0: Any, total_count: Any = 1) -> Distribution:
    """A binomial whose probability is a beta."""
    return _made(
        _BETA_BINOMIAL,
        concentration1=concentration1,
        concentration0=concentration0,
        total_count=total_count,
    )


def Multinomial(total_count: Any = 1, probs: Any = None, logits: Any = None) -> Distribution:
    """Counts of `total_count` independent categories."""
    return _either(
        "Multinomial", _MULTINOMIAL, _MULTINOMIAL_LOGITS, probs, logits, total_count=total_count
    )


def DirichletMultinomial(concentration: Any, total_count: Any = 1) -> Distribution:
    """A multinomial whose probabilities are a Dirichlet."""
    return _made(_DIRICHLET_MULTINOMIAL, concentration=concentration, total_count=total_count)


def _made(family: Family, **values: Any) -> Distribution:
    tensors = {k: to_tensor(v, family.name, k) for k, v in values.items()}
    return Distribution(family, broadcast(tensors, dict(family.ranks), family.name))


def _counted(value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a value is a count, and the value with zero in the place of what is none."""
    # From 1e300 on log Γ overflows, and differences of it are NaN; no count that large has a mass.
    inside = (value >= 0) & (value == value.round()) & (value < 1e300)
    inside, value, _ = torch.broadcast_tensors(inside, value, like)
    return inside, torch.where(inside, value, torch.zeros_like(value))


def _or_never(inside: Tensor, scores: Tensor) -> Tensor:
    return torch.where(inside, scores, torch.full_like(scores, -torch.inf))


# -- one count -----------------------------------------------------------------------------------


def _poisson_score(q: Parameters, value: Tensor) -> Tensor:
    inside, k = _counted(value, q["rate"])
    return _or_never(inside, _weighted(k, _safe_log(q["rate"])) - q["rate"] - lgamma(k + 1))


_POISSON = Family(
    "Poisson",
    {"rate": 0},
    lambda q: pyro.Poisson(**q, validate_args=False),
    discrete=True,
    score=_poisson_score,
    support=lambda q: constraints.nonnegative_integer,
    event=lambda q: (),
    constraints={"rate": constraints.nonnegative},
)


def _zero_poisson_score(q: Parameters, value: Tensor) -> Tensor:
    inside, k = _counted(value, q["rate"])
    counted = _safe_log(1 - q["gate"]) + _poisson_score(q, k)
    # log(gate + (1 − gate) exp(−rate)), whose argument is zero only for an infinite rate
    none = (q["gate"] + (1 - q["gate"]) * (-q["rate"]).exp()).clamp(min=1e-300).log()
    return _or_never(inside, torch.where(k == 0, none, counted))


_ZERO_POISSON = Family(
    "ZeroInflatedPoisson",
    {"rate": 0, "gate": 0},
    lambda q: pyro.ZeroInflatedPoisson(q["rate"], gate=q["gate"], validate_args=False),
    discrete=True,
    score=_zero_poisson_score,
    draw=lambda q, shape: torch.where(
        torch.rand(*shape, *q["gate"].shape, dtype=torch.float64) < q["gate"],
        0.0,
        torch.poisson(q["rate"].expand((*shape, *q["rate"].shape))),
    ),
    support=lambda q: constraints.nonnegative_integer,
    event=lambda q: (),
    constraints={"rate": constraints.nonnegative, "gate": constraints.unit_interval},
)


def _negative_score(q: Parameters, value: Tensor) -> Tensor:
    r = q["total_count"]
    inside, k = _counted(value, r)
    go_on, stop = _log_chances(q)
    ways = lgamma(r + k) - lgamma(r) - lgamma(k + 1)
    return _or_never(inside, ways + _weighted(k, go_on) + r * stop)


def _negative_2_score(q: Parameters, value: Tensor) -> Tensor:
    m, r = q["mean"], q["dispersion"]
    inside, k = _counted(value, r)
    ways = lgamma(r + k) - lgamma(r) - lgamma(k + 1)
    go_on, stop = _safe_log(m) - (m + r).log(), -torch.log1p(m / r)
    return _or_never(inside, ways + _weighted(k, go_on) + r * stop)


def _negative(name: str, constraint: Any) -> Family:
    return Family(
        "NegativeBinomial",
        {"total_count": 0, name: 0},
        lambda q: pyro.NegativeBinomial(**q, validate_args=False),
        discrete=True,
        score=_negative_score,
        support=lambda q: constraints.nonnegative_integer,
        event=lambda q: (),
        constraints={"total_count": constraints.positive, name: constraint},
    )


_NEGATIVE = _negative("probs", constraints.half_open_interval(0.0, 1.0))
_NEGATIVE_LOGITS = _negative("logits", constraints.real)
_NEGATIVE_2 = Family(
    "NegativeBinomial2",
    {"mean": 0, "dispersion": 0},
    lambda q: pyro.NegativeBinomial(
        q["dispersion"], probs=q["mean"] / (q["mean"] + q["dispersion"]), validate_args=False
    ),
    discrete=True,
    score=_negative_2_score,
    support=lambda q: constraints.nonnegative_integer,
    event=lambda q: (),
    constraints={"mean": constraints.nonnegative, "dispersion": constraints.positive},
)
_BETA_BINOMIAL = Family(
    "BetaBinomial",
    {"concentration1": 0, "concentration0": 0, "total_count": 0},
    lambda q: pyro.BetaBinomial(**q, validate_args=False),
    discrete=True,
    values=lambda q: whole_numbers(torch.zeros_like(q["total_count"]), q["total_count"]),
    event=lambda q: (),
    constraints={
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "total_count": constraints.nonnegative_integer,
    },
)


# -- counts of categories ------------------------------------------------------------------------


def _multinomial_score(q: Parameters, value: Tensor) -> Tensor:
    n = q["total_count"]
    # True zeros of a row stay zeros; a row that is off by rounding is renormalised.
    logs = (
        q["logits"].log_softmax(dim=-1)
        if "logits" in q
        else _safe_log(q["probs"] / q["probs"].sum(dim=-1, keepdim=True))
    )
    counts, k = _counted(value, logs)
    inside = counts.all(dim=-1) & (k.sum(dim=-1) == n)
    terms = _weighted(torch.where(inside.unsqueeze(-1), k, torch.zeros_like(k)), logs)
    scores = lgamma(n + 1) - lgamma(k + 1).sum(dim=-1) + terms.sum(dim=-1)
    return _or_never(inside, scores)


def _multinomial_draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
    """Category by category: what is left is binomial, for a different total in every row too."""
    p = q["logits"].softmax(dim=-1) if "logits" in q else q["probs"]
    p = p.expand((*shape, *p.shape))
    # Sums from the end: the share of the last possible category is exactly one, so that none is left for an impossible one.
    rest = p.flip(-1).cumsum(dim=-1).flip(-1)
    left = q["total_count"].expand(p.shape[:-1]).clone()
    counts = []
    for k in range(p.shape[-1]):
        some = rest[..., k] > 0
        share = torch.where(some, p[..., k] / torch.where(some, rest[..., k], 1.0), 0.0)
        counts.append(torch.binomial(left.contiguous(), share.clamp(0, 1).contiguous()))
        left = left - counts[-1]
    return torch.stack(counts, dim=-1)


def _multinomial_moments(q: Parameters) -> tuple[Tensor, Tensor]:
    n = q["total_count"].unsqueeze(-1)
    p = q["logits"].softmax(dim=-1) if "logits" in q else q["probs"]
    return n * p, n * p * (1 - p)


def _multinomial(name: str, **more: Any) -> Family:
    return Family(
        "Multinomial",
        {"total_count": 0, name: 1},
        discrete=True,
        score=_multinomial_score,
        draw=_multinomial_draw,
        moments=_multinomial_moments,
        support=lambda q: constraints.independent(constraints.nonnegative_integer, 1),
        event=lambda q: tuple(q[name].shape[-1:]),
        constraints={"total_count": constraints.nonnegative_integer},
        **more,
    )


_MULTINOMIAL = _multinomial("probs", rows=("probs",))
_MULTINOMIAL_LOGITS = _multinomial("logits")


def _dirichlet_multinomial_score(q: Parameters, value: Tensor) -> Tensor:
    a, n = q["concentration"], q["total_count"]
    counts, k = _counted(value, a)
    inside = counts.all(dim=-1) & (k.sum(dim=-1) == n)
    total = a.sum(dim=-1)
    whole = lgamma(n + 1) + lgamma(total) - lgamma(n + total)
    each = (lgamma(k + a) - lgamma(a) - lgamma(k + 1)).sum(dim=-1)
    return _or_never(inside, whole + each)


_DIRICHLET_MULTINOMIAL = Family(
    "DirichletMultinomial",
    {"concentration": 1, "total_count": 0},
    discrete=True,
    score=_dirichlet_multinomial_score,
    draw=lambda q, shape: _multinomial_draw(
        {
            "probs": pyro.Dirichlet(q["concentration"], validate_args=False).sample(shape),
            "total_count": q["total_count"].expand((*shape, *q["total_count"].shape)),
        },
        (),
    ),
    support=lambda q: constraints.independent(constraints.nonnegative_integer, 1),
    event=lambda q: tuple(q["concentration"].shape[-1:]),
    constraints={
        "concentration": constraints.independent(constraints.positive, 1),
        "total_count": constraints.nonnegative_integer,
    },
)
