"""What an engine hands back for one component: marginals, draws, and densities where there are any.

`Posterior` puts the components together; engines make answers, users see posteriors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import BackendError
from ..graph import Graph
from .certificate import Certificate
from .marginal import DrawnMarginal, Marginal

__all__ = ["Answer", "Chains", "Draws"]


#: Draws that a joint table is counted from, where it is not known exactly.
COUNTED = 10_000


class Answer(ABC):
    """The posterior of one component.

    Attributes:
        names: The nodes that it answers for.
        certificate: What is known about its quality.
        log_evidence: log p(observation of this component), or `None` where it is not known.
        notes: What the user should know about how it came about.
        history: Figures by step of how it came about, such as `"loss"`, `"tolerance"` and `"acceptance"`, for pictures.
    """

    names: tuple[str, ...]
    certificate: Certificate
    log_evidence: float | None = None
    notes: tuple[str, ...] = ()
    history: Mapping[str, Sequence[float]] = {}

    @abstractmethod
    def marginal(self, name: str) -> Marginal:
        """The marginal of one node."""

    @abstractmethod
    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        """Joint draws of all nodes, `(n, *plates, *event)` each."""

    def joint(self, cells: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[Tensor], Tensor]:
        """Domains of some members of finite nodes, and their joint probabilities, `(*cardinalities,)`."""
        draws = self.sample(COUNTED, 0)
        domains, indices = [], []
        for name, at in cells:
            domain = self.marginal(name).domain
            domains.append(domain)
            picked: Any = (slice(None), *at)
            lead = draws[name][picked].unsqueeze(1)
            same = (lead == domain).flatten(2).all(-1) if domain.dim() > 1 else lead == domain
            indices.append(same.to(torch.int8).argmax(1))
        shape = [len(domain) for domain in domains]
        counts = torch.zeros(shape, dtype=torch.float64)
        counts.index_put_(tuple(indices), torch.ones(COUNTED, dtype=torch.float64), accumulate=True)
        return domains, counts / COUNTED

    def most_probable(self, names: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        """The jointly most probable values of some nodes, and the log of their posterior probability."""
        raise BackendError(
            f"The posterior of {', '.join(self.names)} is known by its draws only; the most probable value is not known."
        )

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p(values | observation) of all nodes jointly, `(batch,)` for values `(batch, *plates, *event)`."""
        raise BackendError(
            f"The posterior of {', '.join(self.names)} is known by its draws only; it has no density."
        )


class Draws(Answer):
    """An answer that consists of equally weighted joint draws.

    Args:
        graph: Where the nodes' plates and labels are.
        values: By node, `(draws, *plates, *event)`.
        certificate: What is known about its quality.
        domains: Values of the nodes that are known to be finite.
        notes: What the user should know.
        size: The number of independent draws that these are worth; all of them by default.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Tensor],
        certificate: Certificate,
        domains: Mapping[str, Tensor] | None = None,
        notes: tuple[str, ...] = (),
        size: float | None = None,
    ):
        self.names, self.certificate, self.notes = tuple(values), certificate, notes
        self._size = size
        self._graph, self._values, self._domains = graph, dict(values), dict(domains or {})

    def __len__(self) -> int:
        return len(next(iter(self._values.values())))

    @property
    def values(self) -> Mapping[str, Tensor]:
        """All draws by node, `(draws, *plates, *event)`."""
        return self._values

    def state(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {
            "kind": "draws",
            "values": self._values,
            "domains": self._domains,
            "size": self._size,
        }

    def only(self, names: Sequence[str]) -> Draws:
        """The draws of some of the nodes."""
        values = {name: self._values[name] for name in names}
        found = Draws(self._graph, values, self.certificate, self._domains, self.notes, self._size)
        found.log_evidence = self.log_evidence
        return found

    def marginal(self, name: str) -> Marginal:
        node = self._graph[name]
        return DrawnMarginal(
            name, self._values[name], node.axes, node.states, self._domains.get(name), self._size
        )

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        # No draw twice before all came once: copies are no draws of their own.
        generator = torch.Generator().manual_seed(seed)
        rounds = -(-n // len(self))
        rows = torch.cat([torch.randperm(len(self), generator=generator) for _ in range(rounds)])[
            :n
        ]
        return {name: value[rows] for name, value in self._values.items()}


class Chains(Draws):
    """Joint draws of several chains, which depend on each other within a chain.

    Args:
        graph: Where the nodes' plates and labels are.
        values: By node, `(chains, draws, *plates, *event)`.
        certificate: What is known about its quality.
        sizes: By node, how many independent draws these are worth.
        domains: Values of the nodes that are known to be finite.
        notes: What the user should know.
        stats: What the sampler says about each draw, such as its energy, `(chains, draws)` each.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Tensor],
        certificate: Certificate,
        sizes: Mapping[str, float],
        domains: Mapping[str, Tensor] | None = None,
        notes: tuple[str, ...] = (),
        stats: Mapping[str, Tensor] | None = None,
    ):
        flat = {name: v.reshape((-1, *v.shape[2:])) for name, v in values.items()}
        super().__init__(graph, flat, certificate, domains, notes)
        #: By node, `(chains, draws, *plates, *event)`.
        self.chains = dict(values)
        #: What one of them is called; draws of an island have no order.
        self.unit = "chain"
        self.stats = dict(stats or {})
        self._sizes = dict(sizes)

    def state(self) -> dict[str, Any]:
        return {
            "kind": "chains",
            "values": self.chains,
            "domains": self._domains,
            "sizes": self._sizes,
            "stats": self.stats,
        }

    def only(self, names: Sequence[str]) -> Chains:
        values = {name: self.chains[name] for name in names}
        found = Chains(
            self._graph,
            values,
            self.certificate,
            self._sizes,
            self._domains,
            self.notes,
            self.stats,
        )
        found.log_evidence = self.log_evidence
        return found

    def marginal(self, name: str) -> Marginal:
        node = self._graph[name]
        return DrawnMarginal(
            name,
            self._values[name],
            node.axes,
            node.states,
            self._domains.get(name),
            self._sizes.get(name),
            len(self.chains[name]),
        )
