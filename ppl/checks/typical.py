"""Is the observation what the model expects, before it has seen any? If not, no engine can be trusted with it, and the model itself is in doubt.

An atypical observation lies farther from its nearest simulated neighbours than simulated data do from theirs (Schmitt et al. 2021 use another distance for the
same end). Where the evidence is known exactly it is compared with that of simulated data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BackendError, QueryError
from ..posterior import Check
from .component import Component
from .rows import principal
from .simulated import seen, simulate_data

__all__ = ["ATYPICAL", "typical"]

#: Simulated observations, neighbours, and the share of observations that are called atypical.
DATASETS, NEIGHBOURS, ATYPICAL = 1000, 5, 0.01
#: Data become so many principal components, and one for what these leave.
COMPONENTS = 8


def typical(component: Component) -> Check | None:
    """How many simulated observations are as far out as this one; `None` where nothing was observed, or nothing can be simulated."""
    if not component.query.evidence or component.data.soft & set(component.query.given):
        return None
    try:
        simulated = simulate_data(component.query, (), component.data, DATASETS, component.seed + 3)
    except (BackendError, QueryError) as error:
        return Check("typical of the prior predictive", "unknown", "", None, str(error))
    if component.method == "exact":
        both = (
            component.solver.log_evidence(simulated.data),
            component.solver.log_evidence(component.data),
        )
        logs, own = (torch.as_tensor(v, dtype=torch.float64) for v in both)
        # Rounding must not make an observation less probable than its like.
        out, how = logs <= own[0] + 1e-9, "are as improbable"
    else:
        here = seen(component.query, component.data.one(0))
        out, how = (
            _farther(seen(component.query, simulated.data), here),
            "lie as far from their neighbours",
        )
    share = (1 + int(out.sum())) / (1 + len(simulated))
    return Check(
        "typical of the prior predictive",
        share,
        f"≥ {ATYPICAL}",
        share >= ATYPICAL,
        f"share of {len(simulated):,} simulated observations that {how}",
        "an observation beyond all of them would show",
    )


def _farther(sims: Tensor, own: Tensor) -> Tensor:
    """Which simulated observations are as far from their near neighbours as the one that was made, `(n,)`."""
    rows = principal(torch.cat([sims, own]), COMPONENTS, rest=True)
    sims, own = rows[:-1], rows[-1:]
    k = min(NEIGHBOURS, len(sims) - 1)
    each = torch.cdist(sims, sims).kthvalue(k + 1, dim=1).values  # the nearest is itself
    return each >= torch.cdist(own, sims).kthvalue(k, dim=1).values
