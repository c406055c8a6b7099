"""The support of a flat vector of nodes, and the map from unconstrained space onto it.

Where every node's support is a range of each number, it is torch's own `cat` of constraints, which other libraries know how to read. Vectors such as
the rows of a simplex take a constraint of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints
from torch.distributions.transforms import IndependentTransform

from ..mechanism import Mechanism
from ..mechanism.laws import laws
from .layout import Block, Layout

__all__ = ["Blocks", "Varying", "rebuilt", "support_of"]

#: Draws of the parents at which a support is looked at.
DRAWS = 64


class Varying(NotImplementedError):
    """The support of a node depends on its parents; torch's word for a support that nobody can state is its base class."""


def support_of(mechanism: Mechanism, layout: Layout) -> constraints.Constraint:
    """The constraint that rows `(*lead, size)` satisfy.

    Raises:
        Varying: If that of a node depends on its parents.
    """
    parts = [_part(mechanism, block) for block in layout]
    if any(part.event_dim for part in parts):
        return Blocks(parts, layout.blocks)
    if all(part is constraints.real for part in parts):
        return constraints.independent(constraints.real, 1)
    lengths = [block.size for block in layout]
    return constraints.independent(constraints.cat(parts, dim=-1, lengths=lengths), 1)


def _part(mechanism: Mechanism, block: Block) -> Any:
    """Of one node: a range for each of its numbers, bounds `(size,)` or plain, or the constraint of a vector."""
    node = mechanism.graph[block.name]
    if mechanism.facts[block.name].kind != "explicit":
        return constraints.real if node.support is None else _bare(node.support)
    found = [law.support for law in laws(mechanism, block.name, DRAWS, 0, {})]
    bare = [_bare(s) for s in found]
    if any(s is None or type(s) is not type(bare[0]) for s in bare):
        raise Varying(f"The support of '{block.name}' depends on its parents.")
    if bare[0].event_dim or not _bounded(bare[0]):
        return constraints.real if isinstance(bare[0], type(constraints.real)) else bare[0]
    plate = mechanism.graph.chain_plate(block.name) if len(bare) > 1 else None
    bounds = {}
    for key in ("lower_bound", "upper_bound"):
        if hasattr(bare[0], key):
            members = []
            for i, constraint in enumerate(bare):
                shape = list(block.shape)
                if plate is not None:  # the first member of a chain, then the others
                    axis = node.plates.index(plate)
                    shape[axis] = 1 if i == 0 else shape[axis] - 1
                bound = torch.as_tensor(getattr(constraint, key), dtype=torch.float64)
                members.append(_aligned(bound, len(block.shape)).expand((DRAWS, *shape)))
            whole = members[0] if plate is None else torch.cat(members, dim=1 + axis)
            if bool((whole != whole[:1]).any()):
                raise Varying(f"The support of '{block.name}' depends on its parents.")
            bounds[key] = _rounded(whole[0].reshape(-1), key, block.discrete)
    return type(bare[0])(*bounds.values())


def rebuilt(support: Any, change: Callable[[Any], Any]) -> Any:
    """A constraint whose bounds, if it has some, were changed."""
    if isinstance(support, constraints.independent):
        base = rebuilt(support.base_constraint, change)
        return constraints.independent(base, support.reinterpreted_batch_ndims)
    names = [k for k in ("lower_bound", "upper_bound") if hasattr(support, k)]
    return type(support)(*(change(getattr(support, k)) for k in names)) if names else support


def _bare(support: Any) -> Any:
    """Without the wrapping that counts axes."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _bounded(support: Any) -> bool:
    return hasattr(support, "lower_bound") or hasattr(support, "upper_bound")


def _aligned(bound: Tensor, axes: int) -> Tensor:
    """A bound with an axis of draws before the node's own; plain numbers serve them all."""
    return bound.reshape([1] * (1 + axes)) if bound.numel() == 1 else bound


