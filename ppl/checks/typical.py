"""Is the observation what the model expects, before it has seen any? If not, no engine can be trusted with it, and the model itself is in doubt.

An atypical observation lies farther from its nearest simulated neighbours than simulated data do from theirs (Schmitt et al. 2021 use another distance for the
same end). Where the evidence is known exactly it is compared with that of simulated data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BackendError, QueryError
from ..posterior import Check
from .classifier import columns
from .part import Part
from .worlds import draw_worlds, seen

__all__ = ["ATYPICAL", "typical"]

#: Simulated observations, neighbours, and the share of observations that are called atypical.
WORLDS, NEIGHBOURS, ATYPICAL = 1000, 5, 0.01
#: Data become so many principal components, and one for what these leave.
COMPONENTS = 8


def typical(part: Part) -> Check | None:
    """How many simulated observations are as far out as this one; `None` where nothing was observed, or nothing can be simulated."""
    if not part.query.evidence or part.data.soft & set(part.query.given):
        return None
    try:
        worlds = draw_worlds(part.query, (), part.data, WORLDS, part.seed + 3)
    except (BackendError, QueryError) as error:
        return Check("typical of the prior predictive", "unknown", "", None, str(error))
    if part.method == "exact":
        both = part.solver.log_evidence(worlds.data), part.solver.log_evidence(part.data)
        logs, own = (torch.as_tensor(v, dtype=torch.float64) for v in both)
        # Rounding must not make an observation less probable than its like.
        out, how = logs <= own[0] + 1e-9, "are as improbable"
    else:
        here = seen(part.query, part.data.one(0))
        out, how = _farther(seen(part.query, worlds.data), here), "lie as far from their neighbours"
    share = (1 + int(out.sum())) / (1 + len(worlds))
    return Check(
        "typical of the prior predictive",
        share,
        f"≥ {ATYPICAL}",
        share >= ATYPICAL,
        f"share of {len(worlds):,} simulated observations that {how}",
        "an observation beyond all of them would show",
    )


def _farther(sims: Tensor, own: Tensor) -> Tensor:
    """Which simulated observations are as far from their near neighbours as the one that was made, `(n,)`."""
    rows = _rows(torch.cat([sims, own]))
    sims, own = rows[:-1], rows[-1:]
    k = min(NEIGHBOURS, len(sims) - 1)
    each = torch.cdist(sims, sims).kthvalue(k + 1, dim=1).values  # the nearest is itself
    return each >= torch.cdist(own, sims).kthvalue(k, dim=1).values


def _rows(data: Tensor) -> Tensor:
    scaled = columns(data)
    if scaled.shape[1] <= COMPONENTS:
        return scaled
    centre = scaled[:-1].mean(dim=0)
    _, _, axes = torch.linalg.svd(scaled[:-1] - centre, full_matrices=False)
    kept = (scaled - centre) @ axes[:COMPONENTS].T
    rest = (scaled - centre - kept @ axes[:COMPONENTS]).square().mean(dim=1, keepdim=True)
    return columns(torch.cat([kept, rest.clamp(min=1e-12).log()], dim=1))
