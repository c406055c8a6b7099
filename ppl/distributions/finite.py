"""Finite and counting families, scored so that true zeros stay zero.

Pyro clamps probabilities to 1e-7; a table of conditional probabilities must not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import pyro.distributions as pyro
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from .distribution import Distribution, Family
from .domain import whole_numbers
from .tensors import broadcast, is_whole, to_tensor

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Delta",
    "Geometric",
    "Integers",
    "OneHotCategorical",
]

Parameters = Mapping[str, Tensor]


def _safe_log(p: Tensor) -> Tensor:
    """log p with minus infinity at zero and a gradient that is never NaN."""
    positive = p > 0
    return torch.where(
        positive, torch.where(positive, p, torch.ones_like(p)).log(), torch.full_like(p, -torch.inf)
    )


# -- Bernoulli -----------------------------------------------------------------------------------


def _bernoulli_score(parameters: Parameters, value: Tensor) -> Tensor:
    p = parameters["probs"]
    scores = torch.where(value == 1, _safe_log(p), _safe_log(1 - p))
    return torch.where((value == 0) | (value == 1), scores, torch.full_like(scores, -torch.inf))


def _bernoulli_draw(parameters: Parameters, shape: tuple[int, ...]) -> Tensor:
    p = parameters["probs"]
    return torch.rand(*shape, *p.shape, dtype=torch.float64) < p


_BERNOULLI = Family(
    "Bernoulli",
    {"probs": 0},
    lambda q: pyro.Bernoulli(probs=q["probs"], validate_args=False),
    discrete=True,
    score=_bernoulli_score,
    draw=_bernoulli_draw,
    values=lambda q: torch.tensor([0, 1]),
    support=lambda q: constraints.boolean,
    event=lambda q: (),
    constraints={"probs": constraints.unit_interval},
)


def _bernoulli_logits_score(parameters: Parameters, value: Tensor) -> Tensor:
    logits = parameters["logits"]
    scores = torch.where(value == 1, logsigmoid(logits), logsigmoid(-logits))
    return torch.where((value == 0) | (value == 1), scores, torch.full_like(scores, -torch.inf))


_BERNOULLI_LOGITS = Family(
    "Bernoulli",
    {"logits": 0},
    lambda q: pyro.Bernoulli(logits=q["logits"], validate_args=False),
    discrete=True,
    score=_bernoulli_logits_score,
    draw=lambda q, shape: _bernoulli_draw({"probs": q["logits"].sigmoid()}, shape),
    values=lambda q: torch.tensor([0, 1]),
    support=lambda q: constraints.boolean,
    event=lambda q: (),
    constraints={"logits": constraints.real},
)


def Bernoulli(probs: Any = None, logits: Any = None) -> Distribution:
    """One with probability `probs`, zero otherwise.

    Example:
        >>> Bernoulli(0.0).log_prob(1)
        tensor(-inf, dtype=torch.float64)
    """
    return _either("Bernoulli", _BERNOULLI, _BERNOULLI_LOGITS, probs, logits)


def _either(
    name: str, by_probs: Family, by_logits: Family, probs: Any, logits: Any, **others: Any
) -> Distribution:
    """A distribution that is given by its probabilities or by their logits."""
    if (probs is None) == (logits is None):
        raise TypeError(f"{name} takes either probs or logits.")
    key, value, family = (
        ("probs", probs, by_probs) if logits is None else ("logits", logits, by_logits)
    )
    tensors = {k: to_tensor(v, name, k) for k, v in {**others, key: value}.items()}
    return Distribution(family, broadcast(tensors, dict(family.ranks), name))


# -- Categorical ---------------------------------------------------------------------------------


def _normalised(p: Tensor) -> Tensor:
    return p / p.sum(dim=-1, keepdim=True)


def _categorical_score(parameters: Parameters, value: Tensor) -> Tensor:
    logs = _safe_log(_normalised(parameters["probs"]))
    return _picked(logs, value)


def _picked(logs: Tensor, value: Tensor) -> Tensor:
    shape = numpy.broadcast_shapes(logs.shape[:-1], value.shape)
    count = logs.shape[-1]
    inside = (value >= 0) & (value < count) & (value == value.round())
    index = torch.where(inside, value, torch.zeros_like(value)).to(torch.int64)
    scores = logs.expand((*shape, count)).gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
    return torch.where(inside.expand(shape), scores, torch.full_like(scores, -torch.inf))


def _categorical_draw(parameters: Parameters, shape: tuple[int, ...]) -> Tensor:
    p = parameters["probs"]
    cdf = p.cumsum(dim=-1)
    # u < total always, so that the last value with positive probability is never passed.
    u = torch.rand(*shape, *p.shape[:-1], 1, dtype=torch.float64) * cdf[..., -1:]
    return (cdf <= u).sum(dim=-1)


_CATEGORICAL = Family(
    "Categorical",
    {"probs": 1},
    lambda q: pyro.Categorical(probs=q["probs"], validate_args=False),
    discrete=True,
    rows=("probs",),
    score=_categorical_score,
    draw=_categorical_draw,
    values=lambda q: torch.arange(q["probs"].shape[-1]),
    support=lambda q: constraints.integer_interval(0, q["probs"].shape[-1] - 1),
    event=lambda q: (),
)
_CATEGORICAL_LOGITS = Family(
    "Categorical",
    {"logits": 1},
    lambda q: pyro.Categorical(logits=q["logits"], validate_args=False),
    discrete=True,
    score=lambda q, value: _picked(q["logits"].log_softmax(dim=-1), value),
    draw=lambda q, shape: _categorical_draw({"probs": q["logits"].softmax(dim=-1)}, shape),
    values=lambda q: torch.arange(q["logits"].shape[-1]),
    support=lambda q: constraints.integer_interval(0, q["logits"].shape[-1] - 1),
    event=lambda q: (),
)


def Categorical(probs: Any = None, logits: Any = None) -> Distribution:
    """One of 0, 1, …, k − 1, with the probabilities of a row that sums to one.

    Example:
        >>> Categorical([0.5, 0.5, 0]).log_prob([0, 2]).tolist()
        [-0.6931471805599453, -inf]
    """
    return _either("Categorical", _CATEGORICAL, _CATEGORICAL_LOGITS, probs, logits)


def _onehot(name: str, probs: Any, **more: Any) -> Family:
    """By probabilities or by logits; `probs` reads the former off the parameters."""

    def score(q: Parameters, value: Tensor) -> Tensor:
        valid = ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)
        logs = (
            q["logits"].log_softmax(-1) if name == "logits" else _safe_log(_normalised(q["probs"]))
        )
        scores = _picked(logs, value.argmax(-1).to(torch.float64))
        return torch.where(valid, scores, torch.full_like(scores, -torch.inf))

    return Family(
        "OneHotCategorical",
        {name: 1},
        lambda q: pyro.OneHotCategorical(**q, validate_args=False),
        discrete=True,
        score=score,
        draw=lambda q, shape: torch.nn.functional.one_hot(
            _categorical_draw({"probs": probs(q)}, shape), q[name].shape[-1]
        ),
        values=lambda q: torch.eye(q[name].shape[-1], dtype=torch.int64).flip(0),
        support=lambda q: constraints.one_hot,
        event=lambda q: (q[name].shape[-1],),
        **more,
    )


_ONE_HOT = _onehot("probs", lambda q: q["probs"], rows=("probs",))
_ONE_HOT_LOGITS = _onehot("logits", lambda q: q["logits"].softmax(dim=-1))


def OneHotCategorical(probs: Any = None, logits: Any = None) -> Distribution:
    """A vector with a single one, at position i with probability `probs[i]`."""
    return _either("OneHotCategorical", _ONE_HOT, _ONE_HOT_LOGITS, probs, logits)


# -- Integers, Delta -----------------------------------------------------------------------------


def _integers_score(parameters: Parameters, value: Tensor) -> Tensor:
    low, high = parameters["low"], parameters["high"]
    inside = (value >= low) & (value <= high) & (value == value.round())
    return torch.where(
        inside, -(high - low + 1).log(), torch.full_like(high - low + value, -torch.inf)
    )


def _integers_draw(parameters: Parameters, shape: tuple[int, ...]) -> Tensor:
    low, high = parameters["low"], parameters["high"]
    u = torch.rand(*shape, *low.shape, dtype=torch.float64)
    return low + (u * (high - low + 1)).floor()


def _integers_demand(parameters: Parameters) -> str | None:
    low, high = parameters["low"], parameters["high"]
    if bool((low != low.round()).any()) or bool((high != high.round()).any()):
        return "takes whole numbers for low and high"
    bad = low > high
    if bool(bad.any()):
        return f"was given low > high ({float(low[bad][0]):g} and {float(high[bad][0]):g})"
    return None


_INTEGERS = Family(
    "Integers",
    {"low": 0, "high": 0},
    discrete=True,
    score=_integers_score,
    draw=_integers_draw,
    values=lambda q: whole_numbers(q["low"], q["high"]),
    support=lambda q: constraints.integer_interval(q["low"].min(), q["high"].max()),
    event=lambda q: (),
    demand=_integers_demand,
)


def Integers(low: Any, high: Any) -> Distribution:
    """Uniform on the whole numbers low, …, high, both included.

    Example:
        >>> Integers(1, 6).domain()
        tensor([1, 2, 3, 4, 5, 6])
    """
    tensors = {
        "low": to_tensor(low, "Integers", "low"),
        "high": to_tensor(high, "Integers", "high"),
    }
    return Distribution(_INTEGERS, broadcast(tensors, dict(_INTEGERS.ranks), "Integers"))


def _delta_score(parameters: Parameters, value: Tensor) -> Tensor:
    same = value == parameters["value"]
    zero = torch.zeros(same.shape, dtype=torch.float64)
    return torch.where(same, zero, zero - torch.inf)


def _delta(name: str, discrete: bool) -> Family:
    return Family(
        name,
        {"value": 0},
        lambda q: pyro.Delta(q["value"]),
        discrete=discrete,
        score=_delta_score,
        draw=lambda q, shape: q["value"].expand((*shape, *q["value"].shape)),
        values=(lambda q: torch.unique(q["value"].reshape(-1)).to(torch.int64))
        if discrete
        else None,
        support=lambda q: (
            constraints.integer_interval(q["value"].min(), q["value"].max())
            if discrete
            else constraints.real
        ),
        event=lambda q: (),
        constraints={"value": constraints.real},
    )


_POINT, _WHOLE_POINT = _delta("Delta", False), _delta("Delta", True)


def Delta(value: Any) -> Distribution:
    """All mass at one value; a whole number makes it discrete."""
    tensor = to_tensor(value, "Delta", "value")
    return Distribution(_WHOLE_POINT if is_whole(value) else _POINT, {"value": tensor})


# -- Binomial, Geometric -------------------------------------------------------------------------


def _log_chances(q: Parameters) -> tuple[Tensor, Tensor]:
    """log p and log(1 − p), each to its last digit."""
    if "logits" in q:
        return logsigmoid(q["logits"]), logsigmoid(-q["logits"])
    return _safe_log(q["probs"]), _safe_log(1 - q["probs"])


def _weighted(count: Tensor, log_p: Tensor) -> Tensor:
    """count · log p, where 0 · log 0 = 0, with gradients that are never NaN."""
    count, log_p = torch.broadcast_tensors(count, log_p)
    none = count == 0
    return torch.where(none, torch.zeros_like(count), count * torch.where(none, count, log_p))


def _binomial_score(q: Parameters, value: Tensor) -> Tensor:
    n = q["total_count"]
    inside = (value >= 0) & (value <= n) & (value == value.round())
    k = torch.where(inside, value, torch.zeros_like(n + value))
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    log_p, log_q = _log_chances(q)
    scores = ways + _weighted(k, log_p) + _weighted(n - k, log_q)
    return torch.where(inside, scores, torch.full_like(scores, -torch.inf))


def _binomial_draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
    n, p = q["total_count"], q["logits"].sigmoid() if "logits" in q else q["probs"]
    n, p = (t.expand((*shape, *t.shape)).contiguous() for t in (n, p))
    return torch.binomial(n, p)


def _binomial(name: str, constraint: Any) -> Family:
    return Family(
        "Binomial",
        {"total_count": 0, name: 0},
        lambda q: pyro.Binomial(**q, validate_args=False),
        discrete=True,
        score=_binomial_score,
        draw=_binomial_draw,
        values=lambda q: whole_numbers(torch.zeros_like(q["total_count"]), q["total_count"]),
        support=lambda q: constraints.integer_interval(0, q["total_count"].max()),
        event=lambda q: (),
        constraints={"total_count": constraints.nonnegative_integer, name: constraint},
    )


_BINOMIAL = _binomial("probs", constraints.unit_interval)
_BINOMIAL_LOGITS = _binomial("logits", constraints.real)


def Binomial(total_count: Any = 1, probs: Any = None, logits: Any = None) -> Distribution:
    """The number of successes in `total_count` trials."""
    return _either("Binomial", _BINOMIAL, _BINOMIAL_LOGITS, probs, logits, total_count=total_count)


def _geometric_score(q: Parameters, value: Tensor) -> Tensor:
    log_p, log_q = _log_chances(q)
    inside = (value >= 0) & (value == value.round()) & torch.isfinite(value)
    k = torch.where(inside, value, torch.zeros_like(log_p + value))
    scores = _weighted(k, log_q) + log_p
    return torch.where(inside, scores, torch.full_like(scores, -torch.inf))


def _geometric(name: str, constraint: Any) -> Family:
    return Family(
        "Geometric",
        {name: 0},
        lambda q: pyro.Geometric(**q, validate_args=False),
        discrete=True,
        score=_geometric_score,
        support=lambda q: constraints.nonnegative_integer,
        event=lambda q: (),
        constraints={name: constraint},
    )


_GEOMETRIC = _geometric("probs", constraints.interval(1e-300, 1.0))
_GEOMETRIC_LOGITS = _geometric("logits", constraints.real)


def Geometric(probs: Any = None, logits: Any = None) -> Distribution:
    """The number of failures before the first success: 0, 1, 2, …"""
    return _either("Geometric", _GEOMETRIC, _GEOMETRIC_LOGITS, probs, logits)
