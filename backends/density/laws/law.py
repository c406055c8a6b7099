"""What every law in closed form has in common: it is fitted to a log density at a few points and proved at others.

Each has the same names: `fitted`, `log_total` (the log of the density's integral), `marginal`, `sample`, `log_prob`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor

__all__ = ["AGREES", "TESTS", "Flat", "Law", "LogDensity", "Nowhere", "Unfitting"]

#: How far the fitted form may be from the density at test points, relative to the values there.
AGREES = 1e-8
#: Points at which a form is proved.
TESTS = 12


class Unfitting(Exception):
    """There is no closed form; the reason is the message."""


class Nowhere(Unfitting):
    """The density is zero at every point that was tried."""


class LogDensity(Protocol):
    """A log density of some nodes' values."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one value of a node."""
        ...

    def prior(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Draws of the nodes from the prior, `(n, *plates, *event)`."""
        ...

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """The log density, `(n,)`."""
        ...

    def slopes(
        self, points: Tensor, values: Callable[[Tensor], Mapping[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The log density and its gradient at points `(n, size)`, of which `values` makes the nodes' values."""
        ...


class Law(Protocol):
    """The joint law of some nodes."""

    names: tuple[str, ...]
    size: int
    log_total: float

    def describe(self) -> str: ...
    def marginal(self, name: str) -> Any: ...
    def sample(self, n: int, rng: numpy.random.Generator) -> dict[str, Tensor]: ...
    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor: ...


class Flat:
    """Nodes' values side by side in one vector."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self.starts, total = {}, 0
        for name, shape in self.shapes.items():
            self.starts[name] = total
            total += prod(shape)
        self.size = total

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([values[n].reshape((len(values[n]), -1)) for n in self.shapes], dim=1)

    def part(self, name: str) -> slice:
        return slice(self.starts[name], self.starts[name] + prod(self.shapes[name]))

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        return {n: flat[:, self.part(n)].reshape((len(flat), *s)) for n, s in self.shapes.items()}
