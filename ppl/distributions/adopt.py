"""Adoption: a raw Pyro or torch distribution that a body returns becomes ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from . import counts, families, finite
from .distribution import Distribution, Family

__all__ = ["adopt"]

#: Constructor arguments of the classes that we know, in both libraries.
KNOWN: dict[str, tuple[str, ...]] = {
    "Normal": ("loc", "scale"),
    "LogNormal": ("loc", "scale"),
    "HalfNormal": ("scale",),
    "HalfCauchy": ("scale",),
    "Cauchy": ("loc", "scale"),
    "StudentT": ("df", "loc", "scale"),
    "Laplace": ("loc", "scale"),
    "Gumbel": ("loc", "scale"),
    "Logistic": ("loc", "scale"),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "InverseGamma": ("concentration", "rate"),
    "Chi2": ("df",),
    "Weibull": ("scale", "concentration"),
    "Pareto": ("scale", "alpha"),
    "Beta": ("concentration1", "concentration0"),
    "Uniform": ("low", "high"),
    "VonMises": ("loc", "concentration"),
    "Dirichlet": ("concentration",),
    "Poisson": ("rate",),
    "Bernoulli": ("probs",),
    "Categorical": ("probs",),
    "OneHotCategorical": ("probs",),
    "Binomial": ("total_count", "probs"),
    "Geometric": ("probs",),
    "BetaBinomial": ("concentration1", "concentration0", "total_count"),
    "ZeroInflatedPoisson": ("rate", "gate"),
    "Multinomial": ("total_count", "probs"),
    "DirichletMultinomial": ("concentration", "total_count"),
    "NegativeBinomial": ("total_count", "probs"),
    "LKJCholesky": ("dim", "concentration"),
    "MultivariateNormal": ("loc", "scale_tril"),
}


def adopt(thing: Any) -> Distribution | None:
    """A distribution of ours, or `None` when the thing is no distribution.

    Example:
        >>> adopt(torch.distributions.Normal(0.0, 1.0))
        Normal(loc=0, scale=1)
        >>> adopt(3.0) is None
        True
    """
    if isinstance(thing, Distribution):
        return thing
    if not isinstance(thing, torch.distributions.Distribution):
        return None
    inner = thing
    while type(inner).__name__ in ("Independent", "ExpandedDistribution"):
        inner = inner.base_dist  # type: ignore[attr-defined]
    name = type(inner).__name__
    if name in KNOWN and type(inner).__module__.startswith(("torch.", "pyro.")):
        maker = next(getattr(m, name) for m in (finite, counts, families) if hasattr(m, name))
        made = _expanded(maker(**_arguments(inner, KNOWN[name])), thing)
        if made is not None:
            return made
    return _foreign(thing)


def _arguments(inner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Constructor arguments, as the object was given them: probabilities made from logits have lost digits."""
    found = {}
    for name in names:
        by_logits = name == "probs" and "logits" in vars(inner) and "probs" not in vars(inner)
        found["logits" if by_logits else name] = getattr(inner, "logits" if by_logits else name)
    return found


def _expanded(made: Distribution, thing: Any) -> Distribution | None:
    """Ours with the shape of theirs, whose `expand` may be kept apart from the tensors; `None` if it does not fit."""
    event = thing.batch_shape + thing.event_shape
    if made.event_shape == event:
        return made
    own = event[: len(event) - len(made._base_event)]
    try:
        tensors = {
            k: t.expand((*own, *t.shape[t.dim() - made.family.ranks[k] :]))
            for k, t in made.parameters.items()
        }
    except RuntimeError:
        return None
    grown = Distribution(made.family, tensors)
    return grown if grown.event_shape == event else None


def _foreign(thing: Any) -> Distribution:
    """A wrapper for a class whose tensors cannot be batched: it answers, one call at a time."""
    own = len(thing.batch_shape)
    base = thing.to_event(own) if own and hasattr(thing, "to_event") else thing
    if own and base is thing:
        base = torch.distributions.Independent(thing, own)
    discrete = bool(getattr(base.support, "is_discrete", False))

    def values(q: Mapping[str, Tensor]) -> Tensor:
        return base.enumerate_support(expand=False).to(torch.int64)

    enumerable = discrete and getattr(base, "has_enumerate_support", False) and not base.event_shape
    family = Family(
        type(thing).__name__,
        {"none": 0},
        discrete=discrete,
        score=lambda q, x: _scored(base, x),
        draw=lambda q, shape: base.sample(shape),
        values=values if enumerable else None,
        support=lambda q: base.support,
        event=lambda q: tuple(base.event_shape),
        demand=lambda q: _complaint(thing),
        liftable=False,
    )
    return Distribution(family, {"none": torch.zeros((), dtype=torch.float64)})


def _complaint(thing: Any) -> str | None:
    """What is wrong with a foreign distribution's parameters; they were built without checks."""
    for name, constraint in thing.arg_constraints.items():
        if name not in thing.__dict__ or torch.distributions.constraints.is_dependent(constraint):
            continue
        if not bool(constraint.check(torch.as_tensor(getattr(thing, name))).all()):
            return f"was given {name} = {getattr(thing, name)}, which it cannot have"
    return None


def _scored(base: Any, x: Tensor) -> Tensor:
    inside = base.support.check(x) & torch.isfinite(x).reshape(
        (*x.shape[: x.dim() - base.support.event_dim], -1)
    ).all(-1)
    if bool(inside.all()):
        return base.log_prob(x).to(torch.float64)
    safe = torch.where(
        inside.reshape((*inside.shape, *[1] * (x.dim() - inside.dim()))),
        x,
        base.sample().to(x.dtype),
    )
    scores = base.log_prob(safe).to(torch.float64)
    return torch.where(inside, scores, torch.full_like(scores, -torch.inf))
