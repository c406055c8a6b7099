"""Draws from the prior for an engine: simulated as the user wants it, or read from the store that they are in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from torch import Tensor

from ..mechanism import Batch, Mechanism
from .campaign import Campaign, batch_size
from .driver import drive
from .progress import Progress
from .running import Running
from .simulate import joined
from .store import Store

__all__ = ["Opened", "opened"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A campaign that has begun.

    Args:
        batches: In order, until there are enough draws.
        size: Draws in a batch.
        progress: The bar, to tell it more.
        note: What the user should know of where the draws come from; empty for nothing.
    """

    batches: Iterator[Batch]
    size: int
    progress: Progress
    note: str = ""


@contextmanager
def opened(
    mechanism: Mechanism,
    draws: int,
    seed: int | tuple[int, ...],
    running: Running | None = None,
    *,
    fixed: Mapping[str, Tensor] | None = None,
    only: Collection[str] | None = None,
    title: str = "simulating",
) -> Iterator[Opened]:
    """Draws of a model's nodes, batch by batch.

    Args:
        mechanism: How the bodies are called; probed.
        draws: How many.
        seed: Decides everything, unless there is a store, which has its own.
        running: Where they are simulated or kept.
        fixed: Values that are taken, not drawn.
        only: The nodes to draw; all by default.
        title: Of the bar.

    Raises:
        StoreError: If the store holds simulations of another model.
    """
    running, names = running or Running(), list(only or mechanism.graph.nodes)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(draws, running.progress, title))
        if running.store is None:
            campaign = Campaign(
                mechanism, seed, batch_size(mechanism, draws), only, dict(fixed or {})
            )
            source = drive(campaign, draws, running, progress=progress)
            stack.callback(source.close)
            yield Opened(source, campaign.size, progress)
            return
        store = Store(running.store)
        stack.enter_context(store.lock())
        stack.callback(store.close)
        begun = store.manifest is not None
        campaign = joined(
            store,
            mechanism,
            None if begun or not isinstance(seed, int) else seed,
            batch_size(mechanism, draws),
            fixed or {},
            draws,
        )
        known = len(store.entries)
        source = drive(campaign, draws, running, store, progress)
        stack.callback(source.close)
        whole = replace(campaign, only=None)
        batches = (whole.completed(batch, k, names) for k, batch in enumerate(source))
        note = f"draws are kept in {store.path} (seed {campaign.seed})"
        if begun and known:
            note += f", which held {known * campaign.size:,}"
        yield Opened(batches, campaign.size, progress, note)
