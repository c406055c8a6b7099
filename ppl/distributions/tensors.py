"""From what users write to float64 tensors, with gradients kept and vmap allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.distributions import Transform

from ..errors import DistributionError

__all__ = ["broadcast", "is_whole", "to_tensor", "unbounded_shape"]


def to_tensor(value: Any, family: str, parameter: str) -> Tensor:
    """A parameter as a float64 tensor; lists may hold tensors.

    Raises:
        DistributionError: If it holds no numbers.
    """
    if isinstance(value, Tensor):
        if value.is_complex():
            raise _refusal(value, family, parameter)
        return value if value.dtype == torch.float64 else value.to(torch.float64)
    try:
        if isinstance(value, list | tuple) and _holds_tensor(value):
            return torch.stack([to_tensor(item, family, parameter) for item in value])
        found = numpy.asarray(value)
        # A list of words or of None would be parsed by the conversion below.
        if found.dtype.kind not in "biuf":
            raise TypeError
        # A copy: what the user does to an array afterwards is not the distribution's business.
        return torch.from_numpy(numpy.array(found, dtype=numpy.float64, order="C"))
    except DistributionError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refusal(value, family, parameter) from error


def is_whole(value: Any) -> bool:
    """Whether a value is made of whole numbers, by type: an int, an integer tensor, a list of these."""
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex())
    if isinstance(value, list | tuple):
        return bool(value) and all(is_whole(item) for item in value)
    return numpy.asarray(value).dtype.kind in "biu"


def _refusal(value: Any, family: str, parameter: str) -> DistributionError:
    return DistributionError(f"{family} needs numbers for {parameter}; it was given {value!r}.")


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
        # torch.broadcast_shapes would load sympy, 30 MB.
        shape = numpy.broadcast_shapes(*batches)
    except ValueError as error:
        shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in parameters.items())
        raise DistributionError(f"{family}: the shapes do not go together: {shown}.") from error
    return {
        name: tensor.expand((*shape, *tensor.shape[tensor.dim() - ranks[name] :]))
        for name, tensor in parameters.items()
    }


def unbounded_shape(transform: Transform, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of unbounded numbers that a transform takes to values of this shape.

    A transform that goes number by number keeps it; asked, it would load sympy to say so, 30 MB.

    Example:
        >>> from torch.distributions import biject_to, constraints
        >>> unbounded_shape(biject_to(constraints.interval(0.0, 1.0)), (3, 2))
        (3, 2)
        >>> unbounded_shape(biject_to(constraints.simplex), (3, 2))
        (3, 1)
    """
    single = transform.domain.event_dim == transform.codomain.event_dim == 0
    return tuple(shape) if single else tuple(transform.inverse_shape(torch.Size(shape)))
