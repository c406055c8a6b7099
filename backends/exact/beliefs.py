"""Soft evidence: likelihoods under which chosen nodes get the marginals that were asked for.

References:
    | Jeffrey's rule; for several nodes iterative proportional fitting, whose limit is the I-projection (Csiszár, 1975)
    | https://doi.org/10.1214/aop/1176996454
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ppl.errors import ImpossibleError, QueryError
from ppl.mechanism import Data

from .prepared import Prepared

__all__ = ["reconciled"]

#: Sweeps over the beliefs, and the largest error of a marginal that ends them.
SWEEPS, CLOSE = 1000, 1e-12


def reconciled(prepared: Prepared, data: Data) -> Data:
    """The data with likelihoods in place of beliefs.

    Raises:
        ImpossibleError: If a belief gives weight to what has probability zero, or the beliefs contradict one another.
    """
    network = prepared.network
    wanted = [(v,) for name in data.beliefs for v in network.variables(name)]
    fitting = Prepared(network, wanted)
    weights = {name: torch.ones_like(value) for name, value in data.beliefs.items()}
    for name, value in data.beliefs.items():
        if value.shape[-1] != len(network.domains[name]):
            raise QueryError(
                f"'{name}' has {len(network.domains[name])} values; the belief has {value.shape[-1]}."
            )
        if name in data.likelihoods or name in data.observed:
            raise QueryError(f"'{name}' has a belief and other evidence; give one of them.")

    def marginal(name: str) -> torch.Tensor:
        soft = replace(data, likelihoods={**data.likelihoods, **weights}, beliefs={})
        result = fitting.run(soft)
        if bool(torch.isneginf(torch.from_numpy(result.log_evidence)).any()):
            raise ImpossibleError("The beliefs contradict one another or the rest of the evidence.")
        probs = torch.zeros((data.datasets, len(network.variables(name)), weights[name].shape[-1]))
        probs = probs.to(torch.float64)
        for m, v in enumerate(network.variables(name)):
            reach = torch.from_numpy(network.reach[v])
            found = result.marginals[(v,)] if (v,) in result.marginals.spans else None
            probs[:, m, reach] = 1.0 if found is None else torch.from_numpy(found).T
        return probs.reshape((data.datasets, *weights[name].shape[1:]))

    worst = 1.0
    for sweep in range(SWEEPS):
        before, worst = worst, 0.0
        for name, target in data.beliefs.items():
            found = marginal(name)
            if bool(((found <= 0) & (target > 0)).any()):
                if sweep:
                    break
                raise ImpossibleError(
                    f"The belief about '{name}' gives weight to a value of probability zero."
                )
            worst = max(worst, float((found - target).abs().max()))
            ratio = torch.where(target > 0, target / found.clamp(min=1e-300), 0.0)
            new = weights[name] * ratio
            weights[name] = new / new.max(dim=-1, keepdim=True).values
        if worst < CLOSE or len(data.beliefs) == 1:
            return replace(data, likelihoods={**data.likelihoods, **weights})
        if worst == 0.0 or (sweep > 50 and worst > 0.999 * before and worst > 0.01):
            break  # they pull in different directions
    raise ImpossibleError(
        f"The beliefs about {', '.join(data.beliefs)} cannot all hold: after {sweep + 1} sweeps a marginal is still off by {max(worst, before):.1e}."
    )
