"""Evidence that is not a value: a likelihood of each value, or a belief about the node after all evidence is in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError

__all__ = ["Belief", "Likelihood"]


class Likelihood:
    """Virtual evidence: how likely some unnamed evidence is under each value of a finite node (Pearl 1988, §2.2.2).

    Args:
        weights: `(*plates, cardinality)`, in the order of the values; non-negative, and only their ratios matter to the posterior.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> ppl.infer(m, {"rain": ppl.Likelihood([0.1, 0.9])})["rain"].probs
        tensor([0.3077, 0.6923], dtype=torch.float64)
    """

    _what = "Likelihood"

    def __init__(self, weights: Any):
        self.weights: Tensor = torch.as_tensor(weights, dtype=torch.float64)
        if self.weights.dim() < 1 or not bool(torch.isfinite(self.weights).all()):
            raise QueryError(f"{self._what}: the weights are finite numbers, one for each value.")
        if bool((self.weights < 0).any()) or bool((self.weights.sum(dim=-1) <= 0).any()):
            raise QueryError(
                f"{self._what}: weights are not negative, and one of them is positive."
            )


class Belief(Likelihood):
    """Soft evidence: what the marginal of a finite node shall be after conditioning (Jeffrey's rule).

    Several beliefs are reconciled by iterative proportional fitting: of all distributions with these marginals, the posterior is the
    one nearest to what the model says without them. The log-evidence of a belief is not defined.

    Args:
        probs: `(*plates, cardinality)`, summing to one.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
        >>> round(float(ppl.infer(m, {"wet": ppl.Belief([0.5, 0.5])}, of="rain")["rain"].prob(1)), 4)
        0.3597
    """

    _what = "Belief"

    def __init__(self, probs: Any):
        super().__init__(probs)
        if bool(((self.weights.sum(dim=-1) - 1).abs() > 1e-9).any()):
            raise QueryError("Belief: the probabilities sum to one.")
