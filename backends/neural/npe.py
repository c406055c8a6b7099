"""Neural posterior estimation: a conditional spline flow, trained once on simulations, answers for any observation.

References:
    | Fast ε-free inference of simulation models with Bayesian conditional density estimation (Papamakarios and Murray, 2016)
    | Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ppl.campaign import opened
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError
from ppl.mechanism import Data, forward
from ppl.posterior import Answer, Certificate, DrawnMarginal, Marginal, TableMarginal

from .features import Features
from .targets import Unsuitable, split, targets
from .train import Settings, Trained, train

__all__ = ["FlowAnswer", "NPESolver", "judge", "prepare"]

#: Simulations when the budget does not say.
SIMULATIONS = 10_000
#: Draws that marginals are read from.
DRAWS = 10_000
#: Points in each cell of an ordered finite node at which the density is averaged.
POINTS = 4


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits when something is opaque; able whenever the asked nodes are numbers and something is observed."""
    simulations = budget.simulations or SIMULATIONS
    if not query.evidence:
        return Verdict("npe", False, 8, "there is no data to learn from")
    if query.partial:
        gaps = ", ".join(sorted(query.partial))
        return Verdict(
            "npe",
            False,
            8,
            f"{gaps} has missing cells, and the net would be trained on complete data",
        )
    try:
        wanted = targets(query)
    except Unsuitable as reason:
        return Verdict("npe", False, 8, str(reason), remedy=_remedy(str(reason)))
    opaque = [
        n for n in (*query.free, *query.evidence) if query.mechanism.facts[n].kind == "opaque"
    ]
    cost = {"simulations": simulations, "parameters": sum(t.size for t in wanted)}
    guarantee = "a trained approximation; nothing is verified until it is checked"
    if not opaque:
        return Verdict(
            "npe",
            True,
            8,
            "every density is explicit, and a net would only approximate what can be computed",
            fits=False,
            guarantee=guarantee,
            grade="U",
            cost=cost,
            remedy="Forced by method='npe' it runs all the same.",
        )
    return Verdict(
        "npe",
        True,
        8,
        f"{', '.join(opaque[:3])} {'is' if len(opaque) == 1 else 'are'} opaque; a flow learns p({', '.join(query.ask)} | data) from "
        "simulations, once for all observations",
        guarantee=guarantee,
        grade="U",
        cost=cost,
    )


def _remedy(reason: str) -> str:
    if "support" in reason:
        return "Give it a support that is the same for all draws: @model.theta(support=constraints.positive)."
    return "Ask for continuous nodes, or for whole numbers with 16 values or more."


def prepare(query: Query, budget: Budget) -> NPESolver:
    """Simulate and train."""
    return NPESolver(query, budget)


class _Flow(nn.Module):
    """A spline flow on standardised, unconstrained θ, given features of x."""

    mean: Tensor
    scale: Tensor

    def __init__(self, parameters: int, features: int, mean: Tensor, scale: Tensor):
        super().__init__()
        import zuko

        width = min(max(2 * features, 32), 128)
        self.embed = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(), nn.Linear(width, 32), nn.SiLU()
        )
        self.flow = zuko.flows.NSF(
            parameters, 32, transforms=3 if parameters > 1 else 2, bins=8, hidden_features=(64, 64)
        )
        self.register_buffer("mean", mean.to(torch.float32))
        self.register_buffer("scale", scale.to(torch.float32))

    def forward(self, features: Tensor):
        return self.flow(self.embed(features))

    def log_prob(self, theta: Tensor, features: Tensor) -> Tensor:
        """Of unconstrained θ, `(batch,)`."""
        z = (theta - self.mean) / self.scale
        return self(features).log_prob(z) - self.scale.log().sum()


def _loss(net: nn.Module, theta: Tensor, features: Tensor) -> Tensor:
    assert isinstance(net, _Flow)
    return -net.log_prob(theta, features)


