"""The explicit joint density as a judge: importance weights of the answer's draws, and an independent sampler.

Weights tell how far the answer's density is from p(θ, x), where the answer has draws; a mode in which it has none does not show. So the draws must also
look like those of a tempered SMC that begins at the prior.

References:
    | Pareto smoothed importance sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024)
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy
import torch

from ..compiler import registry
from ..errors import GaltonError
from ..posterior import Check
from .classifier import accuracy
from .component import Component
from .simulated import flat

__all__ = ["ALIKE", "SMOOTH", "importance"]

#: Draws of the answer, the largest Pareto k that is good, and the accuracy of a classifier from which samples are different.
DRAWS, SMOOTH, ALIKE = 2000, 0.7, 0.6


def importance(component: Component) -> list[Check] | str:
    """Pareto k of the weights, and agreement with tempered SMC; a text says why there are none."""
    judge = registry.backend("smc")
    query = replace(component.query, observation=component.data, options={})
    budget = replace(component.budget, seconds=max(component.left / 2, 1.0), simulations=None)
    verdict = judge.judge(query, budget)
    if not verdict.able:
        return f"an independent sampler cannot serve: {verdict.reason}"
    draws = component.answer.sample(DRAWS, component.seed)
    try:
        log_q = component.answer.log_prob(draws)
        log_p = judge.log_joint(query, budget, component.data)(draws)  # type: ignore[attr-defined]
        other = judge.prepare(replace(query, seed=component.seed + 1), budget).condition(
            component.data
        )[0]
        if other.certificate.grade == "U":
            return f"the independent sampler is not sure of itself: {other.certificate.statement}"
        theirs = other.sample(DRAWS, component.seed + 2)
    except GaltonError as error:
        return str(error)
    k = _pareto(log_p - log_q)
    both = flat(draws, component.random), flat(theirs, component.random)
    share, error_ = accuracy(*both, component.seed)
    return [
        Check(
            "Pareto k of the weights",
            k,
            f"< {SMOOTH}",
            k < SMOOTH,
            f"of {DRAWS:,} draws against the explicit density",
            "a region without draws does not show",
        ),
        Check(
            "agreement with tempered SMC",
            share,
            f"≤ {ALIKE}",
            share <= ALIKE,
            f"accuracy of a classifier between {DRAWS:,} draws of each (.5 is chance)",
            f"would show {ALIKE + 2 * error_:.2f}",
        ),
    ]


def _pareto(log_weights: torch.Tensor) -> float:
    """k of the tail; infinite where the density and the answer have no common ground.

    Example:
        >>> exact = torch.randn(4000, generator=torch.Generator().manual_seed(0)).double()
        >>> narrow = 0.5 * exact
        >>> heavy = -0.5 * narrow**2 - (-0.5 * exact**2)  # of a draw from N(0, 1/4) for N(0, 1)
        >>> _pareto(heavy) > 0.6, _pareto(0.01 * heavy) < 0.3
        (True, True)
        >>> _pareto(torch.zeros(4000).double())
        0.0
    """
    from arviz_stats.base import array_stats

    finite = torch.isfinite(log_weights)
    if int(finite.sum()) < len(log_weights) // 2:
        return float("inf")
    lowest = log_weights[finite].min() - 50
    weights = torch.where(finite, log_weights, lowest).numpy()
    # As many of the largest as the fit is of; where all are equal the weights are bounded, and there is no tail to fit.
    tail = numpy.sort(weights)[-int(min(len(weights) / 5, 3 * len(weights) ** 0.5)) :]
    if tail[-1] - tail[0] < 1e-9:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a large k is said by its number
        # As for leave-one-out, where it is from, it takes the logarithms of what is divided by.
        return float(array_stats.psislw(-weights)[1])
