"""What is wrong with a distribution's parameters, in the user's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ..errors import DistributionError

if TYPE_CHECKING:
    from .distribution import Distribution

__all__ = ["check"]

#: Parameters that may be infinite: an open window, a logit of zero or one.
UNBOUNDED = ("logits", "lower", "upper")


def check(distribution: Distribution) -> None:
    """Refuse parameters that are NaN, infinite, out of range, or rows that do not sum to one.

    Raises:
        DistributionError: It names the family, the parameter and the first offending value.
    """
    family = distribution.family
    for name, tensor in distribution.parameters.items():
        if bool(torch.isnan(tensor).any()):
            raise DistributionError(f"{family.name} was given NaN for {name}.")
        if name in family.rows:
            _check_rows(family.name, name, tensor)
            continue
        if name not in UNBOUNDED and bool(torch.isinf(tensor).any()):
            raise DistributionError(f"{family.name} was given an infinite {name}.")
        constraint = family.constraints.get(name)
        if constraint is None and family.build is not None:
            constraint = _constraint(distribution.to_torch(), name)
        if constraint is None or constraints.is_dependent(constraint):
            continue
        inside = constraint.check(tensor)
        if bool(inside.all()):
            continue
        if inside.shape == tensor.shape:
            wrong = f"{name} = {float(tensor[~inside].reshape(-1)[0]):g}"
        else:
            wrong = f"{name} = {tensor[~inside][0].tolist()}"
        raise DistributionError(
            f"{family.name} was given {wrong}; it must satisfy {_spelled(constraint)}."
        )
    if family.demand is not None:
        complaint = family.demand(distribution.parameters)
        if complaint:
            raise DistributionError(f"{family.name} {complaint}.")


def _check_rows(family: str, name: str, tensor: Tensor) -> None:
    if bool((tensor < 0).any()):
        raise DistributionError(
            f"{family} was given a negative probability, {float(tensor.min()):g}."
        )
    total = tensor.sum(dim=-1)
    bad = ~((total - 1).abs() <= 1e-5)
    if bool(bad.any()):
        rows = tensor.reshape(-1, tensor.shape[-1])
        i = int(bad.reshape(-1).nonzero()[0, 0])
        shown = ", ".join(f"{x:g}" for x in rows[i][:8].tolist())
        raise DistributionError(
            f"{family} was given a row of {name} that sums to {float(total.reshape(-1)[i]):g}, not to one: "
            f"[{shown}{', …' if rows.shape[1] > 8 else ''}]."
        )


def _constraint(built: Any, name: str) -> Any:
    base = built
    while name not in base.arg_constraints and hasattr(base, "base_dist"):
        base = base.base_dist
    return base.arg_constraints.get(name)


def _spelled(constraint: Any) -> str:
    names = {
        "Real()": "a real number",
        "GreaterThan(lower_bound=0.0)": "> 0",
        "GreaterThanEq(lower_bound=0.0)": ">= 0",
        "Interval(lower_bound=0.0, upper_bound=1.0)": "0 <= p <= 1",
        "IntegerGreaterThan(lower_bound=0)": "a whole number >= 0",
        "PositiveDefinite()": "positive definite",
    }
    return names.get(str(constraint), str(constraint))