def _rounded(bound: Tensor, key: str, discrete: bool) -> Any:
    """A bound in single precision, never outside the true one; one number where they are all equal."""
    if bool((bound == bound[0]).all()):
        one = float(bound[0])
        return int(one) if discrete else one
    single = bound.to(torch.float32)
    if key == "lower_bound":
        inward = torch.nextafter(single, torch.tensor(torch.inf))
        return torch.where(single.to(torch.float64) < bound, inward, single)
    inward = torch.nextafter(single, torch.tensor(-torch.inf))
    return torch.where(single.to(torch.float64) > bound, inward, single)


class Blocks(constraints.Constraint):
    """Constraints side by side, some of which are about vectors.

    Args:
        parts: One for each block.
        blocks: Where they lie.
    """

    event_dim = 1

    def __init__(self, parts: Sequence[Any], blocks: Sequence[Block]):
        self.parts, self.blocks = list(parts), list(blocks)

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether some values are whole numbers."""
        return any(part.is_discrete for part in self.parts)

    def check(self, value: Tensor) -> Tensor:
        """Whether each row is inside, `(*lead,)`."""
        inside = torch.ones(value.shape[:-1], dtype=torch.bool)
        for part, block in zip(self.parts, self.blocks, strict=True):
            # Sums to one are checked more closely than single precision adds up.
            piece = value[..., block.columns].to(torch.float64)
            if part.event_dim:
                piece = piece.reshape((*piece.shape[:-1], *block.shape))
            inside = inside & part.check(piece).reshape((*inside.shape, -1)).all(dim=-1)
        return inside


class _Map(Transform):
    """From unconstrained rows onto a support of blocks; a simplex has one number fewer there."""

    domain = constraints.independent(constraints.real, 1)
    bijective = True

    def __init__(self, support: Blocks):
        super().__init__()
        self.support, self.codomain = support, support
        self._maps = [biject_to(part) for part in support.parts]
        self._from: list[tuple[int, ...]] = []
        for part, block, to in zip(support.parts, support.blocks, self._maps, strict=True):
            shape = torch.Size(block.shape)
            self._from.append(tuple(to.inverse_shape(shape)) if part.event_dim else (block.size,))
        self._sizes = [torch.Size(shape).numel() for shape in self._from]

    def _pieces(self, x: Tensor) -> list[Tensor]:
        return [
            piece.reshape((*x.shape[:-1], *shape))
            for piece, shape in zip(x.split(self._sizes, dim=-1), self._from, strict=True)
        ]

    def _values(self, y: Tensor) -> list[Tensor]:
        return [
            y[..., b.columns].reshape((*y.shape[:-1], *b.shape))
            if part.event_dim
            else y[..., b.columns]
            for part, b in zip(self.support.parts, self.support.blocks, strict=True)
        ]

    def _call(self, x: Tensor) -> Tensor:
        made = [to(piece) for to, piece in zip(self._maps, self._pieces(x), strict=True)]
        return torch.cat([m.reshape((*x.shape[:-1], -1)) for m in made], dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        made = [to.inv(piece) for to, piece in zip(self._maps, self._values(y), strict=True)]
        return torch.cat([m.reshape((*y.shape[:-1], -1)) for m in made], dim=-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(x.shape[:-1], dtype=x.dtype)
        for to, a, b in zip(self._maps, self._pieces(x), self._values(y), strict=True):
            total = total + to.log_abs_det_jacobian(a, b).reshape((*total.shape, -1)).sum(dim=-1)
        return total

    def forward_shape(self, shape: Any) -> torch.Size:
        return torch.Size((*shape[:-1], sum(b.size for b in self.support.blocks)))

    def inverse_shape(self, shape: Any) -> torch.Size:
        return torch.Size((*shape[:-1], sum(self._sizes)))


@biject_to.register(Blocks)
def _map(support: Blocks) -> Transform:
    # Libraries sum the determinants of whatever is not independent already.
    return IndependentTransform(_Map(support), 0)
