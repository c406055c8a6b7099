"""What a worker process does: it unpacks a campaign once, and then simulates batches of it.

Before every single call it leaves a mark, so that the driver knows which call it was when the process hangs or dies.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

import numpy

from ..mechanism import Batch, Calls, quiet

__all__ = ["Sent", "Task", "begin", "received", "work"]

#: A mark: the seed of the call that is being made, plus one, zero before the first; and when the task began, zero before.
MARK, SEED = Struct("<Qd"), Struct("<Q")
#: Bodies use the process's random generators: where threads share it, they take turns.
_TURN = threading.Lock()
#: The campaign that this process knows.
_KNOWN: dict[str, Any] = {}


@dataclass
class Task:
    """Batches that travel together.

    Args:
        numbers: Which.
        avoid: Seeds of calls that are not made, with the status that they get.
        draws: Of the last batch, how many count; `None` for all.
        attempt: How often they were tried before, because draws had failed.
        ends: The calls at which a process hung or died before.
    """

    numbers: Sequence[int]
    avoid: Mapping[int, int] = field(default_factory=dict)
    draws: int | None = None
    attempt: int = 0
    ends: Sequence[int | None] = ()


@dataclass
class Sent:
    """A batch on its way to the driver: plain arrays, and how long it took."""

    number: int
    values: dict[str, numpy.ndarray]
    status: numpy.ndarray
    culprits: dict[str, numpy.ndarray]
    errors: list[tuple[str, int, str]]
    seconds: float


def begin(memory: int | None = None) -> None:
    """Set a worker process up.

    Args:
        memory: Bytes that it may still take.
    """
    import torch

    torch.set_num_threads(1)
    if memory is not None:
        _limit(memory)
    threading.Thread(target=_orphaned, args=[os.getppid()], daemon=True).start()


def _limit(memory: int) -> None:
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))


def _orphaned(parent: int) -> None:
    """End with the driver, even when it was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def work(payload: str | bytes, task: Task, mark: str | None) -> list[Sent]:
    """Simulate some batches.

    Args:
        payload: The campaign as cloudpickle wrote it, or the file that it is in.
        task: Which batches.
        mark: The file for marks.
    """
    campaign, found = _campaign(payload), []
    told, close = _marker(mark)
    try:
        with quiet():
            for number in task.numbers:
                last = task.draws if number == task.numbers[-1] else None
                begun = time.perf_counter()
                batch = campaign.batch(number, Calls(task.avoid, told, last))
                found.append(_sent(number, batch, time.perf_counter() - begun))
    finally:
        close()
    return found


def alone(payload: bytes, task: Task, mark: str) -> list[Sent]:
    """The same in a process that others use too, and that may be on another machine.

    Args:
        payload: The campaign.
        task: Which batches.
        mark: The file for marks, if it is there.
    """
    import torch

    with _TURN:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return work(payload, task, mark if os.path.exists(mark) else None)
        finally:
            torch.set_num_threads(threads)


def _campaign(payload: str | bytes) -> Any:
    """The campaign, unpacked once."""
    import cloudpickle

    key = payload if isinstance(payload, str) else hashlib.sha256(payload).hexdigest()
    if key not in _KNOWN:
        _KNOWN.clear()
        content = Path(payload).read_bytes() if isinstance(payload, str) else payload
        _KNOWN[key] = cloudpickle.loads(content)
    return _KNOWN[key]


def _marker(path: str | None) -> tuple[Any, Any]:
    """A function that leaves a mark, and one that ends it."""
    if path is None:
        return None, lambda: None
    with open(path, "r+b") as file:
        room = mmap.mmap(file.fileno(), MARK.size)
    MARK.pack_into(room, 0, 0, time.time())
    write = SEED.pack_into

    def told(seed: int) -> None:
        write(room, 0, seed + 1)

    return told, room.close


def _sent(number: int, batch: Batch, seconds: float) -> Sent:
    return Sent(
        number,
        {name: numpy.ascontiguousarray(v.numpy()) for name, v in batch.values.items()},
        batch.status.numpy(),
        {name: rows.numpy() for name, rows in batch.culprits.items()},
        batch.errors,
        seconds,
    )


def received(sent: Sent) -> Batch:
    """The batch that was sent."""
    import torch

    return Batch(
        {name: torch.from_numpy(v) for name, v in sent.values.items()},
        torch.from_numpy(sent.status),
        {name: torch.from_numpy(rows) for name, rows in sent.culprits.items()},
        sent.errors,
    )
