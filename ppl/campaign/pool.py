"""A pool of local processes that outlives its workers: one that hangs is ended, one that dies is replaced, and the batch that did it is known.

Processes start afresh and do not run the user's script again; the campaign reaches them once, as cloudpickle writes it.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import SimulationError
from ..mechanism import Status
from .campaign import Campaign
from .luggage import packed
from .work import MARK, Sent, Task, begin, work

__all__ = ["Lost", "Pool", "new_mark", "read_mark"]

#: A hung worker is ended this long after its time is up, whatever the machine does.
GRACE = 0.5
#: Tasks in flight for each worker: one running, one waiting.
AHEAD = 2
#: How often in a row the pool is begun anew.
RESTARTS = 5


class Lost(Exception):
    """A task's process hung or died.

    Attributes:
        status: `Status.TIMED_OUT` or `Status.DIED`.
        seed: Of the call that was being made; `None` where no call is made singly.
        began: Whether the task had begun, as far as anybody knows.
    """

    def __init__(self, status: Status, seed: int | None, began: bool = True):
        super().__init__(status.words)
        self.status, self.seed, self.began = status, seed, began


def new_mark(path: Path) -> Path:
    """A file for the marks of one task."""
    path.write_bytes(bytes(MARK.size))
    return path


def read_mark(path: Path) -> tuple[int | None, bool, float]:
    """The seed of the call that was being made, whether the task had begun, and when."""
    seed, since = MARK.unpack(path.read_bytes())
    return (seed - 1 if seed else None), since > 0, since


class Pool:
    """Local worker processes.

    Args:
        workers: How many.
        timeout: Seconds for one batch.
        memory: Bytes that each may take.
    """

    def __init__(self, workers: int, timeout: float | None = None, memory: int | None = None):
        self.slots, self._workers = AHEAD * workers, workers
        self._timeout, self._memory = timeout, memory
        self._payload = ""
        self._marks = tempfile.TemporaryDirectory(prefix="galton-")
        self._running: dict[Future, tuple[Task, Path]] = {}
        self._count = self._restarts = 0
        self._pool = self._started()

    def _started(self) -> Any:
        from loky.backend import get_context
        from pebble import ProcessPool

        return ProcessPool(
            max_workers=self._workers,
            context=get_context("loky"),
            initializer=begin,
            initargs=[self._memory],
        )

    def take(self, campaign: Campaign) -> None:
        """Simulate this from now on.

        Raises:
            SimulationError: If the model cannot be sent to another process; it names the variable.
        """
        self._count += 1
        path = Path(self._marks.name) / f"campaign {self._count}"
        path.write_bytes(packed(campaign))
        self._payload = str(path)

    def submit(self, task: Task) -> None:
        """Begin a task as soon as a worker is free."""
        if not self._pool.active:
            self._restart()
        self._schedule(task)

    def _schedule(self, task: Task) -> None:
        self._count += 1
        mark = new_mark(Path(self._marks.name) / str(self._count))
        timeout = None if self._timeout is None else self._timeout * len(task.numbers) + GRACE
        future = self._pool.schedule(work, args=[self._payload, task, str(mark)], timeout=timeout)
        self._running[future] = task, mark

    @property
    def free(self) -> int:
        """How many more tasks may be begun."""
        return self.slots - len(self._running)

    def done(self) -> list[tuple[Task, list[Sent] | BaseException]]:
        """Tasks that ended, at least one: what they simulated, or why they did not.

        Raises:
            SimulationError: If workers die one after another before they have done anything.
        """
        while True:
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            if not any(isinstance(future.exception(), BrokenProcessPool) for future in ended):
                self._restarts = 0
                return [self._ended(future) for future in ended]
            self._restart()

    def _restart(self) -> None:
        """New workers for the same tasks: somebody killed one that had no task yet, and pebble takes it that all are gone."""
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise SimulationError(
                "Worker processes die before they have done anything; is there memory for them?"
            )
        self._pool.stop()
        self._pool.join()
        tasks = [task for task, _ in self._running.values()]
        self._running.clear()
        self._pool = self._started()
        for task in tasks:
            self._schedule(task)

    def _ended(self, future: Future) -> tuple[Task, list[Sent] | BaseException]:
        from pebble import ProcessExpired

        task, mark = self._running.pop(future)
        try:
            return task, future.result()
        except TimeoutError:
            return task, Lost(Status.TIMED_OUT, *read_mark(mark)[:2])
        except ProcessExpired:
            return task, Lost(Status.DIED, *read_mark(mark)[:2])
        except Exception as error:
            return task, error
        finally:
            with suppress(OSError):
                mark.unlink()

    def survives(
        self, function: Any, payload: bytes, seed: int, record: bool, seconds: float | None
    ) -> Lost | None:
        """Whether a worker survives a call; how it ended, if not."""
        from pebble import ProcessExpired

        if not self._pool.active:
            self._restart()
        future = self._pool.schedule(function, args=[payload, seed, record], timeout=seconds)
        try:
            future.result()
        except TimeoutError:
            return Lost(Status.TIMED_OUT, None)
        except (ProcessExpired, BrokenProcessPool):
            return Lost(Status.DIED, None)
        except MemoryError:
            return Lost(Status.RAISED, None)
        return None

    def forget(self) -> None:
        """End what is running; nobody waits for it."""
        for future in list(self._running):
            future.cancel()
        self._running.clear()

    def close(self) -> None:
        """End all workers at once."""
        self._pool.stop()
        self._pool.join()
        self._marks.cleanup()
