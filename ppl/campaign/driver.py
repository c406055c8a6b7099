"""The driver: it gives out batches, gathers what comes back, keeps it, and hands it on in order.

A batch that is in the store is read, any other is simulated: here, by local processes or on a cluster. What hangs or dies is tried again without the
call that did it; no batch is lost, and none is there twice.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import torch

from ..errors import SimulationError
from ..mechanism import Batch, Calls, Status, quiet
from .campaign import Campaign
from .files import Damaged
from .pool import Lost, Pool
from .progress import Progress
from .running import Running
from .store import Store
from .work import Sent, Task, received

__all__ = ["Workers", "drive", "hired"]

#: Batches travel together until they are worth so many seconds.
TOGETHER = 0.5
#: How often a batch may hang or die before all of it is given up.
LIVES = 20
#: Stands among the ends of a task for one before it had begun.
WAITED = -1


#: Keeps a batch that was simulated in so many seconds.
Keep = Callable[[int, Batch, float], None]


class Workers(Protocol):
    """Whoever simulates elsewhere."""

    @property
    def free(self) -> int:
        """How many more tasks may be begun."""

    def submit(self, task: Task) -> None:
        """Begin a task."""

    def done(self) -> list[tuple[Task, list[Sent] | BaseException]]:
        """Tasks that ended, at least one."""

    def take(self, campaign: Campaign) -> None:
        """Simulate this from now on."""

    def forget(self) -> None:
        """End what is running; nobody waits for it."""

    def close(self) -> None:
        """Let everything go."""


def drive(
    campaign: Campaign,
    draws: int,
    running: Running,
    store: Store | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> Generator[Batch, None, None]:
    """Batches of a campaign in order, until there are enough draws.

    Args:
        campaign: What is simulated.
        draws: How many are wanted; the last batch may hold more.
        running: Where, and what happens to failures.
        store: Where batches are kept; its lock is held by the caller.
        progress: Told of every batch.
        workers: Those of `hired`, for a consumer with several campaigns; by default they come and go with this one.

    Raises:
        SimulationError: If a draw fails and failures are to be raised.
    """
    count = -(-draws // campaign.size)
    missing = [k for k in range(count) if store is None or k not in store.entries]
    new = set(missing)
    # Whole batches are kept; of the last one, what nobody wants need not be called otherwise.
    rest = None if store is not None else draws - (count - 1) * campaign.size
    with ExitStack() as stack:
        progress = progress or stack.enter_context(Progress(draws, running.progress))

        def keep(number: int, batch: Batch, seconds: float) -> None:
            if store is not None:
                store.commit(number, batch, list(batch.values), seconds)

        if running.here:
            source = _here(campaign, running, missing, count, rest, keep)
        else:
            if missing and workers is None:
                workers = stack.enter_context(hired(running))
            if missing and workers is not None:
                workers.take(campaign)
                stack.callback(workers.forget)
            source = _elsewhere(campaign, running, workers, missing, count, rest, keep)
        stack.enter_context(_terminable())
        try:
            for number in range(count):
                batch = None
                if number not in new:
                    assert store is not None
                    batch = _kept(store, number)
                    if batch is None:  # found damaged just now
                        source = chain(
                            _here(campaign, running, [number], count, rest, keep), source
                        )
                if batch is None:
                    found, batch = next(source)
                    assert found == number
                progress.add(min(campaign.size, draws - number * campaign.size), batch)
                yield batch
        except (KeyboardInterrupt, SystemExit):
            _farewell(store, campaign)
            raise


def _kept(store: Store, number: int) -> Batch | None:
    """A batch of the store; `None` if it is damaged, which the store forgets."""
    try:
        return store.read(number)
    except Damaged:
        store.lose(number)
        return None


# -- here ----------------------------------------------------------------------------------------


def _here(
    campaign: Campaign,
    running: Running,
    missing: list[int],
    count: int,
    rest: int | None,
    keep: Keep,
) -> Iterator[tuple[int, Batch]]:
    """Batches simulated by this process, one after another."""
    for number in missing:
        begun = time.perf_counter()
        for _ in range(running.retries + 1):
            with quiet():
                batch = campaign.batch(number, Calls(draws=rest if number == count - 1 else None))
            if not bool(batch.failed.any()):
                break
        keep(number, batch, time.perf_counter() - begun)
        yield number, batch


# -- elsewhere -----------------------------------------------------------------------------------


@contextmanager
def hired(running: Running) -> Iterator[Workers | None]:
    """Workers for as many campaigns as one likes; `None` where this process does the work."""
    if running.here:
        yield None
        return
    workers: Workers
    if isinstance(running.workers, int):
        workers = Pool(max(running.workers, 1), running.timeout, running.memory)
    else:
        from .cluster import Cluster

        workers = Cluster(running.workers, running.timeout)
    try:
        yield workers
    finally:
        workers.close()


def _elsewhere(
    campaign: Campaign,
    running: Running,
    workers: Workers | None,
    missing: list[int],
    count: int,
    rest: int | None,
    keep: Keep,
) -> Iterator[tuple[int, Batch]]:
    """Batches simulated by workers, in order whatever order they end in."""
    if workers is None:
        return
    waiting = deque(missing)
    again: deque[Task] = deque()
    ended: dict[int, Batch] = {}
    cost: float | None = None  # seconds of a batch
    for number in missing:
        while number not in ended:
            while workers.free > 0 and (again or waiting):
                if again:
                    workers.submit(again.popleft())
                    continue
                size = 1 if not cost else int(min(max(TOGETHER / cost, 1), 1024))
                # The last ones are shared out evenly.
                size = max(1, min(size, len(waiting) // max(workers.free, 1)))
                numbers = [waiting.popleft() for _ in range(size)]
                last = rest if numbers[-1] == count - 1 else None
                workers.submit(Task(numbers, draws=last))
            for task, result in workers.done():
                if isinstance(result, BaseException):
                    more = _tried(running, task, result)
                    again.extend(more)
                    if not more:
                        assert isinstance(result, Lost)
                        number_lost = task.numbers[0]
                        ended[number_lost] = _given_up(campaign, result.status)
                        keep(number_lost, ended[number_lost], 0.0)
                    continue
                for sent in result:
                    batch = received(sent)
                    cost = sent.seconds if cost is None else 0.9 * cost + 0.1 * sent.seconds
                    if bool(batch.failed.any()) and task.attempt < running.retries:
                        again.append(
                            replace(task, numbers=[sent.number], avoid={}, attempt=task.attempt + 1)
                        )
                        continue
                    keep(sent.number, batch, sent.seconds)
                    ended[sent.number] = batch
        yield number, ended.pop(number)


def _tried(running: Running, task: Task, error: BaseException) -> list[Task]:
    """What to do about a task that ended badly; nothing when it is given up.

    Its batches go one by one, so that none suffers for another. A call that was being made at two ends is the cause, and is left out from then on; one end
    may be the machine's fault.
    """
    if not isinstance(error, Lost):
        raise error
    if len(task.numbers) > 1:
        last = task.numbers[-1]
        return [
            replace(task, numbers=[n], draws=task.draws if n == last else None)
            for n in task.numbers
        ]
    ends = [*task.ends, error.seed]
    if len(ends) > LIVES + running.retries:
        return []
    if not error.began:  # it waited behind another that did it, or is where nobody can look
        return [replace(task, ends=[*task.ends, WAITED])]
    if ends.count(error.seed) < 2 + running.retries:
        return [replace(task, ends=ends)]
    if running.failures == "raise":
        replay = (
            "" if error.seed is None else f" Its rng was numpy.random.default_rng({error.seed})."
        )
        raise SimulationError(
            f"A draw of batch {task.numbers[0]} {error.status.words}.{replay} failures='record' keeps it as a row with a status, and goes on.",
            seed=error.seed,
        )
    if error.seed is None:
        return []
    return [replace(task, ends=ends, avoid={**task.avoid, error.seed: int(error.status)})]


def _given_up(campaign: Campaign, status: Status) -> Batch:
    """A batch of which nothing is known but how it ended."""
    mechanism = campaign.mechanism
    values = {}
    for name in campaign.kept or campaign.only or mechanism.graph.nodes:
        node, facts = mechanism.graph[name], mechanism.facts[name]
        plates = [mechanism.sizes[p] for p in node.axes if p != node.over]
        shape = (campaign.size, *plates, *facts.event_shape)
        values[name] = (
            torch.zeros(shape, dtype=torch.int64)
            if facts.discrete
            else torch.full(shape, torch.nan, dtype=torch.float64)
        )
    rows = torch.arange(campaign.size)
    marked = torch.full((campaign.size,), int(status), dtype=torch.uint8)
    return Batch(values, marked, {"": rows})


# -- the end -------------------------------------------------------------------------------------


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the campaign as Ctrl-C does, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _farewell(store: Store | None, campaign: Campaign) -> None:
    """What is kept, and how to go on."""
    if store is None:
        print("simulation stopped; nothing is kept without store=", file=sys.stderr)
        return
    done = len(store.entries)
    print(
        f"simulation stopped; {done:,} batches of {campaign.size:,} draws are kept in {store.path}, and the same call goes on from there",
        file=sys.stderr,
    )
