"""The marginal of one node: what `posterior["bias"]` is.

Two forms with the same questions: a table of probabilities, exact; or draws, with their Monte-Carlo error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError, closest

__all__ = ["DrawnMarginal", "Marginal", "TableMarginal"]


class Marginal(ABC):
    """Posterior of one node, `(*plates, *event)`.

    Attributes:
        name: The node.
        plates: The plates that its leading axes run over.
        states: The labels of a finite node, or `None`.
    """

    name: str
    plates: tuple[str, ...]
    states: tuple | None

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Posterior mean, `(*plates, *event)`."""

    @property
    @abstractmethod
    def sd(self) -> Tensor:
        """Posterior standard deviation, `(*plates, *event)`."""

    @abstractmethod
    def quantile(self, q: float) -> Tensor:
        """The smallest value with posterior cdf of at least `q`, `(*plates, *event)`."""

    @abstractmethod
    def cdf(self, value: float) -> Tensor:
        """P(node ≤ value | observation), entry by entry, `(*plates, *event)`."""

    @property
    @abstractmethod
    def standard_error(self) -> Tensor:
        """Monte-Carlo standard error of the mean; zero for a table, `(*plates, *event)`."""

    @property
    @abstractmethod
    def domain(self) -> Tensor:
        """The values of a finite node, `(cardinality, *event)`, in the order of `probs`."""

    @property
    @abstractmethod
    def probs(self) -> Tensor:
        """Probabilities of the values of a finite node, `(*plates, cardinality)`."""

    @abstractmethod
    def draws(self, n: int, seed: int = 0) -> Tensor:
        """Draws from the marginal, `(n, *plates, *event)`."""

    #: Whether the numbers are the answer itself, without approximation or Monte-Carlo error.
    exact: bool = False

    @property
    def finite(self) -> bool:
        """Whether it has `probs`."""
        return True

    def prob(self, value: Any) -> Tensor:
        """The probability of one value or label of a finite node, `(*plates,)`.

        Raises:
            QueryError: If it is not among the node's values.
        """
        labels = list(self.states or ())
        if isinstance(value, str):
            if value not in labels:
                raise QueryError(f"'{self.name}' has no state '{value}'.{closest(value, labels)}")
            return self.probs[..., labels.index(value)]
        target = torch.as_tensor(value, dtype=self.domain.dtype)
        same = (self.domain == target).reshape((len(self.domain), -1)).all(dim=1).nonzero()
        if not len(same):
            raise QueryError(f"'{self.name}' never takes the value {value!r}.")
        return self.probs[..., int(same[0, 0])]

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """The central interval that holds this much probability."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def __repr__(self) -> str:
        from .summary import describe

        return describe(self)


class TableMarginal(Marginal):
    """A finite marginal as probabilities.

    Args:
        name: The node.
        domain: Its values, `(cardinality, *event)`.
        probs: `(*plates, cardinality)`.
        plates: Names of the leading axes.
        states: Labels of the values.
        exact: Whether the probabilities are exact, rather than an approximation's.
    """

    def __init__(
        self,
        name: str,
        domain: Tensor,
        probs: Tensor,
        plates: tuple[str, ...] = (),
        states: tuple | None = None,
        exact: bool = True,
    ):
        self.name, self.plates, self.states, self.exact = name, plates, states, exact
        self._domain, self._probs = domain, probs

    @property
    def domain(self) -> Tensor:
        return self._domain

    @property
    def probs(self) -> Tensor:
        return self._probs

    def _expect(self, values: Tensor) -> Tensor:
        event = values.dim() - 1
        weights = self._probs.reshape((*self._probs.shape, *[1] * event))
        return (weights * values).sum(dim=-1 - event)

    @property
    def mean(self) -> Tensor:
        return self._expect(self._domain.to(torch.float64))

    @property
    def sd(self) -> Tensor:
        values = self._domain.to(torch.float64)
        shifted = values - self.mean.unsqueeze(self._probs.dim() - 1)
        weights = self._probs.reshape((*self._probs.shape, *[1] * (values.dim() - 1)))
        return (weights * shifted**2).sum(dim=self._probs.dim() - 1).sqrt()

    def quantile(self, q: float) -> Tensor:
        if self._domain.dim() > 1:
            raise QueryError(
                f"'{self.name}' is a vector; its values have no order and so no quantiles."
            )
        order = self._domain.argsort()
        cdf = self._probs[..., order].cumsum(-1)
        # A cdf that should reach q exactly may miss it by a rounding error.
        position = (cdf < q - 1e-12).sum(-1).clamp(max=len(order) - 1)
        return self._domain[order][position]

    def cdf(self, value: float) -> Tensor:
        if self._domain.dim() > 1:
            raise QueryError(f"'{self.name}' is a vector; its values have no order and so no cdf.")
        return (self._probs * (self._domain <= value)).sum(dim=-1)

    @property
    def standard_error(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        flat = self._probs.reshape(-1, self._probs.shape[-1])
        index = torch.multinomial(flat, n, replacement=True, generator=generator).T
        return self._domain[index.reshape((n, *self._probs.shape[:-1]))]


class DrawnMarginal(Marginal):
    """A marginal as equally weighted draws.

    Args:
        name: The node.
        values: `(draws, *plates, *event)`.
        plates: Names of the axes after the draws.
        states: Labels of the values.
        domain: The values that the node can take, where they are known to be finite.
        size: The number of independent draws that these are worth; all of them by default.
    """

    def __init__(
        self,
        name: str,
        values: Tensor,
        plates: tuple[str, ...] = (),
        states: tuple | None = None,
        domain: Tensor | None = None,
        size: float | None = None,
    ):
        self.name, self.plates, self.states = name, plates, states
        self._values, self._domain = values, domain
        self.effective_size = float(len(values) if size is None else size)

    @property
    def finite(self) -> bool:
        return self._domain is not None or not self._values.is_floating_point()

    @property
    def mean(self) -> Tensor:
        return self._values.to(torch.float64).mean(dim=0)

    @property
    def sd(self) -> Tensor:
        return self._values.to(torch.float64).std(dim=0, correction=0)

    def quantile(self, q: float) -> Tensor:
        ordered = self._values.sort(dim=0).values
        position = min(
            max(int(torch.ceil(torch.tensor(q * len(ordered)))) - 1, 0), len(ordered) - 1
        )
        return ordered[position]

    def cdf(self, value: float) -> Tensor:
        return (self._values <= value).to(torch.float64).mean(dim=0)

    @property
    def standard_error(self) -> Tensor:
        return self.sd / self.effective_size**0.5

    @cached_property
    def domain(self) -> Tensor:  # type: ignore[override]
        if self._domain is not None:
            return self._domain
        if not self.finite:
            raise QueryError(
                f"'{self.name}' is continuous; it has quantiles and draws, but no table of probabilities."
            )
        event = self._values.dim() - 1 - len(self.plates)
        return torch.unique(
            self._values.reshape((-1, *self._values.shape[self._values.dim() - event :])), dim=0
        )

    @property
    def probs(self) -> Tensor:
        domain, event = self.domain, self.domain.dim() - 1
        rows = self._values.unsqueeze(self._values.dim() - event)
        same = (rows == domain).flatten(rows.dim() - event).all(-1) if event else rows == domain
        return same.to(torch.float64).mean(dim=0)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return self._values[torch.randint(len(self._values), (n,), generator=generator)]
