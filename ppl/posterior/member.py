"""One member of a node in plates, as a marginal of its own: what `posterior["z[3]"]` is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import QueryError
from .marginal import Marginal, member_name

__all__ = ["MemberMarginal", "place"]


def place(marginal: Marginal, at: tuple[int, ...]) -> tuple[int, ...]:
    """Where a member is, or an entry of a vector, if there is one.

    Raises:
        QueryError: If there is none, or the number of coordinates is wrong.
    """
    plates = marginal.plates
    shape = tuple(marginal.probs.shape[:-1] if marginal.finite else marginal.mean.shape)
    if not at or not len(plates) <= len(at) <= len(shape):
        where = f"is in plate {', '.join(plates)}" if plates else "is in no plate"
        shown = f"[{', '.join(map(str, at))}]"
        raise QueryError(
            f"'{marginal.name}' {where} and has values of shape {shape[len(plates) :]}; {shown} is not one of its members."
        )
    axes = [f"plate '{plate}' has {{}} members" for plate in plates]
    axes += ["its values have {} entries"] * (len(shape) - len(plates))
    for k, size, axis in zip(at, shape, axes, strict=False):
        if not 0 <= k < size:
            raise QueryError(
                f"'{member_name(marginal.name, at)}': {axis.format(size)}, numbered from 0."
            )
    return tuple(int(k) for k in at)


class MemberMarginal(Marginal):
    """One member, read off the marginal of all of them.

    Args:
        whole: The marginal of all members.
        at: Which one, a coordinate for each plate.
    """

    def __init__(self, whole: Marginal, at: tuple[int, ...]):
        self.name, self.plates, self.states = member_name(whole.name, at), (), whole.states
        self.exact = whole.exact
        self._whole, self._at = whole, at

    @property
    def finite(self) -> bool:
        return self._whole.finite

    @property
    def mean(self) -> Tensor:
        return self._whole.mean[self._at]

    @property
    def sd(self) -> Tensor:
        return self._whole.sd[self._at]

    @property
    def standard_error(self) -> Tensor:
        return self._whole.standard_error[self._at]

    @property
    def domain(self) -> Tensor:
        return self._whole.domain

    @property
    def probs(self) -> Tensor:
        return self._whole.probs[self._at]

    def quantile(self, q: float) -> Tensor:
        return self._whole.quantile(q)[self._at]

    def cdf(self, value: float) -> Tensor:
        return self._whole.cdf(value)[self._at]

    def draws(self, n: int, seed: int = 0) -> Tensor:
        picked: Any = (slice(None), *self._at)
        return self._whole.draws(n, seed)[picked]
