"""From what users write to float64 tensors, with gradients kept and vmap allowed."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import DistributionError

__all__ = ["broadcast", "to_tensor"]


def to_tensor(value: Any, family: str, parameter: str) -> Tensor:
    """A parameter as a float64 tensor; lists may hold tensors.

    Raises:
        DistributionError: If it holds no numbers.
    """
    if isinstance(value, Tensor):
        return value if value.dtype == torch.float64 else value.to(torch.float64)
    if isinstance(value, list | tuple) and _holds_tensor(value):
        return torch.stack([to_tensor(item, family, parameter) for item in value])
    try:
        if isinstance(value, list | tuple):
            value = numpy.asarray(value, dtype=numpy.float64)
        return torch.as_tensor(value).to(torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DistributionError(
            f"{family} needs numbers for {parameter}; it was given {value!r}."
        ) from error


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_tensor(item) for item in value)
    return isinstance(value, Tensor)


def broadcast(
    parameters: dict[str, Tensor], ranks: dict[str, int], family: str
) -> dict[str, Tensor]:
    """All parameters with one shape before their event axes.

    Raises:
        DistributionError: If the shapes do not go together.
    """
    batches = []
    for name, tensor in parameters.items():
        if tensor.dim() < ranks[name]:
            raise DistributionError(
                f"{family} needs {ranks[name]} axes or more for {name}; it has the shape {tuple(tensor.shape)}."
            )
        batches.append(tensor.shape[: tensor.dim() - ranks[name]])
    if all(batch == batches[0] for batch in batches):
        return parameters
    try:
        shape = torch.broadcast_shapes(*batches)
    except RuntimeError as error:
        shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in parameters.items())
        raise DistributionError(f"{family}: the shapes do not go together: {shown}.") from error
    return {
        name: tensor.expand((*shape, *tensor.shape[tensor.dim() - ranks[name] :]))
        for name, tensor in parameters.items()
    }
