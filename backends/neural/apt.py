"""Automatic posterior transformation: a posterior net trained in rounds on proposals of its own, by telling the right parameters from others (atoms).

The loss corrects for the proposals: among atoms θ_1 … θ_M the net must give q(θ_m | x) / p(θ_m) its share, whatever distribution they were drawn from.

References:
    | Automatic posterior transformation for likelihood-free inference (Greenberg, Nonnenmacher and Macke, 2019), section 3.2
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from backends.kernels.parameters import Prior
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import QueryError

from .embedding import own_sizes
from .npe import NPESolver, cut, facts_of_training, pattern, posed, seen
from .options import COMMON, read
from .posterior_net import PosteriorNet, Scheme
from .rounds import OneObservation, after_first, rounds, sequential, too_early
from .simulations import Simulations, simulate
from .structure import structure
from .train import Settings, Trained, history, train
from .validity import Validity
from .verdicts import cannot

__all__ = ["OPTIONS", "AtomicLoss", "judge", "prepare", "restore", "shared"]

#: What `ppl.Method("apt", …)` takes, besides what all estimators take: rounds, atoms, the kind of density, the user's own nets by node.
OPTIONS = (*COMMON, "rounds", "atoms", "density", "embed")
ATOMS = 10
#: Epochs of a round, and of the last.
EPOCHS, LAST = 20, 40


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits where a posterior net does, for one observation and dear simulations, if the prior has a density."""
    early = too_early("apt", 8, query)
    if early is not None:
        return early
    found = posed("apt", query, budget)
    if found.able:
        wanted = structure(query)
        facts = query.mechanism.facts
        opaque = [n for n in wanted.names if facts[n].kind != "explicit"]
        above = query.graph.ancestors_of(wanted.names)
        hidden = [
            n
            for n in query.free
            if n in above and n not in wanted.names and facts[n].kind in ("explicit", "opaque")
        ]
        if opaque or hidden:
            why = (
                f"the prior of '{opaque[0]}' can only be sampled"
                if opaque
                else f"'{hidden[0]}' stands above the parameters, and their prior has no density without it"
            )
            return cannot(
                "apt", 8, f"{why}, and atoms are weighed by it", "method='npe' only samples it."
            )
        if wanted.local:
            return cannot(
                "apt",
                8,
                "parameters in plates are learned member by member, which atoms do not correct",
                "method='npe' or 'snl' takes them.",
            )
        if query.partial:
            return cannot(
                "apt",
                8,
                f"cells are missing of {', '.join(sorted(query.partial))}",
                "method='npe' is trained with the gaps.",
            )
    atoms = query.options.get("atoms", ATOMS)
    if isinstance(atoms, bool) or not isinstance(atoms, int) or not 2 <= atoms <= 10_000:
        raise QueryError(f"apt: atoms={atoms!r}: a whole number from 2 on.")
    read(query, "apt")
    return sequential(found, query, budget, "npe")


def prepare(query: Query, budget: Budget) -> OneObservation:
    """Nothing: the rounds close in on one observation."""
    return OneObservation("apt", query, lambda: _rounds(query, budget))


