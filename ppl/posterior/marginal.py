"""The marginal of one node: what `posterior["bias"]` is.

Two forms with the same questions: a table of probabilities, exact; or draws, with their Monte-Carlo error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

from ..errors import QueryError, closest
from .shortest import of_curve, of_draws, of_table

__all__ = ["ContinuousMarginal", "DrawnMarginal", "Marginal", "TableMarginal", "member_name"]

#: Why a continuous node has no probabilities.
TABLELESS = "'{}' is continuous; it has quantiles and draws, but no table of probabilities."


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
        """The central interval that holds this much probability, `(*plates, *event)` each end."""
        level = checked(level, "interval")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def hdi(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """The highest-density interval: the shortest one that holds this much probability, `(*plates, *event)` each end.

        Of a marginal with several modes it is one interval all the same, over the gap where that is shorter.

        Raises:
            QueryError: If the level is not between 0 and 1, or the node is a finite vector, whose values have no order.

        Example:
            >>> import torch
            >>> from ppl.posterior import TableMarginal
            >>> skewed = TableMarginal("n", torch.arange(4), torch.tensor([0.6, 0.25, 0.1, 0.05]))
            >>> [int(end) for end in skewed.hdi(0.8)], [int(end) for end in skewed.interval(0.8)]
            ([0, 1], [0, 2])
        """
        level = checked(level, "hdi")
        if not self.finite:
            return of_curve(self._quantiles, level)
        self.quantile(0.5)  # a vector has none, and says so
        return of_table(self.domain, self.probs, level)

    def _quantiles(self, levels: ndarray) -> Tensor:
        """Quantiles at many levels, `(levels, *plates, *event)`."""
        return torch.stack([self.quantile(float(q)) for q in levels])

    def member(self, *at: int) -> Marginal:
        """The marginal of one member of the node's plates, or of one entry of a vector; `posterior["z[3]"]` is it too.

        Raises:
            QueryError: If there is no such member.
        """
        from .member import MemberMarginal, place

        return MemberMarginal(self, place(self, at))

    def to_xarray(self, n: int = 1000, seed: int = 0) -> Any:
        """Draws as an `xarray.DataArray`, `(draw, *plates, *event)`, whose axes have the names of the plates.

        Raises:
            BackendError: If xarray is not installed.
        """
        from .exported import draws_as_xarray

        return draws_as_xarray(self, n, seed)

    def _repr_html_(self) -> str:
        from .summary import of_marginal

        return of_marginal(self)._repr_html_()

    def __repr__(self) -> str:
        from .summary import describe

        return describe(self)


def checked(level: float, what: str) -> float:
    """A probability strictly between 0 and 1.

    Raises:
        QueryError: If it is none; `what` is the question that it was for.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise QueryError(f"{what}({level!r}): the level is a probability between 0 and 1.")
    return float(level)


def member_name(name: str, at: tuple[int, ...]) -> str:
    """How one member of a node, or one entry of a vector, is written: `z[3]`."""
    return f"{name}[{', '.join(map(str, at))}]" if at else name


class ContinuousMarginal(Marginal):
    """A marginal without a table of probabilities."""

    @property
    def finite(self) -> bool:
        return False

    @property
    def domain(self) -> Tensor:
        raise QueryError(TABLELESS.format(self.name))

    @property
    def probs(self) -> Tensor:
        return self.domain


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

    def member(self, *at: int) -> TableMarginal:
        from .member import place

        probs = self._probs[place(self, at)]
        return TableMarginal(
            member_name(self.name, at), self._domain, probs, (), self.states, self.exact
        )

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
        chains: How many chains they come from, one after the other; 1 where they are independent.
    """

    def __init__(
        self,
        name: str,
        values: Tensor,
        plates: tuple[str, ...] = (),
        states: tuple | None = None,
        domain: Tensor | None = None,
        size: float | None = None,
        chains: int = 1,
    ):
        self.name, self.plates, self.states, self.chains = name, plates, states, chains
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

    def _quantiles(self, levels: ndarray) -> Tensor:
        ordered = self._values.sort(dim=0).values
        places = torch.from_numpy(levels * len(ordered)).ceil().long() - 1
        return ordered[places.clamp(0, len(ordered) - 1)]

    def cdf(self, value: float) -> Tensor:
        return (self._values <= value).to(torch.float64).mean(dim=0)

    @property
    def standard_error(self) -> Tensor:
        return self.sd / self.effective_size**0.5

    def state(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {
            "values": self._values,
            "domain": self._domain,
            "size": self.effective_size,
            "chains": self.chains,
        }

    @cached_property
    def ess(self) -> Tensor:
        """How many independent draws these are worth, entry by entry: bulk ESS of chains, `(*plates, *event)`."""
        if self.chains > 1:
            from .diagnostics import bulk

            return bulk(self._values, self.chains)
        return torch.full_like(self.mean, self.effective_size)

    @cached_property
    def rhat(self) -> Tensor | None:
        """Rank-normalised R-hat, `(*plates, *event)`: near 1 where chains agree; `None` where there are no chains."""
        if self.chains == 1:
            return None
        from .diagnostics import rank

        return rank(self._values, self.chains)

    def hdi(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        level = checked(level, "hdi")
        if self.finite and self.domain.dim() == 1:
            return super().hdi(level)
        return of_draws(self._values, level)

    def member(self, *at: int) -> DrawnMarginal:
        from .member import place

        return self.entry(place(self, at))

    def entry(self, at: tuple[int, ...]) -> DrawnMarginal:
        """The draws of one member, or of one entry of a vector."""
        picked: Any = (slice(None), *at)
        return DrawnMarginal(
            member_name(self.name, at),
            self._values[picked],
            (),
            self.states,
            self._domain,
            self.effective_size,
            self.chains,
        )

    @cached_property
    def domain(self) -> Tensor:  # type: ignore[override]
        if self._domain is not None:
            return self._domain
        if not self.finite:
            raise QueryError(TABLELESS.format(self.name))
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
