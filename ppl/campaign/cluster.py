"""A Dask cluster as workers: the same tasks on a laptop, under Slurm or on Kubernetes.

Every worker has one task running and one waiting. Dask itself tries nothing again, the driver counts: a task that kills its worker is found, and those that waited
behind it go elsewhere.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import QueryError, SimulationError
from ..mechanism import Status
from .campaign import Campaign
from .luggage import packed
from .pool import AHEAD, GRACE, Lost, new_mark, read_mark
from .work import Sent, Task, alone

__all__ = ["Cluster"]

#: Seconds between two looks at the clock.
LOOK = 0.2
#: Seconds that a cluster may be without any worker.
ALONE = 120.0


@dataclass
class _Sent:
    """A task on its way.

    Args:
        task: The task.
        mark: Where its process leaves marks, if it is on this machine.
        since: When it was given away.
    """

    task: Task
    mark: Path
    since: float


class Cluster:
    """Workers of a Dask cluster.

    Args:
        client: A `distributed.Client`, or the address of a scheduler.
        timeout: Seconds for one batch.

    Raises:
        QueryError: If it is neither.
    """

    def __init__(self, client: Any, timeout: float | None):
        try:
            from distributed import Client
        except ImportError as error:
            raise QueryError(
                'workers= got an address or a client; install the extra: pip install "galton[cluster]".'
            ) from error
        if not isinstance(client, str | Client):
            raise QueryError(
                f"workers={client!r} is neither a number, nor a Dask client, nor the address of a scheduler."
            )
        self._own = isinstance(client, str)
        self._client: Any = Client(client) if isinstance(client, str) else client
        self._timeout, self._payload = timeout, b""
        self._marks = tempfile.TemporaryDirectory(prefix="galton-")
        self._running: dict[Any, _Sent] = {}
        self._count = 0
        # Dask would hand a task whose worker died to three others.
        self._before = self._client.run_on_scheduler(_allowed_failures, count=0)

    def take(self, campaign: Campaign) -> None:
        """Simulate this from now on."""
        self._payload = packed(campaign)

    @property
    def free(self) -> int:
        """How many more tasks may be begun; a cluster may grow and shrink."""
        workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        return AHEAD * max(workers, 1) - len(self._running)

    def submit(self, task: Task) -> None:
        """Give a task away."""
        self._count += 1
        mark = new_mark(Path(self._marks.name) / str(self._count))
        future = self._client.submit(
            alone,
            self._payload,
            task,
            str(mark),
            pure=False,
            key=f"galton-{id(self)}-{self._count}",
        )
        self._running[future] = _Sent(task, mark, time.time())

    def done(self) -> list[tuple[Task, list[Sent] | BaseException]]:
        """Tasks that ended, at least one.

        Raises:
            SimulationError: If the cluster has lost all its workers for good.
        """
        from distributed import wait

        found: list[tuple[Task, list[Sent] | BaseException]] = []
        since = time.monotonic()
        while not found:
            if self._client.nthreads():
                since = time.monotonic()
            elif time.monotonic() - since > ALONE:
                raise SimulationError(
                    f"The cluster has had no worker for {ALONE:g} s; what was committed is kept."
                )
            with suppress(TimeoutError):
                wait(list(self._running), timeout=LOOK, return_when="FIRST_COMPLETED")
            found = [self._ended(f) for f in list(self._running) if f.done()]
            for future, sent in list(self._running.items()):
                if self._overdue(sent):
                    found.append((sent.task, self._end(future)))
        return found

    def _ended(self, future: Any) -> tuple[Task, list[Sent] | BaseException]:
        from distributed import CancelledError, KilledWorker

        sent = self._running.pop(future)
        try:
            return sent.task, future.result()
        except (KilledWorker, CancelledError):
            return sent.task, Lost(Status.DIED, *read_mark(sent.mark)[:2])
        except Exception as error:
            return sent.task, error
        finally:
            with suppress(OSError):
                sent.mark.unlink()

    def _overdue(self, sent: _Sent) -> bool:
        if self._timeout is None:
            return False
        _, began, since = read_mark(sent.mark)
        allowed = self._timeout * len(sent.task.numbers) + GRACE
        # Elsewhere nobody sees when it began: it may have waited for another.
        return time.time() - since > allowed if began else time.time() - sent.since > 4 * allowed

    def _end(self, future: Any) -> Lost:
        """End a task and its process."""
        sent = self._running.pop(future)
        lost = Lost(Status.TIMED_OUT, *read_mark(sent.mark)[:2])
        busy = [
            worker
            for worker, keys in self._client.processing().items()
            if future.key in map(str, keys)
        ]
        future.cancel()
        if busy:
            # The nanny begins another process. A restart would first ask the worker, which may not answer.
            self._client.run(_kill, workers=busy, nanny=True, on_error="ignore")
        return lost

    def forget(self) -> None:
        """Nobody waits for what is running."""
        self._client.cancel(list(self._running))
        self._running.clear()

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._client.run_on_scheduler(_allowed_failures, count=self._before)
        if self._own:
            self._client.close()
        self._marks.cleanup()


def _kill(dask_worker: Any = None) -> None:
    """Kill the process that this nanny watches."""
    os.kill(dask_worker.pid, signal.SIGKILL)


def _allowed_failures(count: int, dask_scheduler: Any = None) -> int:
    """Set how often the scheduler tries again; what it was."""
    before = dask_scheduler.allowed_failures
    dask_scheduler.allowed_failures = count
    return int(before)