class AtomicLoss:
    """−log of the share that the right atom gets.

    Args:
        data: How many of the rows are data.
        atoms: How many atoms there are, the right one among them.
    """

    def __init__(self, data: int, atoms: int):
        self.data, self.atoms = data, atoms

    def __call__(self, net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
        """Rows: data, codes, scaled numbers, and the log prior of these."""
        assert isinstance(net, PosteriorNet)
        assert net.head is not None
        codes, z, prior = rows[self.data :]
        n = len(codes)
        atoms = min(self.atoms, n)
        # Parameters of other rows are the false atoms: shifts of the shuffled batch pair every row with any other as likely.
        shift = torch.cat(
            [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(n - 1)[: atoms - 1]]
        )
        place = (torch.arange(n).unsqueeze(1) + shift) % n
        c = net.embed(rows[: self.data]).unsqueeze(1)
        logs = net.head.log_prob(codes[place], z[place], c) - prior[place]
        return shared(logs)


def shared(logs: Tensor, targets: Tensor | None = None) -> Tensor:
    """Cross-entropy of the shares that atoms get, `(rows,)`.

    Args:
        logs: log q(θ_m | x) − log p(θ_m), `(rows, atoms)`.
        targets: The share that each atom should get, `(rows, atoms)`; all for the first by default. Where a density is known, the atoms' own posterior
            shares are targets of less noise than the one that happened to be drawn.

    Example:
        >>> logs = torch.tensor([[0.0, 0.0]])
        >>> [round(float(shared(logs, t)), 4) for t in (None, torch.tensor([[0.5, 0.5]]))]
        [0.6931, 0.6931]
    """
    shares = logs.log_softmax(dim=1)
    if targets is None:
        return -shares[:, 0]
    # An atom without a share costs nothing, however small the net makes it.
    return -torch.where(targets > 0, targets * shares, 0.0).sum(dim=1)


def _rounds(query: Query, budget: Budget) -> NPESolver:
    begun = time.monotonic()
    until = begun + 0.7 * budget.seconds
    assert query.observation is not None
    options, wanted = read(query, "apt"), structure(query)
    data = seen(query)
    sizes = rounds(query, budget, "apt")
    fixed = {n: query.observation.observed[n] for n in query.clamped}
    simulations = simulate(
        query, budget, "apt", wanted.names, data, wanted=sizes[0], given=fixed or None
    )
    scheme = pattern(query, options, simulations.values)
    first = replace(options.settings, epochs=2 * EPOCHS, checkpoint=None)
    solver = NPESolver(query, budget, "apt", scheme, [], {}, {}, ())
    nets: list[nn.Module] = []
    trained: list[Trained] = []
    losses: dict[str, list[float]] = {}
    for turn, size, last in ((0, 0, len(sizes) == 1), *after_first(sizes, until)):
        if turn:
            answer = solver.condition(query.observation)[0]
            simulations = simulations.and_(
                simulate(
                    query,
                    budget,
                    "apt",
                    wanted.names,
                    data,
                    wanted=size,
                    given={**fixed, **answer.proposed(size, query.seed * 1_000 + turn)},
                    turn=turn,
                    seconds=max(until - time.monotonic(), 1.0),
                )
            )
        settings = first
        if turn:
            epochs = LAST if last else EPOCHS
            settings = replace(
                options.settings, epochs=epochs, rate=1e-3, patience=8, checkpoint=None
            )
        left = max(budget.seconds - (time.monotonic() - begun), 1.0)
        nets, trained = _trained(query, scheme, simulations, nets, turn, settings, left, options)
        losses |= history(trained, turn=turn + 1 if len(sizes) > 1 else 0)
        solver = NPESolver(query, budget, "apt", scheme, nets, {}, {}, ())  # type: ignore[arg-type]
    notes = simulations.notes + cut(trained, budget)
    notes += Validity.note(
        simulations, "how probable that is was learned, and enters the answer through the atoms"
    )
    notes += ("trained in rounds for this observation: not amortised",)
    facts = {**facts_of_training(simulations, trained), "rounds": len(sizes)}
    solver = NPESolver(query, budget, "apt", scheme, nets, {}, facts, notes)  # type: ignore[arg-type]
    solver.history = losses
    return solver


def _trained(
    query: Query,
    scheme: Scheme,
    simulations: Simulations,
    nets: Sequence[nn.Module],
    turn: int,
    settings: Settings,
    seconds: float,
    options,
) -> tuple[list[nn.Module], list[Trained]]:
    """Nets after a round: the first by likelihood, the others by atoms."""
    generator = torch.Generator().manual_seed(query.seed)
    parameters = scheme.parameters(simulations.values, generator)
    data = scheme.groups.rows(simulations.values)
    prior = torch.zeros(len(simulations), dtype=torch.float32)
    if turn:
        prior = _log_prior(query, scheme, simulations, parameters, seconds)
    found, every = [], []
    for k in range(options.ensemble):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(query.seed * 1_000 + 10 * turn + k)
            if nets:
                net = nets[k]
            else:
                own = own_sizes(scheme.groups, data)
                net = PosteriorNet(scheme, len(simulations), own, options.density)
                net.begin(data, parameters, [])
            rows = (*data, *net.scaled(parameters))  # type: ignore[operator]
            if turn:
                loss = AtomicLoss(len(data), query.options.get("atoms", ATOMS))
                rows = (*rows, prior)
            else:
                loss = _likelihood(len(data))  # type: ignore[assignment]
            one = train(
                net,
                loss,
                rows,
                query.seed * 1_000 + k,
                seconds / options.ensemble,
                settings,
                f"training apt, round {turn + 1}",
                options.progress,
            )
        found.append(one.net)
        every.append(one)
    return found, every


def _likelihood(data: int):
    """The loss of the first round, whose parameters are from the prior."""

    def loss(net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
        assert isinstance(net, PosteriorNet)
        return -net.log_prob(rows[:data], rows[data:], [])

    return loss


def _log_prior(
    query: Query,
    scheme: Scheme,
    simulations: Simulations,
    parameters: Sequence[Tensor],
    seconds: float,
) -> Tensor:
    """log p(θ) on the scales of the net, with the probability that a simulation does not fail, `(draws,)`."""
    values: Mapping[str, Tensor] = simulations.values
    names = scheme.structure.names
    assert query.observation is not None
    fixed = {n: query.observation.observed[n] for n in query.clamped}
    prior = Prior(query.mechanism, names).log_prob({n: values[n] for n in names}, fixed)
    slope = scheme.top.log_slope(parameters[1].unsqueeze(1))[:, 0]
    valid = Validity.learn(query, simulations, seconds).log_prob(values)
    total = prior - slope + valid
    lowest = total[torch.isfinite(total)].amin() if bool(torch.isfinite(total).any()) else 0.0
    return torch.nan_to_num(total, neginf=float(lowest)).to(torch.float32)


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> OneObservation:
    """A solver from its saved state."""
    solver = NPESolver.restored(query, budget, "apt", tensors, facts)
    return OneObservation("apt", query, lambda: solver)
