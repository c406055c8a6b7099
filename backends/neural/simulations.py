"""Simulations to train on: draws of parameters and data, from the campaign that the user runs or from proposals, without those that failed."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ppl.campaign import Running, opened
from ppl.compiler import Budget, Query
from ppl.errors import BackendError

__all__ = ["SIMULATIONS", "Simulations", "simulate"]

#: Simulations when the budget does not say.
SIMULATIONS = 10_000
#: The share of the seconds that simulating may take.
SHARE = 0.6


@dataclass(eq=False)
class Simulations:
    """Draws that were simulated.

    Args:
        values: By node, `(valid draws, *plates, *event)`.
        tried: Parameters of every draw, failed ones too, `(draws, *plates, *event)`.
        valid: Which of these gave data, `(draws,)`.
        notes: What the user should know.
    """

    values: dict[str, Tensor]
    tried: dict[str, Tensor] = field(default_factory=dict)
    valid: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def done(self) -> int:
        """How many were simulated, failed ones too."""
        return len(self.valid)

    @property
    def failed(self) -> int:
        """How many gave no data."""
        return int((~self.valid).sum())

    def and_(self, more: Simulations) -> Simulations:
        """With others."""
        return Simulations(
            {n: torch.cat([v, more.values[n]]) for n, v in self.values.items()},
            {n: torch.cat([v, more.tried[n]]) for n, v in self.tried.items()},
            torch.cat([self.valid, more.valid]),
            tuple(dict.fromkeys((*self.notes, *more.notes))),
        )


def simulate(
    query: Query,
    budget: Budget,
    method: str,
    parameters: Collection[str],
    data: Collection[str],
    *,
    wanted: int | None = None,
    given: Mapping[str, Tensor] | None = None,
    turn: int = 0,
    seconds: float | None = None,
) -> Simulations:
    """Simulate.

    Args:
        query: The component.
        budget: Simulations and seconds.
        method: Who wants them, for the progress bar.
        parameters: Nodes above the data, kept for failed draws too.
        data: Nodes that are observed, or summaries of them.
        wanted: How many; as the budget says by default.
        given: Parameters that were proposed, `(wanted, *plates, *event)`; drawn from the prior by default.
        turn: The number of the round, which decides the seed with the query's.
        seconds: When to stop at the latest; a share of the budget's by default.

    Raises:
        BackendError: If all of them fail.
    """
    wanted = wanted or budget.simulations or SIMULATIONS
    seconds = SHARE * budget.seconds if seconds is None else seconds
    running = query.running or Running()
    notes: list[str] = []
    options: dict = {}
    seed: int | tuple[int, ...] = query.seed
    if given is not None:
        # Proposals are for one observation: a store of draws from the prior has no use for them.
        if running.store is not None:
            notes.append(
                "store= keeps draws from the prior; those that were proposed for one observation are not kept"
            )
        running = replace(running, store=None)
        options["fixed"] = given
    if turn:
        # A store goes on with its own seed; other rounds have theirs.
        running = replace(running, store=None)
        seed = (query.seed, 93, turn)
    names = list(dict.fromkeys((*parameters, *data)))
    nodes = [n for n in names if n in query.graph]
    summaries = [n for n in names if n not in query.graph]
    kept: dict[str, list[Tensor]] = {n: [] for n in names}
    tried: dict[str, list[Tensor]] = {n: [] for n in parameters}
    valid: list[Tensor] = []
    done, begun = 0, time.monotonic()
    with opened(
        query.mechanism, wanted, seed, running, title=f"simulating for {method}", **options
    ) as campaign:
        if campaign.note:
            notes.append(campaign.note)
        for batch in campaign.batches:
            size = campaign.size
            take = min(size, wanted - done)
            values = {
                n: batch.values[n].expand((size, *batch.values[n].shape[1:]))[:take] for n in nodes
            }
            ok = ~batch.failed[:take]
            if summaries:
                assert query.summaries is not None
                sources = {s for n in summaries for s in query.summaries.sources[n]}
                shown = {
                    n: torch.nan_to_num(batch.values[n].expand((size, *batch.values[n].shape[1:])))[
                        :take
                    ]
                    for n in sources
                }
                found = query.summaries(shown, take)
                values |= {n: found[n] for n in summaries}
            for name in data:
                finite = torch.isfinite(values[name].to(torch.float64))
                ok = ok & finite.reshape((take, -1)).all(dim=1)
            for name in names:
                kept[name].append(values[name][ok])
            for name in parameters:
                tried[name].append(values[name])
            valid.append(ok)
            done += take
            if done >= wanted:
                break
            if time.monotonic() - begun > seconds:
                notes.append(
                    f"simulating stopped after {seconds:.0f} s of its budget, with {done:,} of {wanted:,} draws: the numbers depend on the machine"
                )
                break
    found_valid = torch.cat(valid)
    if not bool(found_valid.any()):
        first = next((said for _, _, said in batch.errors), "the data are NaN or infinite")
        raise BackendError(f"{method}: every one of {done:,} simulations failed ({first}).")
    return Simulations(
        {n: torch.cat(v) for n, v in kept.items()},
        {n: torch.cat(v) for n, v in tried.items()},
        found_valid,
        tuple(notes),
    )
