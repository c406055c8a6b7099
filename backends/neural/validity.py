"""The probability that a simulation gives data at all, as a function of its parameters.

Failed simulations say something of θ: p(x, valid | θ) = p(valid | θ) p(x | θ, valid). Where they are left out of training, this puts them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppl.compiler import Query

from .densities import mlp
from .features import Features
from .packing import loaded, packed, unpacked
from .simulations import Simulations
from .train import Settings, train

__all__ = ["Validity"]


class Validity:
    """p(valid | θ), learned from all simulations; one where none failed.

    Args:
        query: The component.
        features: Of the parameters.
        net: Its logit.
    """

    def __init__(
        self, query: Query, features: Features | None = None, net: nn.Module | None = None
    ):
        self._query, self.features, self.net = query, features, net

    @classmethod
    def learn(cls, query: Query, simulations: Simulations, seconds: float) -> Validity:
        """Train a classifier, if anything failed."""
        if not simulations.failed:
            return cls(query)
        features = Features.fit(query, tuple(simulations.tried), simulations.tried)
        rows = features(query, simulations.tried)[:, 0]
        net = _net(features)
        settings = Settings(epochs=40, rate=5e-3)
        target = simulations.valid.to(torch.float32)
        trained = train(
            net, _loss, (rows, target), query.seed, seconds, settings, "learning where it fails"
        )
        return cls(query, features, trained.net)

    @property
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data; none where nothing failed."""
        if self.net is None or self.features is None:
            return {}, {}
        features, facts = self.features.state
        return packed(features=features, net=self.net.state_dict()), facts

    @classmethod
    def of(cls, query: Query, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Validity:
        """The way back."""
        if not facts:
            return cls(query)
        features = Features.of(unpacked(tensors, "features"), facts)
        return cls(query, features, loaded(_net(features), unpacked(tensors, "net")))

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor | float:
        """log p(valid | θ), `(draws,)`; 0 where nothing failed."""
        if self.net is None or self.features is None:
            return 0.0
        with torch.no_grad():
            logit = self.net(self.features(self._query, values)[:, 0])[:, 0]
        return nn.functional.logsigmoid(logit).to(torch.float64)

    @staticmethod
    def note(simulations: Simulations, done: str) -> tuple[str, ...]:
        """What the user should know of failed simulations."""
        if not simulations.failed:
            return ()
        return (f"{simulations.failed:,} of {simulations.done:,} simulations failed: {done}",)


def _net(features: Features) -> nn.Module:
    return mlp(features.size, 1, 32, 2)


def _loss(net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
    theta, valid = rows
    return nn.functional.binary_cross_entropy_with_logits(net(theta)[:, 0], valid, reduction="none")
