"""A query: what is asked of which graph, given what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..graph import Graph
from ..mechanism import Data, Mechanism

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ..campaign import Running
    from .summaries import Summaries

__all__ = ["Query"]


@dataclass(frozen=True, eq=False)
class Query:
    """A question about one graph, or about one independent component of it.

    Args:
        graph: The nodes that matter, every parent included.
        mechanism: How their bodies are called; it knows inputs, sizes and every node's facts.
        given: The nodes whose values are, or will be, observed.
        ask: The nodes that the answer is about.
        free: The nodes of this component that are not observed, or not in every cell.
        evidence: The observed nodes that depend on free ones: their densities are part of the answer.
        clamped: The other observed nodes: free nodes and evidence depend on them.
        observation: The data, or `None` when the plan is made before they are known.
        partial: The given nodes that have missing cells.
        task: `"posterior"` for nodes that are asked for, `"evidence"` when only log p(observation) is wanted.
        seed: Decides every random number.
        options: What the user chose for a forced engine.
        running: Where simulations are run and kept; `None` for here and nowhere.
        summaries: By what simulations are compared with data, where the model says.
        ranges: Inputs that are not given yet, whose range is prepared for.
        cuts: The values at which countable nodes are looked at, `(values,)` by node; what lies beyond is left out.
    """

    graph: Graph
    mechanism: Mechanism
    given: tuple[str, ...]
    ask: tuple[str, ...]
    free: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()
    observation: Data | None = None
    partial: frozenset[str] = frozenset()
    task: str = "posterior"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    running: Running | None = None
    summaries: Summaries | None = None
    ranges: tuple[str, ...] = ()
    cuts: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def compared(self) -> tuple[str, ...]:
        """What engines that simulate compare: the evidence, or its summaries."""
        return self.evidence if self.summaries is None else self.summaries.of(self.evidence)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of members of each plate."""
        return self.mechanism.sizes
