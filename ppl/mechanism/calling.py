"""One call of one body: what goes in, under which random state, and what came out.

Bodies run in a quiet room: float64 by default, no argument checks inside Pyro (ours come after lifting), and every global random state is put
back afterwards.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from ..distributions import Distribution, adopt
from ..distributions.tracing import tracing
from ..errors import DistributionError, ModelError
from ..graph import Body, Node

__all__ = [
    "Packing",
    "Result",
    "call",
    "moved",
    "quiet",
    "read_result",
    "same_result",
    "seed_globals",
]


@dataclass(frozen=True)
class Packing:
    """How the outputs of a body that returns a dict lie in one vector: shapes and whether they are integers."""

    shapes: tuple[tuple[int, ...], ...]
    integral: tuple[bool, ...]

    def unpack(self, packed: Tensor, position: int) -> Tensor:
        """The output at this position, `(*batch, *shape)`, from `(*batch, total)`."""
        sizes = [int(numpy.prod(shape, dtype=int)) for shape in self.shapes]
        begin = sum(sizes[:position])
        part = packed[..., begin : begin + sizes[position]]
        part = part.reshape((*packed.shape[:-1], *self.shapes[position]))
        return part.round().to(torch.int64) if self.integral[position] else part


@dataclass(frozen=True)
class Result:
    """What one call returned: a distribution, or a value as a tensor (float64 or int64)."""

    distribution: Distribution | None = None
    value: Tensor | None = None
    packing: Packing | None = None


_inside = threading.local()


@contextmanager
def quiet() -> Iterator[None]:
    """Run bodies without touching the process: random states, default dtype and validation are restored.

    A room inside a room costs nothing, so that a loop over many batches takes one around it.
    """
    if getattr(_inside, "quiet", False):
        yield
        return
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    dtype, checks = torch.get_default_dtype(), torch.distributions.Distribution._validate_args
    torch.set_default_dtype(torch.float64)
    torch.distributions.Distribution.set_default_validate_args(False)
    _inside.quiet = True
    try:
        with torch.no_grad() if not torch.is_grad_enabled() else torch.enable_grad():
            yield
    finally:
        _inside.quiet = False
        torch.distributions.Distribution.set_default_validate_args(checks)
        torch.set_default_dtype(dtype)
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_globals(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    # torch.manual_seed would also visit every accelerator, at a hundred times the cost.
    torch.default_generator.manual_seed(seed % 2**63)


def moved(seed: int) -> bool:
    """Whether anybody drew from the global generators since `seed_globals(seed)`.

    Their next numbers tell, at a fraction of the cost of reading their states; they are used up by it.
    """
    python, array, tensor = _WITNESSES
    python.seed(seed)
    array.seed(seed % 2**32)
    tensor.manual_seed(seed % 2**63)
    # A normal too: NumPy keeps the second of a pair for later.
    ours = numpy.random.standard_normal(), numpy.random.random_sample(), random.random()
    if ours != (array.standard_normal(), array.random_sample(), python.random()):
        return True
    return not torch.equal(torch.get_rng_state(), tensor.get_state())


_WITNESSES = random.Random(), numpy.random.RandomState(), torch.Generator()


def call(node: Node, body: Body, arguments: Sequence[Any], seed: int | None = None) -> Result:
    """Call a body for one draw and read what it returns.

    Args:
        arguments: One for each of `body.parents`, in order.
        seed: Of the generator that the body gets as `rng`, if it asks for one.
    """
    named = {edge.argument: value for edge, value in zip(body.parents, arguments, strict=True)}
    if body.rng:
        named["rng"] = numpy.random.default_rng(seed)
    return read_result(node, body, body.function(**named))


def read_result(node: Node, body: Body, returned: Any) -> Result:
    """The returned object as a distribution or a tensor.

    Raises:
        ModelError: If it is neither, or the promised outputs are not there.
    """
    if node.outputs:
        return _pack(node, body, returned)
    if returned is None:
        raise ModelError(
            f"'{node.name}' ({body.where}) returned None. Return a distribution such as Normal(0, 1), or a value; was the "
            "'return' forgotten?"
        )
    distribution = adopt(returned)
    if distribution is not None:
        if node.determined and node.intervened is None:
            raise ModelError(
                f"'{node.name}' ({body.where}) is declared deterministic and returned a distribution; "
                "declare it latent or observed."
            )
        return Result(distribution=distribution)
    return Result(value=_as_value(node, body, returned))


def _as_value(node: Node, body: Body, returned: Any) -> Tensor:
    try:
        if isinstance(returned, Tensor):
            value = returned
        elif isinstance(returned, list | tuple) and any(
            isinstance(item, Tensor) for item in returned
        ):
            value = torch.stack(
                [_as_value(node, body, item).to(torch.float64) for item in returned]
            )
        else:
            value = torch.as_tensor(numpy.asarray(returned))
    except (TypeError, ValueError, RuntimeError) as error:
        if "vmap" in str(error):
            raise
        kind = type(returned).__name__
        hint = " Declare outputs=(...) to return a dict." if isinstance(returned, dict) else ""
        raise ModelError(
            f"'{node.name}' ({body.where}) returned a {kind}, which is neither a distribution nor a number, an array or "
            f"a tensor.{hint}"
        ) from error
    if value.is_complex():
        raise ModelError(f"'{node.name}' ({body.where}) returned complex numbers.")
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)


def _pack(node: Node, body: Body, returned: Any) -> Result:
    if not isinstance(returned, dict) or set(returned) != set(node.outputs):
        got = (
            f"the keys {sorted(map(str, returned))}"
            if isinstance(returned, dict)
            else f"a {type(returned).__name__}"
        )
        raise ModelError(
            f"'{node.name}' ({body.where}) promises outputs={node.outputs} and returned {got}; return a dict with exactly "
            "these keys."
        )
    values = []
    for key in node.outputs:
        if adopt(returned[key]) is not None:
            raise ModelError(
                f"'{node.name}' ({body.where}) returns a distribution as '{key}'. Outputs are values of one simulator; "
                "distributions are nodes of their own."
            )
        values.append(_as_value(node, body, returned[key]))
    batch = 1 if body.vectorized else 0
    flat = [v.reshape((*v.shape[:batch], -1)).to(torch.float64) for v in values]
    packing = Packing(
        tuple(tuple(v.shape[batch:]) for v in values),
        tuple(not v.is_floating_point() for v in values),
    )
    return Result(value=torch.cat(flat, dim=-1), packing=packing)


def same_result(a: Result, b: Result, exactly: bool = True) -> bool:
    """Whether two calls gave the same answer; NaN equals NaN."""
    if (a.distribution is None) != (b.distribution is None):
        return False
    if a.distribution is not None and b.distribution is not None:
        if a.distribution.family != b.distribution.family:
            # Families without a fixed set of tensors (a user's own density) are new objects at every call.
            return (
                not a.distribution.family.liftable
                and a.distribution.family.name == b.distribution.family.name
            )
        pairs = [
            (a.distribution.parameters[k], b.distribution.parameters[k])
            for k in a.distribution.parameters
        ]
    else:
        assert a.value is not None
        assert b.value is not None
        pairs = [(a.value, b.value)]
    return all(_same(x, y, exactly) for x, y in pairs)


def _same(x: Tensor, y: Tensor, exactly: bool) -> bool:
    if x.shape != y.shape:
        return False
    if exactly:
        return bool(torch.equal(torch.nan_to_num(x, nan=1e300), torch.nan_to_num(y, nan=1e300)))
    # Batched kernels may round differently from single ones, in the last digits of float32 tables at worst.
    return bool(
        torch.allclose(
            x.to(torch.float64), y.to(torch.float64), rtol=1e-5, atol=1e-9, equal_nan=True
        )
    )


def checked(node: Node, body: Body, distribution: Distribution) -> None:
    """Check the parameters, in the user's names."""
    if tracing():
        return
    try:
        distribution.check()
    except DistributionError as error:
        raise DistributionError(f"'{node.name}' ({body.where}): {error}") from error
