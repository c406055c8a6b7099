"""Posteriors of a learned likelihood or ratio: p(θ) times what the net says of the data, sampled by tempered SMC.

Particles live on the unconstrained space of the prior, so that no draw leaves its support; finite parameters are carried as codes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from backends.kernels.parameters import Parameters
from backends.kernels.smc import Cloud, smc
from ppl.compiler import Query
from ppl.errors import BackendError
from ppl.mechanism import forward
from ppl.posterior import Answer, Certificate, DrawnMarginal, Marginal, TableMarginal

__all__ = ["LogLikelihood", "SurrogateAnswer", "follow"]

#: The learned log likelihood of values of the parameters, `(draws, *plates, *event)` by node; `(draws,)`.
LogLikelihood = Callable[[Mapping[str, Tensor]], Tensor]

#: Islands of particles, and how many live on each: together the draws that an answer holds.
ISLANDS, PARTICLES = 8, 1280
#: Rounds of moves at each temperature at most, and repetitions of them at the posterior.
ROUNDS, LAST = 8, 4
#: Up to so many values of a single finite parameter are summed over instead.
LISTED = 4096
#: Numbers that one evaluation of particles may make.
NUMBERS = 2**24


class SurrogateAnswer(Answer):
    """p(θ) × learned likelihood at one observation; drawn when somebody looks.

    Args:
        query: The component.
        parameters: What is sampled.
        log_likelihood: The learned log likelihood, up to a constant.
        fixed: Known parents of the parameters, `(1, *plates, *event)`.
        certificate: What was established; figures of the sampling are added.
        notes: What the user should know.
        width: Numbers that the likelihood makes for one particle.
        seconds: When the sampling must end.
        particles: On each island.
    """

    def __init__(
        self,
        query: Query,
        parameters: Parameters,
        log_likelihood: LogLikelihood,
        fixed: Mapping[str, Tensor],
        certificate: Certificate,
        notes: tuple[str, ...],
        width: int,
        seconds: float,
        particles: int = PARTICLES,
    ):
        self.names, self.query, self.parameters = query.ask, query, parameters
        self._likelihood, self._fixed, self._stated = log_likelihood, dict(fixed), certificate
        self._notes, self._seconds, self._total = notes, seconds, ISLANDS * particles
        self._chunk = max(NUMBERS // max(width, 1), 64)

    # -- the density -----------------------------------------------------------------------------

    def _both(self, u: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """log prior on unbounded scales, log likelihood, and the values, at coordinates and codes."""
        values = self.parameters.values(u, codes)
        prior = self.parameters.log_prior(u, values, self._fixed)
        likelihood = []
        with torch.no_grad():
            for begin in range(0, len(u), self._chunk):
                part = {n: v[begin : begin + self._chunk] for n, v in values.items()}
                likelihood.append(self._likelihood(part).to(torch.float64))
        return prior, torch.cat(likelihood), values

    @cached_property
    def _listed(self) -> tuple[Tensor, Tensor, float] | None:
        """Every value of a few finite parameters, as codes, with their probabilities and the log-evidence; `None` where there are too many."""
        cards = [int(c) for c in self.parameters.cards]
        if self.parameters.coordinates.size or prod(cards) > LISTED:
            return None
        codes = torch.cartesian_prod(*[torch.arange(c) for c in cards]).reshape(-1, len(cards))
        prior, likelihood, _ = self._both(torch.zeros(len(codes), 0, dtype=torch.float64), codes)
        logs = prior + likelihood
        total = torch.logsumexp(logs, dim=0)
        if not bool(torch.isfinite(total)):
            raise BackendError(self._nowhere)
        return codes, (logs - total).exp(), float(total)

    @property
    def _nowhere(self) -> str:
        return (
            f"The learned likelihood is zero at every value of {', '.join(self.parameters.names[:4])}: the observation is unlike anything that was "
            "simulated."
        )

    @cached_property
    def cloud(self) -> Cloud:
        """The particles."""
        query, count = self.query, self._total
        # Particles begin at draws from the prior: the answer's own, whichever simulations the net was trained on.
        above = set(query.graph.ancestors_of(self.parameters.names)) | {*self.parameters.names}
        drawn = forward(
            query.mechanism,
            count,
            (query.seed, 95),
            fixed=self._fixed,
            only=above - set(self._fixed),
        ).values
        values = {n: drawn[n].expand((count, *drawn[n].shape[1:])) for n in self.parameters.names}
        coordinates = self.parameters.coordinates.join(values)
        u = numpy.clip(coordinates.expand((count, coordinates.shape[1])).numpy(), -1e6, 1e6)
        codes = self.parameters.codes(values).numpy()

        def split(points: ndarray, code: ndarray) -> tuple[ndarray, ndarray]:
            prior, likelihood, _ = self._both(torch.from_numpy(points), torch.from_numpy(code))
            return prior.numpy(), likelihood.numpy()

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            found = smc(
                split,
                u,
                codes,
                self.parameters.cards.to(torch.int64).numpy(),
                zlib.crc32(repr((query.seed, query.ask)).encode()),
                islands=ISLANDS,
                until=time.monotonic() + self._seconds,
                last=LAST,
                rounds=ROUNDS,
            )
        finally:
            torch.set_num_threads(threads)
        if not numpy.isfinite(found.log_evidence).any():
            raise BackendError(self._nowhere)
        return found

    # -- the answer ------------------------------------------------------------------------------

    @property
    def certificate(self) -> Certificate:  # type: ignore[override]
        checks = dict(self._stated.checks)
        if self._listed is None:
            value, error = self.cloud.evidence
            checks["temperatures"] = len(self.cloud.powers) - 1
            checks["log-evidence of the net"] = f"{value:.2f} ± {error:.2g}"
        return Certificate(self._stated.grade, self._stated.statement, checks)

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        if self._listed is None and not self.cloud.complete:
            cut = f"sampling was stopped by the clock at the power {self.cloud.powers[-1]:.3g} of the likelihood"
            return (*self._notes, cut)
        return self._notes

    @cached_property
    def _draws(self) -> dict[str, Tensor]:
        """All particles' values of the asked nodes."""
        u = torch.from_numpy(self.cloud.u.reshape((self._total, -1)))
        codes = torch.from_numpy(self.cloud.codes.reshape((self._total, -1)))
        values = self.parameters.values(u, codes)
        return follow(self.query, {**self._fixed, **values}, len(u))

    def particles(self, n: int, seed: int) -> dict[str, Tensor]:
        """Values of all parameters, `(n, *plates, *event)`, to simulate from."""
        generator = torch.Generator().manual_seed(seed)
        if self._listed is not None:
            codes, probs, _ = self._listed
            rows = torch.multinomial(probs, n, replacement=True, generator=generator)
            return self.parameters.values(torch.zeros(n, 0, dtype=torch.float64), codes[rows])
        rows = torch.randperm(self._total, generator=generator)
        rows = rows.repeat(-(-n // self._total))[:n]
        u, codes = (
            torch.from_numpy(t.reshape((self._total, -1)))[rows]
            for t in (self.cloud.u, self.cloud.codes)
        )
        return self.parameters.values(u, codes)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        if self._listed is not None:
            codes, probs, _ = self._listed
            rows = torch.multinomial(probs, n, replacement=True, generator=generator)
            none = torch.zeros(n, 0, dtype=torch.float64)
            values = self.parameters.values(none, codes[rows])
            return follow(self.query, {**self._fixed, **values}, n)
        total = self._total
        # No particle twice before all came once.
        rows = torch.cat(
            [torch.randperm(total, generator=generator) for _ in range(-(-n // total))]
        )[:n]
        return {name: value[rows] for name, value in self._draws.items()}

    def marginal(self, name: str) -> Marginal:
        node = self.query.graph[name]
        if self._listed is not None:
            codes, probs, _ = self._listed
            none = torch.zeros(len(codes), 0, dtype=torch.float64)
            values = self.parameters.values(none, codes)
            found = follow(self.query, {**self._fixed, **values}, len(codes))[name]
            return _table(name, found, probs, node.axes, node.states)
        domain = self.parameters.domains.get(name)
        # Particles of one island descend from one another: a half is a careful count of independent ones.
        size = self._total / 2
        return DrawnMarginal(
            name,
            self._draws[name],
            node.axes,
            node.states,
            None if domain is None else domain.sort().values,
            size,
        )

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        lacking = [n for n in self.parameters.names if n not in values]
        if lacking:
            raise BackendError(
                f"The learned density is of {', '.join(self.parameters.names)} jointly; ask for '{lacking[0]}' too: of=[...]."
            )
        rows = max(len(values[n]) for n in self.parameters.names)
        mine = {n: values[n].expand((rows, *values[n].shape[1:])) for n in self.parameters.names}
        u, codes = self.parameters.coordinates.join(mine), self.parameters.codes(mine)
        prior, likelihood, _ = self._both(u.expand((rows, u.shape[1])), codes)
        total = self._listed[2] if self._listed is not None else self.cloud.evidence[0]
        return prior - self.parameters.coordinates.stretch(u) + likelihood - total

    def most_probable(self, names: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        """The jointly most probable values of all parameters, by climbing from the best particles."""
        return climb(self, names, self.parameters.names, self._jump)

    def _jump(self, generator: torch.Generator, values: dict[str, Tensor], size: float):
        """Values near some others, on unbounded scales."""
        u, codes = self.parameters.coordinates.join(values), self.parameters.codes(values)
        spread = self.parameters.coordinates.join(self._draws).std(dim=0)
        noise = torch.randn(u.shape, generator=generator, dtype=torch.float64)
        return self.parameters.values(u + size * spread * noise, codes)


def climb(answer: Answer, names: Sequence[str], parameters: Sequence[str], jump) -> tuple:
    """Values of highest density: the best draws, moved by steps that shrink.

    Args:
        answer: Whose density.
        names: The nodes that are asked for; they must be all the parameters.
        parameters: The nodes that the density is of.
        jump: Values near some others: of a generator, values and a size.
    """
    if set(names) != set(parameters):
        raise BackendError(
            f"The most probable value is known for {', '.join(parameters)} together, not for a part of them."
        )
    generator = torch.Generator().manual_seed(0)
    values = {n: v for n, v in answer.sample(2000, 0).items() if n in names}
    logs = answer.log_prob(values)
    best = logs.argsort(descending=True)[:32]
    values, logs = {n: v[best] for n, v in values.items()}, logs[best]
    for turn in range(60):
        near = jump(generator, values, 0.3 * 0.9**turn)
        new = answer.log_prob(near)
        better = new > logs
        values = {
            n: torch.where(better.reshape((-1, *[1] * (v.dim() - 1))), near[n], v)
            for n, v in values.items()
        }
        logs = torch.where(better, new, logs)
    top = int(logs.argmax())
    return {n: values[n][top] for n in names}, float(logs[top])


def follow(query: Query, drawn: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    """The asked nodes; deterministic ones are computed from the parameters."""
    rest = {a for a in query.ask if a not in drawn}
    if not rest:
        return {name: drawn[name] for name in query.ask}
    only = {
        a
        for a in query.graph.ancestors_of(rest) | rest
        if query.mechanism.facts[a].kind in ("deterministic", "input")
    }
    values = forward(query.mechanism, n, query.seed, fixed=drawn, only=only).values
    return {name: values[name].expand((n, *values[name].shape[1:])) for name in query.ask}


def _table(name: str, values: Tensor, probs: Tensor, axes, states) -> Marginal:
    """A marginal over listed values, `(listed, *plates)`."""
    domain, place = torch.unique(values, return_inverse=True)
    flat = place.reshape((len(values), -1))
    table = torch.zeros(flat.shape[1], len(domain), dtype=torch.float64)
    for k in range(flat.shape[1]):
        table[k].index_add_(0, flat[:, k], probs)
    shape = (*values.shape[1:], len(domain))
    return TableMarginal(name, domain, table.reshape(shape), axes, states, exact=False)
