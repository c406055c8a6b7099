"""A learned likelihood: log p(data | parameters) as a sum over the graph's factors and the members of their plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.mechanism import Data, forward, quiet
from ppl.mechanism.joint import log_density

from .conditional import Conditional
from .factors import Factor
from .features import Features, distinct
from .members import members, present_members
from .options import Options
from .packing import loaded, packed, unpacked
from .simulations import Simulations
from .train import Settings, Trained, train
from .variables import Variable, Variables, datum

__all__ = ["Explicit", "LearnedDensity", "Term", "evidence_of", "numbered", "some_rows"]

#: Of values of the parameters, `(draws, *plates, *event)`: `(draws,)`.
Term = Callable[[Mapping[str, Tensor]], Tensor]
#: Rows that a net is trained on at most; of large plates each draw gives a few members.
MOST_ROWS = 100_000


def evidence_of(query: Query, data: Data) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Observed values, those of summaries too, and which of their cells are there."""
    if query.summaries is not None:
        observed, present = query.summaries.seen(data)
    else:
        observed, present = dict(data.observed), dict(data.present)
    # Inputs that a net is conditioned on are data to it.
    observed |= {n: data.inputs[n] for n in query.ranges}
    return observed, present


@dataclass(eq=False)
class LearnedDensity:
    """p(a factor's data | its parents), for one member of its plate.

    Args:
        query: The component.
        factor: The group of nodes.
        features: Of its parents.
        variables: Of its data.
        nets: An ensemble, whose densities are averaged.
        trained: How each came about.
        kept: Numbers that are described: not those that never vary, nor copies of others.
        low, high: The range of the simulated numbers, standardised.
    """

    query: Query
    factor: Factor
    features: Features
    variables: Variables
    nets: list[Conditional]
    trained: list[Trained]
    kept: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fit(
        cls,
        query: Query,
        factor: Factor,
        simulations: Simulations,
        options: Options,
        seconds: float,
        title: str,
        start: LearnedDensity | None = None,
    ) -> LearnedDensity:
        """Train.

        Args:
            seconds: For all nets together.
            title: Of the progress bar.
            start: An earlier one, whose nets are trained on.
        """
        values = {**query.mechanism.data.inputs, **simulations.values}
        parts = [_datum(query, n, factor.plate, values[n]) for n in factor.names]
        if start is not None and not _known(parts, start.variables.parts):
            # Values that were never seen before are new classes: the net begins afresh.
            start = None
        if start is None:
            features = Features.fit(query, factor.parents, values, factor.plate, factor.indexed)
            variables = Variables(query, parts, factor.plate)
        else:
            features, variables = start.features, start.variables
        generator = torch.Generator().manual_seed(query.seed)
        plain = variables.encode(simulations.values)[1].flatten(0, 1)
        kept = start.kept if start is not None else distinct(plain)
        codes, numbers = variables.encode(simulations.values, generator)
        numbers = numbers[..., kept]
        c = features(query, values)
        draws, count = numbers.shape[:2]
        c = c.expand((draws, count, c.shape[2]))
        rows = some_rows(draws, count, generator)
        codes, numbers, c = (t.flatten(0, 1)[rows] for t in (codes, numbers, c))
        settings = options.settings
        nets, trained = [], []
        for k in range(options.ensemble):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(query.seed * 1_000 + k)
                if start is not None:
                    net = start.nets[k]
                else:
                    net = Conditional(
                        variables.cards, len(kept), features.size, draws, options.density
                    )
                    net.standardise(numbers)
                    net.fit_line(codes, net.scaled(numbers), c)
                found = train(
                    net,
                    _loss,
                    (codes, net.scaled(numbers), c),
                    query.seed * 1_000 + k,
                    seconds / options.ensemble,
                    numbered(settings, factor, k),
                    title,
                    options.progress,
                )
            nets.append(found.net)
            trained.append(found)
        z = nets[0].scaled(numbers)  # type: ignore[operator]
        low, high = (z.amin(dim=0), z.amax(dim=0)) if z.shape[1] else (z[0], z[0])
        return cls(query, factor, features, variables, nets, trained, kept, low, high)  # type: ignore[arg-type]

    @property
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data."""
        tensors, features = self.features.state
        nets = {f"net{k}": net.state_dict() for k, net in enumerate(self.nets)}
        edges = {"kept": self.kept, "low": self.low, "high": self.high}
        facts = {
            "features": features,
            "variables": [v.facts for v in self.variables.parts],
            "made": [net.made for net in self.nets],
        }
        return packed(features=tensors, edges=edges, **nets), facts

    @classmethod
    def of(
        cls,
        query: Query,
        factor: Factor,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        options: Options,
    ) -> LearnedDensity:
        """The way back."""
        nets = [
            loaded(Conditional(**made), unpacked(tensors, f"net{k}"))
            for k, made in enumerate(facts["made"])
        ]
        parts = [Variable.of(query, v) for v in facts["variables"]]
        return cls(
            query,
            factor,
            Features.of(unpacked(tensors, "features"), facts["features"]),
            Variables(query, parts, factor.plate),
            nets,  # type: ignore[arg-type]
            [],
            **unpacked(tensors, "edges"),
        )

    def over(self, query: Query, factor: Factor) -> LearnedDensity:
        """The same density for another number of members."""
        variables = Variables(query, self.variables.parts, self.variables.plate)
        return replace(self, query=query, factor=factor, variables=variables)

    @property
    def width(self) -> int:
        """Numbers that one draw of the parameters makes."""
        kind = 16 * self.variables.size**2 if self.variables.size <= 3 else 256
        return members(self.query, self.factor.plate) * max(kind, 64)

    def term(self, data: Data) -> Term:
        """The log likelihood of one observation, as a function of the parameters.

        Raises:
            QueryError: If some cells of a member are missing and others are there.
        """
        query, factor = self.query, self.factor
        observed, present = evidence_of(query, data)
        known = {**data.inputs, **{n: observed[n] for n in observed}}
        for name in factor.names:
            for part in self.variables.parts:
                if part.name == name and part.coded and name in observed:
                    _check_simulated(name, observed[name], part.domain, present.get(name))
        codes, numbers = self.variables.encode({n: observed[n] for n in factor.names})
        there = present_members(query, factor.names, present, factor.plate)[0]
        some = [n for n in factor.names if n in present and not bool(present[n].all())]
        if some and (factor.plate is None or len(factor.names) > 1):
            raise QueryError(
                f"nle: '{some[0]}' has missing cells, and the density is of {', '.join(factor.names)} together. method='npe' takes gaps."
            )
        there = there.expand(numbers.shape[1])
        slope = self.variables.log_slope(numbers)
        numbers = numbers[..., self.kept]
        parents = {p: known[p] for p in factor.parents if p in known}

        def log_likelihood(values: Mapping[str, Tensor]) -> Tensor:
            c = self.features(query, {**parents, **values})
            logs = []
            for net in self.nets:
                each = net.log_prob(codes, net.scaled(numbers), c).to(torch.float64) + slope
                logs.append(torch.where(there, each, 0.0).sum(dim=1))
            if len(logs) == 1:
                return logs[0]
            count = torch.tensor(float(len(logs)), dtype=torch.float64)
            return torch.logsumexp(torch.stack(logs), dim=0) - count.log()

        return log_likelihood

    def outside(self, data: Data) -> tuple[float, list[str]]:
        """How far the observation lies outside what was simulated, in standard deviations of it, and the nodes."""
        observed, present = evidence_of(self.query, data)
        _, numbers = self.variables.encode({n: observed[n] for n in self.factor.names})
        if not len(self.kept):
            return 0.0, []
        there = present_members(self.query, self.factor.names, present, self.factor.plate)[0]
        numbers = numbers[..., self.kept]
        z = self.nets[0].scaled(numbers)[0][there.expand(numbers.shape[1])]
        away = ((z - self.high).clamp(min=0) + (self.low - z).clamp(min=0)).amax(dim=0)
        labels = [v.name for v in self.variables.numeric for _ in range(v.size)]
        labels = [labels[int(k)] for k in self.kept]
        order = away.argsort(descending=True)
        names = [labels[int(i)] for i in order if float(away[i]) > 0]
        return float(away.max()), list(dict.fromkeys(names))


class Explicit:
    """A factor whose density is known: nothing is learned.

    Args:
        query: The component.
        factor: Nodes with densities.
    """

    def __init__(self, query: Query, factor: Factor):
        self.query, self.factor = query, factor

    def term(self, data: Data) -> Term:
        """The log likelihood of one observation, as a function of the parameters."""
        mechanism, names = self.query.mechanism, self.factor.names
        graph = mechanism.graph
        fixed = {n: data.observed[n] for n in (*names, *self.query.clamped)}
        fixed |= {n: data.inputs[n] for n in self.query.ranges}
        between = {
            n
            for n in graph.ancestors_of(names)
            if mechanism.facts[n].kind in ("deterministic", "input")
        }

        def log_likelihood(values: Mapping[str, Tensor]) -> Tensor:
            rows = max(len(v) for v in values.values())
            batch = forward(mechanism, rows, 0, fixed={**fixed, **values}, only=between).values
            total = torch.zeros(rows, dtype=torch.float64)
            with quiet():
                for name in names:
                    logs = log_density(mechanism, graph[name], batch, rows)
                    there = data.present[name].reshape((1, *data.present[name].shape[1:]))
                    logs = torch.where(there, logs.reshape((len(logs), *there.shape[1:])), 0.0)
                    total = total + logs.reshape((len(logs), -1)).sum(dim=1)
            return torch.nan_to_num(total, nan=-torch.inf, posinf=-torch.inf)

        return log_likelihood


def _loss(net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
    assert isinstance(net, Conditional)
    return -net.log_prob(*rows)


def _datum(query: Query, name: str, plate: str | None, simulated: Tensor):
    """The observed node as a variable; the observation's own values count as seen."""
    if query.observation is not None:
        observed, present = evidence_of(query, query.observation)
        if name in observed and bool(present[name].all()):
            whole = not simulated.is_floating_point()
            seen = observed[name].to(torch.int64) if whole else observed[name]
            simulated = torch.cat([simulated, seen.to(simulated.dtype)])
    return datum(query, name, plate, simulated)


