"""A learned ratio p(data | parameters) / p(data): a classifier that tells pairs from shuffled pairs, factor by factor.

References:
    | Likelihood-free MCMC with amortized approximate ratio estimators (Hermans, Begy and Louppe, 2020): two classes ("nre-a", AALR)
    | Contrastive neural ratio estimation (Miller, Weniger and Forré, 2022): several classes ("nre-c")
    | Towards reliable simulation-based inference with balanced neural ratio estimation (Delaunoy et al., 2022): balance
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.mechanism import Data

from .densities import mlp, regression
from .embedding import Embedding, Groups, own_sizes
from .factors import Factor
from .features import Features
from .likelihood import Term, evidence_of, numbered, some_rows
from .members import members, present_members
from .options import Options
from .packing import loaded, packed, unpacked
from .simulations import Simulations
from .train import Trained, train

__all__ = ["LOSSES", "Contrast", "LearnedRatio"]

LOSSES = ("nre-a", "nre-c")
#: Rows that are passed as often as the settings say, and the fewest passes over more.
ROWS, LEAST = 15_000, 15
#: The weight of the balance condition.
BALANCE = 100.0


@dataclass(frozen=True)
class Contrast:
    """What the classifier is trained to tell apart.

    Args:
        loss: `"nre-a"`: pair or shuffled pair; `"nre-c"`: which of several parameters belongs to the data, if any.
        classes: Of `"nre-c"`, how many parameters.
        gamma: Of `"nre-c"`, the odds that one of them belongs.
        balanced: Whether the classifier is kept from being surer than it is right.
    """

    loss: str = "nre-c"
    classes: int = 5
    gamma: float = 1.0
    balanced: bool = False

    @classmethod
    def read(cls, query: Query, method: str) -> Contrast:
        """As the user chose.

        Raises:
            QueryError: If a choice makes no sense.
        """
        found = cls(**{k: v for k, v in query.options.items() if k in cls.__dataclass_fields__})
        if found.loss not in LOSSES:
            raise QueryError(f"{method}: loss={found.loss!r}. There are {' and '.join(LOSSES)}.")
        if not (isinstance(found.classes, int) and 1 <= found.classes <= 1000):
            raise QueryError(f"{method}: classes={found.classes!r}: from 1 to 1000.")
        if not (isinstance(found.gamma, int | float) and 0 < found.gamma < math.inf):
            raise QueryError(f"{method}: gamma={found.gamma!r}: a positive number.")
        return found

    def __call__(self, net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
        assert isinstance(net, _RatioNet)
        theta, data = rows[0], net.embedded(rows[1:])
        n = len(theta)
        if self.loss == "nre-a":
            joint = net.logit(theta, data)
            apart = net.logit(theta.roll(1, 0), data)
            softplus = nn.functional.softplus
            total = softplus(-joint) + softplus(apart)
        else:
            k = max(min(self.classes, n // 2), 1)
            # Shifts of the batch pair data with parameters of other rows; the first 'false' set has k false ones, the true set one true and k − 1 false.
            shifts = torch.randperm(n - 1)[: 2 * k] + 1 if n > 2 * k else torch.arange(1, 2 * k + 1)
            others = torch.stack([theta.roll(int(s), 0) for s in shifts], dim=1)
            false = net.logit(others, data.unsqueeze(1))
            joint = net.logit(theta, data)
            apart = false[:, 0]
            log_k, log_g = math.log(k), math.log(self.gamma)
            constant = torch.full((n, 1), log_k)
            none = torch.logsumexp(torch.cat([constant, log_g + false[:, :k]], 1), dim=1)
            mixed = torch.cat([joint.unsqueeze(1), false[:, k : 2 * k - 1]], 1)
            one = torch.logsumexp(torch.cat([constant, log_g + mixed], 1), dim=1)
            weight = self.gamma / (1 + self.gamma)
            total = -(1 - weight) * (log_k - none) - weight * (log_g + joint - one)
        if self.balanced:
            # E under pairs + E under shuffled pairs of the classifier's probability is one for the right classifier.
            excess = joint.sigmoid().mean() + apart.sigmoid().mean() - 1
            total = total + BALANCE * excess**2
        return total


class _RatioNet(nn.Module):
    """The log ratio of embedded data and features of parameters.

    What a line says of the data from the parameters is taken off and given beside them: a narrow ridge is then a distance from zero.
    """

    def __init__(self, features: int, embed: nn.Module, size: int):
        super().__init__()
        self.embed = embed
        self.line = nn.Linear(features, size)
        self.scale = nn.Parameter(torch.zeros(size))
        self.net = mlp(features + 2 * size, 1, 64, 4)

    def embedded(self, rows: Sequence[Tensor]) -> Tensor:
        return self.embed(rows)

    def logit(self, theta: Tensor, data: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(theta.shape[:-1], data.shape[:-1])
        theta, data = theta.expand((*lead, -1)), data.expand((*lead, -1))
        rest = (data - self.line(theta)) * self.scale.exp()
        return self.net(torch.cat([theta, data, rest], dim=-1))[..., 0]


class _Plain(nn.Module):
    """Features as they are."""

    def forward(self, rows: Sequence[Tensor]) -> Tensor:
        return rows[0]


@dataclass(eq=False)
class LearnedRatio:
    """log p(a factor's data | its parents) − log p(the data), for one member of its plate.

    Args:
        query: The component.
        factor: The group of nodes.
        features: Of its parents.
        data: Of its data: features of a member, or groups of nodes that nets of their own see.
        nets: An ensemble, whose ratios are averaged in logarithm.
        trained: How each came about.
        own: The lengths of what the user's nets return.
    """

    query: Query
    factor: Factor
    features: Features
    data: Features | Groups
    nets: list[nn.Module]
    trained: list[Trained]
    own: list[int]

    @classmethod
    def fit(
        cls,
        query: Query,
        factor: Factor,
        simulations: Simulations,
        options: Options,
        seconds: float,
        title: str,
        start: LearnedRatio | None = None,
    ) -> LearnedRatio:
        """Train; see `LearnedDensity.fit`."""
        values = {**query.mechanism.data.inputs, **simulations.values}
        if start is not None:
            features, data = start.features, start.data
        else:
            features = Features.fit(query, factor.parents, values, factor.plate, factor.indexed)
            data = (
                Groups.fit(query, factor.names, values, options.embed)
                if factor.plate is None
                else Features.fit(query, factor.names, values, factor.plate)
            )
        generator = torch.Generator().manual_seed(query.seed)
        theta = features(query, values)
        if isinstance(data, Groups):
            rows = data.rows(simulations.values)
            theta = theta[:, 0].expand((len(rows[0]), theta.shape[2]))
            count = 1
        else:
            raw = data(query, simulations.values)
            draws, count = raw.shape[:2]
            chosen = some_rows(draws, count, generator)
            theta = theta.expand((draws, count, theta.shape[2])).flatten(0, 1)[chosen]
            rows = [raw.flatten(0, 1)[chosen]]
        contrast = Contrast.read(query, "nre")
        # A row costs as many evaluations as there are pairs: many rows are passed fewer times.
        passes = options.settings.epochs * ROWS // max(len(theta), 1)
        epochs = min(options.settings.epochs, max(passes, LEAST))
        own = own_sizes(data, rows) if isinstance(data, Groups) else []
        nets, trained = [], []
        for k in range(options.ensemble):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(query.seed * 1_000 + k)
                if start is not None:
                    net = start.nets[k]
                else:
                    net = _net(features, data, own)
                    _fit_line(net, theta, rows)
                found = train(
                    net,
                    contrast,
                    (theta, *rows),
                    query.seed * 1_000 + k,
                    seconds / options.ensemble,
                    numbered(replace(options.settings, epochs=epochs), factor, k),
                    title,
                    options.progress,
                )
            nets.append(found.net)
            trained.append(found)
        return cls(query, factor, features, data, nets, trained, own)

    @property
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data."""
        features, plain = self.features.state
        data, data_plain = self.data.state
        nets = {f"net{k}": net.state_dict() for k, net in enumerate(self.nets)}
        facts = {"features": plain, "data": data_plain, "own": self.own, "nets": len(nets)}
        return packed(features=features, data=data, **nets), facts

    @classmethod
    def of(
        cls,
        query: Query,
        factor: Factor,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        options: Options,
    ) -> LearnedRatio:
        """The way back."""
        features = Features.of(unpacked(tensors, "features"), facts["features"])
        plain, own = unpacked(tensors, "data"), facts["own"]
        data: Features | Groups = (
            Groups.of(query, plain, facts["data"], options.embed)
            if factor.plate is None
            else Features.of(plain, facts["data"])
        )
        nets = [
            loaded(_net(features, data, own), unpacked(tensors, f"net{k}"))
            for k in range(facts["nets"])
        ]
        return cls(query, factor, features, data, nets, [], own)

    def over(self, query: Query, factor: Factor) -> LearnedRatio:
        """The same ratio for another number of members."""
        return replace(self, query=query, factor=factor)

    @property
    def width(self) -> int:
        """Numbers that one draw of the parameters makes."""
        return members(self.query, self.factor.plate) * 64

    def term(self, data: Data) -> Term:
        """The log ratio of one observation, as a function of the parameters."""
        query, factor = self.query, self.factor
        observed, present = evidence_of(query, data)
        known = {**data.inputs, **observed}
        parents = {p: known[p] for p in factor.parents if p in known}
        there = present_members(query, factor.names, present, factor.plate)[0]
        values = {n: observed[n] for n in factor.names}
        if isinstance(self.data, Groups):
            rows = self.data.rows(values, present)
            seen = [net.embedded(rows).unsqueeze(0) for net in self.nets]  # type: ignore[operator]
        else:
            seen = [self.data(query, values) for _ in self.nets]

        def log_ratio(values: Mapping[str, Tensor]) -> Tensor:
            theta = self.features(query, {**parents, **values})
            total = torch.zeros(len(theta), dtype=torch.float64)
            for net, x in zip(self.nets, seen, strict=True):
                each = net.logit(theta, x).to(torch.float64)  # type: ignore[operator]
                total = total + torch.where(there, each, 0.0).sum(dim=1)
            return total / len(self.nets)

        return log_ratio

    def outside(self, data: Data) -> tuple[float, list[str]]:
        """How far the observation lies outside what was simulated, in standard deviations of it, and the nodes."""
        observed, present = evidence_of(self.query, data)
        values = {n: observed[n] for n in self.factor.names}
        if isinstance(self.data, Groups):
            return self.data.outside(self.data.rows(values, present), 0)
        there = present_members(self.query, self.factor.names, present, self.factor.plate)[0]
        rows = self.data(self.query, values)[0]
        return self.data.outside(rows[there.expand(len(rows))])


def _net(features: Features, data: Features | Groups, own: Sequence[int]) -> _RatioNet:
    """A fresh net."""
    if isinstance(data, Groups):
        embed = Embedding(data, own)
        return _RatioNet(features.size, embed, embed.size)
    return _RatioNet(features.size, _Plain(), data.size)


def _fit_line(net: _RatioNet, theta: Tensor, rows: Sequence[Tensor]) -> None:
    """Begin with a linear regression of the data on the parameters."""
    with torch.no_grad():
        x = net.embedded([r[:5_000] for r in rows])
        spread = regression(net.line, x, theta[:5_000]).std(dim=0).clamp(min=1e-3)
        net.scale.copy_(-spread.log())