class NPESolver:
    """A trained net; conditions on any number of observations without simulating again.

    Args:
        query: The component.
        budget: Simulations and seconds.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.targets = query, targets(query)
        self.given = tuple(dict.fromkeys((*query.evidence, *query.clamped)))
        begun = time.monotonic()
        theta, values, self.notes, self.simulations = self._simulate(budget)
        self.features = Features.fit(query, self.given, values)
        x = self.features(values)
        self._edges = x.min(dim=0).values, x.max(dim=0).values
        left = max(budget.seconds - (time.monotonic() - begun), 1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(query.seed)
            scale = theta.std(dim=0).clamp(min=1e-6)
            net = _Flow(theta.shape[1], x.shape[1], theta.mean(dim=0), scale)
            self.trained: Trained = train(
                net,
                _loss,
                theta.to(torch.float32),
                x,
                query.seed,
                left,
                Settings(),
            )
        if self.trained.cut:
            self.notes += (f"training stopped at its budget of {budget.seconds:g} s",)

    def _simulate(self, budget: Budget) -> tuple[Tensor, dict[str, Tensor], tuple[str, ...], int]:
        """Unconstrained θ, `(simulations, parameters)`, and the data, without failed simulations."""
        mechanism, wanted = self.query.mechanism, budget.simulations or SIMULATIONS
        theta: list[Tensor] = []
        values: dict[str, list[Tensor]] = {name: [] for name in self.given}
        done, failed = 0, 0
        begun, notes = time.monotonic(), []
        noise = torch.Generator().manual_seed(self.query.seed)
        with opened(
            mechanism, wanted, self.query.seed, self.query.running, title="simulating for npe"
        ) as campaign:
            size = campaign.size
            if campaign.note:
                notes.append(campaign.note)
            for batch in campaign.batches:
                take = torch.arange(size) < wanted - done
                ok = take & ~batch.failed
                for name in self.given:
                    ok = ok & torch.isfinite(batch.values[name].to(torch.float64)).reshape(
                        (size, -1)
                    ).all(dim=1)
                flat = [
                    t.unconstrain(
                        batch.values[t.name],
                        torch.rand(
                            batch.values[t.name].shape, generator=noise, dtype=torch.float64
                        ),
                    )
                    for t in self.targets
                ]
                theta.append(torch.cat(flat, dim=1)[ok])
                for name in self.given:
                    values[name].append(batch.values[name][ok])
                done += int(take.sum())
                failed += int((take & ~ok).sum())
                if done >= wanted:
                    break
                if time.monotonic() - begun > budget.seconds / 2:
                    notes.append(
                        f"simulating stopped at half its budget of {budget.seconds:g} s, after {done:,} of {wanted:,} draws"
                    )
                    break
        if failed:
            # Dropping them is unbiased here: the net learns p(θ | x, valid), and the observation is valid.
            notes.append(
                f"{failed:,} of {done:,} simulations failed and were left out, which is unbiased for one round of NPE"
            )
        return torch.cat(theta), {k: torch.cat(v) for k, v in values.items()}, tuple(notes), done

    def condition(self, data: Data) -> Sequence[FlowAnswer]:
        """One answer for each observation, in one batch."""
        for name in self.given:
            if data.missing(name):
                raise QueryError(
                    f"npe: '{name}' has missing cells, and the net was trained on complete data."
                )
        x = self.features({name: data.observed[name] for name in self.given})
        low, high = self._edges
        answers = []
        for i in range(data.datasets):
            notes = list(self.notes)
            outside = ((x[i] < low) | (x[i] > high)).nonzero()[:, 0]
            if len(outside):
                far = float(torch.maximum(low - x[i], x[i] - high).max())
                notes.append(
                    f"the observation lies outside the simulated range in {len(outside)} of {len(low)} features, by up to {far:.1f} "
                    "standard deviations: the net extrapolates"
                )
            answers.append(FlowAnswer(self, x[i], tuple(notes)))
        return answers


class FlowAnswer(Answer):
    """The trained posterior at one observation.

    Args:
        solver: The trained net and its targets.
        x: The observation's features, `(features,)`.
        notes: What the user should know.
    """

    def __init__(self, solver: NPESolver, x: Tensor, notes: tuple[str, ...]):
        self.names, self.notes = solver.query.ask, notes
        self._solver, self._x = solver, x
        trained = solver.trained
        self.certificate = Certificate(
            "U",
            "a neural posterior; not calibrated yet",
            {
                "simulations": solver.simulations,
                "epochs": len(trained.losses),
                "held-out loss": f"{min(trained.losses):.3f}",
            },
        )
        self._cached: dict[str, Tensor] | None = None

    def _draw(self, n: int, seed: int) -> dict[str, Tensor]:
        solver, net = self._solver, self._solver.trained.net
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            z = net(self._x).sample((n,))  # type: ignore[operator]
        flat = (z * net.scale + net.mean).to(torch.float64)  # type: ignore[operator]
        return dict(split(solver.targets, flat))

    def _follow(self, drawn: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
        """The asked nodes, deterministic ones computed from the targets."""
        query = self._solver.query
        rest = {a for a in query.ask if a not in drawn}
        if not rest:
            return {name: drawn[name] for name in query.ask}
        only = {
            a
            for a in query.graph.ancestors_of(rest)
            if query.mechanism.facts[a].kind in ("deterministic", "input")
        }
        values = forward(query.mechanism, n, query.seed, fixed=drawn, only=only).values
        return {name: values[name].expand((n, *values[name].shape[1:])) for name in query.ask}

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        return self._follow(self._draw(n, seed), n)

    def marginal(self, name: str) -> Marginal:
        query, solver = self._solver.query, self._solver
        node = query.graph[name]
        if (
            len(solver.targets) == 1
            and solver.targets[0].domain is not None
            and solver.targets[0].size == 1
        ):
            return self._table(name)
        if self._cached is None:
            self._cached = self.sample(DRAWS, query.seed)
        return DrawnMarginal(name, self._cached[name], node.axes, node.states)

    def _table(self, name: str) -> TableMarginal:
        """With one ordered finite target, probabilities come from the density itself, cell by cell."""
        target, query = self._solver.targets[0], self._solver.query
        assert target.domain is not None
        count = len(target.domain)
        inside = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
        u = (torch.arange(count).unsqueeze(1) + inside).reshape(-1) / count
        flat = torch.logit(u).unsqueeze(1)
        logs = self._log_density(flat) + target.log_det(flat)
        mass = logs.exp().reshape(count, POINTS).mean(dim=1)
        mass = mass / mass.sum()
        values = self._follow({target.name: target.domain.reshape((count, *target.shape))}, count)[
            name
        ]
        domain, where = torch.unique(values.reshape(count, -1), dim=0, return_inverse=True)
        probs = torch.zeros(len(domain), dtype=torch.float64).index_add(0, where, mass)
        node = query.graph[name]
        if values.dim() > 1:
            if self._cached is None:
                self._cached = self.sample(DRAWS, query.seed)
            return DrawnMarginal(name, self._cached[name], node.axes, node.states)  # type: ignore[return-value]
        return TableMarginal(name, domain[:, 0], probs, (), node.states, exact=False)

    def _log_density(self, flat: Tensor) -> Tensor:
        with torch.no_grad():
            x = self._x.expand((len(flat), *self._x.shape))
            return self._solver.trained.net.log_prob(flat.to(torch.float32), x).to(torch.float64)  # type: ignore[operator]

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        missing = [t.name for t in self._solver.targets if t.name not in values]
        if missing:
            raise BackendError(
                f"npe knows the density of {', '.join(t.name for t in self._solver.targets)}, not of what follows."
            )
        parts = [t.unconstrain(values[t.name]) for t in self._solver.targets]
        count = max(len(p) for p in parts)
        total = self._log_density(
            torch.cat([p.expand((count, *p.shape[1:])) for p in parts], dim=1)
        )
        for target, part in zip(self._solver.targets, parts, strict=True):
            total = total + target.log_det(part)
        return total