def _known(parts: Sequence[Variable], before: Sequence[Variable]) -> bool:
    """Whether all classes of coded nodes were there before."""
    return all(
        one.kind == two.kind
        and (
            one.domain is None
            or two.domain is None
            or bool(torch.isin(one.domain, two.domain).all())
        )
        for one, two in zip(parts, before, strict=True)
    )


def _check_simulated(
    name: str, value: Tensor, domain: Tensor | None, present: Tensor | None
) -> None:
    """Refuse a value that no simulation gave."""
    assert domain is not None
    shown = value if present is None else value[present]
    strange = ~torch.isin(shown.to(domain.dtype), domain)
    if bool(strange.any()):
        raise QueryError(
            f"'{name}' was observed as {shown[strange].reshape(-1)[0].item():g}, which no simulation gave: the learned likelihood knows "
            f"{', '.join(f'{v:g}' for v in domain[:8].tolist())}{', …' if len(domain) > 8 else ''}. Simulate more, or compile with this observation."
        )


def some_rows(draws: int, count: int, generator: torch.Generator) -> Tensor:
    """Rows of a `(draws, members)` grid to train on: all, or a few members of each draw."""
    if draws * count <= MOST_ROWS:
        return torch.arange(draws * count)
    each = max(MOST_ROWS // draws, 1)
    members = torch.rand(draws, count, generator=generator).argsort(dim=1)[:, :each]
    return (torch.arange(draws).unsqueeze(1) * count + members).reshape(-1)


def numbered(settings: Settings, factor: Factor, k: int) -> Settings:
    """With a checkpoint of its own for each net."""
    if settings.checkpoint is None:
        return settings
    path = settings.checkpoint
    return replace(
        settings, checkpoint=path.with_name(f"{path.stem}-{factor.names[0]}-{k}{path.suffix}")
    )
